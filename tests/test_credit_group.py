from odoo import Command
from odoo.exceptions import AccessError, UserError, ValidationError
from odoo.tests import Form, freeze_time, new_test_user, tagged

from .credit_common import CreditCommon


@tagged('post_install', '-at_install')
@freeze_time('2024-06-10')
class TestCreditGroup(CreditCommon):
    """Customers that share one limit."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.sister = cls.env['res.partner'].create({'name': "Miller South", 'is_company': True})
        cls.stranger = cls.env['res.partner'].create({'name': "Stranger", 'is_company': True})
        cls.group = cls.env['account.credit.group'].create({
            'name': "Miller group", 'amount': 100, 'partner_ids': [Command.set((cls.customer | cls.sister).ids)]})

    def test_what_all_of_them_owe_counts(self):
        self._invoice(30, partner=self.sister)
        self._order(20, partner=self.contact, confirm=True)
        for partner in (self.customer, self.sister, self.contact):
            for amount, needs_release in ((50, False), (50.01, True)):
                with self.subTest(partner=partner.name, amount=amount):
                    self.assertEqual(self._order(amount, partner=partner).credit_needs_release, needs_release)
        self.assertEqual(self._exposure(), 20)
        self.assertEqual(self._exposure(self.sister), 30)
        self.assertEqual(self.group.amount_compared, 50)

    def test_a_limit_of_its_own_does_not_count_meanwhile(self):
        self.customer.write({
            'credit_limit': 10, 'credit_limit_extra': 500, 'credit_limit_extra_until': '2024-12-31'})
        self.assertFalse(self._order(100).credit_needs_release)
        self.assertTrue(self._order(101).credit_needs_release)
        self.group.partner_ids -= self.customer
        self.assertFalse(self._order(510).credit_needs_release)
        self.assertTrue(self._order(511).credit_needs_release)

    def test_the_sentence(self):
        self._invoice(30, partner=self.sister)
        order = self._order(80)
        self.assertEqual(order.credit_reason, (
            "Miller Ltd has reached the credit limit that it shares with others (Miller group): $\xa0100.00\n"
            "Total amount due (including this document): $\xa080.00\n"
            "The others that share the limit owe $\xa030.00: $\xa0110.00 in all"))
        self.assertEqual((order.credit_exposure, order.credit_limit, order.credit_excess), (80, 100, 10))
        invoice = self._invoice(80, post=False)
        self.assertEqual(invoice.partner_credit_warning, order.credit_reason)

    def test_hold_and_policy_stay_those_of_each_customer(self):
        self.customer.credit_hold = True
        self.assertTrue(self._order(1).credit_needs_release)
        self.assertFalse(self._order(1, partner=self.sister).credit_needs_release)
        self.sister.credit_control_policy = 'warn'
        order = self._order(101, partner=self.sister)
        order.action_confirm()
        self.assertEqual(order.credit_state, 'warning')

    def test_two_of_a_group_in_one_batch(self):
        orders = self._order(60) + self._order(60, partner=self.sister)
        with self.assertRaisesRegex(UserError, "shares with others"):
            orders.action_confirm()
        self.assertEqual(set(orders.mapped('state')), {'draft'})
        orders[1].order_line.price_unit = 40
        orders.action_confirm()
        self.assertEqual(set(orders.mapped('state')), {'sale'})

    def test_an_order_of_one_that_the_other_pays_counts_once(self):
        orders = (
            self._order(50, partner_invoice_id=self.sister.id) + self._order(50, partner_invoice_id=self.sister.id))
        orders.action_confirm()
        self.assertEqual(self.group.amount_compared, 100)
        self.assertTrue(self._order(0.01).credit_needs_release)

    def test_the_own_risk_of_each_is_added_up(self):
        self.company.credit_cover_counts = True
        self.env['account.credit.cover'].create({
            'partner_id': self.sister.id, 'amount': 500, 'date_from': '2024-01-01'})
        self._invoice(300, partner=self.sister)
        self.assertFalse(self._order(100).credit_needs_release, "cover of one does not cover what another owes")
        self.assertTrue(self._order(100.01).credit_needs_release)
        self._invoice(210, partner=self.sister)
        self.assertFalse(self._order(90).credit_needs_release)
        self.assertTrue(self._order(90.01).credit_needs_release)

    def test_money_of_one_frees_the_orders_of_another(self):
        self.company.credit_auto_release = True
        invoice = self._invoice(100, partner=self.sister)
        order = self._order(50)
        order.action_request_release()
        other = self._order(60, partner=self.sister)
        other.action_request_release()
        self._register_payment(invoice)
        self.assertEqual((order + other).mapped('credit_state'), ['ok', 'hold'], "no more than it covers")
        self.env['sale.order']._recheck_held_orders(self.sister)
        self.assertEqual(other.credit_state, 'hold', "what was freed for another one of the group counts")

    def test_limit_in_another_currency_and_without_a_rate(self):
        euro = self.setup_other_currency('EUR', rates=[('2024-06-10', 4.0)])
        self.group.write({'amount': 400, 'currency_id': euro.id})
        self.assertFalse(self._order(100).credit_needs_release)
        self.assertTrue(self._order(100.01).credit_needs_release)
        euro.rate_ids.unlink()
        order = self._order(1)
        self.assertIn("no exchange rate for EUR", order.credit_reason)
        self.assertTrue(order.credit_needs_release)

    def test_an_archived_member_still_owes(self):
        self._invoice(80, partner=self.sister)
        self.sister.active = False
        self.assertTrue(self._order(21).credit_needs_release)
        self.assertEqual(self.group.partner_count, 2)
        with Form(self.group) as form:
            form.amount = 101
        self.assertFalse(self._order(21).credit_needs_release)
        self.assertEqual(self.sister.credit_group_id, self.group)

    def test_a_member_that_becomes_a_contact_has_the_terms_of_its_customer(self):
        self._invoice(80, partner=self.sister)
        self.sister.parent_id = self.stranger
        self.sister.is_company = False
        self.assertFalse(self._order(100).credit_needs_release)
        self.assertFalse(self._order(1000, partner=self.sister).credit_needs_release)

    def test_merging_members_of_one_group(self):
        self._invoice(80, partner=self.sister)
        self.env['base.partner.merge.automatic.wizard'].create({})._merge(
            (self.customer | self.sister).ids, self.customer)
        self.assertEqual(self.customer.credit_group_id, self.group)
        self.assertEqual(self.group.partner_ids, self.customer)
        self.assertFalse(self._order(20).credit_needs_release)
        self.assertTrue(self._order(21).credit_needs_release)

    def test_merging_into_a_customer_outside_needs_somebody_who_may_change_limits(self):
        user = new_test_user(
            self.env, login='merger', groups='base.group_user,base.group_partner_manager', company_id=self.company.id,
            company_ids=[Command.set(self.company.ids)])
        both = self.customer | self.stranger
        both.email = 'same@example.com'
        wizard = self.env['base.partner.merge.automatic.wizard']
        with self.assertRaisesRegex(UserError, "a credit manager can merge them"), self.env.cr.savepoint():
            wizard.with_user(user).create({})._merge(both.ids, self.stranger.with_user(user))
        self.assertTrue(self.customer.exists())
        wizard.create({})._merge(both.ids, self.stranger)
        self.assertEqual(self.stranger.credit_group_id, self.group)

    def test_of_two_groups_the_stricter_one_stays(self):
        other = self.env['account.credit.group'].create({
            'name': "Strict", 'amount': 50, 'partner_ids': [Command.set(self.stranger.ids)]})
        self.env['base.partner.merge.automatic.wizard'].create({})._merge(
            (self.customer | self.stranger).ids, self.customer)
        self.assertEqual(self.customer.credit_group_id, other)
        self.assertEqual(self.group.partner_ids, self.sister)

    def test_a_customer_is_in_one_group(self):
        with self.assertRaisesRegex(ValidationError, "shares the limit of Miller group already"):
            self.env['account.credit.group'].create({
                'name': "Other", 'amount': 1, 'partner_ids': [Command.set(self.customer.ids)]})
        with self.assertRaisesRegex(ValidationError, "is a contact of Miller Ltd"):
            self.group.partner_ids |= self.contact

    def test_groups_are_per_company(self):
        other = self.setup_other_company()['company']
        with self.assertRaisesRegex(ValidationError, "switch to that company"):
            self.stranger.with_company(other).credit_group_id = self.group
        self.assertFalse(self.customer.with_company(other).credit_group_id)
        branch = self.env['res.company'].sudo().create({'name': "Branch", 'parent_id': self.company.id})
        date = self.company._get_dunning_today()
        self.assertEqual(self.customer._get_credit_terms(branch, date)[self.customer].group_id, self.group.id)
        with self.assertRaisesRegex(ValidationError, "main company"):
            self.env['account.credit.group'].create({'name': "Branch", 'amount': 1, 'company_id': branch.id})

    def test_a_group_that_is_deleted_leaves_everybody_their_own_limit(self):
        self.customer.credit_limit = 20
        self.group.unlink()
        self.assertFalse(self._order(20).credit_needs_release)
        self.assertTrue(self._order(21).credit_needs_release)

    def test_rights(self):
        self.salesperson.group_ids += self.env.ref('base.group_partner_manager')
        customer = self.customer.with_user(self.salesperson)
        with self.assertRaises(AccessError):
            customer.write({'credit_group_id': False})
        with self.assertRaises(AccessError):
            self.group.with_user(self.salesperson).read(['amount'])
        # but the sale goes its way
        self._order(100).with_user(self.salesperson).action_confirm()
        order = self._order(0.01).with_user(self.salesperson)
        order.action_request_release()
        self.assertEqual(order.credit_state, 'hold')
        manager_group = self.group.with_user(self.credit_manager)
        with Form(manager_group) as form:
            form.amount = 200
            form.partner_ids.add(self.stranger)
        self.assertEqual(self.stranger.credit_group_id, self.group)
        readonly = new_test_user(
            self.env, login='group_readonly', groups='account.group_account_invoice', company_id=self.company.id,
            company_ids=[Command.set(self.company.ids)])
        self.assertEqual(self.group.with_user(readonly).amount_compared, 100)
        with self.assertRaises(AccessError):
            self.group.with_user(readonly).amount = 300
        with self.assertRaises(AccessError):
            self.customer.with_user(readonly).credit_group_id = False

    def test_a_contact_moved_by_a_salesperson_does_not_leave_the_limit(self):
        self.salesperson.group_ids += self.env.ref('base.group_partner_manager')
        with self.assertRaises(AccessError):
            self.customer.with_user(self.salesperson).write({'parent_id': self.stranger.id, 'is_company': False})

    def test_a_batch_of_a_large_group_costs_no_more_queries_than_one_order(self):
        partners = self.env['res.partner'].create([{'name': str(number)} for number in range(50)])
        self.env['account.credit.group'].create({
            'name': "Large", 'amount': 1e6, 'partner_ids': [Command.set(partners.ids)]})
        orders = self.env['sale.order'].concat(*(self._order(10, partner=partner) for partner in partners))
        counts = []
        for batch in (orders[:1], orders):
            batch.sudo()._decide_credit(lock=True, together=True)
            self.env.flush_all()
            self.env.invalidate_all()
            before = self.env.cr.sql_log_count
            decisions = batch.sudo()._decide_credit(lock=True, together=True)
            counts.append(self.env.cr.sql_log_count - before)
            self.assertEqual({decision.state for decision in decisions.values()}, {'ok'})
        # the first also reads the user's contact and company together with one partner; no query per customer
        self.assertLessEqual(counts[1], counts[0] + 2)
