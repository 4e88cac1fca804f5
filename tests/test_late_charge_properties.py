import logging
import time
from datetime import date, timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from odoo.tests import tagged
from odoo.tools import SQL

from .common_late_charge import LateChargeCommon

_logger = logging.getLogger(__name__)

DUE = date(2023, 3, 31)
PAYMENTS = st.lists(
    st.tuples(st.integers(min_value=-20, max_value=700), st.integers(min_value=1, max_value=400_000)), max_size=5)
RULES = st.sampled_from(['eu_company', 'be_company', 'fr_company', 'de_company', 'uk_company', 'de_person'])
PROPERTY = settings(
    max_examples=20, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors])


@tagged('post_install', '-at_install')
class TestLateChargeProperties(LateChargeCommon):
    """What must hold for any payments, dates and currencies. Payments are written as Odoo stores matched ones."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls._rule('de_person').sudo().free_reminder = False  # nothing is sent in these tests
        cls.jpy = cls.setup_currency('JPY')
        cls.tnd = cls.setup_currency('TND')
        cls.lines = {
            currency: cls._line(cls._invoice(10000, str(DUE), currency=currency))
            for currency in (cls.eur, cls.jpy, cls.tnd)
        }
        # one credit to point at; the dates and amounts of the matches are what counts
        cls.credits = {
            currency: cls._pay(line.move_id, 1, '2023-03-31', reconcile=False)
            for currency, line in cls.lines.items()
        }
        cls.env.flush_all()

    def _match(self, line, payments):
        """Let payments `(days after the due date, smallest units)` lower the line, as matched amounts do."""
        self.env.cr.execute(SQL("DELETE FROM account_partial_reconcile WHERE debit_move_id = %s", line.id))
        for days, units in payments:
            amount = line.currency_id.round(units * line.currency_id.rounding)
            self.env.cr.execute(SQL(
                """
                INSERT INTO account_partial_reconcile (
                       debit_move_id, credit_move_id, debit_currency_id, credit_currency_id, company_id, amount,
                       debit_amount_currency, credit_amount_currency, max_date)
                VALUES (%(debit)s, %(credit)s, %(currency)s, %(currency)s, %(company)s, %(amount)s, %(amount)s,
                       %(amount)s, %(date)s)
                """,
                debit=line.id, credit=self.credits[line.currency_id].id, currency=line.currency_id.id,
                company=self.company.id, amount=amount, date=DUE + timedelta(days=days)))
        self.env.invalidate_all()

    def _total(self, rule, line, date_to):
        return self._rule(rule)._compute_interest(line, date_to)

    @PROPERTY
    @given(rule=RULES, payments=PAYMENTS, days=st.integers(min_value=0, max_value=700))
    def test_interest_is_that_of_each_day_by_hand(self, rule, payments, days):
        """Day by day, in plain Python: balance of the day x rate of the day / days of its year."""
        line = self.lines[self.eur]
        self._match(line, payments)
        terms = self._rule(rule)
        periods = terms._get_rate_periods()[terms]
        exact = 0.0
        for day in (DUE + timedelta(days=number + 1) for number in range(days)):
            paid = sum(units for after, units in payments if DUE + timedelta(days=after) <= day) / 100
            rate_day = DUE + timedelta(days=1) if terms.rate_frozen else day
            rate = next(rate for first, last, rate, _source in periods if first <= rate_day <= last)
            leap = terms.day_count == 'actual_actual' and day.year % 4 == 0
            exact += max(10000 - paid, 0) * rate / 100 / (366 if leap else 365)
        # half a cent of rounding, and the noise of floating point
        self.assertLessEqual(
            abs(self._total(rule, line, DUE + timedelta(days=days)) - exact), 0.005 + 1e-6)

    @PROPERTY
    @given(
        rule=RULES, payments=PAYMENTS, currency=st.sampled_from(['eur', 'jpy', 'tnd']),
        cuts=st.lists(st.integers(min_value=1, max_value=650), min_size=1, max_size=6, unique=True))
    def test_interest_of_a_period_is_the_sum_over_any_split(self, rule, payments, currency, cuts):
        line = self.lines[getattr(self, currency)]
        self._match(line, payments)
        terms = self._rule(rule)
        days = [DUE + timedelta(days=number) for number in sorted(cuts)]
        whole = self._total(rule, line, days[-1])
        parts = 0.0
        for first, last in zip([DUE, *days[:-1]], days, strict=True):
            rows = terms._get_interest_rows_of_days(line, [(first + timedelta(days=1), last)])
            parts += sum(row['amount'] for row in rows)
        self.assertEqual(line.currency_id.compare_amounts(parts, whole), 0, (parts, whole))

    @PROPERTY
    @given(
        rule=RULES, payments=PAYMENTS, days=st.integers(min_value=0, max_value=700),
        earlier=st.integers(min_value=0, max_value=300), more=st.integers(min_value=0, max_value=100_000))
    def test_more_money_or_earlier_never_costs_more(self, rule, payments, days, earlier, more):
        line = self.lines[self.eur]
        date_to = DUE + timedelta(days=days)
        self._match(line, payments)
        before = self._total(rule, line, date_to)
        self._match(line, [(after - earlier, units + more) for after, units in payments])
        self.assertLessEqual(self._total(rule, line, date_to), before)

    @PROPERTY
    @given(rule=RULES, currency=st.sampled_from(['eur', 'jpy', 'tnd']), days=st.integers(min_value=0, max_value=700),
           after=st.integers(min_value=-20, max_value=0))
    def test_zero_balance_costs_nothing(self, rule, currency, days, after):
        line = self.lines[getattr(self, currency)]
        self._match(line, [(after, round(10000 / line.currency_id.rounding))])
        self.assertEqual(self._total(rule, line, DUE + timedelta(days=days)), 0.0)

    @PROPERTY
    @given(
        rule=RULES, payments=PAYMENTS,
        days=st.lists(st.integers(min_value=0, max_value=700), min_size=2, max_size=2))
    def test_interest_never_falls_with_time_and_has_the_currency_s_decimals(self, rule, payments, days):
        line = self.lines[self.jpy]
        self._match(line, payments)
        first, last = (self._total(rule, line, DUE + timedelta(days=number)) for number in sorted(days))
        self.assertLessEqual(first, last)
        self.assertEqual(last, round(last))


@tagged('post_install', '-at_install')
class TestLateChargeScale(LateChargeCommon):

    def test_interest_of_20000_lines_with_payments(self):
        """20,000 overdue lines of 2,000 customers, 40,000 payments: all interest of a run in three seconds."""
        for name in ('eu_company', 'be_company', 'fr_company'):
            self.assertTrue(self._rule(name))
        template = self._line(self._invoice(1000, '2023-03-31', currency=self.eur))
        credit = self._pay(template.move_id, 1, '2023-03-31', reconcile=False)
        level = self._level('print')
        self.company.account_fiscal_country_id = self.env.ref('base.fr')
        customers = self.env['res.partner'].create([
            {'name': f"Customer {number}", 'is_company': True} for number in range(2000)])
        self.env.flush_all()
        execute = self.env.execute_query
        # twenty thousand posted invoices, as few columns as the calculation reads
        line_ids = [line_id for (line_id,) in execute(SQL(
            """
            WITH move AS (
                INSERT INTO account_move (name, move_type, state, date, company_id, journal_id, currency_id,
                       commercial_partner_id, partner_id, auto_post, invoice_date)
                SELECT 'SCALE/' || number, 'out_invoice', 'posted', DATE '2023-01-01', %(company)s, %(journal)s,
                       %(currency)s, (%(customers)s)[1 + number %% 2000], (%(customers)s)[1 + number %% 2000], 'no',
                       DATE '2023-01-01'
                  FROM generate_series(1, 20000) AS number
             RETURNING id, partner_id
            )
            INSERT INTO account_move_line (move_id, company_id, journal_id, account_id, currency_id, partner_id,
                   parent_state, display_type, date, date_maturity, balance, debit, credit, amount_currency,
                   amount_residual, amount_residual_currency, reconciled, name)
            SELECT id, %(company)s, %(journal)s, %(account)s, %(currency)s, partner_id, 'posted', 'payment_term',
                   DATE '2023-01-01', DATE '2023-01-31' + (id %% 300), 1000, 1000, 0, 1000, 400, 400, FALSE, 'x'
              FROM move
         RETURNING id
            """,
            company=self.company.id, journal=template.journal_id.id, currency=self.eur.id,
            account=template.account_id.id, customers=customers.ids))]
        execute(SQL(
            """
            INSERT INTO account_partial_reconcile (debit_move_id, credit_move_id, debit_currency_id, credit_currency_id,
                   company_id, amount, debit_amount_currency, credit_amount_currency, max_date)
            SELECT line_id, %(credit)s, %(currency)s, %(currency)s, %(company)s, 300, 300, 300,
                   DATE '2023-03-01' + payment * 150 + (line_id %% 60)
              FROM unnest(%(line_ids)s) AS line_id
             CROSS JOIN generate_series(1, 2) AS payment
         RETURNING id
            """, credit=credit.id, currency=self.eur.id, company=self.company.id, line_ids=line_ids))
        # what autovacuum does once the rows are committed
        self.env.cr.execute(SQL("ANALYZE account_move, account_move_line, account_partial_reconcile"))
        execute(SQL(
            """
            WITH notice AS (
                INSERT INTO account_dunning_notice (name, company_id, partner_id, procedure_id, level_id, date, state)
                SELECT '/', %(company)s, id, %(procedure)s, %(level)s, DATE '2024-05-31', 'draft'
                  FROM unnest(%(customers)s) AS id
             RETURNING id, partner_id
            )
            INSERT INTO account_dunning_notice_line (notice_id, move_line_id, move_id, level_id, date_maturity,
                   currency_id, amount_residual, amount_due, amount_due_company)
            SELECT notice.id, line.id, line.move_id, %(level)s, line.date_maturity, line.currency_id, 400, 400, 400
              FROM notice
              JOIN account_move_line line ON line.partner_id = notice.partner_id
             WHERE line.id = ANY(%(line_ids)s)
         RETURNING id
            """,
            line_ids=line_ids, company=self.company.id, procedure=level.procedure_id.id, level=level.id,
            customers=customers.ids))
        self.env.cr.execute(SQL("ANALYZE account_dunning_notice, account_dunning_notice_line, res_partner"))
        self.env.invalidate_all()
        notices = self.env['account.dunning.notice'].search([('partner_id', 'in', customers.ids)])
        self.assertEqual(len(notices), 2000)

        start = time.perf_counter()
        claims = notices._get_charge_claims(date(2024, 5, 31))
        claim_seconds = time.perf_counter() - start
        query = self.env['account.late.charge.rule']._get_interest_query(claims)
        (periods, total), = execute(SQL("SELECT COUNT(*), SUM(amount) FROM (%s) AS interest", query))
        interest_seconds = time.perf_counter() - start
        self.assertGreater(periods, 60000)
        self.assertGreater(total, 0)

        start = time.perf_counter()
        notices._prepare_charges(date(2024, 5, 31))
        all_seconds = time.perf_counter() - start

        Charge = self.env['account.late.charge']
        self.assertEqual(
            len(Charge._read_group([('notice_id', 'in', notices.ids), ('kind', '=', 'interest')], ['move_line_id'])),
            20000)
        self.assertEqual(
            Charge.search_count([('notice_id', 'in', notices.ids), ('kind', '=', 'compensation')]), 20000)
        rows = Charge.search_count([('notice_id', 'in', notices.ids)])
        _logger.info(
            "20,000 lines: read in %.2f s, with their interest %.2f s; proposed with compensation in %.2f s, %s rows",
            claim_seconds, interest_seconds, all_seconds, rows)
