from datetime import date, timedelta

from odoo.exceptions import ValidationError
from odoo.tests import tagged

from .common_late_charge import LateChargeCommon


@tagged('post_install', '-at_install')
class TestLateChargeVectors(LateChargeCommon):
    """Sums worked by hand. Half-year rates: ECB 2023 2.50 / 4.00, 2024 4.50 / 4.25, 2025 3.15."""

    def _interest(self, rule, move, date_to):
        return self._rule(rule)._compute_interest(self._line(move), date_to)

    #=== UNITED KINGDOM ===#

    def test_united_kingdom_government_example(self):
        """10,000 x 11.75 % x 60 / 365 = 193.15, and 100 of compensation."""
        move = self._invoice(10000, '2026-02-01', currency=self.gbp)
        rule = self._rule('uk_company')
        self.assertEqual(rule._compute_interest(self._line(move), date(2026, 4, 2)), 193.15)
        self.assertEqual(rule._compute_compensation(move), 100.0)

    def test_united_kingdom_keeps_the_rate_of_the_first_day(self):
        """Late since 2 June 2023 (3.5 + 8): 214 days at 11.5 %, although the rate rose to 13 % in July."""
        move = self._invoice(10000, '2023-06-01', currency=self.gbp)
        self.assertEqual(self._interest('uk_company', move, date(2024, 1, 1)), 674.25)

    def test_united_kingdom_tiers(self):
        rule = self._rule('uk_company')
        self.assertEqual(
            [rule._get_compensation(amount) for amount in (999.99, 1000, 9999.99, 10000)], [40, 70, 70, 100])

    #=== EUROPEAN UNION ===#

    def test_three_half_years_and_two_partial_payments(self):
        """12,000 due 15 May 2023; 4,000 paid 10 Aug 2023, 3,000 on 1 Feb 2024; until 31 March 2024:

        12,000 x 10.5 % x 46 = 158.7945    16 May - 30 Jun
        12,000 x 12.0 % x 40 = 157.8082     1 Jul -  9 Aug
         8,000 x 12.0 % x 144 = 378.7397   10 Aug - 31 Dec
         8,000 x 12.5 % x 31 =  84.9315     1 Jan - 31 Jan
         5,000 x 12.5 % x 60 = 102.7397     1 Feb - 31 Mar
        """
        move = self._invoice(12000, '2023-05-15', currency=self.eur)
        self._pay(move, 4000, '2023-08-10')
        self._pay(move, 3000, '2024-02-01')
        rule = self._rule('eu_company')
        rows = rule._get_interest_rows(self._line(move), date(2024, 3, 31))
        self.assertEqual(
            [(row['date_from'], row['date_to'], row['days'], row['base'], row['rate']) for row in rows],
            [
                (date(2023, 5, 16), date(2023, 6, 30), 46, 12000, 10.5),
                (date(2023, 7, 1), date(2023, 8, 9), 40, 12000, 12.0),
                (date(2023, 8, 10), date(2023, 12, 31), 144, 8000, 12.0),
                (date(2024, 1, 1), date(2024, 1, 31), 31, 8000, 12.5),
                (date(2024, 2, 1), date(2024, 3, 31), 60, 5000, 12.5),
            ])
        self.assertEqual(
            [round(row['exact'], 4) for row in rows], [158.7945, 157.8082, 378.7397, 84.9315, 102.7397])
        self.assertEqual(rule._compute_interest(self._line(move), date(2024, 3, 31)), 883.01)
        self.assertEqual(rule._compute_compensation(move), 40.0)

    def test_due_on_the_first_day_of_a_half_year(self):
        """Due 1 July 2023: the first day that bears interest is 2 July, at the new rate."""
        move = self._invoice(36500, '2023-07-01', currency=self.eur)
        self.assertEqual(self._interest('eu_company', move, date(2023, 7, 1)), 0.0)
        self.assertEqual(self._interest('eu_company', move, date(2023, 7, 2)), 12.0)

    def test_due_on_the_last_day_of_a_half_year(self):
        """Due 30 June 2023: 1 July is the first day of delay, at the new rate."""
        move = self._invoice(36500, '2023-06-30', currency=self.eur)
        self.assertEqual(self._interest('eu_company', move, date(2023, 7, 1)), 12.0)

    def test_paid_on_the_due_date(self):
        move = self._invoice(1000, '2023-03-31', currency=self.eur)
        self._pay(move, 1000, '2023-03-31')
        self.assertEqual(self._interest('eu_company', move, date(2023, 12, 31)), 0.0)

    def test_paid_in_full_late(self):
        """Paid 11 days late: the ten days before the payment bear interest (36,500 x 10.5 % x 10 / 365)."""
        move = self._invoice(36500, '2023-03-31', currency=self.eur)
        self._pay(move, 36500, '2023-04-11')
        self.assertEqual(self._interest('eu_company', move, date(2023, 12, 31)), 105.0)

    def test_what_a_credit_note_takes_back_bears_no_interest_at_all(self):
        move = self._invoice(36500, '2023-03-31', currency=self.eur)
        credit_note = self._reverse_invoice(move, date='2023-04-11', reason="Goods came back", post=False)
        credit_note.invoice_line_ids.price_unit = 16500
        credit_note.action_post()
        lines = self._line(move) + self._line(credit_note)
        lines.filtered(lambda line: not line.reconciled).reconcile()
        self.assertEqual(move.amount_residual, 20000)
        # 20,000 x 10.5 % x 20 / 365
        self.assertEqual(self._interest('eu_company', move, date(2023, 4, 20)), 115.07)

    def test_an_undone_payment_leaves_no_trace(self):
        move = self._invoice(36500, '2023-03-31', currency=self.eur)
        credit = self._pay(move, 30000, '2023-04-11')
        credit.remove_move_reconcile()
        self.assertEqual(self._interest('eu_company', move, date(2023, 4, 20)), 210.0)

    def test_each_installment_counts_from_its_own_date(self):
        terms = self.env['account.payment.term'].create({
            'name': "Half, half",
            'line_ids': [
                (0, 0, {'value': 'percent', 'value_amount': 50, 'nb_days': 0}),
                (0, 0, {'value': 'percent', 'value_amount': 50, 'nb_days': 30}),
            ],
        })
        move = self._create_invoice(
            invoice_line_ids=[self._prepare_invoice_line(price_unit=73000, product_id=self.product_a, tax_ids=[])],
            partner_id=self.customer, currency_id=self.eur, invoice_date='2023-03-01',
            invoice_payment_term_id=terms, post=True)
        rule = self._rule('eu_company')
        # 36,500 x 10.5 % x 40 / 365 for the first, 10 days for the second
        amounts = [rule._compute_interest(line, date(2023, 4, 10)) for line in self._line(move)]
        self.assertEqual(sorted(amounts), [105.0, 420.0])

    #=== FRANCE ===#

    def test_france_default_rate_and_compensation(self):
        """ECB + 10: 14 % in the second half of 2023, above the floor of 3 x 4.22."""
        move = self._invoice(36500, '2023-07-31', currency=self.eur)
        self.assertEqual(self._interest('fr_company', move, date(2023, 8, 10)), 140.0)
        self.assertEqual(self._rule('fr_company')._compute_compensation(move), 40.0)

    def test_france_floor(self):
        """Terms that name the ECB rate alone are lifted to three times the legal rate: 3 x 4.22 = 12.66 %."""
        rule = self._rule('fr_company').copy({'margin': 0.0, 'floor_series': 'FR-LEGAL', 'floor_factor': 3.0})
        move = self._invoice(36500, '2023-07-31', currency=self.eur)
        self.assertEqual(rule._compute_interest(self._line(move), date(2023, 8, 10)), 126.6)

    #=== GERMANY ===#

    def test_germany_company_and_consumer(self):
        self._rule('de_person').sudo().free_reminder = False  # the invoices carry the notice of § 286(3)
        """Base rate 1.62 + 9 and + 5 in the first half of 2023."""
        move = self._invoice(36500, '2023-03-31', currency=self.eur)
        self.assertEqual(self._interest('de_company', move, date(2023, 4, 10)), 106.2)
        self.assertEqual(self._interest('de_person', move, date(2023, 4, 10)), 66.2)
        self.assertEqual(self._rule('de_company')._compute_compensation(move), 40.0)
        self.assertEqual(self._rule('de_person')._compute_compensation(move), 0.0)

    def test_negative_base_rate(self):
        """-0.88 + 9 = 8.12 %."""
        move = self._invoice(36500, '2021-03-31', currency=self.eur)
        self.assertEqual(self._interest('de_company', move, date(2021, 4, 10)), 81.2)

    #=== LEAP YEAR ===#

    def test_leap_year(self):
        """Over the turn of a leap year: 365 days until 31 December 2023, 366 from 1 January 2024.

        10,000 x 12.12 % x 15 / 365 + 10,000 x 12.62 % x 60 / 366 = 49.8082 + 206.8852
        """
        move = self._invoice(10000, '2023-12-16', currency=self.eur)
        self.assertEqual(self._interest('de_company', move, date(2024, 2, 29)), 256.69)

    def test_leap_year_with_365_days(self):
        """36,500 x 12.5 % x 29 / 365, 29 February included."""
        move = self._invoice(36500, '2024-01-31', currency=self.eur)
        self.assertEqual(self._interest('eu_company', move, date(2024, 2, 29)), 362.5)

    def test_360_days(self):
        rule = self._rule('eu_company').copy({'day_count': 'actual_360'})
        move = self._invoice(36000, '2024-01-31', currency=self.eur)
        self.assertEqual(rule._compute_interest(self._line(move), date(2024, 2, 10)), 125.0)

    #=== BELGIUM ===#

    def test_belgium_rounds_the_rate_up_to_the_half_point(self):
        """12.25 -> 12.5; 12.5 stays; 11.15 -> 11.5; 10.15 -> 10.5."""
        rates = {first: rate for first, _last, rate, _source in self._rule('be_company')._get_rate_periods()[
            self._rule('be_company')]}
        self.assertEqual(
            [rates[day] for day in (date(2024, 7, 1), date(2024, 1, 1), date(2025, 1, 1), date(2025, 7, 1))],
            [12.5, 12.5, 11.5, 10.5])

    def test_belgian_consumer_compensation(self):
        rule = self._rule('be_person')
        self.assertEqual(
            [rule._get_compensation(amount) for amount in (150, 150.01, 215, 500, 500.01, 1000, 100000)],
            [20, 30, 36.5, 65, 65, 90, 2000])

    def test_belgian_waiting_time_by_post(self):
        """Posted on Monday 18 September 2023: begins on Thursday 21, charges from Thursday 5 October."""
        rule = self._rule('be_person')
        self.assertEqual(rule._get_first_chargeable_day(date(2023, 9, 18), False), date(2023, 10, 5))

    def test_belgian_waiting_time_by_email(self):
        """Sent on 18 September 2023: begins on the 19th, charges from 3 October."""
        rule = self._rule('be_person')
        self.assertEqual(rule._get_first_chargeable_day(date(2023, 9, 18), True), date(2023, 10, 3))

    def test_belgian_waiting_time_over_weekend_and_holiday(self):
        """Posted on Friday 29 March 2024; Easter Monday does not count: Tuesday, Wednesday, Thursday 4 April."""
        rule = self._rule('be_person')
        self.assertEqual(rule._get_first_chargeable_day(date(2024, 3, 29), False), date(2024, 4, 18))

    def test_belgian_consumer_pays_nothing_without_reminder(self):
        move = self._invoice(215, '2024-01-31', partner=self.consumer, currency=self.eur)
        self.assertEqual(self._interest('be_person', move, date(2024, 12, 31)), 0.0)

    #=== LUXEMBOURG, NETHERLANDS, SPAIN, ITALY ===#

    def test_luxembourg_consumer_after_three_months(self):
        """Due 31 January 2024, 92 free days: 3 May is the first day; 36,600 x 4.5 % x 10 / 366."""
        move = self._invoice(36600, '2024-01-31', currency=self.eur)
        self.assertEqual(self._interest('lu_person', move, date(2024, 5, 2)), 0.0)
        self.assertEqual(self._interest('lu_person', move, date(2024, 5, 12)), 45.0)

    def test_netherlands_collection_costs(self):
        rule = self._rule('nl_person')
        self.assertEqual(
            [rule._get_compensation(amount) for amount in (100, 2500, 5000, 10000, 200000, 5000000)],
            [40, 375, 625, 875, 2775, 6775])

    def test_eight_points_over_the_ecb_rate(self):
        for name in ('es_company', 'it_company'):
            with self.subTest(name):
                move = self._invoice(36500, '2025-07-31', currency=self.eur)
                self.assertEqual(self._interest(name, move, date(2025, 8, 10)), 101.5)

    #=== RATES ===#

    def test_interest_stops_where_a_rate_is_missing(self):
        rule = self._rule('eu_company').copy({'series': 'BOE', 'margin': 8})
        rates = self.env['account.reference.rate'].sudo()
        rates.search([('series', '=', 'BOE'), ('date', '>=', '2024-01-01')]).unlink()
        move = self._invoice(36500, '2023-12-21', currency=self.eur)
        line = self._line(move)
        self.assertEqual(rule._compute_interest(line, date(2024, 3, 31)), 130.0, "13 % for ten days of 2023")
        self.assertIn("missing", rule._get_rate_warning(date(2024, 3, 31)))
        rate = rates.create({
            'series': 'BOE', 'date': '2024-01-01', 'value': 2.0, 'source': "A test", 'verified': False,
        })
        self.assertEqual(rule._compute_interest(line, date(2024, 1, 10)), 130.0, "not checked, not used")
        rate.action_verify()
        self.assertEqual(rule._compute_interest(line, date(2024, 1, 10)), 230.0)
        self.assertFalse(rule._get_rate_warning(date(2024, 3, 31)))

    def test_a_value_between_half_years_is_not_used(self):
        self.env['account.reference.rate'].sudo().create(
            {'series': 'ECB', 'date': '2024-06-12', 'value': 99.0, 'source': "A test"})
        move = self._invoice(36500, '2024-06-20', currency=self.eur)
        self.assertEqual(self._interest('eu_company', move, date(2024, 6, 30)), 125.0)

    def test_each_new_value_counts_when_the_rule_says_so(self):
        self.env['account.reference.rate'].sudo().create([
            {'series': 'MINE', 'date': '2024-01-01', 'value': 1.0, 'source': "A test"},
            {'series': 'MINE', 'date': '2024-02-06', 'value': 2.0, 'source': "A test"},
        ])
        rule = self._rule('eu_company').copy({'series': 'MINE', 'margin': 0, 'rate_validity': 'open'})
        move = self._invoice(36500, '2024-01-31', currency=self.eur)
        # five days at 1 %, five at 2 %
        self.assertEqual(rule._compute_interest(self._line(move), date(2024, 2, 10)), 15.0)

    def test_fixed_rate_cap_and_lowest_rate(self):
        fixed = self._rule('eu_company').copy({'series': False, 'margin': 12})
        move = self._invoice(36500, '2030-01-31', currency=self.eur)
        line = self._line(move)
        self.assertEqual(fixed._compute_interest(line, date(2030, 2, 10)), 120.0)
        fixed.cap_rate = 10
        self.assertEqual(fixed._compute_interest(line, date(2030, 2, 10)), 100.0)
        fixed.write({'cap_rate': 0, 'floor_rate': 15})
        self.assertEqual(fixed._compute_interest(line, date(2030, 2, 10)), 150.0)
        with self.assertRaisesRegex(ValidationError, "highest rate is below"):
            fixed.cap_rate = 14

    def test_shipped_rates_name_their_source(self):
        rates = self.env['account.reference.rate'].search([])
        self.assertFalse(rates.filtered(lambda rate: not rate.source))
        doubtful = rates.filtered(lambda rate: not rate.verified)
        self.assertEqual(
            sorted(doubtful.mapped(lambda rate: (rate.series, str(rate.date)))),
            [('BUNDESBANK', '2026-07-01'), ('ECB', '2026-07-01')])
        self.assertTrue(all('NOT VERIFIED' in rate.note for rate in doubtful))

    def test_shipped_rules_explain_themselves(self):
        for rule in self.env['account.late.charge.rule'].search([]):
            with self.subTest(rule.name):
                self.assertTrue(rule.explanation)
                self.assertTrue(rule.legal_basis)
                self.assertTrue(rule.source)
                self.assertTrue(rule.note)

    #=== CURRENCIES ===#

    def test_currency_without_decimals(self):
        """100,000 x 12.5 % x 10 / 365 = 342.47 -> 342."""
        jpy = self.setup_currency('JPY')
        move = self._invoice(100000, '2024-01-31', currency=jpy)
        self.assertEqual(self._interest('eu_company', move, date(2024, 2, 10)), 342.0)

    def test_currency_with_three_decimals(self):
        """1,000 x 12.5 % x 10 / 365 = 3.42466 -> 3.425."""
        tnd = self.setup_currency('TND')
        self.assertEqual(tnd.rounding, 0.001)
        move = self._invoice(1000, '2024-01-31', currency=tnd)
        self.assertEqual(self._interest('eu_company', move, date(2024, 2, 10)), 3.425)

    def test_exchange_differences_change_nothing(self):
        """A bill of 36,500 in a currency that falls between invoice and payment: only its own amounts count."""
        foreign = self.setup_other_currency('CHF', rates=[('2023-01-01', 2.0), ('2023-04-01', 4.0)])
        move = self._invoice(36500, '2023-03-31', currency=foreign, date='2023-03-01')
        self._pay(move, 20000, '2023-04-11', currency=foreign)
        self.assertTrue(self._line(move).matched_credit_ids.exchange_move_id, "a part of the difference is booked")
        # 36,500 x 10.5 % x 10 / 365 + 16,500 x 10.5 % x 10 / 365
        self.assertEqual(self._interest('eu_company', move, date(2023, 4, 20)), 152.47)

    def test_paid_in_another_currency(self):
        foreign = self.setup_other_currency('CHF', rates=[('2023-01-01', 2.0)])
        move = self._invoice(36500, '2023-03-31')
        self._pay(move, 40000, '2023-04-11', currency=foreign)
        self.assertEqual(move.amount_residual, 16500)
        self.assertEqual(self._interest('eu_company', move, date(2023, 4, 20)), 152.47)

    def test_compensation_in_another_currency(self):
        """A bill of 2,000 in a currency of which two make one euro: 1,000 euro, 90 euro, 180."""
        foreign = self.setup_other_currency('CHF', rates=[('2023-01-01', 2.0)])
        move = self._invoice(2000, '2023-03-31', currency=foreign, partner=self.consumer)
        self.assertEqual(self._rule('be_person')._compute_compensation(move, date(2023, 5, 1)), 180.0)

    #=== WHICH RULE ===#

    def test_rule_of_the_country_of_the_seller_between_companies(self):
        Rule = self.env['account.late.charge.rule']
        self._rule('eu_company').sudo().is_checked = True
        german = self._create_customer("GmbH", True, country='de')
        for country, expected in (('fr', 'fr_company'), ('pt', 'eu_company'), ('uk', 'uk_company')):
            self.company.account_fiscal_country_id = self.env.ref(f'base.{country}')
            self.assertEqual(Rule._find_rules(self.company, german)[german], self._rule(expected))
        self.company.account_fiscal_country_id = self.env.ref('base.us')
        self.assertFalse(Rule._find_rules(self.company, german)[german])

    def test_rule_of_the_country_of_a_consumer(self):
        Rule = self.env['account.late.charge.rule']
        german = self._create_customer("Frau Spät", False, country='de')
        french = self._create_customer("M. Tard", False, country='fr')
        self.company.account_fiscal_country_id = self.env.ref('base.be')
        found = Rule._find_rules(self.company, german + self.consumer + french)
        self.assertEqual(found[german], self._rule('de_person'))
        self.assertEqual(found[self.consumer], self._rule('be_person'))
        self.assertFalse(found[french], "no rule for consumers there: nothing is charged")

    def test_agreed_rule_and_contacts_of_a_company(self):
        contact = self.env['res.partner'].create({'name': "Accounts", 'parent_id': self.customer.id})
        self._set_rule(self.customer, self._rule('nl_company'))
        found = self.env['account.late.charge.rule']._find_rules(self.company, contact)
        self.assertEqual(found[contact], self._rule('nl_company'))

    def test_country_or_group_not_both(self):
        with self.assertRaisesRegex(ValidationError, "not both"):
            self._rule('fr_company').sudo().country_group_id = self.env.ref('base.europe')

    def test_interest_of_a_customer_without_rule_given(self):
        self.company.account_fiscal_country_id = self.env.ref('base.be')
        move = self._invoice(36500, '2024-07-31', currency=self.eur)
        empty = self.env['account.late.charge.rule']
        self.assertEqual(empty._compute_interest(self._line(move), date(2024, 8, 10)), 125.0)
        self.assertEqual(empty._compute_compensation(move), 40.0)

    def test_working_days_of_other_countries_know_no_belgian_holidays(self):
        rule = self._rule('nl_person')
        self.assertEqual(
            rule._get_first_chargeable_day(date(2024, 3, 29), False), date(2024, 4, 3) + timedelta(days=14))
