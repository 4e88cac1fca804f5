from odoo import Command
from odoo.exceptions import AccessError, UserError
from odoo.tests import Form, freeze_time, tagged

from .credit_common import CreditCommon


@tagged('post_install', '-at_install')
@freeze_time('2024-06-10')
class TestCreditDeposit(CreditCommon):
    """A credit manager asks for a deposit, and its payment releases the order."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.customer.credit_hold = True
        cls.order = cls._order(1000)
        cls.order.with_user(cls.salesperson).action_request_release()

    def _ask(self, method='percentage', amount=30, order=None, user=None):
        order = order or self.order
        return self.env['account.move'].browse(order.with_user(user or self.credit_manager).action_ask_deposit(
            method, amount, "New customer").id)

    def _run_cron(self):
        with self.enter_registry_test_mode():
            self.env.ref('account_dunning.ir_cron_credit_recheck').method_direct_trigger()

    def _pay(self, invoice, amount=None):
        if invoice.state == 'draft':
            invoice.action_post()
        return self._register_payment(invoice, **({'amount': amount} if amount else {}))

    def test_paid_in_full_it_releases_the_order(self):
        invoice = self._ask()
        self.assertRecordValues(invoice, [{
            'state': 'draft', 'move_type': 'out_invoice', 'amount_total': 300, 'partner_id': self.customer.id}])
        self.assertIn(invoice, self.order.invoice_ids)
        self.assertTrue(invoice.invoice_line_ids.filtered('is_downpayment'))
        self.assertEqual(self.order.credit_state, 'hold')
        invoice.action_post()
        self.assertEqual(self.order.credit_state, 'hold')
        self._pay(invoice)
        self.assertRecordValues(self.order, [{
            'credit_state': 'released', 'credit_decision_note': "Deposit paid", 'credit_release_amount': 1000,
            'credit_deposit_state': 'paid'}])
        self.order.with_user(self.salesperson).action_confirm()
        self.assertEqual((self.order.state, self.order.credit_state), ('sale', 'released'))
        events = self.env['account.credit.event'].sudo().search([('order_id', '=', self.order.id)], order='id')
        self.assertEqual(events.mapped('kind'), ['held', 'deposit', 'released'])
        self.assertEqual(events[1].note, "A deposit of $\xa0300.00 is asked for · New customer")
        self.assertEqual(events[2].note, "Deposit paid")

    def test_paid_in_part_it_does_not(self):
        invoice = self._ask()
        self._pay(invoice, 299.99)
        self.assertEqual(invoice.payment_state, 'partial')
        self.assertEqual(self.order.credit_state, 'hold')
        with self.assertRaisesRegex(UserError, r"A deposit of \$\xa0300.00 was asked for and is not paid yet"):
            self.order.with_user(self.salesperson).action_confirm()
        self._pay(invoice, 0.01)
        self.assertEqual(self.order.credit_state, 'released')

    def test_money_that_is_not_matched_with_it_does_not_count(self):
        invoice = self._ask()
        invoice.action_post()
        self.company.credit_auto_release = True
        payment = self.env['account.payment'].create({
            'partner_id': self.customer.id, 'amount': 300, 'payment_type': 'inbound', 'partner_type': 'customer'})
        payment.action_post()
        other = self._invoice(300)
        self._register_payment(other)
        self.env['sale.order']._recheck_held_orders(self.customer)
        self._run_cron()
        self.assertEqual(self.order.credit_state, 'hold')
        self.assertEqual(self.order.credit_deposit_state, 'asked')

    def test_within_the_limit_again_it_still_waits_for_the_deposit(self):
        """The credit manager has decided so; and can think better of it."""
        self.company.credit_auto_release = True
        invoice = self._ask()
        self.customer.credit_hold = False
        self.env['sale.order']._recheck_held_orders(self.customer)
        self.assertEqual(self.order.credit_state, 'hold')
        self.assertEqual(self.order.credit_reason, "A deposit of $\xa0300.00 was asked for and is not paid yet.")
        self.assertTrue(self.order.credit_needs_release)
        self.order.with_user(self.credit_manager).action_release("They are good for it")
        self.order.with_user(self.salesperson).action_confirm()
        self.assertTrue(invoice.exists())

    def test_a_deposit_that_is_cancelled_is_not_waited_for(self):
        invoice = self._ask()
        invoice.button_cancel()
        self.assertFalse(self.order.credit_deposit_state)
        self.assertTrue(self.order.credit_needs_release, "as without a deposit")
        self.customer.credit_hold = False
        self.order.invalidate_recordset()
        self.assertFalse(self.order.credit_needs_release)
        self.customer.credit_hold = True
        second = self._ask('fixed', 500)
        self.assertEqual(self.order.credit_deposit_amount, 500)
        self._pay(second)
        self.assertEqual(self.order.credit_state, 'released')

    def test_a_deposit_that_is_credited_does_not_release(self):
        invoice = self._ask()
        invoice.action_post()
        self._reverse_invoice(invoice, post=True)
        refund = invoice.reversal_move_ids
        (invoice + refund).line_ids.filtered(
            lambda line: line.account_type == 'asset_receivable' and not line.reconciled).reconcile()
        self.assertEqual(invoice.payment_state, 'reversed')
        self.env['sale.order']._recheck_held_orders(self.customer)
        self.assertEqual(self.order.credit_state, 'hold')
        self.assertFalse(self.order.credit_deposit_state)

    def test_an_order_that_has_grown_needs_a_new_release(self):
        invoice = self._ask()
        self.order.order_line.filtered(lambda line: not line.is_downpayment and not line.display_type).price_unit = 1001
        self._pay(invoice)
        self.assertEqual((self.order.credit_state, self.order.credit_deposit_state), ('hold', 'paid'))
        with self.assertRaisesRegex(UserError, "needs a release"):
            self.order.with_user(self.salesperson).action_confirm()
        self.order.order_line.filtered(lambda line: line.price_unit == 1001).price_unit = 1000
        self._run_cron()
        self.assertEqual(self.order.credit_state, 'released')

    def test_an_order_of_another_customer_is_not_released(self):
        invoice = self._ask()
        other = self.env['res.partner'].create({'name': "Other", 'credit_hold': True})
        self.order.partner_invoice_id = other
        self._pay(invoice)
        self.assertEqual(self.order.credit_state, 'hold')

    def test_a_released_order_that_grows_after_it_needs_a_release(self):
        self._pay(self._ask())
        self.order.order_line.filtered(lambda line: line.price_unit == 1000).price_unit = 1001
        self.assertTrue(self.order.credit_needs_release)

    def test_confirmed_before_anything_was_checked_again_it_is_kept_as_released(self):
        invoice = self._ask()
        invoice.action_post()
        # the money has come, and nobody has looked at the order yet
        self.order.sudo()._write_credit({'credit_state': 'hold'})
        self._pay(invoice)
        self.order.sudo()._write_credit({'credit_state': 'hold'})
        self.order.with_user(self.salesperson).action_confirm()
        self.assertRecordValues(self.order, [{'credit_state': 'released', 'credit_release_amount': 1000}])

    def test_cancelled_order(self):
        invoice = self._ask()
        self.order._action_cancel()
        self.assertEqual(invoice.state, 'cancel', "Odoo's own rule for drafts")
        invoice = self._ask(order=self._held_order())
        invoice.action_post()
        order = invoice.invoice_line_ids.sale_line_ids.order_id
        order._action_cancel()
        self._pay(invoice)
        self.assertEqual((order.state, order.credit_state), ('cancel', 'hold'))

    def _held_order(self, amount=1000):
        order = self._order(amount)
        order.with_user(self.salesperson).action_request_release()
        return order

    def test_never_more_than_the_open_part(self):
        for method, amount, sentence in (
            ('fixed', 1000.01, "can't be more than"), ('percentage', 100.01, "can't be more than"),
            ('fixed', 0, "more than zero"), ('percentage', -1, "more than zero"),
            ('all', 1, "a percentage or an amount"),
        ):
            with self.subTest(method=method, amount=amount), self.assertRaisesRegex(UserError, sentence):
                self._ask(method, amount)
        self.assertFalse(self.order.invoice_ids)
        first = self._ask('fixed', 400)
        with self.assertRaisesRegex(UserError, "asked for already"):
            self._ask('fixed', 100)
        self._pay(first)
        self.order.sudo()._write_credit({'credit_state': 'hold', 'credit_deposit_move_id': False})
        with self.assertRaisesRegex(UserError, "can't be more than what of"):
            self._ask('fixed', 600.01)
        self.assertEqual(self._ask('fixed', 600).amount_total, 600)

    def test_taxes_are_in_the_deposit(self):
        order = self._held_order()
        order.order_line.tax_ids = self.company_data['default_tax_sale']
        self.assertEqual(order.amount_total, 1150)
        self.assertEqual(self._ask('percentage', 10, order=order).amount_total, 115)

    def test_the_exposure_counts_the_deposit_once(self):
        self.assertEqual(self.order.credit_exposure, 1000)
        invoice = self._ask()
        self.order.invalidate_recordset()
        self.assertEqual(self.order.credit_exposure, 1000, "300 on the draft invoice, 700 on the order")
        invoice.action_post()
        self.order.invalidate_recordset()
        self.assertEqual(self.order.credit_exposure, 1000)
        self._pay(invoice)
        self.order.invalidate_recordset()
        self.assertEqual(self.order.credit_exposure, 700)
        self.order.action_confirm()
        self.assertEqual(self._exposure(), 700)

    def test_only_what_waits_can_be_asked_a_deposit_for(self):
        order = self._order(100)
        with self.assertRaisesRegex(UserError, "does not wait"):
            self._ask(order=order)
        with self.assertRaisesRegex(UserError, "Give a reason"):
            self.order.with_user(self.credit_manager).action_ask_deposit('fixed', 1, " ")

    def test_salesperson_asks_for_nothing_and_is_told(self):
        with self.assertRaises(AccessError):
            self._ask(user=self.salesperson)
        for fname in ('credit_deposit_move_id', 'credit_deposit_amount', 'credit_deposit_order_amount'):
            with self.subTest(field=fname), self.assertRaises(AccessError):
                self.order.with_user(self.salesperson).write({fname: False})
        with self.assertRaises(AccessError):
            self.env['sale.order.deposit'].with_user(self.salesperson).create({
                'order_id': self.order.id, 'reason': "Please"})
        self._ask()
        self.assertEqual(self.order.activity_ids.user_id, self.salesperson)
        self.assertEqual(self.order.activity_ids.summary, "A deposit of $\xa0300.00 is asked for")
        order = self.order.with_user(self.salesperson)
        self.assertEqual((order.credit_deposit_state, order.credit_deposit_amount), ('asked', 300))
        Form(order)

    def test_credit_manager_uses_the_dialog(self):
        action = self.order.with_user(self.credit_manager).action_open_credit_deposit()
        form = Form(self.env['sale.order.deposit'].with_user(self.credit_manager).with_context(**action['context']))
        self.assertEqual(form.amount_asked, 300)
        form.method = 'fixed'
        form.amount = 250
        form.reason = "Without references"
        form.save().action_apply()
        self.assertEqual(self.order.credit_deposit_amount, 250)
        order = self.order.with_user(self.credit_manager)
        self.assertEqual(order.action_view_deposit()['res_id'], self.order.credit_deposit_move_id.id)
        Form(order, view='account_dunning.sale_order_view_form_credit')

    def test_a_copy_has_no_deposit(self):
        self._ask()
        self.assertFalse(self.order.copy().credit_deposit_move_id)

    def test_what_the_customer_has_signed_is_confirmed_when_the_deposit_is_paid(self):
        order = self._order(1000, require_signature=True, require_payment=False)
        order.write({'signed_by': "Ann", 'signature': b'R0lGODlhAQABAAD/ACwAAAAAAQABAAACADs='})
        order.sudo()._validate_order()
        self.assertEqual(order.credit_state, 'hold')
        invoice = self._ask(order=order)
        self._pay(invoice)
        self.assertEqual(order.credit_state, 'released')
        self._run_cron()
        self.assertEqual(order.state, 'sale')

    def test_deposits_in_another_currency(self):
        euro = self.setup_other_currency('EUR', rates=[('2024-01-01', 2.0)])
        pricelist = self.env['product.pricelist'].create({'name': "EUR", 'currency_id': euro.id})
        order = self.env['sale.order'].create({
            'partner_id': self.customer.id, 'pricelist_id': pricelist.id, 'user_id': self.salesperson.id,
            'order_line': [Command.create({
                'product_id': self.product.id, 'product_uom_qty': 1, 'price_unit': 1000, 'tax_ids': False})]})
        order.with_user(self.salesperson).action_request_release()
        self.assertEqual(order.credit_exposure, 500)
        invoice = self._ask(order=order)
        self.assertRecordValues(invoice, [{'currency_id': euro.id, 'amount_total': 300}])
        order.invalidate_recordset()
        self.assertEqual(order.credit_exposure, 500)
        self._pay(invoice)
        self.assertEqual(order.credit_state, 'released')
        order.invalidate_recordset()
        self.assertEqual(order.credit_exposure, 350)
