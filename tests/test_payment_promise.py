from datetime import date

from odoo import Command
from odoo.exceptions import AccessError, UserError
from odoo.tests import freeze_time, new_test_user, tagged

from .common import DunningMailCommon


@tagged('post_install', '-at_install')
@freeze_time('2024-03-01')
class TestPaymentPromise(DunningMailCommon):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.company.sudo().write({'promise_max_days': 30, 'promise_grace_days': 3})
        cls.line = cls._create_due_invoice('2024-02-01', 1000.0)

    def _promise(self, amount=1000.0, day='2024-03-08', **values):
        return self.env['account.payment.promise'].create({
            'partner_id': self.partner_a.id, 'company_id': self.company.id, 'amount': amount, 'date': day, **values})

    def _update(self, day):
        self.env['account.dunning.block']._update_pauses(self.company, date.fromisoformat(day))

    def _night(self, day):
        """The scheduled actions of a night; who got a reminder from the mail server."""
        self.sink.mails.clear()
        with freeze_time(day):
            self._run_crons()
        return self._get_recipients()

    def test_pauses_until_the_date_plus_grace(self):
        promise = self._promise()
        self.assertEqual(promise.move_line_ids, self.line)
        self.assertRecordValues(promise.block_id, [{
            'reason': 'promise', 'state': 'active', 'date_until': date(2024, 3, 11), 'amount': 0.0,
        }])
        self.assertNotIn(self.line, self._due('2024-03-11'))

    def test_part_is_promised_the_rest_is_dunned(self):
        self._promise(400.0)
        due = self.Engine._due_lines(self.company, date(2024, 3, 1))
        self.assertEqual(due[self.line].amount_due, 600.0)

    def test_kept(self):
        promise = self._promise()
        self._pay(self.line, '2024-03-07')
        self._update('2024-03-08')
        self.assertRecordValues(promise, [{'state': 'kept', 'date_closed': date(2024, 3, 8)}])
        self.assertRecordValues(promise.block_id, [{'state': 'ended', 'broken': False}])
        self.assertRecordValues(self.partner_a, [{'promise_kept_count': 1, 'promise_broken_count': 0}])

    def test_kept_in_parts(self):
        promise = self._promise()
        self._pay(self.line, '2024-03-05', 400.0)
        self._update('2024-03-08')
        self.assertEqual(promise.state, 'open')
        self._pay(self.line, '2024-03-10', 600.0)
        self._update('2024-03-11')
        self.assertRecordValues(promise, [{'state': 'kept', 'delay_days': 3}])
        self.assertEqual(self.partner_a.promise_longest_delay, 3)

    def test_kept_by_an_unmatched_payment(self):
        promise = self._promise()
        self._create_unmatched_payment('2024-03-08', 1000.0, self.partner_a)
        self._update('2024-03-12')
        self.assertEqual(promise.state, 'kept')

    def test_kept_by_a_payment_that_odoo_has_not_booked(self):
        promise = self._promise()
        # Odoo's Accounting app books a payment only once it is on the bank statement: behave as it does
        self.patch(self.env.registry['account.move'], '_get_invoice_in_payment_state', lambda self: 'in_payment')
        journal = self.company_data['default_journal_bank']
        journal.inbound_payment_method_line_ids.payment_account_id = False
        payment = self.env['account.payment'].create({
            'payment_type': 'inbound', 'partner_type': 'customer', 'partner_id': self.partner_a.id,
            'amount': 1000.0, 'date': '2024-03-08', 'journal_id': journal.id,
        })
        payment.action_post()
        self.assertRecordValues(payment, [{'state': 'in_process', 'move_id': False}])
        self._update('2024-03-12')
        self.assertEqual(promise.state, 'kept')

    def test_older_unmatched_payment_does_not_keep_it(self):
        self._create_unmatched_payment('2024-02-10', 1000.0, self.partner_a)
        promise = self._promise()
        self._update('2024-03-12')
        self.assertEqual(promise.state, 'broken')

    def test_one_unmatched_payment_keeps_one_promise(self):
        other = self._create_due_invoice('2024-02-02', 1000.0)
        first = self._promise(move_line_ids=[Command.set(self.line.ids)])
        second = self._promise(day='2024-03-09', move_line_ids=[Command.set(other.ids)])
        self._create_unmatched_payment('2024-03-08', 1000.0, self.partner_a)
        self._update('2024-03-20')
        self.assertEqual(first.state, 'kept')
        self.assertEqual(second.state, 'broken')

    def test_broken_next_step_goes_out_at_once(self):
        self.assertEqual(self._night('2024-03-01'), ['a@example.com'])
        self.assertEqual(self.line.dunning_level_id, self.level_1)
        promise = self._promise(day='2024-03-02')
        self.assertFalse(self._night('2024-03-05'))
        self.assertEqual(promise.state, 'open', "the last day of grace")

        # five days after the last reminder, where seven are the rule
        self.assertEqual(self._night('2024-03-06'), ['a@example.com'])
        self.assertEqual(promise.state, 'broken')
        self.assertRecordValues(promise.block_id, [{
            'state': 'ended', 'broken': True, 'date_ended': date(2024, 3, 6)}])
        self.assertRecordValues(self.line, [{
            'dunning_level_id': self.level_2.id, 'dunning_last_date': date(2024, 3, 6)}])
        notice = self.Notice.search([('partner_id', '=', self.partner_a.id)], order='id desc', limit=1)
        self.assertRecordValues(notice, [{'state': 'sent', 'sent_date': date(2024, 3, 6), 'amount_due': 1000.0}])
        self.assertIn("which you had promised", " ".join(
            notice.attachment_id.raw.decode().split()), "the letter says why")
        self.assertEqual(self.partner_a.promise_broken_count, 1)
        bodies = self.line.move_id.message_ids.mapped('body')
        self.assertTrue(any("promised to pay" in body for body in bodies), bodies)
        self.assertTrue(any("broken" in body for body in bodies), bodies)
        self.assertFalse(self._night('2024-03-07'), "once")

    def test_broken_before_any_reminder_goes_out_the_same_day(self):
        promise = self._promise(day='2024-03-02')
        self.assertFalse(self._night('2024-03-05'))
        self.assertEqual(self._night('2024-03-06'), ['a@example.com'])
        self.assertEqual(promise.state, 'broken')
        self.assertEqual(self.line.dunning_level_id, self.level_1)

    def test_kept_no_reminder_goes_out(self):
        promise = self._promise(day='2024-03-08')
        self._pay(self.line, '2024-03-08')
        self.assertFalse(self._night('2024-03-12'))
        self.assertEqual(promise.state, 'kept')

    def test_paid_between_preparation_and_sending(self):
        """The promise breaks and a notice is queued; the payment comes in before it goes out."""
        self._promise(day='2024-03-02')
        with freeze_time('2024-03-06'):
            self._run_cron('ir_cron_dunning_run')
            notice = self.Notice.search([('partner_id', '=', self.partner_a.id)])
            self.assertEqual(notice.state, 'queued')
            self._create_unmatched_payment('2024-03-06', 1000.0, self.partner_a)
            self._run_cron('ir_cron_dunning_send')
        self.assertFalse(self.sink.mails)
        self.assertEqual(notice.state, 'cancelled')

    def test_invoice_credited_meanwhile_blames_nobody(self):
        promise = self._promise()
        credit_note = self._reverse_invoice(self.line.move_id, post=True)
        (self.line + self._get_receivable_lines(credit_note)).filtered(lambda line: not line.reconciled).reconcile()
        self._update('2024-03-20')
        self.assertEqual(promise.state, 'cancelled')
        self.assertRecordValues(self.partner_a, [{'promise_kept_count': 0, 'promise_broken_count': 0}])

    def test_credited_in_part_and_paid_is_kept(self):
        promise = self._promise()
        credit = self._create_due_invoice('2024-02-20', 300.0, move_type='out_refund')
        (self.line + credit).reconcile()
        self._pay(self.line, '2024-03-08', 700.0)
        self._update('2024-03-20')
        self.assertEqual(promise.state, 'kept')

    def test_payment_undone_breaks_it(self):
        promise = self._promise()
        self._pay(self.line, '2024-03-05')
        self.line.remove_move_reconcile()
        self.env['account.move'].search([('ref', '=', False), ('line_ids.name', '=', "Payment"),
                                         ('company_id', '=', self.company.id)]).button_draft()
        self._update('2024-03-20')
        self.assertEqual(promise.state, 'broken')

    def test_invoice_back_in_draft_blames_nobody(self):
        promise = self._promise()
        self.line.move_id.button_draft()
        self._update('2024-03-20')
        self.assertEqual(promise.state, 'open')
        self.line.move_id.action_post()
        self._update('2024-03-20')
        self.assertEqual(promise.state, 'broken')

    def test_doing_it_twice_changes_nothing(self):
        promise = self._promise()
        self._update('2024-03-20')
        messages = self.line.move_id.message_ids
        self._update('2024-03-20')
        self.assertEqual(self.line.move_id.message_ids, messages)
        self.assertEqual(promise.date_closed, date(2024, 3, 20))

    def test_later_than_allowed_needs_the_manager(self):
        clerk = new_test_user(
            self.env, 'clerk', groups='account.group_account_invoice',
            company_id=self.company.id, company_ids=self.company.ids)
        Promise = self.env['account.payment.promise'].with_user(clerk)
        values = {'partner_id': self.partner_a.id, 'company_id': self.company.id, 'amount': 10.0}
        Promise.create({**values, 'date': '2024-03-31'})
        with self.assertRaisesRegex(AccessError, "03/31/2024 at the latest"):
            Promise.create({**values, 'date': '2024-04-01'})
        promise = Promise.create({**values, 'date': '2024-03-30'})
        with self.assertRaisesRegex(AccessError, "at the latest"):
            promise.date = '2024-06-30'
        manager = new_test_user(
            self.env, 'manager', groups='account.group_account_manager',
            company_id=self.company.id, company_ids=self.company.ids)
        self.assertTrue(Promise.with_user(manager).create({**values, 'date': '2024-06-30'}))

    def test_nothing_owed_is_refused(self):
        with self.assertRaisesRegex(UserError, "owes nothing"):
            self._promise(partner_id=self.partner_b.id)

    def test_cancelled_resumes_without_blame(self):
        promise = self._promise()
        promise.action_cancel()
        self.assertEqual(promise.state, 'cancelled')
        self.assertRecordValues(promise.block_id, [{'state': 'ended', 'broken': False}])
        self.assertIn(self.line, self._due('2024-03-01'))

    def test_closed_promise_cannot_be_changed(self):
        promise = self._promise()
        self._update('2024-03-20')
        with self.assertRaisesRegex(UserError, "closed"):
            promise.amount = 1.0

    def test_postponed_moves_the_pause(self):
        promise = self._promise()
        promise.date = '2024-03-20'
        self.assertEqual(promise.block_id.date_until, date(2024, 3, 23))
        self._update('2024-03-15')
        self.assertEqual(promise.state, 'open')

    def test_promised_in_two_parts_each_is_paid_for_once(self):
        first = self._promise(400.0, '2024-03-05')
        second = self._promise(600.0, '2024-03-20')
        self._pay(self.line, '2024-03-04', 400.0)
        self._update('2024-03-05')
        self.assertEqual((first.state, second.state), ('kept', 'open'))
        self._pay(self.line, '2024-03-06', 200.0)
        self._update('2024-03-07')
        self.assertEqual(second.state, 'open', "600 paid of 1,000 promised")
        self.assertFalse(self._due('2024-03-07'))
        self._pay(self.line, '2024-03-19', 400.0)
        self._update('2024-03-20')
        self.assertEqual(second.state, 'kept')

    def test_a_broken_part_does_not_count_against_the_next(self):
        first = self._promise(400.0, '2024-03-05')
        second = self._promise(600.0, '2024-03-20')
        self._update('2024-03-09')
        self.assertEqual(first.state, 'broken')
        self._pay(self.line, '2024-03-20', 600.0)
        self._update('2024-03-20')
        self.assertEqual(second.state, 'kept')

    def test_what_a_payment_plan_covers_is_not_promised_again(self):
        other = self._create_due_invoice('2024-02-10', 100.0)
        plan = self.env['account.payment.plan'].create({
            'partner_id': self.partner_a.id, 'company_id': self.company.id, 'move_line_ids': self.line.ids,
            'installment_ids': [Command.create({'date': '2024-04-01', 'amount': 1000.0})],
        })
        plan.action_offer()
        plan.action_sign()
        promise = self._promise(100.0)
        self.assertEqual(promise.move_line_ids, other)
        self.assertFalse(self._due('2024-03-08'))

    def test_what_is_disputed_does_not_take_the_promised_amount(self):
        other = self._create_due_invoice('2024-02-10', 100.0)
        self.env['account.dispute'].create({'move_id': self.line.move_id.id, 'reason': 'price'})
        self.assertEqual(self._promise(100.0).move_line_ids, other)
        self.assertFalse(self._due('2024-03-08'))
        call = self.env['account.dunning.call'].create({'partner_id': self.partner_a.id, 'company_id': self.company.id})
        self.assertEqual(call.move_ids, (self.line + other).move_id, "all is paused: anything may be meant")

    def test_another_invoice_promised_counts_anew(self):
        """1,000 promised, then it turns out to be about the bill of 500: nothing of that is paid yet."""
        other = self._create_due_invoice('2024-02-10', 500.0)
        promise = self._promise(move_line_ids=[Command.set(self.line.ids)])
        promise.write({'move_line_ids': [Command.set(other.ids)], 'amount': 500.0})
        self.assertEqual(promise.block_id.move_line_ids, other)
        self._update('2024-03-05')
        self.assertEqual(promise.state, 'open')
        self._update('2024-03-20')
        self.assertEqual(promise.state, 'broken')

    def test_an_online_payment_on_its_way_is_waited_for(self):
        promise = self._promise()
        transaction = self._create_online_payment(self.line)
        self.assertFalse(self._night('2024-03-20'))
        self.assertEqual(promise.state, 'open')
        transaction.state = 'cancel'
        self.assertEqual(self._night('2024-03-20'), ['a@example.com'])
        self.assertEqual(promise.state, 'broken')
