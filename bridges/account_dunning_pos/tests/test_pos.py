from datetime import timedelta

from odoo import Command, fields
from odoo.exceptions import UserError
from odoo.tests import new_test_user, tagged

from odoo.addons.point_of_sale.tests.common import TestPoSCommon


@tagged('post_install', '-at_install')
class TestTill(TestPoSCommon):
    """A cashier, and a customer who may owe 100."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.company.write({'account_use_credit_limit': True, 'credit_control_policy': 'block'})
        cls.config = cls.basic_config
        cls.debtor = cls.env['res.partner'].create({'name': "Debtor", 'is_company': True, 'credit_limit': 100.0})
        cls.contact = cls.env['res.partner'].create({'name': "Contact", 'parent_id': cls.debtor.id})
        cls.article = cls.create_product("Article", cls.categ_basic, 60.0, 0.0)
        cls.cashier = new_test_user(
            cls.env, login='cashier', company_id=cls.company.id,
            # Odoo itself lets nobody settle quotations who may not confirm them.
            groups='base.group_user,point_of_sale.group_pos_user,sales_team.group_sale_salesman_all_leads',
            company_ids=[Command.set(cls.company.ids)])
        cls.manager = new_test_user(
            cls.env, login='credit manager', groups='base.group_user,account_dunning.group_credit_manager',
            company_id=cls.company.id, company_ids=[Command.set(cls.company.ids)])
        cls.env.user.group_ids |= cls.env.ref('sales_team.group_sale_manager')
        cls.order = cls.env['sale.order'].create({
            'partner_id': cls.debtor.id,
            'order_line': [Command.create({
                'product_id': cls.article.id, 'product_uom_qty': 3, 'price_unit': 60.0, 'tax_ids': False})],
        })

    def setUp(self):
        super().setUp()
        self.open_new_session()

    def _sell(self, quantity, method, customer=None, settles=None, invoice=False, minutes_ago=0):
        """As the till sends it.

        :param sale.order.line settles: what the order settles
        :return: the pos.order
        """
        line = {'product': self.article, 'quantity': quantity}
        if settles:
            line.update(sale_order_origin_id=settles.order_id.id, sale_order_line_id=settles.id)
        data = self.create_ui_order_data(
            [line], customer=customer or self.debtor, payments=[(method, 60.0 * quantity)], is_invoiced=invoice,
            pos_order_ui_args={})
        data['date_order'] = fields.Datetime.to_string(fields.Datetime.now() - timedelta(minutes=minutes_ago))
        result = self.env['pos.order'].with_user(self.cashier).sync_from_ui([data])
        return self.env['pos.order'].browse(result['pos.order'][0]['id'])

    def _exposure(self):
        self.env.flush_all()
        date = self.company._get_dunning_today()
        return self.env['account.credit.exposure'].sudo()._get_amounts(
            {self.company: self.debtor}, date)[self.debtor.id, self.company.id].total

    def test_sold_on_account_counts_until_the_till_is_closed_and_after(self):
        self._sell(1, self.pay_later_pm, customer=self.contact)
        self.assertEqual(self._exposure(), 60.0)
        self._sell(1, self.cash_pm1)
        self.assertEqual(self._exposure(), 60.0, "paid in cash")
        total = self.pos_session.order_ids.payment_ids.filtered(
            lambda payment: payment.payment_method_id == self.cash_pm1)
        self.pos_session.post_closing_cash_details(sum(total.mapped('amount')))
        self.pos_session.close_session_from_ui()
        self.assertEqual(self.pos_session.state, 'closed')
        self.assertEqual(self._exposure(), 60.0, "in the ledger now, and counted once")

    def test_order_with_an_invoice_counts_once(self):
        self._sell(1, self.pay_later_pm, invoice=True)
        self.assertEqual(self._exposure(), 60.0)

    def test_returned_goods_are_taken_off(self):
        self._sell(1, self.pay_later_pm)
        self._sell(-1, self.pay_later_pm)
        self.assertEqual(self._exposure(), 0.0)

    def test_sale_on_account_past_the_limit_is_refused(self):
        with self.assertRaisesRegex(UserError, "Debtor can't buy on account now"), self.env.cr.savepoint():
            self._sell(2, self.pay_later_pm)
        self._sell(1, self.pay_later_pm)
        with self.assertRaisesRegex(UserError, "can't buy on account"), self.env.cr.savepoint():
            self._sell(1, self.pay_later_pm, customer=self.contact)
        self._sell(1, self.cash_pm1)
        self.company.credit_control_policy = 'warn'
        self._sell(1, self.pay_later_pm)

    def test_customer_on_hold_pays_in_cash_only(self):
        self.debtor.credit_hold = True
        with self.assertRaisesRegex(UserError, "can't buy on account"), self.env.cr.savepoint():
            self._sell(1, self.pay_later_pm)
        self._sell(1, self.cash_pm1)

    def test_what_was_sold_without_connection_is_never_lost(self):
        order = self._sell(2, self.pay_later_pm, minutes_ago=60)
        self.assertEqual(order.state, 'paid')
        told = self.debtor.activity_ids.filtered(lambda activity: activity.user_id == self.manager)
        self.assertIn("past the limit", told.summary)

    def test_quotation_over_the_limit_is_settled_in_cash(self):
        self.assertTrue(self.order.credit_needs_release)
        self._sell(3, self.cash_pm1, settles=self.order.order_line)
        self.assertEqual((self.order.state, self.order.credit_state), ('sale', 'ok'))
        self.assertEqual(self._exposure(), 0.0)

    def test_quotation_within_the_limit_is_settled_on_account_and_counts_once(self):
        self.order.order_line.product_uom_qty = 1
        self._sell(1, self.pay_later_pm, settles=self.order.order_line)
        self.assertEqual(self.order.state, 'sale')
        self.assertEqual(self._exposure(), 60.0)

    def test_quotation_settled_in_part_waits_and_the_till_goes_on(self):
        order = self._sell(1, self.cash_pm1, settles=self.order.order_line)
        self.assertEqual(order.state, 'paid')
        self.assertEqual((self.order.state, self.order.credit_state), ('draft', 'hold'))

    def test_breakdown_names_the_till(self):
        self._sell(1, self.pay_later_pm)
        action = self.env['account.credit.exposure']._open(self.debtor, self.company)
        exposure = self.env['account.credit.exposure'].browse(action['res_id'])
        self.assertEqual((exposure.amount_till, exposure.amount_total), (60.0, 60.0))
        self.assertIn('amount_till', exposure.get_view(view_type='form')['arch'])
