from odoo import SUPERUSER_ID, Command
from odoo.exceptions import UserError
from odoo.tests import tagged

from .common import TillCommon


@tagged('post_install', '-at_install')
class TestSoldOnAccount(TillCommon):
    """Selling on account needs what a sales order needs, whichever way it is done."""

    def _refused(self):
        return self.assertRaisesRegex(UserError, "can't buy on account now")

    def test_past_the_limit(self):
        with self._refused(), self.env.cr.savepoint():
            self._sell(2, self.pay_later_pm)
        self._sell(1, self.pay_later_pm)
        with self._refused(), self.env.cr.savepoint():
            self._sell(1, self.pay_later_pm, self.contact)
        self._sell(1, self.cash_pm1)
        self.assertEqual(len(self.pos_session.order_ids), 2)

    def test_cashier_learns_no_amount_and_no_reason(self):
        self.debtor.write({'credit_hold': True, 'credit_hold_reason': "Insolvent"})
        with self.assertRaises(UserError) as refusal, self.env.cr.savepoint():
            self._sell(1, self.pay_later_pm)
        self.assertEqual(
            str(refusal.exception),
            "Debtor can't buy on account now: please take another payment, or ask a credit manager.")

    def test_french_cashier(self):
        self.env['res.lang']._activate_lang('fr_FR')
        self.env = self.env(context={**self.env.context, 'lang': 'fr_FR'})
        with self.assertRaisesRegex(UserError, "Debtor ne peut pas acheter à crédit"):
            self._sell(2, self.pay_later_pm)

    def test_customer_on_hold_pays_with_money_only(self):
        self.debtor.credit_hold = True
        with self._refused(), self.env.cr.savepoint():
            self._sell(1, self.pay_later_pm)
        self._sell(1, self.cash_pm1)
        self._sell(1, self.bank_pm1)

    def test_customer_on_hold_gives_back_and_pays_back(self):
        self._sell(1, self.pay_later_pm)
        self.debtor.credit_hold = True
        self._sell(-1, self.pay_later_pm)
        self._send([], [(self.cash_pm1, 40.0), (self.pay_later_pm, -40.0)])

    def test_warning_is_noted(self):
        self.company.credit_control_policy = 'warn'
        order = self._sell(2, self.pay_later_pm)
        self.assertIn("against a warning", order.message_ids[:1].body)
        self.assertFalse(self._told())

    def test_without_a_policy_nothing_is_checked(self):
        self.debtor.credit_control_policy = 'off'
        order = self._sell(2, self.pay_later_pm)
        self.assertNotIn("warning", ' '.join(order.message_ids.mapped('body')))

    def test_limit_of_who_gets_the_invoice(self):
        payer = self.env['res.partner'].create({'name': "Payer", 'credit_limit': 10.0})
        self.debtor.credit_limit = 1000.0
        self.order.partner_invoice_id = payer
        with self.assertRaisesRegex(UserError, "Payer can't buy"), self.env.cr.savepoint():
            self._sell(3, self.pay_later_pm, settles=self.order.order_line, to_invoice=True)
        payer.credit_limit = 1000.0
        self._sell(3, self.pay_later_pm, settles=self.order.order_line, to_invoice=True)
        self.assertEqual((self._exposure(payer), self._exposure()), (180.0, 0.0))

    #=== OTHER WAYS ===#

    def test_payment_changed_afterwards(self):
        order = self._sell(2, self.cash_pm1)
        for values in (
            {'payment_ids': [Command.update(order.payment_ids.id, {'payment_method_id': self.pay_later_pm.id})]},
            {'payment_ids': [
                Command.delete(order.payment_ids.id),
                Command.create({'payment_method_id': self.pay_later_pm.id, 'amount': 120.0})]},
        ):
            with self._refused(), self.env.cr.savepoint():
                order.write(values)
        with self._refused(), self.env.cr.savepoint():
            order.payment_ids.write({'payment_method_id': self.pay_later_pm.id})
        with self._refused(), self.env.cr.savepoint():
            self.env['pos.payment'].with_user(self.cashier).create([
                {'pos_order_id': order.id, 'payment_method_id': method.id, 'amount': amount}
                for method, amount in ((self.cash_pm1, -120.0), (self.pay_later_pm, 120.0))])
        with self._refused(), self.env.cr.savepoint():
            self.env['pos.payment'].with_user(self.cashier).with_context(
                default_pos_order_id=order.id, default_payment_method_id=self.pay_later_pm.id,
            ).create([{'amount': 120.0}])

    def test_payment_back_removed_afterwards(self):
        self._sell(1, self.pay_later_pm)
        order = self._send([(self.article, 1)], [
            (self.cash_pm1, 60.0), (self.pay_later_pm, 60.0), (self.pay_later_pm, -60.0)])
        with self._refused():
            order.payment_ids.filtered(lambda payment: payment.amount < 0).unlink()

    def test_moved_to_another_customer(self):
        other = self.env['res.partner'].create({'name': "Other", 'credit_limit': 10.0})
        order = self._sell(1, self.pay_later_pm)
        with self.assertRaisesRegex(UserError, "Other can't buy"):
            order.write({'partner_id': other.id})

    def test_old_draft_paid_in_the_back_office(self):
        """Its age says nothing about a connection."""
        order = self._sell(2, self.pay_later_pm, state='draft', minutes_ago=60, sold_offline=True)
        self.assertEqual(order.state, 'draft')
        with self._refused(), self.env.cr.savepoint():
            order.action_pos_order_paid()
        with self._refused(), self.env.cr.savepoint():
            order.write({'state': 'paid'})
        self.assertEqual(order.state, 'draft')

    def test_payment_wizard_of_the_back_office(self):
        order = self._send([(self.article, 2)], [], state='draft')
        wizard = self.env['pos.make.payment'].with_context(active_id=order.id).create({
            'config_id': self.config.id, 'amount': 120.0, 'payment_method_id': self.pay_later_pm.id})
        with self._refused(), self.env.cr.savepoint():
            wizard.check()
        wizard.payment_method_id = self.cash_pm1
        wizard.check()
        self.assertEqual(order.state, 'paid')

    def test_order_created_as_paid(self):
        data = self.create_ui_order_data([(self.article, 2)], {'state': 'paid'}, self.debtor, payments=[
            (self.pay_later_pm, 120.0)])
        with self._refused():
            self.env['pos.order'].with_user(self.cashier).create(
                {key: value for key, value in data.items() if key != 'name'})

    #=== WITHOUT CONNECTION ===#

    def test_what_was_sold_without_connection_is_never_lost(self):
        for values in ({'sold_offline': True}, {'minutes_ago': 60}):
            with self.subTest(**values):
                order = self._sell(2, self.pay_later_pm, **values)
                self.assertEqual(order.state, 'paid')
                self.assertIn("without a connection", order.message_ids[:1].body)
        self.assertEqual(len(self._told()), 2)
        self.assertIn("120.00", self._told()[0])
        self.assertEqual(self._exposure(), 240.0)

    def test_online_payment_that_completes_an_order_is_never_lost(self):
        order = self._sell(2, self.pay_later_pm, state='draft')
        order.with_user(SUPERUSER_ID)._process_saved_order(False)
        self.assertEqual(order.state, 'paid')
        self.assertIn("with an online payment", self._told()[0])

    def test_sold_without_connection_within_the_limit_tells_nobody(self):
        self._sell(1, self.pay_later_pm, sold_offline=True)
        self.assertFalse(self._told())

    def test_without_credit_managers_the_administrators_are_told(self):
        self.manager.group_ids -= self.env.ref('account_dunning.group_credit_manager')
        administrator = self._new_user("administrator", 'account.group_account_manager')
        self._sell(2, self.pay_later_pm, sold_offline=True)
        managers = self.company._get_credit_managers()
        self.assertEqual(len(self._told(managers[:1] or administrator)), 1)


@tagged('post_install', '-at_install')
class TestSettledAtTill(TillCommon):
    """A till confirms the quotations that it settles."""

    def test_paid_with_money(self):
        for method in (self.cash_pm1, self.bank_pm1):
            order = self.order.copy()
            with self.subTest(method=method.name):
                self.assertTrue(order.credit_needs_release)
                self._sell(3, method, settles=order.order_line)
                self.assertEqual((order.state, order.credit_state), ('sale', 'ok'))
        self.assertEqual(self._exposure(), 0.0)

    def test_paid_with_money_at_a_lower_price(self):
        self._sell(3, self.cash_pm1, settles=self.order.order_line, price=30.0)
        self.assertEqual(self.order.state, 'sale')
        self.assertEqual(self._exposure(), 0.0)

    def test_paid_with_money_after_a_rejection(self):
        self.order.with_user(self.manager).action_reject_release("No")
        self._sell(3, self.cash_pm1, settles=self.order.order_line)
        self.assertEqual(self.order.state, 'sale')

    def test_paid_with_money_by_a_customer_on_hold(self):
        self.debtor.credit_hold = True
        self._sell(3, self.cash_pm1, settles=self.order.order_line)
        self.assertEqual(self.order.state, 'sale')

    def test_on_account_within_the_limit_counts_once(self):
        self.order.order_line.product_uom_qty = 1
        self._sell(1, self.pay_later_pm, settles=self.order.order_line)
        self.assertEqual(self.order.state, 'sale')
        self.assertEqual(self._exposure(), 60.0)

    def test_on_account_past_the_limit(self):
        with self.assertRaisesRegex(UserError, "can't buy on account"), self.env.cr.savepoint():
            self._sell(3, self.pay_later_pm, settles=self.order.order_line)
        self.assertEqual(self.order.state, 'draft')

    def test_on_account_without_connection(self):
        self._sell(3, self.pay_later_pm, settles=self.order.order_line, sold_offline=True)
        self.assertEqual(self.order.state, 'sale')
        self.assertEqual(self._exposure(), 180.0)
        self.assertEqual(len(self._told()), 1)

    def test_in_part_it_waits_and_the_till_goes_on(self):
        order = self._sell(1, self.cash_pm1, settles=self.order.order_line)
        self.assertEqual(order.state, 'paid')
        self.assertEqual((self.order.state, self.order.credit_state), ('draft', 'hold'))
        with self.assertRaisesRegex(UserError, "needs a release"), self.env.cr.savepoint():
            self.order.with_user(self.clerk).action_confirm()
        self.order.with_user(self.manager).action_release("Half of it is paid")
        self.order.with_user(self.clerk).action_confirm()
        self.assertEqual(self._exposure(), 120.0)

    def test_in_part_so_that_the_rest_is_within_the_limit(self):
        self._sell(2, self.cash_pm1, settles=self.order.order_line)
        self.assertEqual(self.order.state, 'sale')
        self.assertEqual(self._exposure(), 60.0)

    def test_down_payment_so_that_the_rest_is_within_the_limit(self):
        self._take_down_payment(100.0, self.cash_pm1)
        self.assertEqual(self.order.state, 'sale')
        self.assertEqual(self._exposure(), 80.0)

    def test_small_down_payment_is_kept_and_the_order_waits(self):
        order = self._take_down_payment(50.0, self.cash_pm1)
        self.assertEqual(order.state, 'paid')
        self.assertEqual((self.order.state, self.order.credit_state), ('draft', 'hold'))

    #=== RELEASED AND CONFIRMED ===#

    def test_released_quotation_on_account(self):
        self.order.with_user(self.manager).action_release("Known well")
        self._sell(3, self.pay_later_pm, settles=self.order.order_line)
        self.assertEqual(self.order.state, 'sale')
        with self.assertRaisesRegex(UserError, "can't buy on account"), self.env.cr.savepoint():
            self._sell(1, self.pay_later_pm)

    def test_release_covers_its_amount_only(self):
        self.order.with_user(self.manager).action_release("Known well")
        with self.assertRaisesRegex(UserError, "can't buy on account"), self.env.cr.savepoint():
            self._sell(4, self.pay_later_pm, settles=self.order.order_line)

    def test_confirmed_order_on_account_adds_nothing(self):
        self.order.with_user(self.manager).action_release("Known well")
        self.order.action_confirm()
        self.debtor.credit_hold = True
        self._sell(3, self.pay_later_pm, settles=self.order.order_line)
        self.assertEqual(self._exposure(), 180.0)

    def test_down_payment_on_account_for_a_confirmed_order_adds_nothing(self):
        self.order.with_user(self.manager).action_release("Known well")
        self.order.action_confirm()
        self._take_down_payment(50.0, self.pay_later_pm)
        self.assertEqual(self._exposure(), 180.0)
        with self.assertRaisesRegex(UserError, "can't buy on account"), self.env.cr.savepoint():
            self._take_down_payment(150.0, self.pay_later_pm)

    def test_more_than_the_confirmed_order(self):
        self.order.with_user(self.manager).action_release("Known well")
        self.order.action_confirm()
        with self.assertRaisesRegex(UserError, "can't buy on account"), self.env.cr.savepoint():
            self._sell(30, self.pay_later_pm, settles=self.order.order_line)

    def test_order_of_another_customer_covers_nothing(self):
        self.order.with_user(self.manager).action_release("Known well")
        self.order.action_confirm()
        other = self.env['res.partner'].create({'name': "Other", 'credit_limit': 10.0})
        with self.assertRaisesRegex(UserError, "Other can't buy"), self.env.cr.savepoint():
            self._sell(3, self.pay_later_pm, other, settles=self.order.order_line)
