from odoo.exceptions import AccessError, UserError, ValidationError
from odoo.tests import freeze_time, tagged

from .credit_common import CreditCommon


@tagged('post_install', '-at_install')
@freeze_time('2024-06-10')
class TestCreditLimitCurrency(CreditCommon):
    """A limit that is stated in another currency than the company's."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.euro = cls.setup_other_currency('EUR', rates=[('2024-01-01', 2.0), ('2024-06-10', 4.0)])
        cls.customer.write({'credit_limit_in_currency': 400, 'credit_limit_currency_id': cls.euro.id})

    def test_it_is_compared_at_the_rate_of_the_day(self):
        for amount, needs_release in ((100, False), (100.01, True)):
            with self.subTest(amount=amount):
                self.assertEqual(self._order(amount).credit_needs_release, needs_release)
        with freeze_time('2024-06-09'):
            self.assertFalse(self._order(200).credit_needs_release)
            self.assertTrue(self._order(200.01).credit_needs_release)

    def test_order_and_invoice_say_the_same(self):
        sentence = (
            "Miller Ltd has reached its credit limit of: 400.00\xa0€ ($\xa0100.00 at today's rate)\n"
            "Total amount due (including this document): $\xa0150.00")
        order = self._order(150)
        self.assertEqual(order.partner_credit_warning, sentence)
        self.assertEqual(order.credit_reason, sentence)
        self.assertEqual((order.credit_limit, order.credit_excess), (100, 50))
        invoice = self._invoice(150, post=False)
        self.assertEqual(invoice.partner_credit_warning, sentence)

    def test_it_counts_instead_of_the_limit_in_company_currency(self):
        self.customer.credit_limit = 1000
        self.assertTrue(self._order(101).credit_needs_release)
        self.customer.write({'credit_limit_in_currency': 0, 'credit_limit_currency_id': False})
        self.assertFalse(self._order(101).credit_needs_release)

    def test_the_temporary_extra_is_in_company_currency(self):
        self.customer.write({'credit_limit_extra': 50, 'credit_limit_extra_until': '2024-06-10'})
        self.assertFalse(self._order(150).credit_needs_release)
        self.assertTrue(self._order(150.01).credit_needs_release)

    def test_without_a_rate_nothing_is_guessed(self):
        """Odoo itself would take the rate that was entered later, and 1 if there is none at all."""
        for rates in ([('2024-06-11', 4.0)], []):
            self.euro.rate_ids.unlink()
            for date, rate in rates:
                self.euro.rate_ids.create({'currency_id': self.euro.id, 'name': date, 'rate': rate})
            with self.subTest(rates=rates):
                order = self._order(1)
                self.assertTrue(order.credit_needs_release)
                self.assertEqual(order.credit_reason, (
                    "The credit limit of Miller Ltd is 400.00\xa0€, and there is no exchange rate for EUR: nobody can "
                    "say whether it is reached."))
                with self.assertRaisesRegex(UserError, "no exchange rate for EUR"):
                    order.with_user(self.salesperson).action_confirm()
                self.company.credit_control_policy = 'warn'
                order.invalidate_recordset()
                order.with_user(self.salesperson).action_confirm()
                self.assertEqual(order.credit_state, 'warning')
                self.company.credit_control_policy = 'block'
        self.euro.rate_ids.create({'currency_id': self.euro.id, 'name': '2024-06-10', 'rate': 4.0})
        self.assertFalse(self._order(1).credit_needs_release)

    def test_in_the_companys_own_currency_it_needs_no_rate(self):
        self.customer.write({
            'credit_limit_in_currency': 100, 'credit_limit_currency_id': self.company.currency_id.id})
        self.assertFalse(self._order(100).credit_needs_release)
        order = self._order(101)
        self.assertIn("credit limit of: $\xa0100.00\n", order.credit_reason)

    def test_both_or_none(self):
        for values in (
            {'credit_limit_in_currency': 0}, {'credit_limit_currency_id': False}, {'credit_limit_in_currency': -1},
        ):
            with self.subTest(values=values), self.assertRaises(ValidationError):
                self.customer.write(values)

    def test_a_salesperson_does_not_change_it(self):
        customer = self.customer.with_user(self.salesperson)
        self.salesperson.group_ids += self.env.ref('base.group_partner_manager')
        self.assertEqual(customer.credit_limit_in_currency, 400)
        for values in (
            {'credit_limit_in_currency': 500},
            {'credit_limit_currency_id': self.company.currency_id.id},
            {'credit_limit_in_currency': 0, 'credit_limit_currency_id': False},
        ):
            with self.subTest(values=values), self.assertRaises(AccessError):
                customer.write(values)
        customer.web_save({'credit_limit_in_currency': 400, 'name': "Miller Limited"}, {})

    def test_a_branch_has_the_limit_of_its_main_company(self):
        branch = self.env['res.company'].sudo().create({'name': "Branch", 'parent_id': self.company.id})
        terms = self.customer._get_credit_terms(branch, branch.root_id._get_dunning_today())[self.customer]
        self.assertEqual((terms.limit, terms.stated_amount, terms.stated_currency_id), (100, 400, self.euro.id))

    def test_the_lowest_limit_of_merged_customers_stays(self):
        for own, kept in ((50, (50, False, 0)), (150, (150, self.euro.id, 400))):
            other = self.env['res.partner'].create({'name': "Other", 'credit_limit': own})
            values = (self.customer | other)._get_most_careful_terms()
            with self.subTest(own=own):
                self.assertEqual(
                    (values['credit_limit_currency_id'], values['credit_limit_in_currency']), kept[1:])
                if not kept[1]:
                    self.assertEqual(values['credit_limit'], kept[0])
        self.euro.rate_ids.unlink()
        values = (self.customer | other)._get_most_careful_terms()
        self.assertEqual(values['credit_limit_currency_id'], self.euro.id, "in doubt: the more careful one")

    def test_many_customers_cost_no_more_queries_than_one(self):
        partners = self.env['res.partner'].create([
            {'name': str(number), 'credit_limit_in_currency': 400, 'credit_limit_currency_id': self.euro.id}
            for number in range(50)])
        orders = self.env['sale.order'].concat(*(self._order(10, partner=partner) for partner in partners))
        counts = []
        for batch in (orders[:1], orders):
            batch.mapped('credit_exposure')
            self.env.flush_all()
            self.env.invalidate_all()
            before = self.env.cr.sql_log_count
            batch.mapped('credit_exposure')
            counts.append(self.env.cr.sql_log_count - before)
        self.assertLessEqual(counts[1], counts[0])
