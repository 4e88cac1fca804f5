import itertools
from ast import literal_eval

from odoo import Command, fields
from odoo.exceptions import AccessError, UserError
from odoo.tests import Form, freeze_time, new_test_user, tagged

from odoo.addons.base.tests.test_ir_cron import CronMixinCase

from .credit_common import CreditCommon


@tagged('post_install', '-at_install')
@freeze_time('2024-06-10')
class TestCreditDecision(CreditCommon):

    def test_decision_table(self):
        """Every combination of what an order's fate depends on; the order is over 100, the limit about that.

        Expected here from the rules of credit control, not from the code.
        """
        level = self._hold_level()
        provider = self.env['payment.provider'].sudo().create({'name': "Test", 'code': 'none'})
        invoice = self._invoice(0.01, date='2024-01-10')  # 152 days old
        invoice_line = invoice.line_ids.filtered(lambda line: line.account_type == 'asset_receivable')
        order = self._order(100)
        prepaid_order = self._order(100)
        self.env['payment.transaction'].sudo().create({
            'provider_id': provider.id, 'payment_method_id': self.env.ref('payment.payment_method_unknown').id,
            'reference': "prepaid", 'amount': 100, 'currency_id': order.currency_id.id,
            'partner_id': self.customer.id, 'state': 'done', 'operation': 'online_redirect',
            'sale_order_ids': [Command.set(prepaid_order.ids)],
        })
        self.company.credit_overdue_days = 30
        # What is owed besides the order: 0.01. What makes "exactly" and "one cent over" of the limit:
        limits = {'none': 0, 'below': 200, 'exactly': 100.01, 'over': 100}
        cases = itertools.product(
            ('off', 'warn', 'block'), limits, ('no extra', 'valid', 'expired'), (False, True), (False, True),
            (False, True), (False, True))
        seen = set()
        for policy, limit, extra, manual, by_level, old_debt, prepaid in cases:
            with self.subTest(policy=policy, limit=limit, extra=extra, manual=manual, level=by_level,
                              old_debt=old_debt, prepaid=prepaid):
                self.company.write({'credit_control_policy': policy, 'credit_overdue_amount': 0 if old_debt else 0.01})
                self.customer.write({
                    'credit_limit': limits[limit],
                    'credit_limit_extra': 0 if extra == 'no extra' else 50,
                    'credit_limit_extra_until': {
                        'no extra': False, 'valid': '2024-06-10', 'expired': '2024-06-09'}[extra],
                    'credit_hold': manual,
                    'credit_hold_reason': "Returned cheque" if manual else False,
                })
                invoice_line.dunning_level_id = level if by_level else False
                case_order = prepaid_order if prepaid else order

                reasons = []
                # Prepaid: 0.01 + 100 - 100 is owed, within every limit.
                if limit == 'over' and extra != 'valid' and not prepaid:
                    reasons.append("Miller Ltd has reached its credit limit of: $\xa0100.00\n"
                                   "Total amount due (including this document): $\xa0100.01")
                if manual:
                    reasons.append("Miller Ltd is on credit hold: Returned cheque")
                if by_level:
                    reasons.append("Miller Ltd is on credit hold: an unpaid invoice has reached the reminder level "
                                   "“Formal notice”.")
                if old_debt:
                    reasons.append("Miller Ltd owes $\xa00.01 that is overdue for more than 30 days.")
                if policy == 'off':
                    # Odoo's own banner, which its switch asks for
                    state, message = 'none', reasons[0] if reasons and "reached its credit limit" in reasons[0] else ''
                elif policy == 'warn':
                    state, message = ('warning' if reasons else 'ok'), '\n'.join(reasons)
                elif prepaid:
                    state, message = 'ok', ''
                else:
                    state, message = ('hold' if reasons else 'ok'), '\n'.join(reasons)

                decision = case_order.sudo()._decide_credit()[case_order.id]
                self.assertEqual((decision.state, decision.message), (state, message))
                case_order.invalidate_recordset(['partner_credit_warning', 'credit_needs_release'])
                self.assertEqual(case_order.partner_credit_warning, message)
                self.assertEqual(case_order.credit_needs_release, state == 'hold')
                self.assertEqual(bool(case_order._confirmation_error_message()), state == 'hold')
                seen.add((state, len(reasons)))
        self.assertGreater(len(seen), 10, "the table has all kinds of outcomes")

    def _hold_level(self):
        procedure = self.env['account.dunning.procedure'].create({
            'name': "Test",
            'level_ids': [Command.create({'name': "Formal notice", 'delay_days': 1, 'credit_hold': True})],
        })
        return procedure.level_ids

    def test_customers_own_policy_counts_more_than_the_companys(self):
        self.customer.credit_limit = 50
        order = self._order(100)
        for own, company, state in (
            ('off', 'block', 'none'), ('warn', 'block', 'warning'), ('block', 'off', 'hold'), ('block', 'warn', 'hold'),
            (False, 'block', 'hold'), (False, 'warn', 'warning'), (False, 'off', 'none'),
        ):
            with self.subTest(own=own, company=company):
                self.customer.credit_control_policy = own
                self.company.credit_control_policy = company
                self.assertEqual(order._decide_credit()[order.id].state, state)

    def test_terms_are_those_of_the_commercial_entity_for_contacts_too(self):
        self.customer.credit_limit = 50
        order = self._order(100, partner=self.contact)
        with self.assertRaisesRegex(UserError, "Miller Ltd has reached its credit limit"):
            order.action_confirm()

    def test_terms_are_per_company(self):
        other = self.setup_other_company()['company']
        other.credit_control_policy = 'block'
        self.customer.with_company(other).write({'credit_limit': 10, 'credit_hold': True})
        order = self._order(100)
        self.assertFalse(order.credit_needs_release)
        # The company of the order counts, not the one that the user has chosen.
        self.customer.credit_limit = 50
        self.assertIn("$\xa050.00", order.with_company(other).with_context(
            allowed_company_ids=[other.id, self.company.id]).partner_credit_warning)

    def test_paying_for_another_customer_does_not_dodge_the_limit(self):
        self.customer.credit_limit = 50
        payer = self.env['res.partner'].create({'name': "Holding", 'is_company': True})
        order = self._order(100, partner_invoice_id=payer.id)
        self.assertTrue(order.credit_needs_release)
        self.customer.credit_limit = 0
        payer.credit_limit = 50
        order.invalidate_recordset()
        self.assertTrue(order.credit_needs_release)

    def test_old_debts_are_net_of_payments_on_account(self):
        self.company.credit_overdue_days = 30
        self._invoice(100, date='2024-01-10')
        order = self._order(1)
        self.assertTrue(order.credit_needs_release)
        self._invoice(100, move_type='out_refund', date='2024-06-09')
        order.invalidate_recordset()
        self.assertFalse(order.credit_needs_release)

    def test_debts_of_exactly_the_days_are_not_older(self):
        self.company.credit_overdue_days = 30
        self._invoice(100, date='2024-05-11')
        order = self._order(1)
        self.assertFalse(order.credit_needs_release, "30 days old")
        with freeze_time('2024-06-11'):
            order.invalidate_recordset()
            self.assertTrue(order.credit_needs_release, "31 days old")

    def test_the_day_is_the_companys_and_not_the_users(self):
        """Half past twelve in London on the 10th is the 11th in Auckland, where the salesperson sits."""
        self.company.partner_id.tz = 'UTC'
        self.salesperson.tz = 'Pacific/Auckland'
        self.customer.write({
            'credit_limit': 50, 'credit_limit_extra': 100, 'credit_limit_extra_until': '2024-06-10'})
        order = self._order(100).with_user(self.salesperson).with_context(tz='Pacific/Auckland')
        with freeze_time('2024-06-10 12:30:00'):
            self.assertRecordValues(order, [{'credit_needs_release': False, 'credit_limit': 150}])
        with freeze_time('2024-06-11 00:30:00'):
            order.invalidate_recordset()
            self.assertRecordValues(order, [{'credit_needs_release': True, 'credit_limit': 50}])

    def test_orders_of_companies_on_either_side_of_midnight(self):
        other = self.setup_other_company()['company']
        other.write({'credit_control_policy': 'block', 'account_use_credit_limit': True})
        self.company.partner_id.tz = 'UTC'
        other.partner_id.tz = 'Pacific/Auckland'
        for company in (self.company, other):
            self.customer.with_company(company).write({
                'credit_limit': 50, 'credit_limit_extra': 100, 'credit_limit_extra_until': '2024-06-10'})
        here = self._order(100)
        there = self.env['sale.order'].with_company(other).create({
            'partner_id': self.customer.id, 'company_id': other.id,
            'order_line': [Command.create({
                'product_id': self.env['product.product'].create({'name': "Anybody's", 'taxes_id': False}).id,
                'price_unit': 100,
            })],
        })
        with freeze_time('2024-06-10 12:30:00'):
            decisions = (here + there)._decide_credit(lock=True)
            self.assertEqual([decisions[order.id].state for order in (here, there)], ['ok', 'hold'])

    # === Odoo's banner === #

    def test_banner_on_invoices_says_what_the_check_says(self):
        self.customer.credit_limit = 100
        self._order(60, confirm=True)
        self._invoice(20, post=False)
        invoice = self._invoice(30, post=False)
        self.assertEqual(
            invoice.partner_credit_warning,
            "Miller Ltd has reached its credit limit of: $\xa0100.00\n"
            "Total amount due (including draft invoices, sales orders, and this document): $\xa0110.00")
        invoice.invoice_line_ids.price_unit = 20
        self.assertEqual(invoice.partner_credit_warning, '', "exactly the limit")
        self.customer.write({'credit_hold': True, 'credit_hold_reason': "Insolvent"})
        invoice.invalidate_recordset(['partner_credit_warning'])
        self.assertEqual(invoice.partner_credit_warning, "Miller Ltd is on credit hold: Insolvent")

    def test_banner_while_an_invoice_is_edited(self):
        self.customer.credit_limit = 100
        invoice = self._invoice(90, post=False)
        with Form(invoice) as form:
            self.assertNotIn('account_partner_credit_warning', form.alerts or {})
            with form.invoice_line_ids.edit(0) as line:
                line.price_unit = 120
            self.assertIn("$\xa0120.00", form.alerts['account_partner_credit_warning']['message'])

    def test_customers_read_no_banner(self):
        self.customer.credit_limit = 50
        order = self._order(100)
        portal = self.env['res.users'].create({
            'name': "Portal", 'login': 'portal.credit', 'partner_id': self.contact.id,
            'group_ids': [Command.set(self.env.ref('base.group_portal').ids)]})
        self.assertFalse(order.with_user(portal).partner_credit_warning)
        for fname in ('credit_state', 'credit_exposure', 'credit_limit', 'credit_reason', 'credit_needs_release'):
            with self.assertRaises(AccessError):
                order.with_user(portal).read([fname])
        with self.assertRaises(AccessError):
            self.customer.with_user(portal).read(['credit_exposure'])
        message = order.with_user(portal).sudo()._confirmation_error_message()
        self.assertEqual(message, "Your order is being reviewed. We will come back to you shortly.")


@tagged('post_install', '-at_install')
@freeze_time('2024-06-10')
class TestCreditFlow(CreditCommon, CronMixinCase):

    @classmethod
    def default_env_context(cls):
        return {}  # with chatter and activities

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.customer.credit_limit = 1000

    def _as_salesperson(self, order):
        return order.with_user(self.salesperson)

    def test_within_the_limit_an_order_is_confirmed(self):
        order = self._order(1000)
        order.action_confirm()
        self.assertRecordValues(order, [{'state': 'sale', 'credit_state': 'ok'}])

    def test_policy_warn_lets_the_order_pass(self):
        self.company.credit_control_policy = 'warn'
        order = self._order(1001)
        self.assertIn("credit limit", order.partner_credit_warning)
        order.action_confirm()
        self.assertRecordValues(order, [{'state': 'sale', 'credit_state': 'warning'}])

    def test_over_the_limit_confirming_is_refused_and_nothing_changes(self):
        order = self._as_salesperson(self._order(1000.01))
        messages = order.message_ids
        with self.assertRaisesRegex(UserError, "needs a release by a credit manager"):
            order.action_confirm()
        self.assertRecordValues(order, [{'state': 'draft', 'credit_state': 'none'}])
        self.assertEqual(order.message_ids, messages)

    def test_a_batch_is_all_or_nothing_and_counts_its_own_orders(self):
        orders = self._order(600) + self._order(400.01)
        with self.assertRaisesRegex(UserError, orders[1].name):
            orders.action_confirm()
        self.assertEqual(orders.mapped('state'), ['draft', 'draft'])
        orders[0].action_confirm()
        other = self._order(400)
        other.action_confirm()
        self.assertEqual(other.credit_state, 'ok')

    def test_quotations_of_a_list_do_not_count_for_each_other(self):
        orders = self._order(600) + self._order(700)
        self.assertEqual(orders.mapped('credit_exposure'), [600, 700])
        self.assertEqual(orders.mapped('credit_needs_release'), [False, False])

    def test_request_release_reject_request_again_release_confirm(self):
        order = self._order(1500)
        by_salesperson = self._as_salesperson(order)
        by_salesperson.action_request_release()
        self.assertEqual(order.credit_state, 'hold')
        self.assertEqual(order.credit_hold_user_id, self.salesperson)
        activity = order.activity_ids.filtered(lambda activity: activity.user_id == self.credit_manager)
        self.assertEqual(activity.activity_type_id, self.env.ref('account_dunning.mail_activity_type_credit_release'))
        self.assertIn("1,500.00", activity.note)
        with self.assertRaises(UserError):
            by_salesperson.action_confirm()

        by_manager = order.with_user(self.credit_manager)
        by_manager.action_reject_release("Owes since March")
        self.assertEqual(order.credit_state, 'rejected')
        self.assertFalse(order.activity_ids.filtered(lambda activity: activity.user_id == self.credit_manager))
        self.assertEqual(order.activity_ids.user_id, self.salesperson)
        self.assertIn("Owes since March", order.activity_ids.note)
        self.assertIn("Owes since March", by_salesperson.partner_credit_warning)
        with self.assertRaisesRegex(UserError, "Owes since March"):
            by_salesperson.action_confirm()

        # Asked again, the manager is told; the order is not freed by it.
        by_salesperson.action_request_release()
        self.assertEqual(order.credit_state, 'rejected')
        self.assertTrue(order.activity_ids.filtered(lambda activity: activity.user_id == self.credit_manager))
        with self.assertRaisesRegex(UserError, "Owes since March"):
            by_salesperson.action_confirm()
        by_manager.action_release("Pays on Friday")
        self.assertEqual(order.credit_state, 'released')
        note = order.message_ids.filtered(lambda message: "Pays on Friday" in (message.body or ''))
        self.assertEqual(note.author_id, self.credit_manager.partner_id)
        self.assertTrue(note.is_internal or note.subtype_id.internal, "the customer does not read it on the portal")
        self.assertIn("1,500.00", note.body)
        self.assertIn("1,000.00", note.body)
        by_salesperson.action_confirm()
        self.assertRecordValues(order, [{'state': 'sale', 'credit_state': 'released'}])

    def test_release_covers_the_order_at_its_amount(self):
        order = self._order(1500)
        order.with_user(self.credit_manager).action_release("Fine")
        order.order_line.price_unit = 1500.01
        self.assertTrue(order.credit_needs_release)
        with self.assertRaises(UserError):
            order.action_confirm()
        order.order_line.price_unit = 1400
        order.action_confirm()
        self.assertEqual(order.credit_state, 'released')

    def test_release_does_not_cover_another_customer(self):
        order = self._order(1500)
        order.with_user(self.credit_manager).action_release("Fine")
        other = self.env['res.partner'].create({'name': "Other", 'credit_limit': 10})
        order.partner_id = other
        with self.assertRaisesRegex(UserError, "Other has reached"):
            order.action_confirm()

    def test_a_request_that_is_not_needed_is_refused(self):
        with self.assertRaisesRegex(UserError, "needs no release"):
            self._order(10).action_request_release()
        with self.assertRaisesRegex(UserError, "only be requested for a quotation"):
            self._order(10, confirm=True).action_request_release()

    def test_decisions_ask_for_a_reason(self):
        order = self._order(1500).with_user(self.credit_manager)
        for reason in ('', '   ', None, False, 5):
            with self.assertRaisesRegex(UserError, "Give a reason"):
                order.action_release(reason)
            with self.assertRaisesRegex(UserError, "Give a reason"):
                order.action_reject_release(reason)

    def test_wizard_releases_several_orders(self):
        orders = self._order(1500) + self._order(2500)
        orders.action_request_release()
        action = orders.with_user(self.credit_manager).action_open_credit_release()
        form = Form(self.env[action['res_model']].with_user(self.credit_manager).with_context(**action['context']))
        self.assertIn("credit limit", form.credit_reason)
        form.reason = "Long-standing customer"
        form.save().action_apply()
        self.assertEqual(orders.mapped('credit_state'), ['released', 'released'])

    # === A confirmed order grows === #

    def test_confirmed_order_may_not_grow_past_the_limit(self):
        order = self._order(900, confirm=True)
        by_salesperson = self._as_salesperson(order)
        with self.assertRaisesRegex(UserError, "new quotation"), self.env.cr.savepoint():
            by_salesperson.order_line.price_unit = 1000.01
        with self.assertRaises(UserError), self.env.cr.savepoint():
            by_salesperson.order_line = [Command.create({'product_id': self.product.id, 'price_unit': 101})]
        with self.assertRaises(UserError), self.env.cr.savepoint():
            self.env['sale.order.line'].with_user(self.salesperson).create({
                'order_id': order.id, 'product_id': self.product.id, 'price_unit': 101})
        self.env.invalidate_all()
        self.assertEqual(order.amount_total, 900)
        by_salesperson.order_line.price_unit = 1000
        self.assertEqual(order.amount_total, 1000, "up to the limit it may")

    def test_confirmed_order_over_the_limit_may_shrink_and_swap(self):
        order = self._order(900, confirm=True)
        self.customer.credit_limit = 100
        by_salesperson = self._as_salesperson(order)
        by_salesperson.write({'order_line': [
            Command.create({'product_id': self.product.id, 'price_unit': 400, 'tax_ids': False}),
            Command.update(order.order_line.id, {'price_unit': 500}),
        ]})
        self.assertEqual(order.amount_total, 900)
        by_salesperson.order_line[0].price_unit = 300
        self.assertEqual(order.amount_total, 700)

    def test_payment_that_confirms_an_order_leaves_it_waiting(self):
        """Cash on delivery: Odoo confirms when it processes the payment, in the customer's name or at night."""
        provider = self.env['payment.provider'].sudo().create({'name': "Cash", 'company_id': self.company.id})
        for user in (self.env.ref('base.public_user'), self.env.ref('base.user_root')):
            order = self._order(1500)
            self.env['payment.transaction'].sudo().create({
                'provider_id': provider.id, 'reference': f'COD {order.id}', 'amount': 1500, 'state': 'pending',
                'payment_method_id': self.env.ref('payment.payment_method_unknown').id,
                'currency_id': order.currency_id.id, 'partner_id': order.partner_id.id,
                'operation': 'online_direct', 'sale_order_ids': [Command.set(order.ids)],
            })
            order.with_user(user).sudo().action_confirm()
            self.assertRecordValues(order, [{'state': 'draft', 'credit_state': 'hold'}])
            self.assertTrue(order.activity_ids.filtered(lambda activity: activity.user_id == self.credit_manager))

    def test_program_that_confirms_without_a_payment_is_refused(self):
        order = self._order(1500)
        with self.assertRaisesRegex(UserError, "needs a release"):
            order.with_user(self.env.ref('base.user_root')).sudo().action_confirm()
        self.assertEqual(order.state, 'draft')

    def test_growth_by_a_later_step_passes_and_is_told(self):
        """The freight of a delivery is added with rights that who delivers does not have."""
        deliverer = new_test_user(
            self.env, login='deliverer', groups='base.group_user', company_id=self.company.id,
            company_ids=[Command.set(self.company.ids)])
        order = self._order(900, confirm=True)
        freight = {'order_id': order.id, 'product_id': self.product.id, 'price_unit': 300, 'tax_ids': False}
        order.env['sale.order.line'].with_user(deliverer).sudo().create(freight)
        self.assertEqual(order.amount_total, 1200)
        self.assertIn("Grown to", order.message_ids[0].body)
        self.assertTrue(order.activity_ids.filtered(lambda activity: activity.user_id == self.credit_manager))
        with self.assertRaisesRegex(UserError, "needs a release"):
            order.env['sale.order.line'].with_user(self.salesperson).create({**freight, 'price_unit': 500})

    def test_growth_within_a_bill_that_is_passed_on(self):
        order = self._order(900, confirm=True).with_user(self.salesperson)
        with order._let_grow():
            order.order_line.price_unit = 1200
        self.assertEqual(order.amount_total, 1200)
        with self.assertRaisesRegex(UserError, "needs a release"):
            order.order_line.price_unit = 1300

    def test_confirmed_order_stays_on_its_customer_s_account(self):
        order = self._order(900, confirm=True)
        other = self.env['res.partner'].create({'name': "Fresh", 'is_company': True})
        for values in ({'partner_invoice_id': other.id}, {'partner_id': other.id, 'partner_invoice_id': other.id}):
            with (
                self.subTest(values=values), self.assertRaisesRegex(UserError, "only a credit manager"),
                self.env.cr.savepoint(),
            ):
                order.with_user(self.salesperson).write(values)
        order.with_user(self.salesperson).partner_invoice_id = self.contact
        self.credit_manager.group_ids |= self.env.ref('sales_team.group_sale_salesman_all_leads')
        order.with_user(self.credit_manager).partner_invoice_id = other
        self.assertEqual(order.partner_invoice_id, other)

    def test_credit_manager_without_other_rights_reads_the_whole_held_order(self):
        order = self._order(1500)
        order.with_user(self.salesperson).action_request_release()
        form = Form(order.with_user(self.credit_manager), view='account_dunning.sale_order_view_form_credit')
        self.assertEqual(form.credit_state, 'hold')
        self.assertEqual(len(form.order_line), 1)

    def test_credit_manager_lets_a_confirmed_order_grow(self):
        order = self._order(900, confirm=True)
        self.credit_manager.group_ids |= self.env.ref('sales_team.group_sale_salesman_all_leads')
        order.with_user(self.credit_manager).order_line.price_unit = 1200
        self.assertRecordValues(order, [{
            'amount_total': 1200, 'credit_state': 'released', 'credit_release_amount': 1200}])
        self.assertIn("Changed by a credit manager", order.message_ids[0].body)

    def test_confirmed_order_may_not_move_to_a_customer_over_the_limit(self):
        free = self.env['res.partner'].create({'name': "Without limit"})
        order = self._order(900, partner=free, confirm=True)
        other = self.env['res.partner'].create({'name': "Other", 'credit_limit': 10})
        with self.assertRaisesRegex(UserError, "Other has reached"), self.env.cr.savepoint():
            self._as_salesperson(order).write({'partner_id': other.id, 'partner_invoice_id': other.id})

    # === Money comes in === #

    def _pay(self, invoice):
        line = invoice.line_ids.filtered(lambda line: line.account_type == 'asset_receivable')
        entry = self.env['account.move'].create({
            'date': '2024-06-10',
            'line_ids': [
                Command.create({'account_id': line.account_id.id, 'partner_id': line.partner_id.id,
                                'balance': -line.amount_residual}),
                Command.create({'account_id': self.company_data['default_account_revenue'].id,
                                'balance': line.amount_residual}),
            ],
        })
        entry.action_post()
        (line + entry.line_ids.filtered(lambda other: other.account_id == line.account_id)).reconcile()

    def test_payment_frees_held_orders_if_the_company_says_so(self):
        invoice = self._invoice(800)
        first = self._order(900)
        first.action_request_release()
        self.assertEqual(first.credit_state, 'hold')
        self._pay(invoice)
        self.assertEqual(first.credit_state, 'hold', "not without the setting")
        self.assertFalse(first.credit_needs_release)
        self.company.credit_auto_release = True
        self.env['sale.order']._recheck_held_orders(self.customer)
        self.assertEqual(first.credit_state, 'ok')
        self.assertEqual(first.activity_ids.user_id, self.salesperson)
        first.action_confirm()
        self.assertEqual(first.credit_state, 'ok')

    def test_posting_a_payment_or_credit_note_frees_held_orders(self):
        self.company.credit_auto_release = True
        self._invoice(800)
        order = self._order(900)
        order.action_request_release()
        self._invoice(800, move_type='out_refund')
        self.assertEqual(order.credit_state, 'ok')

    def test_a_payment_that_does_not_suffice_frees_what_fits_the_oldest_first(self):
        self.company.credit_auto_release = True
        invoice = self._invoice(1000)
        orders = self.env['sale.order']
        for day, amount in ((1, 700), (2, 400), (3, 300)):
            with freeze_time(f'2024-06-0{day}'):
                order = self._order(amount)
                order.action_request_release()
            orders += order
        self._pay(invoice)
        self.assertEqual(orders.mapped('credit_state'), ['ok', 'hold', 'ok'], "700 + 300 fit within 1000, 400 does not")

    def test_hold_by_hand_is_not_freed_by_a_payment(self):
        self.company.credit_auto_release = True
        self.customer.credit_hold = True
        invoice = self._invoice(100)
        order = self._order(100)
        order.action_request_release()
        self._pay(invoice)
        self.assertEqual(order.credit_state, 'hold')

    def test_paying_the_bill_ends_the_hold_by_its_dunning_level(self):
        self.company.credit_auto_release = True
        invoice = self._invoice(100)
        procedure = self.env['account.dunning.procedure'].create({
            'name': "Test", 'level_ids': [Command.create({'name': "Last", 'delay_days': 1, 'credit_hold': True})]})
        invoice.line_ids.filtered(
            lambda line: line.account_type == 'asset_receivable').dunning_level_id = procedure.level_ids
        order = self._order(100)
        order.action_request_release()
        self._pay(invoice)
        self.assertEqual(order.credit_state, 'ok')

    def test_scheduled_action_frees_and_confirms_what_the_customer_has_signed(self):
        self.company.credit_auto_release = True
        order = self._order(1500, require_signature=True)
        order.sudo().write({'signed_by': "Ann", 'signed_on': fields.Datetime.now(), 'signature': PIXEL})
        order.sudo()._validate_order()
        self.assertRecordValues(order, [{'state': 'draft', 'credit_state': 'hold', 'signed_by': "Ann"}])
        self.customer.credit_limit = 2000
        with self.enter_registry_test_mode():
            result = self.env.ref('account_dunning.ir_cron_credit_recheck').method_direct_trigger()
        self.assertIs(result, True)
        self.assertRecordValues(order, [{'state': 'sale', 'credit_state': 'ok'}])

    def test_release_of_a_signed_order_confirms_it(self):
        order = self._order(1500, require_signature=True)
        order.sudo().write({'signed_by': "Ann", 'signed_on': fields.Datetime.now(), 'signature': PIXEL})
        order.sudo()._validate_order()
        self.assertEqual(order.state, 'draft')
        with self.capture_triggers('account_dunning.ir_cron_credit_recheck') as captured:
            order.with_user(self.credit_manager).action_release("Fine")
        self.assertEqual(len(captured.records), 1)
        self.assertEqual(order.credit_state, 'released')
        with self.enter_registry_test_mode():
            self.assertIs(self.env.ref('account_dunning.ir_cron_credit_recheck').method_direct_trigger(), True)
        self.assertRecordValues(order, [{'state': 'sale', 'credit_state': 'released'}])

    def test_cancelling_a_held_order_ends_the_managers_activity(self):
        order = self._order(1500)
        order.action_request_release()
        self.assertTrue(order.activity_ids)
        order.with_context(disable_cancel_warning=True).action_cancel()
        self.assertFalse(order.activity_ids)


PIXEL = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=='


@tagged('post_install', '-at_install')
@freeze_time('2024-06-10')
class TestCreditRights(CreditCommon):
    """A salesperson does what a salesperson may, whichever way they try."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.customer.credit_limit = 1000
        cls.order = cls._order(1500)
        cls.by_salesperson = cls.order.with_user(cls.salesperson)

    def test_salesperson_can_not_write_the_outcome_of_a_check(self):
        for vals in (
            {'credit_state': 'released'}, {'credit_state': 'ok'}, {'credit_release_amount': 1e9},
            {'credit_release_partner_id': self.customer.id}, {'credit_hold_date': '2024-01-01'},
        ):
            with self.assertRaises(AccessError):
                self.by_salesperson.write(vals)
            with self.assertRaises(AccessError):
                self.by_salesperson.copy(vals)
            with self.assertRaises(AccessError):
                self.env['sale.order'].with_user(self.salesperson).create({'partner_id': self.customer.id, **vals})

    def test_credit_manager_writes_it_through_the_methods_only(self):
        with self.assertRaises(AccessError):
            self.order.with_user(self.credit_manager).write({'credit_state': 'released'})
        with self.assertRaises(AccessError):
            self.order.sudo().write({'credit_state': 'released'})

    def test_defaults_in_the_context_do_not_release_an_order(self):
        order = self.env['sale.order'].with_user(self.salesperson).with_context(
            default_credit_state='released', default_credit_release_amount=1e9,
            default_credit_release_partner_id=self.customer.id,
            default_credit_release_currency_id=self.company.currency_id.id,
        ).create({
            'partner_id': self.customer.id,
            'order_line': [Command.create({'product_id': self.product.id, 'price_unit': 1500, 'tax_ids': False})],
        })
        self.assertEqual(order.credit_state, 'none')
        with self.assertRaises(UserError):
            order.action_confirm()

    def test_salesperson_can_not_release_or_reject(self):
        for method in ('action_release', 'action_reject_release'):
            with self.assertRaisesRegex(AccessError, "Only a credit manager"):
                getattr(self.by_salesperson, method)("Please")
            with self.assertRaisesRegex(AccessError, "Only a credit manager"):
                getattr(self.by_salesperson.sudo(), method)("Please")
        with self.assertRaises(AccessError):
            self.env['sale.order.release'].with_user(self.salesperson).create({
                'order_ids': [Command.set(self.order.ids)], 'reason': "Please"})

    def test_salesperson_can_not_change_limits_and_holds(self):
        self.salesperson.group_ids |= self.env.ref('base.group_partner_manager')
        partner = self.customer.with_user(self.salesperson)
        self.assertTrue(partner.has_access('write'))
        for vals in (
            {'credit_limit': 1e6}, {'credit_limit_extra': 1e6}, {'credit_limit_extra_until': '2030-01-01'},
            {'credit_control_policy': 'off'}, {'credit_hold': True}, {'credit_hold_reason': "x"},
        ):
            with self.assertRaises(AccessError):
                partner.write(vals)
            with self.assertRaises(AccessError):
                self.env['res.partner'].with_user(self.salesperson).create({'name': "New", **vals})
            with self.assertRaises(AccessError):
                self.env['res.partner'].with_user(self.salesperson).with_context(
                    **{f'default_{fname}': value for fname, value in vals.items()}).create({'name': "New"})
        with self.assertRaises(AccessError):
            self.company.with_user(self.salesperson).credit_control_policy = 'off'
        # An accountant may not either, a credit manager with the right to change contacts may.
        self.salesperson.group_ids |= self.env.ref('account.group_account_invoice')
        with self.assertRaises(AccessError):
            partner.write({'credit_limit': 1e6})
        self.credit_manager.group_ids |= self.env.ref('base.group_partner_manager')
        self.customer.with_user(self.credit_manager).write({'credit_hold': True, 'credit_limit_extra': 5})
        self.assertTrue(self.customer.credit_hold)

    def test_no_way_around_the_check_to_a_confirmed_order(self):
        with self.assertRaises(UserError), self.env.cr.savepoint():
            self.by_salesperson.write({'state': 'sale'})
        with self.assertRaises(UserError), self.env.cr.savepoint():
            self.env['sale.order'].with_user(self.salesperson).create({
                'partner_id': self.customer.id,
                'state': 'sale',
                'order_line': [Command.create({'product_id': self.product.id, 'price_unit': 1500, 'tax_ids': False})],
            })
        with self.assertRaises(UserError), self.env.cr.savepoint():
            self.by_salesperson.copy({'state': 'sale'})
        small = self._order(10)
        with self.assertRaises(UserError), self.env.cr.savepoint():
            small.with_user(self.salesperson).write({
                'state': 'sale', 'order_line': [Command.update(small.order_line.id, {'price_unit': 1500})]})
        for context in (
            {'bypass_risk': True}, {'credit_checked': True}, {'install_mode': True}, {'tracking_disable': True},
            {'account_dunning.checked_orders': {self.order.id: True}}, {'credit_order_id': self.order.id},
            {'force_company': False}, {'uid': 1}, {'default_credit_state': 'released'},
        ):
            with self.assertRaises(UserError):
                self.by_salesperson.with_context(**context).action_confirm()
        with self.assertRaises(UserError):
            self.by_salesperson.sudo().action_confirm()

    def test_forged_figures_do_not_stay(self):
        self.by_salesperson.write({'amount_total': 1})
        self.by_salesperson.write({'currency_rate': 1e9})
        self.by_salesperson.order_line.write({'price_total': 1, 'price_subtotal': 1})
        self.assertRecordValues(self.order, [{'amount_total': 1500, 'currency_rate': 1}])
        with self.assertRaises(UserError):
            self.by_salesperson.action_confirm()
        confirmed = self._order(900, confirm=True).with_user(self.salesperson)
        confirmed.order_line.write({'qty_invoiced': 1, 'invoice_status': 'invoiced'})
        confirmed.write({'invoice_status': 'invoiced'})
        self.assertEqual(self._exposure(), 900)

    def test_salesperson_sees_the_right_exposure_although_other_orders_are_not_theirs(self):
        other = self._order(700, user_id=self.env.user.id)
        other.action_confirm()
        with self.assertRaises(AccessError):
            other.with_user(self.salesperson).read(['name'])
        with self.assertRaises(AccessError):
            self.customer.with_user(self.salesperson).read(['credit'])
        self.assertEqual(self.by_salesperson.credit_exposure, 2200)
        self.assertEqual(self.customer.with_user(self.salesperson).credit_exposure, 700)
        action = self.by_salesperson.action_view_credit_exposure()
        exposure = self.env[action['res_model']].with_user(self.salesperson).with_context(
            **action['context']).browse(action['res_id'])
        self.assertRecordValues(exposure, [{'amount_orders': 700, 'amount_order': 1500, 'amount_total': 2200}])
        self.assertFalse(self.env['sale.order'].with_user(self.salesperson).search(
            exposure.action_view_orders()['domain']), "the numbers, not the documents")

    def test_breakdown_does_not_show_an_order_that_one_may_not_read(self):
        other = self._order(700, user_id=self.env.user.id)
        action = self.by_salesperson.action_view_credit_exposure()
        exposure = self.env[action['res_model']].with_user(self.salesperson).with_context(
            credit_order_id=other.id).browse(action['res_id'])
        self.assertFalse(exposure.order_id)
        self.assertEqual(exposure.amount_total, 0)
        for nonsense in ('1', [1], 10**9, -1):
            self.assertFalse(exposure.with_context(credit_order_id=nonsense).order_id)

    def test_exposure_rows_can_not_be_changed(self):
        self.order.action_view_credit_exposure()
        row = self.env['account.credit.exposure'].search([('partner_id', '=', self.customer.id)])
        for user in (self.salesperson, self.credit_manager, self.env.user):
            for action in (
                lambda row: row.write({'check_count': 5}), lambda row: row.unlink(), lambda row: row.copy(),
            ):
                with self.assertRaises(AccessError):
                    action(row.with_user(user))

    def test_credit_manager_reads_the_queue_without_being_a_salesperson(self):
        self.order.action_request_release()
        action = self.env['ir.actions.act_window']._for_xml_id('account_dunning.sale_order_action_credit')
        queue = self.env['sale.order'].with_user(self.credit_manager).search(literal_eval(action['domain']))
        self.assertIn(self.order, queue)
        self.assertEqual(queue.filtered(lambda order: order == self.order).credit_excess, 500)
        with self.assertRaises(AccessError):
            self.order.with_user(self.credit_manager).write({'note': "x"})
        # Odoo's form shows what other apps let only salespeople read: the manager gets that of the queue, also from an
        # activity.
        with Form(self.order.with_user(self.credit_manager)) as form:
            self.assertIn("credit limit", form.credit_reason)
            self.assertNotIn('template_id', form._view['fields'])
        # A credit manager who also sells sees all orders, not only their own.
        self.credit_manager.group_ids |= self.env.ref('sales_team.group_sale_salesman')
        self.assertEqual(self.order.with_user(self.credit_manager).name, self.order.name)
        with self.assertRaises(AccessError):
            self.order.with_user(self.credit_manager).write({'note': "x"})

    def test_salesperson_form_gives_request_release_for_confirm(self):
        with Form(self.by_salesperson) as form:
            self.assertTrue(form.credit_needs_release)
            self.assertIn("credit limit", form.partner_credit_warning)
            with form.order_line.edit(0) as line:
                line.price_unit = 900
            self.assertFalse(form.credit_needs_release)
            self.assertFalse(form.partner_credit_warning)


@tagged('post_install', '-at_install')
@freeze_time('2024-06-10')
class TestCreditEveryWay(CreditCommon):
    """The check looks at what the customer owes before and after a change, whatever the way in."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.customer.credit_limit = 1000
        cls.order = cls._order(100, confirm=True)
        cls.salesperson.group_ids |= cls.env.ref('sales_team.group_sale_salesman_all_leads')

    def _line_values(self, amount):
        return {'product_id': self.product.id, 'product_uom_qty': 1, 'price_unit': amount, 'tax_ids': False}

    def test_line_does_not_come_to_a_confirmed_order_by_the_context(self):
        Line = self.env['sale.order.line'].with_user(self.salesperson).with_context(default_order_id=self.order.id)
        for way in (
            lambda: Line.create(self._line_values(21000)),
            lambda: Line.web_save(self._line_values(21000), {}),
            lambda: self.order.with_user(self.salesperson).write({
                'order_line': [Command.create(self._line_values(21000))]}),
            lambda: self.order.with_user(self.salesperson).web_save({
                'order_line': [Command.update(self.order.order_line.id, {'price_unit': 21000})]}, {}),
        ):
            with self.assertRaises(UserError), self.env.cr.savepoint():
                way()
            self.env.invalidate_all()
            self.assertEqual(self.order.amount_total, 100)
        self.assertEqual(Line.create(self._line_values(800)).order_id, self.order)

    def test_growth_of_what_is_not_invoiced_counts_not_the_total(self):
        order = self._order(900)
        order.action_confirm()
        order.order_line.qty_delivered = 1
        order._create_invoices().action_post()
        self.assertEqual(order.order_line.qty_invoiced, 1)
        with self.assertRaises(UserError), self.env.cr.savepoint():
            order.with_user(self.salesperson).write({'order_line': [
                Command.update(order.order_line.id, {'price_unit': 0}), Command.create(self._line_values(900))]})

    def test_dictionaries_of_the_caller_stay_as_they_are(self):
        vals = {'partner_id': self.customer.id}
        orders = self.env['sale.order'].with_user(self.salesperson).create([vals] * 2)
        self.assertEqual(len(orders), 2)
        self.assertEqual(vals, {'partner_id': self.customer.id})

    def test_quantity_to_invoice_written_by_another_module_stays(self):
        line = self.order.order_line.with_user(self.salesperson)
        line.qty_to_invoice = 0.25
        self.env.flush_all()
        line.invalidate_recordset()
        self.assertEqual(line.qty_to_invoice, 0.25)

    def test_message_names_each_order_that_is_refused(self):
        orders = self._order(2000) + self._order(3000) + self._order(10)
        with self.assertRaises(UserError) as caught:
            orders.with_user(self.salesperson).action_confirm()
        self.assertIn(orders[0].name, str(caught.exception))
        self.assertIn(orders[1].name, str(caught.exception))
        self.assertEqual(set(orders.mapped('state')), {'draft'})

    def test_portal_user_learns_nothing_from_confirming(self):
        portal = new_test_user(self.env, 'asker', groups='base.group_portal')
        answers = set()
        for order in (self._order(10), self._order(5000)):
            with self.assertRaises(AccessError) as caught:
                order.with_user(portal).action_confirm()
            answers.add(str(caught.exception).replace(order.name, '').replace(str(order.id), ''))
        self.assertEqual(len(answers), 1)

    def test_one_switch_rules_whatever_the_policy_says(self):
        self.company.sudo().account_use_credit_limit = False
        self.customer.write({'credit_hold': True, 'credit_control_policy': 'block'})
        order = self._order(50000).with_user(self.salesperson)
        order.action_confirm()
        self.assertRecordValues(order, [{'state': 'sale', 'credit_state': 'none'}])
        self.assertFalse(self.company._is_credit_hold_effective())

    def test_rejection_stays_when_the_limit_rises_or_is_asked_for_again(self):
        order = self._order(5000)
        order.with_user(self.salesperson).action_request_release()
        order.with_user(self.credit_manager).action_reject_release("No")
        self.customer.credit_limit = 100000
        order.with_user(self.salesperson).action_request_release()
        self.assertEqual(order.credit_state, 'rejected')
        with self.assertRaises(UserError):
            order.with_user(self.salesperson).action_confirm()
        self.company.credit_auto_release = True
        self.env['sale.order']._recheck_held_orders(self.customer)
        self.assertEqual(order.credit_state, 'rejected')

    def test_somebody_is_told_when_no_manager_can_release(self):
        elsewhere = self.env['res.company'].create({'name': "Elsewhere"})
        self.credit_manager.write({'company_id': elsewhere.id, 'company_ids': [Command.set(elsewhere.ids)]})
        self.env.ref('account_dunning.group_credit_manager').sudo().all_user_ids.filtered(
            lambda user: self.company in user.company_ids).group_ids -= self.env.ref(
                'account_dunning.group_credit_manager')
        order = self._order(5000)
        order.with_user(self.salesperson).action_request_release()
        self.assertTrue(order.activity_ids)
        self.assertIn("nobody can release it", order.activity_ids[0].summary)

    def test_requests_and_releases_of_many_orders_cost_no_query_each(self):
        def count(number):
            orders = self.env['sale.order'].union(*(self._order(3000) for _number in range(number)))
            self.env.flush_all()
            self.env.invalidate_all()
            before = self.env.cr.sql_log_count
            orders.with_user(self.salesperson).action_request_release()
            self.env.flush_all()
            asked = self.env.cr.sql_log_count - before
            self.customer.credit_limit = 1e9
            self.env.flush_all()
            self.env.invalidate_all()  # a payment comes when nothing of the orders is in the cache
            before = self.env.cr.sql_log_count
            self.env['sale.order']._recheck_held_orders(self.customer)
            self.env.flush_all()
            self.assertEqual(set(orders.mapped('credit_state')), {'ok'})
            self.customer.credit_limit = 1000
            return asked, self.env.cr.sql_log_count - before

        self.company.credit_auto_release = True
        count(2)
        few, many = count(3), count(30)
        self.assertLessEqual(many[0], few[0] + 10)
        self.assertLessEqual(many[1], few[1] + 10)
