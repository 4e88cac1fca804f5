from datetime import date

from odoo import Command
from odoo.exceptions import UserError
from odoo.tests import Form, freeze_time, tagged

from .common import DunningMailCommon


@tagged('post_install', '-at_install')
@freeze_time('2024-03-01')
class TestDunningCall(DunningMailCommon):
    """What the customer says on the phone, and what follows from it."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.line = cls._create_due_invoice('2024-02-01', 1000.0)
        cls.later = cls._create_due_invoice('2024-04-01', 70.0)

    def _call(self, **values):
        return self.env['account.dunning.call'].create({
            'partner_id': self.partner_a.id, 'company_id': self.company.id, **values})

    def _stories(self, record):
        return ' '.join(record.message_ids.mapped('body'))

    def test_will_pay(self):
        with Form(self.env['account.dunning.call'].with_context(
            default_partner_id=self.partner_a.id, default_company_id=self.company.id,
        )) as form:
            self.assertEqual((form.promise_amount, form.promise_date), (1000.0, date(2024, 3, 8)), "what is overdue")
            form.promise_amount = 600.0
            form.note = "By transfer, first half"
        form.save().action_log()
        promise = self.env['account.payment.promise'].search([('partner_id', '=', self.partner_a.id)])
        self.assertRecordValues(promise, [{
            'amount': 600.0, 'date': date(2024, 3, 8), 'state': 'open', 'move_line_ids': self.line.ids}])
        self.assertEqual(self.Engine._due_lines(self.company, date(2024, 3, 1))[self.line].amount_due, 400.0)
        for record in (self.partner_a, self.line.move_id):
            self.assertIn("first half", self._stories(record))
            self.assertIn("promised to pay", self._stories(record))

    def test_promise_for_a_day_that_is_over_is_refused(self):
        with self.assertRaisesRegex(UserError, "it can't be over"):
            self._call(promise_date='2024-02-29').action_log()

    def test_promise_in_two_currencies_is_refused(self):
        currency = self.setup_other_currency('EUR', rates=[('2024-01-01', 2.0)])
        foreign = self._create_due_invoice('2024-02-01', currency_id=currency.id)
        with self.assertRaisesRegex(UserError, "several currencies"):
            self._call(move_ids=[Command.set((self.line + foreign).move_id.ids)]).action_log()

    def test_disputes(self):
        self._call(
            outcome='dispute', dispute_move_id=self.line.move_id.id, dispute_amount=300.0, dispute_reason='quality',
        ).action_log()
        self.assertRecordValues(self.line.move_id.dispute_ids, [{
            'amount': 300.0, 'reason': 'quality', 'state': 'open', 'user_id': self.env.uid}])

    def test_cannot_pay_at_once(self):
        action = self._call(outcome='plan').action_log()
        prepare = self.env[action['res_model']].with_context(**action['context']).create({'number': 2})
        self.assertEqual(prepare.move_line_ids, self.line)
        self.assertEqual(prepare.line_ids.mapped('amount'), [500.0, 500.0])

    def test_no_answer_and_the_next_call(self):
        self._call(
            outcome='no_answer', activity_type_id=self.env.ref('mail.mail_activity_data_call').id,
            activity_date='2024-03-04', activity_summary="Try in the morning",
        ).action_log()
        self.assertIn("No answer", self._stories(self.partner_a))
        self.assertRecordValues(self.partner_a.activity_ids, [{
            'summary': "Try in the morning", 'date_deadline': date(2024, 3, 4), 'user_id': self.env.uid}])
        self.assertIn(self.line, self._due('2024-03-01'), "nothing is paused")

    def test_missing_invoice_and_statement_go_out_while_on_the_phone(self):
        call = self._call(
            outcome='forgot', send_move_ids=[Command.set(self.line.move_id.ids)], send_statement=True)
        self.assertEqual(call.email, 'a@example.com')
        action = call.action_send_documents()
        self.assertEqual((action['res_model'], action['res_id']), (call._name, call.id), "the dialog stays open")
        [(recipients, mail)] = self.sink.mails
        self.assertEqual(recipients, ['a@example.com'])
        names = [part.get_filename() for part in mail.iter_attachments()]
        self.assertEqual(len(names), 2, names)
        self.assertTrue(any("Statement of open items" in name for name in names), names)
        self.assertIn(self.line.move_id.name, call.documents_sent)
        self.assertIn("Sent to a@example.com", self._stories(self.partner_a))
        with self.assertRaisesRegex(UserError, "Choose the invoices"):
            call.action_send_documents()

    def test_without_an_address_nothing_is_sent(self):
        call = self._call(outcome='forgot', send_statement=True)
        call.email = False
        with self.assertRaisesRegex(UserError, "e-mail address"):
            call.action_send_documents()
        self.assertFalse(self.sink.mails)

    def test_letter_mentions_promise_and_dispute(self):
        """Of the bills that are promised or disputed nothing is asked; the letter about another one says so."""
        self._create_due_invoice('2024-02-05', 30.0)
        disputed = self._create_due_invoice('2024-02-06', 40.0)
        self.env['account.payment.promise'].create({
            'partner_id': self.partner_a.id, 'company_id': self.company.id, 'amount': 1000.0, 'date': '2024-03-08',
            'move_line_ids': [Command.set(self.line.ids)]})
        self.env['account.dispute'].create({'move_id': disputed.move_id.id, 'reason': 'price'})
        notice = self._prepare('2024-03-01').notice_ids
        self.assertEqual(notice.amount_due, 30.0)
        section = self.env['ir.qweb']._render('account_dunning.dunning_notice_pauses', {'o': notice})
        text = ' '.join(str(section).split())
        self.assertIn("Thank you for your promise to pay", text)
        self.assertIn("1,000.00", text)
        self.assertIn("We are looking into your objection", text)
        self.assertIn(disputed.move_id.name, text)
