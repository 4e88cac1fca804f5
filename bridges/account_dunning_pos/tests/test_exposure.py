from odoo import Command
from odoo.tests import tagged

from .common import TillCommon


@tagged('post_install', '-at_install')
class TestTillExposure(TillCommon):
    """What is sold on account at a till counts once, from the sale on."""

    def test_sold_on_account_counts_until_the_till_is_closed_and_after(self):
        self._sell(1, self.pay_later_pm, self.contact)
        self.assertEqual(self._exposure(), 60.0)
        self._sell(1, self.cash_pm1)
        self._sell(1, self.bank_pm1)
        self.assertEqual(self._exposure(), 60.0, "paid with money")
        self._close_till()
        self.assertEqual(self._exposure(), 60.0, "in the ledger now, and counted once")

    def test_counts_once_at_every_step_of_the_closing(self):
        self._sell(1, self.pay_later_pm)
        exposures = []
        reconcile = type(self.pos_session)._reconcile_account_move_lines

        def measure(session, data):
            exposures.append(self._exposure())
            return reconcile(session, data)

        self.patch(type(self.pos_session), '_reconcile_account_move_lines', measure)
        self._close_till()
        self.assertEqual(exposures, [60.0])

    def test_order_with_an_invoice_counts_once(self):
        self._sell(1, self.pay_later_pm, to_invoice=True)
        self.assertEqual(self._exposure(), 60.0)
        self._close_till()
        self.assertEqual(self._exposure(), 60.0)

    def test_invoice_made_later_counts_once(self):
        order = self._sell(1, self.pay_later_pm)
        order.sudo(False).with_user(self.env.user).action_pos_order_invoice()
        self.assertEqual(self._exposure(), 60.0)
        self._close_till()
        self.assertEqual(self._exposure(), 60.0)

    def test_returned_and_paid_back_is_taken_off(self):
        self._sell(1, self.pay_later_pm)
        self._sell(-1, self.pay_later_pm)
        self.assertEqual(self._exposure(), 0.0)
        self._sell(1, self.pay_later_pm)
        self._send([], [(self.cash_pm1, 40.0), (self.pay_later_pm, -40.0)])
        self.assertEqual(self._exposure(), 20.0)

    def test_half_in_cash(self):
        self._send([(self.article, 2)], [(self.cash_pm1, 70.0), (self.pay_later_pm, 50.0)])
        self.assertEqual(self._exposure(), 50.0)

    def test_order_that_is_not_paid_yet_does_not_count(self):
        self._sell(1, self.pay_later_pm, state='draft')
        self.assertEqual(self._exposure(), 0.0)

    def test_paid_online_is_paid_with_money(self):
        if 'is_online_payment' not in self.env['pos.payment.method']._fields:
            return
        online = self.env['pos.payment.method'].sudo()._get_or_create_online_payment_method(
            self.company.id, self.config.id)
        self.assertEqual((online.type, online.journal_id.id), ('online', False))
        order = self._sell(1, self.pay_later_pm, state='draft')
        self.env.cr.execute("UPDATE pos_payment SET payment_method_id = %s WHERE pos_order_id = %s", [
            online.id, order.id])
        self.env.cr.execute("UPDATE pos_order SET state = 'paid' WHERE id = %s", [order.id])
        self.env.invalidate_all()
        self.assertEqual(self._exposure(), 0.0)

    def test_till_in_another_currency(self):
        self.debtor.credit_limit = 1000.0
        self.config = self.other_currency_config
        later = self.env['pos.payment.method'].create({'name': "On account", 'split_transactions': True})
        self.config.write({'payment_method_ids': [Command.link(later.id)]})
        self.open_new_session()
        order = self._sell(1, later)
        self.assertNotEqual(order.currency_id, self.company.currency_id)
        self.assertEqual(self._exposure(), self.company.currency_id.round(60.0 / order.currency_rate))
        self._close_till()
        self.assertEqual(self._exposure(), self.company.currency_id.round(60.0 / order.currency_rate))

    def test_many_customers_take_no_more_queries_than_one(self):
        customers = self.env['res.partner'].create([{'name': f"Customer {number}"} for number in range(20)])
        for customer in customers:
            self._sell(1, self.pay_later_pm, customer)
        date = self.company._get_dunning_today()
        counts = []
        for batch in (customers[:1], customers):
            self.env.flush_all()
            start = self.env.cr.sql_log_count
            amounts = self.env['account.credit.exposure'].sudo()._get_amounts({self.company: batch}, date)
            counts.append(self.env.cr.sql_log_count - start)
            self.assertEqual({figures.total for figures in amounts.values()}, {60.0})
        self.assertEqual(*counts)

    def test_breakdown_names_the_till(self):
        self._sell(1, self.pay_later_pm)
        action = self.env['account.credit.exposure']._open(self.debtor, self.company)
        exposure = self.env['account.credit.exposure'].browse(action['res_id'])
        self.assertEqual((exposure.amount_till, exposure.amount_total), (60.0, 60.0))
        self.assertIn('amount_till', exposure.get_view(view_type='form')['arch'])

    #=== ORDERS THAT THE TILL SETTLES ===#

    def test_confirmed_order_settled_on_account_counts_once(self):
        self.debtor.credit_limit = 1000.0
        self.order.action_confirm()
        self.assertEqual(self._exposure(), 180.0)
        self._sell(1, self.pay_later_pm, settles=self.order.order_line)
        self.assertEqual(self._exposure(), 180.0)
        self._sell(2, self.pay_later_pm, settles=self.order.order_line)
        self.assertEqual(self._exposure(), 180.0)
        self._close_till()
        self.assertEqual(self._exposure(), 180.0)

    def test_down_payment_in_cash_lowers_the_order(self):
        self.debtor.credit_limit = 1000.0
        self.order.action_confirm()
        self._take_down_payment(50.0, self.cash_pm1)
        self.assertEqual(self._exposure(), 130.0)
        self._close_till()
        self.assertEqual(self._exposure(), 130.0)

    def test_down_payment_on_account_counts_once(self):
        self.debtor.credit_limit = 1000.0
        self.order.action_confirm()
        self._take_down_payment(50.0, self.pay_later_pm)
        self.assertEqual(self._exposure(), 180.0)
        self._close_till()
        self.assertEqual(self._exposure(), 180.0)

    def test_down_payment_is_given_back_by_the_final_bill(self):
        self.debtor.credit_limit = 1000.0
        self.order.action_confirm()
        self._take_down_payment(50.0, self.cash_pm1)
        goods, advance = self.order.order_line.filtered(lambda line: not line.display_type)
        self.assertTrue(advance.is_downpayment)
        self._send([
            {'product': self.article, 'quantity': 3, 'sale_order_origin_id': self.order.id,
             'sale_order_line_id': goods.id},
            {'product': self.config.down_payment_product_id, 'quantity': -1, 'price_unit': 50.0,
             'price_subtotal': -50.0, 'price_subtotal_incl': -50.0, 'sale_order_origin_id': self.order.id,
             'sale_order_line_id': advance.id},
        ], [(self.pay_later_pm, 130.0)], user=self.clerk)
        self.assertEqual(self._exposure(), 130.0)
