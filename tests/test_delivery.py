import time
from email import message_from_bytes, policy
from unittest.mock import patch

import psycopg2

from odoo import fields
from odoo.exceptions import UserError, ValidationError
from odoo.tests import freeze_time, new_test_user, tagged
from odoo.tools import config, mute_logger

from odoo.addons.account_dunning.models.account_dunning_notice_handover import HandOver
from odoo.addons.account_dunning.models.ir_actions_report import PrintPages

from .common import DunningMailCommon

DELIVERY = 'odoo.addons.account_dunning.models.account_dunning_notice_delivery'
HANDOVER = 'odoo.addons.account_dunning.models.account_dunning_notice_handover'


def fail_after_sending(error):
    """`HandOver.send` that fails once the mail server has taken the mail."""
    send = HandOver.send

    def send_and_fail(handover, smtp, mail):
        send(handover, smtp, mail)
        raise error

    return send_and_fail


@tagged('post_install', '-at_install')
class TestDelivery(DunningMailCommon):
    """How a notice goes out, or not, and what it leaves behind."""

    def _get_notices(self):
        return self.Notice.search([('company_id', '=', self.company.id)], order='id')

    def _queue_notice(self, date='2024-03-10', **values):
        line = self._create_due_invoice('2024-02-01', **values)
        notice = self._prepare(date).notice_ids
        notice.action_send()
        return line, notice

    @freeze_time('2024-03-10 08:00:00')
    def test_mail_goes_out_and_the_line_moves(self):
        line, notice = self._queue_notice()
        self.assertFalse(line.dunning_level_id)
        self._run_cron('ir_cron_dunning_send')
        today = fields.Date.to_date('2024-03-10')
        self.assertRecordValues(notice, [{
            'state': 'sent', 'sent_date': today, 'email_to': 'a@example.com', 'failure_reason': False,
            'handover_date': False, 'is_in_doubt': False,
        }])
        self.assertNotEqual(notice.name, '/')
        self.assertEqual(self._get_recipients(), ['a@example.com'])
        self.assertEqual((line.dunning_level_id, line.dunning_last_date), (self.level_1, today))
        self.assertEqual((line.move_id.dunning_level_id, line.move_id.dunning_last_date), (self.level_1, today))
        self.assertEqual(notice.run_id.state, 'done')
        [[_recipients, mail]] = self.sink.mails
        self.assertEqual(mail['Message-Id'], notice.message_id)
        self.assertEqual(notice.attachment_id.name, next(mail.iter_attachments()).get_filename())
        self.assertIn("Level 1", line.move_id.message_ids.mapped('body')[0])

    @freeze_time('2024-03-10 08:00:00')
    def test_mail_without_a_letter_is_its_own_evidence(self):
        self.level_1.attach_letter = False
        line, notice = self._queue_notice()
        self._run_cron('ir_cron_dunning_send')
        self.assertRecordValues(notice, [{'state': 'sent', 'attachment_id': False, 'is_letter_to_print': False}])
        [[_recipients, mail]] = self.sink.mails
        self.assertFalse(list(mail.iter_attachments()))
        source = message_from_bytes(notice.mail_source_id.raw, policy=policy.default)
        self.assertEqual(source['Message-Id'], notice.message_id)
        self.assertIn(line.move_id.name, source.get_body(('html',)).get_content())
        self.assertEqual(notice.mail_source_id.raw.splitlines(), self.sink.sources[-1].splitlines(), "to the letter")
        sent, kept = (message.get_body(('html',)).get_content().split() for message in (mail, source))
        self.assertEqual(sent, kept)
        with self.assertRaisesRegex(UserError, "evidence"):
            notice.mail_source_id.with_user(new_test_user(
                self.env, 'eml', groups='account.group_account_manager', company_id=self.company.id,
                company_ids=[fields.Command.set(self.company.ids)])).unlink()

    @freeze_time('2024-03-10 08:00:00')
    @mute_logger(DELIVERY, HANDOVER)
    def test_mail_without_a_letter_is_kept_when_something_fails_after_it_was_accepted(self):
        self.level_1.attach_letter = False
        _line, notice = self._queue_notice()
        with patch.object(HandOver, 'send', fail_after_sending(RuntimeError("Test"))):
            self._run_cron('ir_cron_dunning_send')
        self.assertEqual(notice.state, 'sent')
        self.assertIn(notice.message_id.encode(), notice.mail_source_id.raw)

    def test_formal_notice_always_carries_its_letter(self):
        self.level_1.attach_letter = False
        self.level_1.is_formal_notice = True
        self.assertTrue(self.level_1.attach_letter)
        with self.assertRaises(ValidationError):
            self.level_1.attach_letter = False

    @freeze_time('2024-03-10 08:00:00')
    def test_letter_that_is_posted_instead_is_made_all_the_same(self):
        self.level_1.attach_letter = False
        self.partner_a.email = False
        _line, notice = self._queue_notice()
        self._run_cron('ir_cron_dunning_send')
        self.assertRecordValues(notice, [{'state': 'sent', 'is_letter_to_print': True, 'mail_source_id': False}])
        self.assertTrue(notice.attachment_id)

    @freeze_time('2024-03-10 08:00:00')
    def test_copies_of_the_scheduled_action_work_at_the_same_queue(self):
        sender = self.env.ref('account_dunning.ir_cron_dunning_send').sudo()
        other = sender.copy()
        triggers = self.env['ir.cron.trigger'].sudo()
        before = triggers.search([])
        _line, notice = self._queue_notice()
        self.assertEqual((triggers.search([]) - before).cron_id, sender | other)
        with self.enter_registry_test_mode():
            self.assertIs(other.method_direct_trigger(), True)
        self._run_cron('ir_cron_dunning_send')
        notice.invalidate_recordset()
        self.assertEqual(notice.state, 'sent')
        self.assertEqual(self._get_recipients(), ['a@example.com'])

    @freeze_time('2024-03-10 08:00:00')
    def test_sending_twice_sends_once(self):
        _line, notice = self._queue_notice()
        self._run_cron('ir_cron_dunning_send')
        self._run_cron('ir_cron_dunning_send')
        self._run_crons()
        self.assertEqual(self._get_recipients(), ['a@example.com'])
        with self.assertRaises(UserError):
            notice.action_send()

    @freeze_time('2024-03-10 08:00:00')
    def test_what_is_rendered_goes_out_when_the_time_is_up(self):
        for partner in (self.partner_a, self.partner_b):
            self._create_due_invoice('2024-02-01', partner=partner)
        notices = self._prepare('2024-03-10').notice_ids
        notices.action_send()
        Cron, Notice = self.registry['ir.cron'], self.registry['account.dunning.notice']
        commit_progress, render_letters = Cron._commit_progress, Notice._render_letters

        def no_time_left(cron, *args, **kwargs):
            commit_progress(cron, *args, **kwargs)
            return 0.0

        with (
            patch.object(Cron, '_commit_progress', no_time_left),
            patch.object(Notice, '_render_letters', autospec=True, side_effect=render_letters) as render,
        ):
            self._run_cron('ir_cron_dunning_send')
        self.assertEqual(notices.mapped('state'), ['sent', 'sent'])
        self.assertEqual(self._get_recipients(), ['a@example.com', 'b@example.com'])
        self.assertEqual(render.call_count, 1, "Once for the two, not once for each")

    @freeze_time('2024-03-10 08:00:00')
    def test_paid_between_proposal_and_sending(self):
        line, notice = self._queue_notice()
        self._pay(line, '2024-03-10')
        self._run_cron('ir_cron_dunning_send')
        self.assertEqual(notice.state, 'cancelled')
        self.assertTrue(notice.cancel_reason)
        self.assertFalse(self.sink.mails)
        self.assertFalse(line.dunning_level_id)

    @freeze_time('2024-03-10 08:00:00')
    def test_partly_paid_between_proposal_and_sending(self):
        line, notice = self._queue_notice(amount=100.0)
        self._create_unmatched_payment('2024-03-10', 40.0, self.partner_a)
        self._run_cron('ir_cron_dunning_send')
        self.assertRecordValues(notice, [{'state': 'sent', 'amount_due': 60.0}])
        self.assertRecordValues(notice.line_ids, [{'amount_set_off': 40.0, 'amount_due': 60.0}])
        self.assertEqual(line.dunning_level_id, self.level_1)

    @freeze_time('2024-03-10 08:00:00')
    def test_paid_after_rendering(self):
        """The last look: money that comes in while the letter is being made."""
        line, notice = self._queue_notice()
        render = type(notice)._render_mails

        def pay_meanwhile(notices):
            render(notices)
            self._pay(line.with_env(notices.env), '2024-03-10')

        with patch.object(type(notice), '_render_mails', pay_meanwhile):
            self._run_cron('ir_cron_dunning_send')
        self.assertEqual(notice.state, 'cancelled')
        self.assertFalse(self.sink.mails)

    @freeze_time('2024-03-10 08:00:00')
    def test_paid_after_the_mail_was_made(self):
        """The last look, right before handing over; what is still to be paid is asked for next time."""
        for amount, state, mails in ((100.0, 'cancelled', 0), (30.0, 'queued', 0)):
            with self.subTest(amount=amount):
                self.sink.mails.clear()
                partner = self.env['res.partner'].create({'name': f"Pays {amount}", 'email': 'late@example.com'})
                line, notice = self._queue_notice(partner=partner, amount=100.0)
                seal = type(notice)._seal_mails

                def pay_meanwhile(notices, *args, seal=seal, amount=amount, partner=partner):
                    sealed = seal(notices, *args)
                    self._create_unmatched_payment('2024-03-10', amount, partner)
                    self.env.flush_all()
                    return sealed

                with patch.object(type(notice), '_seal_mails', pay_meanwhile):
                    self._run_cron('ir_cron_dunning_send')
                self.assertRecordValues(notice, [{'state': state, 'handover_date': False}])
                self.assertEqual(len(self.sink.mails), mails)
                self.assertFalse(line.dunning_level_id)
                self._run_cron('ir_cron_dunning_send')
                self.assertEqual(len(self.sink.mails), 1 if state == 'queued' else 0)
                if state == 'queued':
                    self.assertRecordValues(notice, [{'state': 'sent', 'amount_due': 70.0}])

    @freeze_time('2024-03-10 08:00:00')
    def test_mail_whose_lines_nobody_can_look_at_does_not_go_out(self):
        _line, notice = self._queue_notice()
        with patch.object(type(notice), '_take_first_look', lambda *args: None):
            self._run_cron('ir_cron_dunning_send')
        self.assertRecordValues(notice, [{'state': 'queued', 'handover_date': False}])
        self.assertFalse(self.sink.mails)
        self._run_cron('ir_cron_dunning_send')
        self.assertEqual(len(self.sink.mails), 1)

    @freeze_time('2024-03-10 08:00:00')
    @mute_logger('odoo.addons.account_dunning.utils.isolate')
    def test_what_follows_from_the_sending_is_made_up_for(self):
        """A worker that was cut off after its mails had gone out: nothing is sent again, and nothing is forgotten."""
        self.level_1.sudo().write({'create_activity': True, 'activity_summary': "Call them"})
        line, notice = self._queue_notice()
        with patch.object(type(notice), '_plan_activity', side_effect=ValueError("Cut off")):
            self._run_cron('ir_cron_dunning_send')
        self.assertRecordValues(notice, [{'state': 'sent', 'is_to_conclude': True}])
        self.assertEqual(line.dunning_level_id, self.level_1)
        self.assertIn("Cut off", notice.activity_ids.summary)
        self._run_cron('ir_cron_dunning_send')
        self.assertFalse(notice.is_to_conclude)
        self.assertIn("Call them", notice.activity_ids.mapped('summary'))
        self.assertEqual(notice.mail_id.sudo().state, 'sent')
        self.assertEqual(len(self.sink.mails), 1)

    @freeze_time('2024-03-10 08:00:00')
    def test_blocked_between_proposal_and_sending(self):
        _line, notice = self._queue_notice()
        self.env['account.dunning.block'].sudo().create({
            'partner_id': self.partner_a.id, 'company_id': self.company.id, 'date_from': '2024-03-10'})
        self._run_cron('ir_cron_dunning_send')
        self.assertEqual(notice.state, 'cancelled')
        self.assertFalse(self.sink.mails)

    @freeze_time('2024-03-10 08:00:00')
    def test_fallen_below_the_minimum(self):
        self.procedure.min_amount = 50.0
        line, notice = self._queue_notice(amount=100.0)
        self._pay(line, '2024-03-10', amount=50.01)
        self._run_cron('ir_cron_dunning_send')
        self.assertEqual(notice.state, 'cancelled')

    @freeze_time('2024-03-10 08:00:00')
    def test_level_falls_when_the_highest_line_is_paid(self):
        old = self._create_due_invoice('2024-01-15')
        self._prepare('2024-02-01').notice_ids._mark_sent(fields.Date.to_date('2024-02-01'))
        new = self._create_due_invoice('2024-03-01')
        notice = self._prepare('2024-03-10').notice_ids
        self.assertEqual(notice.level_id, self.level_2)
        notice.action_send()
        self._pay(old, '2024-03-10')
        self._run_cron('ir_cron_dunning_send')
        self.assertRecordValues(notice, [{'state': 'sent', 'level_id': self.level_1.id}])
        self.assertEqual(new.dunning_level_id, self.level_1)

    @freeze_time('2024-03-10 08:00:00')
    def test_due_date_put_off_after_the_proposal(self):
        line, notice = self._queue_notice()
        line.date_maturity = '2024-03-31'
        self._run_cron('ir_cron_dunning_send')
        self.assertEqual(notice.state, 'cancelled')
        self.assertFalse(self.sink.mails)
        self.assertFalse(line.dunning_level_id)

    @freeze_time('2024-03-10 08:00:00')
    def test_due_date_moved_within_what_is_overdue_is_stated(self):
        line, notice = self._queue_notice()
        line.date_maturity = '2024-03-01'
        self._run_cron('ir_cron_dunning_send')
        self.assertEqual(notice.state, 'sent')
        self.assertRecordValues(notice.line_ids, [{
            'date_maturity': fields.Date.to_date('2024-03-01'), 'days_overdue': 9}])

    @freeze_time('2024-03-10 08:00:00')
    def test_proposals_of_a_later_day_do_not_go_out_before_it(self):
        line = self._create_due_invoice('2024-03-20')
        notice = self._prepare('2024-03-23').notice_ids
        notice.action_send()
        self._run_cron('ir_cron_dunning_send')
        self.assertEqual(notice.state, 'cancelled')
        self.assertFalse(self.sink.mails)
        self.assertFalse(line.dunning_level_id)

    def test_courtesy_that_fails_until_the_due_date_is_passed_over(self):
        self.procedure.level_ids.sorted('sequence')[:1].delay_days = -3
        with freeze_time('2024-03-10 08:00:00'):
            line = self._create_due_invoice('2024-03-12')
            notice = self._prepare('2024-03-10').notice_ids
            self.assertEqual(notice.level_id, self.level_1)
            notice.action_send()
        with freeze_time('2024-03-13 08:00:00'):
            self._run_cron('ir_cron_dunning_send')
        self.assertEqual(notice.state, 'cancelled')
        self.assertFalse(self.sink.mails)
        self.assertFalse(line.dunning_level_id)

    @freeze_time('2024-03-10 08:00:00')
    def test_line_that_moves_no_more_bears_no_level_of_the_notice(self):
        old = self._create_due_invoice('2024-02-01')
        new = self._create_due_invoice('2024-03-01')
        notice = self._prepare('2024-03-10').notice_ids
        notice.action_send()
        new.date_maturity = '2024-03-08'  # late, but not for three days
        self._run_cron('ir_cron_dunning_send')
        self.assertEqual(notice.state, 'sent')
        by_line = {line.move_line_id: line for line in notice.line_ids}
        self.assertEqual((by_line[old].level_id, by_line[old].advances), (self.level_1, True))
        self.assertEqual((by_line[new].level_id.id, by_line[new].advances), (False, False))
        self.assertFalse(new.dunning_level_id)

    @freeze_time('2024-03-10 08:00:00')
    def test_dropped_while_its_batch_goes_out(self):
        line, notice = self._queue_notice()
        self.procedure.sudo().level_ids.create_activity = True
        other = self._create_due_invoice('2024-02-01', partner=self.partner_b)
        self._prepare('2024-03-10').notice_ids.filtered(lambda it: it.partner_id == self.partner_b).action_send()
        hand_over = type(notice)._hand_over_sealed

        def drop_meanwhile(notices, *args):
            dropped = notice.with_env(notices.env)
            if dropped.state == 'queued':
                dropped.action_cancel()
                self.env.flush_all()
            return hand_over(notices, *args)

        with patch.object(type(notice), '_hand_over_sealed', drop_meanwhile):
            self._run_cron('ir_cron_dunning_send')
        self.assertEqual(self._get_recipients(), ['b@example.com'])
        self.assertEqual((line.dunning_level_id.id, other.dunning_level_id), (False, self.level_1))
        self.assertRecordValues(notice, [{'state': 'cancelled', 'handover_date': False}])
        self.assertEqual(notice.line_ids.mapped('live'), [False])
        self.assertFalse(notice.activity_ids)
        self.assertEqual(
            self._explain(line, '2024-03-11')[line][:2], ('due', self.level_1), "tomorrow it may be proposed again")

    @freeze_time('2024-03-10 08:00:00')
    def test_mail_or_letter_deleted_before_it_goes_out(self):
        for fname in ('mail_id', 'attachment_id'):
            with self.subTest(deleted=fname):
                self.sink.mails.clear()
                partner = self.env['res.partner'].create({'name': fname, 'email': f'{fname}@example.com'})
                line, notice = self._queue_notice(partner=partner)
                render = type(notice)._render_mails

                def delete_meanwhile(notices, fname=fname, render=render):
                    render(notices)
                    notices.sudo()[fname].unlink()

                with patch.object(type(notice), '_render_mails', delete_meanwhile):
                    self._run_cron('ir_cron_dunning_send')
                self.assertEqual(notice.state, 'queued')
                self.assertFalse(line.dunning_level_id)
                self._run_cron('ir_cron_dunning_send')
                self.assertEqual(notice.state, 'sent')
                self.assertEqual(self._get_recipients(), [f'{fname}@example.com'])

    @freeze_time('2024-03-10 08:00:00')
    def test_bill_that_now_is_another_customers(self):
        line, notice = self._queue_notice()
        _other, others = self._queue_notice(partner=self.partner_b)
        line.sudo().partner_id = self.partner_b
        self._run_cron('ir_cron_dunning_send')
        self.assertEqual((notice.state, others.state), ('cancelled', 'sent'))
        self.assertEqual(self._get_recipients(), ['b@example.com'])
        self.assertFalse(line.dunning_level_id)

    # === failures ===

    @freeze_time('2024-03-10 08:00:00')
    @mute_logger(DELIVERY, HANDOVER, 'odoo.addons.mail.models.mail_mail')
    def test_refused_address(self):
        self.sink.refused.add('a@example.com')
        line, notice = self._queue_notice()
        self._run_cron('ir_cron_dunning_send')
        self.assertEqual(notice.state, 'failed')
        self.assertIn("No such user", notice.failure_reason)
        self.assertFalse(notice.is_in_doubt)
        self.assertFalse(line.dunning_level_id)
        self.assertEqual(len(notice.activity_ids), 1)
        self.assertEqual(self._explain(line, '2024-03-10')[line][0], 'pending')

    @freeze_time('2024-03-10 08:00:00')
    @mute_logger(DELIVERY, 'odoo.addons.base.models.ir_mail_server')
    def test_mail_server_down_is_tried_again(self):
        line, notice = self._queue_notice()
        self.mail_server.smtp_port = 1
        self._run_cron('ir_cron_dunning_send')
        self.assertEqual(notice.state, 'failed')
        self.assertTrue(notice.failure_reason)
        self.assertFalse(line.dunning_level_id)
        self.mail_server.smtp_port = self.sink.port
        self._run_cron('ir_cron_dunning_send')
        self.assertEqual(notice.state, 'failed', "not before its time")
        with freeze_time('2024-03-10 09:00:01'):
            self._run_cron('ir_cron_dunning_send')
        self.assertEqual(notice.state, 'sent')
        self.assertEqual(self._get_recipients(), ['a@example.com'])
        self.assertEqual(line.dunning_level_id, self.level_1)

    @freeze_time('2024-03-10 08:00:00')
    def test_failed_for_good_and_then_paid(self):
        line, notice = self._queue_notice()
        other_line, other = self._queue_notice(partner=self.partner_b)
        for failed in (notice, other):
            failed._fail("No such mailbox")
            while failed.next_attempt:
                failed._fail("No such mailbox")
        self._pay(line, '2024-03-10')
        self._pay(other_line, '2024-03-10', amount=30.0)
        with freeze_time('2024-03-11 06:00:00'):
            self._run_cron('ir_cron_dunning_run')
        self.assertEqual(notice.state, 'cancelled')
        self.assertRecordValues(other, [{'state': 'failed', 'failure_reason': "No such mailbox", 'amount_due': 70.0}])

    @freeze_time('2024-03-10 08:00:00')
    @mute_logger(DELIVERY, HANDOVER, 'odoo.addons.mail.models.mail_mail')
    def test_mail_server_that_hangs_up_leaves_doubt(self):
        """It has taken the mail, or not: nobody knows, so nothing is sent again by itself."""
        self.sink.hang_up = True
        line, notice = self._queue_notice()
        self._run_cron('ir_cron_dunning_send')
        self.assertRecordValues(notice, [{'state': 'failed', 'is_in_doubt': True, 'next_attempt': False}])
        self.assertFalse(line.dunning_level_id)
        self.sink.hang_up = False
        with freeze_time('2024-04-10 08:00:00'):
            self._run_cron('ir_cron_dunning_send')
        self.assertEqual(len(self.sink.mails), 1)
        self.level_1.write({'create_activity': True, 'activity_summary': "Call them"})
        notice.action_confirm_sent()
        self.assertEqual(notice.state, 'sent')
        self.assertIn("Call them", notice.activity_ids.mapped('summary'))
        self.assertEqual(line.dunning_level_id, self.level_1)

    @freeze_time('2024-03-10 08:00:00')
    @mute_logger(DELIVERY, HANDOVER, 'odoo.addons.mail.models.mail_mail')
    def test_whatever_fails_after_the_server_accepted_the_mail_is_sent_once(self):
        """Odoo's own time limits, for one, end a worker by an exception wherever it is."""
        for error in (Exception("CPU time limit exceeded."), UserError("A module's own"), OSError("No space left"),
                      psycopg2.errors.InFailedSqlTransaction()):
            with self.subTest(error=error):
                self.sink.mails.clear()
                partner = self.env['res.partner'].create({'name': "Careful", 'email': 'careful@example.com'})
                line, notice = self._queue_notice(partner=partner)
                with patch.object(HandOver, 'send', fail_after_sending(error)):
                    self._run_cron('ir_cron_dunning_send')
                self.assertRecordValues(notice, [{
                    'state': 'sent', 'is_in_doubt': False, 'handover_date': False, 'is_to_conclude': False}])
                self.assertTrue(line.dunning_level_id)
                with freeze_time('2024-03-12 08:00:00'):
                    self._run_cron('ir_cron_dunning_send')
                self.assertEqual(len(self.sink.mails), 1)

    @freeze_time('2024-03-10 08:00:00')
    @mute_logger(DELIVERY, HANDOVER, 'odoo.addons.mail.models.mail_mail')
    def test_unknown_error_while_the_server_is_asked_leaves_doubt(self):
        _line, notice = self._queue_notice()
        with patch('smtplib.SMTP.sendmail', side_effect=Exception("CPU time limit exceeded.")):
            self._run_cron('ir_cron_dunning_send')
        self.assertRecordValues(notice, [{'state': 'failed', 'is_in_doubt': True, 'next_attempt': False}])

    @freeze_time('2024-03-10 08:00:00')
    @mute_logger(DELIVERY, HANDOVER, 'odoo.addons.mail.models.mail_mail')
    def test_fault_before_handing_over_is_tried_again(self):
        _line, notice = self._queue_notice()
        with patch.object(
            self.registry['ir.mail_server'], '_prepare_email_message__', side_effect=Exception("Broken"),
        ):
            self._run_cron('ir_cron_dunning_send')
        self.assertRecordValues(notice, [{'state': 'failed', 'is_in_doubt': False}])
        self.assertTrue(notice.next_attempt)
        with freeze_time('2024-03-12 08:00:00'):
            self._run_cron('ir_cron_dunning_send')
        self.assertEqual(notice.state, 'sent')
        self.assertEqual(len(self.sink.mails), 1)

    @freeze_time('2024-03-10 08:00:00')
    def test_mail_from_a_robot_does_not_go_out(self):
        self.company.sudo().email = False
        line, notice = self._queue_notice()
        self._run_cron('ir_cron_dunning_send')
        self.assertEqual(notice.state, 'failed')
        self.assertIn("There is no sender", notice.failure_reason)
        self.assertFalse(line.dunning_level_id)
        self.assertFalse(self.sink.mails)
        collector = new_test_user(
            self.env, 'collector', groups='account.group_account_invoice', email='collector@company.example',
            company_id=self.company.id, company_ids=[fields.Command.set(self.company.ids)])
        notice.sudo().user_id = collector
        notice.action_send()
        self._run_cron('ir_cron_dunning_send')
        self.assertEqual(notice.state, 'sent')
        self.assertIn('collector@company.example', self.sink.mails[-1][1]['From'])

    @freeze_time('2024-03-10 08:00:00')
    def test_collector_who_has_left_neither_signs_nor_is_told(self):
        collector = new_test_user(
            self.env, 'leaver', groups='account.group_account_invoice', email='leaver@company.example',
            company_id=self.company.id, company_ids=[fields.Command.set(self.company.ids)])
        self.partner_a.with_company(self.company).dunning_user_id = collector
        _line, notice = self._queue_notice()
        self.assertEqual(notice._get_letter_sender()['email'], 'leaver@company.example')
        self.assertEqual(notice._get_collector(), collector)
        collector.active = False
        self.assertEqual(notice._get_letter_sender()['email'], 'accounts@company.example')
        self.assertNotEqual(notice._get_collector(), collector)

    @freeze_time('2024-03-10 08:00:00')
    def test_collector_chosen_by_hand_stays(self):
        self._create_due_invoice('2024-02-01')
        notice = self._prepare('2024-03-10').notice_ids
        accountant = new_test_user(
            self.env, 'accountant', groups='account.group_account_invoice',
            company_id=self.company.id, company_ids=[fields.Command.set(self.company.ids)])
        notice.with_user(accountant).user_id = accountant
        self._prepare('2024-03-11')
        self.assertEqual(notice.user_id, accountant)

    @freeze_time('2024-03-10 08:00:00')
    def test_posted_letter_has_an_address_or_fails(self):
        self.level_1.write({'print_letter': True, 'is_formal_notice': True})
        contact = self.env['res.partner'].create({
            'parent_id': self.partner_a.id, 'type': 'dunning', 'name': "Ann Payable", 'email': 'ann@example.com'})
        contact.write({'street': False, 'zip': False, 'city': False})
        _line, notice = self._queue_notice()
        self.assertEqual(notice.contact_id, contact)
        self._run_cron('ir_cron_dunning_send')
        self.assertRecordValues(notice, [{'state': 'sent', 'is_letter_to_print': True}])
        letter = notice.attachment_id.raw.decode()
        self.assertIn("Ann Payable", letter)
        self.assertIn("Main street 1", letter)
        self.partner_b.write({'street': False, 'zip': False, 'city': False})
        _line, notice = self._queue_notice(partner=self.partner_b)
        self._run_cron('ir_cron_dunning_send')
        self.assertEqual(notice.state, 'failed')
        self.assertIn("no postal address", notice.failure_reason)

    @freeze_time('2024-03-10 08:00:00')
    def test_retries_leave_no_copies_on_the_invoice(self):
        self.level_1.attach_invoices = True
        self.sink.refused.add('a@example.com')
        line, notice = self._queue_notice()
        for _attempt in range(3):
            with mute_logger(DELIVERY, 'odoo.addons.mail.models.mail_mail'):
                self._run_cron('ir_cron_dunning_send')
            notice.action_send()
        self.sink.refused.clear()
        self._run_cron('ir_cron_dunning_send')
        self.assertEqual(notice.state, 'sent')
        Attachment = self.env['ir.attachment'].sudo()
        self.assertFalse(Attachment.search([('res_model', '=', 'account.move'), ('res_id', '=', line.move_id.id)]))
        self.assertEqual(Attachment.search_count(
            [('res_model', '=', notice._name), ('res_id', '=', notice.id)]), 2, "the letter, and the invoice's copy")

    def test_turn_of_a_worker_ends_within_odoos_limits(self):
        self.assertTrue(self.Notice._has_time_left())
        for real_cron, used, has_time in (
            (-1, 0, True), (-1, 23, True), (-1, 25, False), (0, 25, False), (50, 21, False),
        ):
            with (
                self.subTest(real_cron=real_cron, used=used),
                patch.dict(config.options, {
                    'limit_time_real': 120, 'limit_time_cpu': 60, 'limit_time_real_cron': real_cron}),
            ):
                notices = self.Notice.with_context(cron_end_time=time.monotonic() - used + 10)
                self.assertEqual(notices._has_time_left(), has_time)

    @freeze_time('2024-03-10 08:00:00')
    def test_cut_off_while_handing_over(self):
        """A server that died between its mark and the mail server's answer."""
        _line, notice = self._queue_notice()
        notice.sudo().handover_date = '2024-03-10 07:59:00'
        self._run_cron('ir_cron_dunning_send')
        self.assertRecordValues(notice, [{'state': 'failed', 'is_in_doubt': True}])
        self.assertFalse(self.sink.mails)
        notice.action_send()
        self._run_cron('ir_cron_dunning_send')
        self.assertEqual(notice.state, 'sent')
        self.assertEqual(len(self.sink.mails), 1)

    @freeze_time('2024-03-10 08:00:00')
    @mute_logger(DELIVERY, HANDOVER, 'odoo.addons.mail.models.mail_mail')
    def test_one_failing_among_a_hundred(self):
        partners = self.env['res.partner'].create([
            {'name': f"Customer {i}", 'email': f'c{i}@example.com'} for i in range(100)])
        template = self._create_due_invoice('2024-02-01', partner=partners[0]).move_id
        invoices = self.env['account.move']
        for partner in partners[1:]:
            invoices += template.copy({'partner_id': partner.id, 'invoice_date': '2024-01-01'})
        invoices.invoice_date_due = '2024-02-01'
        invoices.action_post()
        self.sink.refused.add('c50@example.com')
        notices = self._prepare('2024-03-10').notice_ids
        notices.action_send()
        self._run_cron('ir_cron_dunning_send')
        failed = notices.filtered(lambda notice: notice.state != 'sent')
        self.assertEqual(failed.partner_id, partners[50])
        self.assertEqual(failed.state, 'failed')
        self.assertEqual(len(self.sink.mails), 99)

    @freeze_time('2024-03-10 08:00:00')
    @mute_logger(DELIVERY, 'odoo.addons.mail.models.mail_render_mixin')
    def test_broken_template_fails_alone(self):
        good_template = self.env.ref('account_dunning.mail_template_dunning_reminder').sudo()
        broken = self._create_procedure([3], level_values={
            'mail_template_id': good_template.copy({'subject': "{{ object.no_such_field }}"}).id})
        self.partner_b.with_company(self.company).dunning_procedure_id = broken
        self._create_due_invoice('2024-02-01')
        self._create_due_invoice('2024-02-01', partner=self.partner_b)
        notices = self._prepare('2024-03-10').notice_ids
        notices.action_send()
        self._run_cron('ir_cron_dunning_send')
        self.assertEqual(
            {notice.partner_id: notice.state for notice in notices},
            {self.partner_a: 'sent', self.partner_b: 'failed'})
        self.assertEqual(self._get_recipients(), ['a@example.com'])

    @freeze_time('2024-03-10 08:00:00')
    @mute_logger(DELIVERY, HANDOVER)
    def test_notice_that_cannot_be_checked_fails_alone(self):
        line, notice = self._queue_notice()
        other = self._queue_notice(partner=self.partner_b)[1]
        refresh = self.registry['account.dunning.notice.line']._refresh

        def stumble(lines, rows):
            if lines.notice_id.partner_id == self.partner_a:
                self.env.cr.execute("SELECT 1 / 0")
            return refresh(lines, rows)

        with (
            patch.object(self.registry['account.dunning.notice.line'], '_refresh', stumble),
            mute_logger('odoo.sql_db'),
        ):
            self._run_cron('ir_cron_dunning_send')
        self.assertEqual((notice.state, other.state), ('failed', 'sent'))
        self.assertIn("division by zero", notice.failure_reason)
        self.assertFalse(line.dunning_level_id)

    def _queue_letters(self):
        """A letter to post for each of two customers, who have no e-mail address."""
        (self.partner_a + self.partner_b).email = False
        self.partner_b.street = "2 Main Street"
        for partner in (self.partner_a, self.partner_b):
            self._create_due_invoice('2024-02-01', partner=partner)
        notices = self._prepare('2024-03-10').notice_ids.sorted(lambda notice: notice.partner_id == self.partner_b)
        notices.action_send()
        return notices

    @freeze_time('2024-03-10 08:00:00')
    def test_letters_of_a_batch_go_out_together(self):
        notices = self._queue_letters()
        Notice = self.registry['account.dunning.notice']
        with patch.object(Notice, '_move_to_sent', autospec=True, side_effect=Notice._move_to_sent) as move_to_sent:
            self._run_cron('ir_cron_dunning_send')
        self.assertEqual(move_to_sent.call_count, 1)
        self.assertEqual(notices.mapped('state'), ['sent', 'sent'])
        self.assertEqual(notices.line_ids.move_line_id.dunning_level_id, self.level_1)

    @freeze_time('2024-03-10 08:00:00')
    @mute_logger(DELIVERY, HANDOVER)
    def test_letter_that_fails_does_so_alone(self):
        notices = self._queue_letters()
        Notice = self.registry['account.dunning.notice']
        plan_activity = Notice._plan_activity

        def stumble(notice):
            if notice.partner_id == self.partner_a:
                raise ValueError("no such collector")
            plan_activity(notice)

        with patch.object(Notice, '_plan_activity', stumble):
            self._run_cron('ir_cron_dunning_send')
        self.assertRecordValues(notices, [
            {'state': 'failed', 'failure_reason': "no such collector"},
            {'state': 'sent', 'failure_reason': False},
        ])
        levels = [notice.line_ids.move_line_id.dunning_level_id for notice in notices]
        self.assertEqual(levels, [self.level_1.browse(), self.level_1])

    @freeze_time('2024-03-10 08:00:00')
    def test_letter_paid_or_dropped_after_rendering(self):
        """The last look, for letters: what came in while the others were being made."""
        for meanwhile, state in (
            (lambda notice: self._pay(notice.line_ids.move_line_id, '2024-03-10'), 'cancelled'),
            (lambda notice: notice.action_cancel(), 'cancelled'),
            (lambda notice: self._create_unmatched_payment('2024-03-10', 40.0, notice.partner_id), 'queued'),
        ):
            with self.subTest(state=state), self.env.cr.savepoint() as savepoint:
                first, second = self._queue_letters()
                Notice = self.registry['account.dunning.notice']
                render = Notice._render_letters

                def render_slowly(notices, render=render, meanwhile=meanwhile, notice=first):
                    render(notices)
                    meanwhile(notice.with_env(notices.env))
                    self.env.flush_all()

                with patch.object(Notice, '_render_letters', render_slowly):
                    self._run_cron('ir_cron_dunning_send')
                self.assertEqual((first.state, second.state), (state, 'sent'))
                self.assertFalse(first.line_ids.move_line_id.dunning_level_id)
                if state == 'queued':  # a sum that has changed is stated in a new letter
                    self._run_cron('ir_cron_dunning_send')
                    self.assertRecordValues(first, [{'state': 'sent', 'amount_due': 60.0}])
                savepoint.rollback()
                self.env.invalidate_all()

    @freeze_time('2024-03-10 08:00:00')
    def test_bill_that_was_moved_meanwhile_is_not_reminded_at_its_old_level(self):
        """The history of another program may be entered while a proposal waits."""
        moved, stays = self._create_due_invoice('2024-02-01'), self._create_due_invoice('2024-02-02')
        notice = self._prepare('2024-03-10').notice_ids
        notice.action_send()
        moved.sudo().dunning_level_id = self.level_2
        self._run_cron('ir_cron_dunning_send')
        self.assertEqual(notice.state, 'sent')
        self.assertEqual((moved.dunning_level_id, stays.dunning_level_id), (self.level_2, self.level_1))

    # === channels ===

    @freeze_time('2024-03-10 08:00:00')
    def test_letter_when_there_is_no_mail_address(self):
        self.partner_a.email = False
        line, notice = self._queue_notice()
        self._run_cron('ir_cron_dunning_send')
        self.assertRecordValues(notice, [{
            'state': 'sent', 'email_to': False, 'is_letter_to_print': True, 'is_fallback_letter': True}])
        self.assertTrue(notice.attachment_id)
        self.assertFalse(self.sink.mails)
        self.assertEqual(line.dunning_level_id, self.level_1)
        notice.action_print_letters()
        notice.action_confirm_posted()
        self.assertFalse(notice.is_letter_to_print)

    @freeze_time('2024-03-10 08:00:00')
    def test_no_address_at_all(self):
        self.partner_a.write({'email': False, 'street': False, 'zip': False, 'city': False})
        line, notice = self._queue_notice()
        self._run_cron('ir_cron_dunning_send')
        self.assertEqual(notice.state, 'failed')
        self.assertIn("partner_a", notice.failure_reason)
        self.assertFalse(line.dunning_level_id)

    @freeze_time('2024-03-10 08:00:00')
    @mute_logger(DELIVERY, 'odoo.addons.base.models.ir_mail_server')
    def test_failures_and_tasks_are_told_in_the_language_of_the_collector(self):
        self.env['res.lang']._activate_lang('fr_FR')
        collector = new_test_user(
            self.env, 'collector_fr', groups='account.group_account_invoice', lang='fr_FR',
            company_id=self.company.id, company_ids=[self.company.id])
        self.partner_a.with_company(self.company).dunning_user_id = collector
        self.partner_a.write({'email': False, 'street': False, 'zip': False, 'city': False})
        _line, notice = self._queue_notice()
        self._run_cron('ir_cron_dunning_send')
        self.assertIn("n’a ni", notice.failure_reason.replace("'", "’"))
        self.assertIn("Rappel non envoyé", notice.activity_ids.summary)
        self.assertEqual(notice.activity_ids.user_id, collector)

    @freeze_time('2024-03-10 08:00:00')
    def test_letter_without_an_address_is_no_reminder(self):
        self.level_1.write({'send_email': False, 'print_letter': True})
        line, notice = self._queue_notice(partner=self.partner_b)
        self._run_cron('ir_cron_dunning_send')
        self.assertEqual(notice.state, 'failed')
        self.assertIn("partner_b", notice.failure_reason)
        self.assertFalse(line.dunning_level_id)

    @freeze_time('2024-03-10 08:00:00')
    @mute_logger(DELIVERY, HANDOVER)
    def test_level_whose_template_was_deleted(self):
        template = self.env.ref('account_dunning.mail_template_dunning_reminder').sudo()
        self.env['account.dunning.level'].sudo().with_context(active_test=False).search(
            [('mail_template_id', '=', template.id)]).mail_template_id = False
        template.unlink()
        _line, notice = self._queue_notice()
        self._run_cron('ir_cron_dunning_send')
        self.assertEqual(notice.state, 'failed')
        self.assertIn("“Level 1” has no e-mail template", notice.failure_reason)

    @freeze_time('2024-03-10 08:00:00')
    def test_doubt_is_settled_one_by_one(self):
        notices = self.Notice
        for partner in (self.partner_a, self.partner_b):
            notices += self._queue_notice(partner=partner)[1]
        notices.sudo().handover_date = '2024-03-10 07:59:00'
        self._run_cron('ir_cron_dunning_send')
        self.assertEqual(notices.mapped('is_in_doubt'), [True, True])
        for action in (notices.action_send, notices.action_cancel):
            with self.assertRaisesRegex(UserError, "open each of them"):
                action()
        with self.assertRaisesRegex(UserError, "open each of them"):
            notices[0].action_set_level(self.level_2)
        partner = self.env['res.partner'].create({'name': "C", 'email': 'c@example.com'})
        proposal = self._queue_notice(partner=partner)[1]
        proposal.sudo().state = 'draft'
        (notices + proposal).action_send()
        self._run_cron('ir_cron_dunning_send')
        self.assertEqual(self._get_recipients(), ['c@example.com'])
        self.assertEqual(notices.mapped('state'), ['failed', 'failed'])
        notices[0].action_send()
        self.assertEqual(notices[0].state, 'queued')

    @freeze_time('2024-03-10 08:00:00')
    def test_mail_goes_to_the_company_when_the_contact_has_no_address(self):
        self.env['res.partner'].create({'name': "Accounts", 'parent_id': self.partner_a.id, 'type': 'dunning',
                                        'email': False})
        _line, notice = self._queue_notice()
        self._run_cron('ir_cron_dunning_send')
        self.assertEqual(notice.state, 'sent')
        self.assertEqual(self._get_recipients(), ['a@example.com'])

    @freeze_time('2024-03-10 08:00:00')
    def test_activity(self):
        collector = self.env.ref('base.user_admin')
        self.level_1.write({
            'send_email': False, 'create_activity': True, 'activity_summary': "Call them",
            'activity_type_id': self.env.ref('mail.mail_activity_data_call').id})
        self.partner_a.with_company(self.company).dunning_user_id = collector
        line, notice = self._queue_notice()
        self._run_cron('ir_cron_dunning_send')
        self.assertEqual(notice.state, 'sent')
        self.assertRecordValues(notice.activity_ids, [{
            'summary': "Call them", 'user_id': collector.id,
            'activity_type_id': self.env.ref('mail.mail_activity_data_call').id}])
        self.assertFalse(self.sink.mails)
        self.assertEqual(line.dunning_level_id, self.level_1)

    @freeze_time('2024-03-10 08:00:00')
    def test_sms(self):
        template = self.env['sms.template'].sudo().create({
            'name': "SMS", 'model_id': self.env['ir.model']._get_id('account.dunning.notice'),
            'body': "Please pay {{ object.amount_due }}"})
        self.partner_a.phone = '+32475123456'
        self.level_1.write({'send_email': False, 'send_sms': True, 'sms_template_id': template.id})
        _line, notice = self._queue_notice(amount=100.0)
        self._run_cron('ir_cron_dunning_send')
        self.assertEqual(notice.state, 'sent')
        sms = self.env['sms.sms'].sudo().search([('mail_message_id', 'in', notice.message_ids.ids)])
        self.assertRecordValues(sms, [{'number': '+32475123456', 'body': "Please pay 100.0"}])

    @freeze_time('2024-03-10 08:00:00')
    @mute_logger(DELIVERY, HANDOVER, 'odoo.addons.mail.models.mail_mail')
    def test_sms_is_queued_only_when_the_mail_was_taken(self):
        template = self.env.ref('account_dunning.sms_template_dunning_reminder')
        self.partner_a.phone = '+32475123456'
        self.level_1.write({'send_sms': True, 'sms_template_id': template.id})
        self.sink.refused.add('a@example.com')
        _line, notice = self._queue_notice()
        with patch.object(self.registry['sms.sms'], '_send') as send:
            self._run_cron('ir_cron_dunning_send')
            self.assertEqual(notice.state, 'failed')
            self.sink.refused.clear()
            with freeze_time('2024-03-10 09:00:01'):
                self._run_cron('ir_cron_dunning_send')
        self.assertEqual(notice.state, 'sent')
        self.assertFalse(send.call_count, "it can't be taken back: Odoo's SMS queue sends it later")
        sms = self.env['sms.sms'].sudo().search([('number', '=', '+32475123456')])
        self.assertEqual(sms.mapped('state'), ['outgoing'])

    @freeze_time('2024-03-10 08:00:00')
    def test_invoices_attached(self):
        self.level_1.attach_invoices = True
        line, notice = self._queue_notice()
        self._run_cron('ir_cron_dunning_send')
        self.assertEqual(notice.state, 'sent')
        [[_recipients, mail]] = self.sink.mails
        names = [part.get_filename() for part in mail.iter_attachments()]
        self.assertEqual(len(names), 2)
        self.assertIn(line.move_id.name.replace('/', '_'), names[1])

    @freeze_time('2024-03-10 08:00:00')
    def test_real_pdfs_in_one_run(self):
        """Real letters: one for each customer, each with its own sums."""
        self._create_due_invoice('2024-02-01', amount=111.11)
        self._create_due_invoice('2024-02-01', amount=222.22, partner=self.partner_b)
        notices = self._prepare('2024-03-10').notice_ids
        notices._queue()
        with patch.object(PrintPages, '_run', autospec=True, side_effect=PrintPages._run) as run:
            notices.sudo().with_context(force_report_rendering=True)._render(fields.Date.to_date('2024-03-10'))
        self.assertEqual(run.call_count, 2, "one for the letters, one for their letterheads")
        for notice, amount, foreign in zip(
                notices.sorted('amount_due'), ('111.11', '222.22'), ('222.22', '111.11'), strict=True):
            text = self._read_pdf(notice.attachment_id.raw)
            self.assertIn(notice.name, text)
            self.assertIn(amount, text)
            self.assertNotIn(foreign, text)

    @freeze_time('2024-03-10 08:00:00')
    def test_bounce_is_told_to_the_collector(self):
        _line, notice = self._queue_notice()
        self._run_cron('ir_cron_dunning_send')
        self.env['mail.thread'].sudo().message_process('mail.test', f"""\
Return-Path: <>
From: MAILER-DAEMON@example.com
To: bounce@example.com
Subject: Undelivered Mail Returned to Sender
Message-Id: <bounce-1@example.com>
Content-Type: multipart/report; report-type=delivery-status; boundary="X"

--X
Content-Type: text/plain

The mail could not be delivered.

--X
Content-Type: message/delivery-status

Reporting-MTA: dns; mail.example.com

Final-Recipient: rfc822; a@example.com
Action: failed
Status: 5.1.1

--X
Content-Type: message/rfc822

From: me@example.com
To: a@example.com
Message-Id: {notice.message_id}
Subject: Reminder

Hello
--X--
""")
        self.assertTrue(notice.is_bounced)
        self.assertEqual(notice.state, 'sent')
        self.assertEqual(len(notice.activity_ids), 1)

    # === lifecycle ===

    def test_one_bill_to_the_end(self):
        """+3, +10, +20 with a week between; paid in the end."""
        line = self._create_due_invoice('2024-03-01')
        history = []
        for day in range(1, 32):
            date = f'2024-03-{day:02}'
            with freeze_time(f'{date} 08:00:00'):
                self._run_crons()
            if line.dunning_last_date == fields.Date.to_date(date):
                history.append((day, line.dunning_level_id.name))
        self.assertEqual(history, [(4, "Level 1"), (11, "Level 2"), (21, "Level 3")])
        self.assertEqual(len(self.sink.mails), 3)
        with freeze_time('2024-04-10 08:00:00'):
            self._pay(line, '2024-04-10')
            self._run_crons()
        self.assertEqual(len(self.sink.mails), 3)

    def test_each_company_for_itself(self):
        other = self.setup_other_company()
        procedure = self._create_procedure([3], company=other['company'])
        other['company'].sudo().write({'dunning_procedure_id': procedure.id, 'email': 'other@company.example'})
        with freeze_time('2024-03-10 08:00:00'):
            self._create_due_invoice('2024-02-01')
            move = self.env['account.move'].with_company(other['company']).create({
                'move_type': 'out_invoice', 'partner_id': self.partner_a.id, 'invoice_date': '2024-01-01',
                'invoice_date_due': '2024-02-01', 'company_id': other['company'].id,
                'journal_id': other['default_journal_sale'].id,
                'invoice_line_ids': [fields.Command.create({
                    'name': "x", 'price_unit': 77.0, 'tax_ids': [],
                    'account_id': other['default_account_revenue'].id})],
            })
            move.action_post()
            self._run_crons()
        notices = self.Notice.sudo().search([('partner_id', '=', self.partner_a.id)])
        self.assertEqual(
            {(notice.company_id, notice.state, notice.amount_due) for notice in notices},
            {(self.company, 'sent', 100.0), (other['company'], 'sent', 77.0)})
