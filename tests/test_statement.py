from unittest.mock import patch

from odoo import Command, fields
from odoo.exceptions import AccessError, UserError
from odoo.tests import freeze_time, new_test_user, tagged
from odoo.tools import mute_logger

from .common import DunningMailCommon


@tagged('post_install', '-at_install')
@freeze_time('2024-03-20')
class TestStatement(DunningMailCommon):
    """A owes 300, overdue, and 50 that is not due yet; B owes 80."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.line = cls._create_due_invoice('2024-03-01', 300.0)
        cls.coming = cls._create_due_invoice('2024-04-05', 50.0)
        cls.other = cls._create_due_invoice('2024-03-10', 80.0, partner=cls.partner_b)
        cls.address = cls.env['res.partner'].create({
            'name': "Payables", 'parent_id': cls.partner_a.id, 'type': 'dunning', 'email': 'payables@example.com',
            'street': "Office 2", 'city': "Liege"})
        cls.collector = new_test_user(
            cls.env, login='statement_collector', groups='account.group_account_invoice', company_id=cls.company.id,
            company_ids=[Command.set(cls.company.ids)])
        cls.followups = cls.env['account.dunning.followup'].search([
            ('company_id', '=', cls.company.id), ('partner_id', 'in', (cls.partner_a + cls.partner_b).ids)])

    def _html(self, partner=None):
        return self.env['ir.actions.report'].sudo()._render_qweb_html(
            'account_dunning.action_report_statement', (partner or self.partner_a).ids)[0].decode()

    def _deliver(self):
        self.env['mail.mail'].sudo().process_email_queue()

    def _run_cron(self):
        self.company.sudo().dunning_statement_monthly = True
        with self.enter_registry_test_mode():
            self.env.ref('account_dunning.ir_cron_statement').method_direct_trigger()
        self._deliver()

    def test_collector_sends_it_to_whom_reminders_go(self):
        action = self.followups.with_user(self.collector).action_send_statements()
        self.assertEqual(action['params']['type'], 'success')
        self._deliver()
        self.assertEqual(self._get_recipients(), ['b@example.com', 'payables@example.com'])
        self.assertEqual(
            self.partner_a.with_company(self.company).dunning_statement_date, fields.Date.to_date('2024-03-20'))
        message = self.partner_a.message_ids.filtered('attachment_ids')
        self.assertIn("statement of account", message.subject)

    def test_customers_without_an_address_are_named(self):
        self.partner_b.email = False
        action = self.followups.with_user(self.collector).action_send_statements()
        self.assertIn(self.partner_b.name, action['params']['message'])
        with self.assertRaisesRegex(UserError, "None of these customers"):
            self.followups.filtered(
                lambda followup: followup.partner_id == self.partner_b).with_user(
                    self.collector).action_send_statements()

    def test_others_can_not_send(self):
        for groups in ('account.group_account_readonly', 'sales_team.group_sale_salesman', 'base.group_portal'):
            user = new_test_user(self.env, login=f'statement {groups}', groups=groups, company_id=self.company.id,
                                 company_ids=[Command.set(self.company.ids)])
            with self.subTest(groups=groups), self.assertRaises(AccessError):
                self.followups.with_user(user).action_send_statements()

    def test_monthly_once_and_from_the_day_on(self):
        self.company.sudo().dunning_statement_day = 21
        self._run_cron()
        self.assertFalse(self.sink.mails, "not before the day")
        with freeze_time('2024-03-23'):
            self._run_cron()
            self.assertEqual(self._get_recipients(), ['b@example.com', 'payables@example.com'], "the day was missed")
            self._run_cron()
            self.assertEqual(len(self.sink.mails), 2, "once a month")
        self._pay(self.line + self.coming, '2024-04-01')
        with freeze_time('2024-04-21'):
            self.sink.mails.clear()
            self._run_cron()
            self.assertEqual(self._get_recipients(), ['b@example.com'], "who owes nothing gets nothing")

    def test_nothing_goes_out_by_itself_unless_the_company_wants_it(self):
        with self.enter_registry_test_mode():
            self.env.ref('account_dunning.ir_cron_statement').method_direct_trigger()
        self._deliver()
        self.assertFalse(self.sink.mails)

    def test_one_that_fails_stops_nobody(self):
        partner = self.registry['res.partner']
        send = partner._send_statements

        def fail_for_b(partners, company):
            if self.partner_b in partners:
                raise ValueError("broken")
            return send(partners, company)

        with patch.object(partner, '_send_statements', fail_for_b), mute_logger(
                'odoo.addons.account_dunning.utils.isolate'):
            self._run_cron()
        self.assertEqual(self._get_recipients(), ['payables@example.com'])
        self.assertFalse(self.partner_b.with_company(self.company).dunning_statement_date, "tried again tomorrow")

    def test_it_says_what_is_disputed_promised_and_received(self):
        self.env['account.dispute'].create({'move_id': self.line.move_id.id, 'amount': 300.0})
        self.env['account.payment.promise'].create({
            'partner_id': self.partner_a.id, 'company_id': self.company.id, 'amount': 50.0, 'date': '2024-03-28',
            'move_line_ids': [Command.set(self.coming.ids)]})
        self.env['account.bank.statement.line'].create({
            'journal_id': self.company_data['default_journal_bank'].id, 'date': '2024-03-19', 'amount': 120.0,
            'partner_id': self.partner_a.id, 'payment_ref': "Transfer"})
        [item] = self.partner_a._get_open_items(self.company)
        self.assertEqual((item['received'], item['total'], item['overdue']), (120.0, 230.0, 180.0))
        html = self._html()
        for text in ("in dispute", "promised for Mar 28, 2024", "not assigned yet", "Office 2"):
            self.assertIn(text, html)

    def test_credits_on_the_account_are_not_counted_twice(self):
        self._create_unmatched_payment('2024-03-15', 100.0, self.partner_a)
        [item] = self.partner_a._get_open_items(self.company)
        self.assertEqual((item['received'], item['total'], item['overdue']), (0.0, 250.0, 200.0))

    def test_our_own_reasons_to_wait_are_not_told(self):
        self.env['account.dunning.block'].create({
            'company_id': self.company.id, 'partner_id': self.partner_a.id, 'date_from': '2024-03-01',
            'note': "Owner is a friend"})
        html = self._html()
        self.assertNotIn('name="note"', html)
        self.assertNotIn("friend", html)
