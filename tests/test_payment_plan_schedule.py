from datetime import date

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from odoo.exceptions import UserError
from odoo.tests import freeze_time, tagged

from .test_payment_plan import PaymentPlanCommon

RELAXED = settings(
    max_examples=200, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.differing_executors])
FEW = settings(RELAXED, max_examples=30)


@tagged('post_install', '-at_install')
@freeze_time('2024-03-01')
class TestPaymentPlanSchedule(PaymentPlanCommon):
    """What holds for any schedule, and for any order of payments."""

    @classmethod
    def default_env_context(cls):
        # OVERRIDE: thirty examples without tracking; what is said in the chatter is not asked here
        return {'tracking_disable': True, 'no_reset_password': True, 'mail_create_nosubscribe': True}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.currencies = [cls._currency(decimals) for decimals in (0, 2, 3)]

    @classmethod
    def _currency(cls, decimals):
        return cls.env['res.currency'].sudo().create({
            'name': f'T{decimals}X', 'symbol': 'T', 'rounding': 10 ** -decimals})

    def _assert_adds_up(self, schedule, amount, currency):
        units = [round(line['amount'] / currency.rounding) for line in schedule]
        self.assertEqual(sum(units), round(amount / currency.rounding), "to the cent")
        self.assertTrue(all(unit > 0 for unit in units), schedule)
        dates = [line['date'] for line in schedule]
        self.assertTrue(all(earlier < later for earlier, later in zip(dates, dates[1:], strict=False)), dates)
        for line in schedule:
            self.assertEqual(line['amount'], currency.round(line['amount']))

    @RELAXED
    @given(
        units=st.integers(min_value=1, max_value=10 ** 10),
        currency_index=st.integers(0, 2),
        number=st.integers(1, 60),
        rhythm=st.sampled_from(['week', 'month', 'quarter', 'free']),
        end_of_month=st.booleans(),
        down_share=st.sampled_from([0.0, 0.0, 0.1, 0.333, 0.9]),
        tax_share=st.sampled_from([0.0, 0.0, 0.1667, 0.5]),
        first=st.dates(date(2024, 1, 2), date(2028, 3, 1)),
    )
    def test_any_number_of_installments_adds_up(
        self, units, currency_index, number, rhythm, end_of_month, down_share, tax_share, first,
    ):
        currency = self.currencies[currency_index]
        amount = currency.round(units * currency.rounding)
        try:
            schedule = self.env['account.payment.plan']._prepare_schedule(
                amount, currency, first, number=number, rhythm=rhythm, end_of_month=end_of_month,
                down_payment=amount * down_share, date_down_payment=date(2024, 1, 1), tax_amount=amount * tax_share)
        except UserError:
            # Refused only where there are not enough cents for so many installments
            self.assertLess(units, 20 * (number + 2))
            return
        self._assert_adds_up(schedule, amount, currency)
        self.assertLessEqual(len(schedule), number + 1)

    @RELAXED
    @given(
        units=st.integers(min_value=1, max_value=10 ** 8),
        each=st.integers(min_value=1, max_value=10 ** 8),
        currency_index=st.integers(0, 2),
        rhythm=st.sampled_from(['week', 'month', 'quarter']),
    )
    def test_any_amount_of_installments_adds_up(self, units, each, currency_index, rhythm):
        assume(units / each <= 240)
        currency = self.currencies[currency_index]
        amount = currency.round(units * currency.rounding)
        share = currency.round(each * currency.rounding)
        schedule = self.env['account.payment.plan']._prepare_schedule(
            amount, currency, date(2024, 1, 31), installment_amount=share, rhythm=rhythm)
        self._assert_adds_up(schedule, amount, currency)
        self.assertEqual(len(schedule), -(-units // each))
        for line in schedule[:-1]:
            self.assertEqual(line['amount'], share)

    def test_month_ends_stay_month_ends(self):
        dates = self.env['account.payment.plan']._get_schedule_dates(date(2024, 1, 31), 4, 'month')
        self.assertEqual(dates, [date(2024, 1, 31), date(2024, 2, 29), date(2024, 3, 31), date(2024, 4, 30)])
        dates = self.env['account.payment.plan']._get_schedule_dates(date(2024, 2, 29), 3, 'month', end_of_month=True)
        self.assertEqual(dates, [date(2024, 2, 29), date(2024, 3, 31), date(2024, 4, 30)])

    def test_too_many_installments_are_refused(self):
        with self.assertRaisesRegex(UserError, "at most 240"):
            self.env['account.payment.plan']._prepare_schedule(
                1000.0, self.currencies[1], date(2024, 1, 1), installment_amount=0.01)
        with self.assertRaisesRegex(UserError, "too little"):
            self.env['account.payment.plan']._prepare_schedule(
                0.05, self.currencies[1], date(2024, 1, 1), number=10)

    @FEW
    @given(
        amounts=st.lists(st.integers(100, 100000), min_size=1, max_size=3),
        number=st.integers(1, 6),
        steps=st.lists(
            st.tuples(
                st.sampled_from(['pay', 'pay', 'credit', 'pay several', 'credit several', 'undo']),
                st.integers(1, 120000), st.integers(0, 2)),
            min_size=1, max_size=5),
    )
    def test_installments_are_filled_with_what_the_lines_lost(self, amounts, number, steps):
        """Payments and credit notes over one line or over all of them at once, matches undone, in any order."""
        with self.env.cr.savepoint() as savepoint:
            lines = self.env['account.move.line'].union(*(
                self._create_due_invoice('2024-02-01', cents / 100, partner=self.partner_b) for cents in amounts))
            plan = self._plan(lines, number=number)
            for kind, cents, index in steps:
                line = lines[index % len(lines)]
                if kind == 'undo':
                    line.remove_move_reconcile()
                else:
                    self._lower(lines if 'several' in kind else line, kind, cents / 100)
                self._assert_filled(plan, lines)
            savepoint.rollback()
        self.env.invalidate_all()

    def _lower(self, lines, kind, amount):
        """A payment or credit note, matched with the open ones of the lines."""
        lines = lines.filtered(lambda line: not line.reconciled)
        amount = min(amount, self.company.currency_id.round(sum(lines.mapped('amount_residual'))))
        if not lines:
            return
        if kind.startswith('pay'):
            credit = self._create_unmatched_payment('2024-03-02', amount, self.partner_b)
        else:
            credit = self._create_due_invoice('2024-03-02', amount, partner=self.partner_b, move_type='out_refund')
        (lines + credit).reconcile()

    def _assert_filled(self, plan, lines):
        currency = plan.currency_id
        lost = sum(lines.mapped('balance')) - sum(lines.mapped('amount_residual'))
        installments = plan.installment_ids.sorted('date')
        self.assertEqual(currency.compare_amounts(sum(installments.mapped('amount_paid')), lost), 0)
        filled = True
        for installment in installments:
            self.assertLessEqual(installment.amount_paid, installment.amount)
            self.assertTrue(filled or not installment.amount_paid, "oldest first")
            filled = installment.state == 'paid'
        self.assertEqual(plan.state == 'done', all(installments.mapped(lambda i: i.state == 'paid')))
