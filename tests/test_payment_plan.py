from datetime import date, timedelta

from odoo import Command
from odoo.exceptions import AccessError, UserError, ValidationError
from odoo.tests import Form, freeze_time, new_test_user, tagged

from .common import DunningCommon, DunningMailCommon


class PaymentPlanCommon(DunningCommon):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.company.sudo().write({'plan_grace_days': 5, 'plan_reminder_days': 5, 'plan_broken_hold': False})
        cls.line = cls._create_due_invoice('2024-02-01', 1000.0)

    @classmethod
    def _plan(cls, lines=None, number=4, offer=True, sign=True, **schedule):
        """A monthly plan from the 15th of March, as the dialog makes it."""
        lines = lines or cls.line
        down_payment = schedule.get('down_payment', 0.0)
        plan = cls.env['account.payment.plan'].create({
            'partner_id': lines.partner_id.id,
            'company_id': lines.company_id.id,
            'currency_id': lines.currency_id.id,
            'move_line_ids': [Command.set(lines.ids)],
            'down_payment': down_payment,
            'installment_ids': [Command.create(values) for values in cls.env['account.payment.plan']._prepare_schedule(
                sum(lines.mapped('amount_residual_currency')), lines.currency_id, date(2024, 3, 15), number=number,
                date_down_payment=date(2024, 3, 5), **schedule)],
        })
        if offer:
            plan.action_offer()
            if sign:
                plan.action_sign()
        return plan

    def _update(self, day):
        self.env['account.dunning.block']._update_pauses(self.company, date.fromisoformat(day))

    def _get_paid(self, plan):
        return plan.installment_ids.sorted('date').mapped('amount_paid')


@tagged('post_install', '-at_install')
@freeze_time('2024-03-01')
class TestPaymentPlan(PaymentPlanCommon, DunningMailCommon):

    def _night(self, day):
        """The scheduled actions of a night; who got a reminder from the mail server."""
        self.sink.mails.clear()
        with freeze_time(day):
            self._run_crons()
        return self._get_recipients()

    def test_life_to_the_end(self):
        plan = self._plan(offer=False)
        self.assertRecordValues(plan, [{'state': 'draft', 'amount_total': 1000.0}])
        self.assertIn(self.line, self._due('2024-03-01'), "a draft pauses nothing")
        plan.action_offer()
        self.assertEqual(plan.state, 'offered')
        self.assertFalse(self._due('2024-03-15'))
        self.assertTrue(self._due('2024-03-16'), "the offer was good until the 15th")
        plan.action_sign()
        self.assertRecordValues(plan, [{'state': 'active', 'signed_by': self.partner_a.name}])
        self.assertFalse(plan.block_id.date_until)
        self.assertEqual(self.line.payment_plan_id, plan)
        for day in ('2024-03-15', '2024-04-15', '2024-05-15'):
            self._pay(self.line, day, 250.0)
            self._update(day)
            self.assertEqual(plan.state, 'active')
            self.assertFalse(self._due(day))
        self.assertRecordValues(plan, [{'amount_paid': 750.0, 'amount_open': 250.0, 'progress': 75.0}])
        self.assertEqual(plan.next_date, date(2024, 6, 15))
        self._pay(self.line, '2024-06-15', 250.0)
        self.assertRecordValues(plan, [{'state': 'done', 'amount_open': 0.0}])
        self.assertFalse(self.line.payment_plan_id)
        self.assertRecordValues(plan.block_id, [{'state': 'ended', 'broken': False}])

    def test_active_only_once_the_down_payment_is_in(self):
        plan = self._plan(down_payment=200.0)
        self.assertEqual(plan.installment_ids.mapped('amount'), [200.0, 200.0, 200.0, 200.0, 200.0])
        self.assertEqual(plan.state, 'signed')
        self.assertEqual(plan.block_id.date_until, date(2024, 3, 10), "down payment due on the 5th, 5 days of grace")
        self._pay(self.line, '2024-03-04', 150.0)
        self.assertEqual(plan.state, 'signed')
        self._pay(self.line, '2024-03-05', 50.0)
        self.assertEqual(plan.state, 'active')
        self.assertFalse(plan.block_id.date_until)

    def test_missing_down_payment_breaks_it(self):
        plan = self._plan(down_payment=200.0)
        self._update('2024-03-10')
        self.assertEqual(plan.state, 'signed')
        self._update('2024-03-11')
        self.assertEqual(plan.state, 'broken')
        self.assertIn(self.line, self._due('2024-03-11'))

    def test_down_payment_left_out_of_the_list_is_added(self):
        plan = self.env['account.payment.plan'].create({
            'partner_id': self.partner_a.id, 'company_id': self.company.id, 'move_line_ids': self.line.ids,
            'down_payment': 100.0,
            'installment_ids': [Command.create({'date': '2024-04-01', 'amount': 900.0})],
        })
        plan.action_offer()
        self.assertRecordValues(plan.installment_ids.sorted('date'), [
            {'date': date(2024, 3, 1), 'amount': 100.0, 'is_down_payment': True},
            {'date': date(2024, 4, 1), 'amount': 900.0, 'is_down_payment': False},
        ])

    def test_broken_at_the_second_installment(self):
        self.assertEqual(self._night('2024-03-01'), ['a@example.com'])
        self.assertEqual(self.line.dunning_level_id, self.level_1)
        self.company.sudo().plan_broken_hold = True
        plan = self._plan()
        self.assertFalse(self._night('2024-03-14'))
        self._pay(self.line, '2024-03-15', 250.0)
        self.assertFalse(self._night('2024-04-20'))
        self.assertEqual(plan.state, 'active', "the last day of grace")
        self.assertEqual(self.line.dunning_level_id, self.level_1)

        self.assertEqual(self._night('2024-04-21'), ['a@example.com'])
        self.assertRecordValues(plan, [{'state': 'broken', 'date_closed': date(2024, 4, 21)}])
        self.assertRecordValues(plan.block_id, [{
            'state': 'ended', 'broken': True, 'date_ended': date(2024, 4, 21)}])
        self.assertRecordValues(self.line, [{
            'dunning_level_id': self.level_2.id, 'dunning_last_date': date(2024, 4, 21)}])
        notice = self.Notice.search([('partner_id', '=', self.partner_a.id)], order='id desc', limit=1)
        self.assertRecordValues(notice, [{'state': 'sent', 'sent_date': date(2024, 4, 21), 'amount_due': 750.0}])
        self.assertIn("because an installment was not paid", " ".join(
            notice.attachment_id.raw.decode().split()), "the letter says why")
        self.assertRecordValues(self.partner_a.with_company(self.company), [{
            'credit_hold': True, 'credit_hold_reason': "Payment plan broken"}])
        self.assertFalse(self.line.payment_plan_id)
        self.assertTrue(plan.activity_ids, "the responsible is told")
        bodies = self.line.move_id.message_ids.mapped('body')
        for word in ("offered", "signed by", "is active", "broken"):
            self.assertTrue(any(word in body for body in bodies), (word, bodies))
        self.assertFalse(self._night('2024-04-22'), "once")

    def test_broken_hold_only_if_the_company_says_so(self):
        plan = self._plan()
        self._update('2024-03-21')
        self.assertEqual(plan.state, 'broken')
        self.assertFalse(self.partner_a.with_company(self.company).credit_hold)

    def test_broken_waives_the_wait_between_reminders(self):
        plan = self._plan()
        with freeze_time('2024-03-20'):
            other = self._create_due_invoice('2024-03-10', 50.0)
            self._prepare('2024-03-20').notice_ids._mark_sent(date(2024, 3, 20))
            self.assertEqual(other.dunning_level_id, self.level_1)
        self._update('2024-03-21')
        self.assertEqual(plan.state, 'broken')
        self.assertEqual(self._due('2024-03-21')[self.line], "Level 1")

    def test_unmatched_payment_does_not_break_it(self):
        plan = self._plan()
        payment = self._create_unmatched_payment('2024-03-15', 250.0, self.partner_a)
        self._update('2024-03-25')
        self.assertEqual(plan.state, 'active')
        self.assertEqual(self._get_paid(plan), [0.0] * 4, "paid is what the lines have lost")
        (payment + self.line).reconcile()
        self.assertEqual(self._get_paid(plan), [250.0, 0.0, 0.0, 0.0])

    def test_one_unmatched_payment_saves_one_plan(self):
        other = self._create_due_invoice('2024-02-01', 1000.0)
        first, second = self._plan(), self._plan(other)
        self._create_unmatched_payment('2024-03-15', 250.0, self.partner_a)
        self._update('2024-03-25')
        self.assertEqual((first.state, second.state), ('active', 'broken'))

    def test_cancelled(self):
        plan = self._plan()
        plan.action_cancel()
        self.assertEqual(plan.state, 'cancelled')
        self.assertRecordValues(plan.block_id, [{'state': 'ended', 'broken': False}])
        self.assertFalse(self.line.payment_plan_id)
        self.assertIn(self.line, self._due('2024-03-01'))
        with self.assertRaisesRegex(UserError, "already over"):
            plan.action_cancel()

    def test_paid_early(self):
        plan = self._plan()
        self._pay(self.line, '2024-03-02', 600.0)
        self.assertEqual(self._get_paid(plan), [250.0, 250.0, 100.0, 0.0])
        self.assertEqual(plan.installment_ids.sorted('date').mapped('state'), ['paid', 'paid', 'open', 'open'])
        self._update('2024-05-14')
        self.assertEqual(plan.state, 'active')
        self._pay(self.line, '2024-05-14')
        self.assertEqual(plan.state, 'done')

    def test_credit_note_counts(self):
        plan = self._plan()
        credit = self._create_due_invoice('2024-03-01', 300.0, move_type='out_refund')
        (credit + self.line).reconcile()
        self.assertEqual(self._get_paid(plan), [250.0, 50.0, 0.0, 0.0])

    def test_payment_undone(self):
        plan = self._plan()
        self._pay(self.line, '2024-03-02', 600.0)
        self.line.remove_move_reconcile()
        self.assertEqual(self._get_paid(plan), [0.0] * 4)

    def test_payment_undone_after_the_end(self):
        plan = self._plan()
        payment = self._pay(self.line, '2024-03-02')
        self.assertEqual(plan.state, 'done')
        self.line.remove_move_reconcile()
        payment.move_id.button_draft()
        self.assertEqual(plan.state, 'active')
        self.assertEqual(self.line.payment_plan_id, plan)
        self.assertFalse(self._due('2024-03-14'))
        self._update('2024-03-21')
        self.assertEqual(plan.state, 'broken')

    def test_invoice_reset_to_draft(self):
        plan = self._plan()
        self._pay(self.line, '2024-03-15', 250.0)
        self.line.move_id.button_draft()
        self._update('2024-05-01')
        self.assertEqual(plan.state, 'active', "nobody is blamed while the invoice is corrected")
        self.line.move_id.action_post()
        payment = self.env['account.move.line'].search([
            ('partner_id', '=', self.partner_a.id), ('amount_residual', '<', 0), ('parent_state', '=', 'posted')])
        (payment + self.line).reconcile()
        self.assertEqual(self._get_paid(plan), [250.0, 0.0, 0.0, 0.0])
        self._update('2024-05-01')
        self.assertEqual(plan.state, 'broken')

    def test_invoice_cancelled_counts_as_paid(self):
        other = self._create_due_invoice('2024-02-02', 200.0)
        plan = self._plan(self.line + other)
        other.move_id.button_draft()
        other.move_id.button_cancel()
        self._update('2024-03-02')
        self.assertEqual(plan.amount_paid, 200.0)

    def test_customer_merged(self):
        plan = self._plan()
        target = self.env['res.partner'].create({'name': "Survivor", 'is_company': True})
        merge = self.env['base.partner.merge.automatic.wizard'].sudo().create({})
        merge._merge((target + self.partner_a).ids, target, extra_checks=False)
        self.env.invalidate_all()
        self.assertEqual(plan.partner_id, target)
        self._update('2024-03-14')
        self.assertFalse(self._due('2024-03-14'))
        self._update('2024-03-21')
        self.assertEqual(plan.state, 'broken')
        self.assertIn(self.line, self._due('2024-03-21'))

    def test_two_plans_for_one_line_are_refused(self):
        plan = self._plan(sign=False)
        with self.assertRaisesRegex(UserError, f"is already in payment plan {plan.name}"):
            self._plan(offer=False)
        plan.action_cancel()
        self.assertTrue(self._plan())

    def test_two_drafts_only_one_is_offered(self):
        first, second = self._plan(offer=False), self._plan(offer=False)
        first.action_offer()
        with self.assertRaisesRegex(UserError, "is already in payment plan"):
            second.action_offer()
        self.assertEqual(second.state, 'draft')

    def test_offer_expires(self):
        plan = self._plan(sign=False)
        self._update('2024-03-15')
        self.assertEqual(plan.state, 'offered')
        self._update('2024-03-16')
        self.assertEqual(plan.state, 'cancelled')
        self.assertIn(self.line, self._due('2024-03-16'))
        with self.assertRaisesRegex(UserError, "not on offer"):
            plan.action_sign()

    def test_the_offer_is_good_until_the_end_of_the_companys_day(self):
        """The customer may sit where it is tomorrow already."""
        self.company.sudo().partner_id.tz = 'UTC'
        plan = self._plan(sign=False).with_context(tz='Pacific/Auckland')
        with freeze_time('2024-03-15 12:30:00'):
            self.assertTrue(plan._has_to_be_signed())
            plan.action_sign()
        with freeze_time('2024-03-15 13:30:00'):
            plan.action_cancel()
        self.assertEqual((plan.date_closed, plan.block_id.date_ended), (date(2024, 3, 15), date(2024, 3, 15)))

    def test_activation_replaces_open_promises(self):
        promise = self.env['account.payment.promise'].create({
            'partner_id': self.partner_a.id, 'company_id': self.company.id, 'amount': 1000.0, 'date': '2024-03-03'})
        self._plan()
        self.assertEqual(promise.state, 'cancelled')
        self._update('2024-03-14')
        self.assertEqual(self.partner_a.promise_broken_count, 0)

    def test_paid_between_draft_and_offer_asks_for_a_new_schedule(self):
        plan = self._plan(offer=False)
        self._pay(self.line, '2024-03-01', 10.0)
        with self.assertRaisesRegex(UserError, "Recompute the schedule"):
            plan.action_offer()
        self.assertEqual(plan.state, 'draft')

    def test_agreed_plan_cannot_be_changed(self):
        plan = self._plan(sign=False)
        with self.assertRaisesRegex(UserError, "no draft any more"):
            plan.installment_ids[0].amount = 1.0
        with self.assertRaisesRegex(UserError, "no draft any more"):
            plan.down_payment = 1.0
        with self.assertRaisesRegex(UserError, "can't be deleted"):
            plan.unlink()
        with self.assertRaisesRegex(UserError, "no draft any more"):
            self.env['account.payment.plan.installment'].create({
                'plan_id': plan.id, 'date': '2024-09-01', 'amount': 1.0})

    def test_lines_of_another_customer_or_currency_are_refused(self):
        other = self._create_due_invoice('2024-02-01', partner=self.partner_b)
        with self.assertRaisesRegex(ValidationError, "is not an invoice of"):
            self._plan(offer=False).move_line_ids = self.line + other
        currency = self.setup_other_currency('EUR', rates=[('2024-01-01', 2.0)])
        foreign = self._create_due_invoice('2024-02-01', currency_id=currency.id)
        with self.assertRaisesRegex(ValidationError, "one currency only"):
            self._plan(offer=False).move_line_ids = self.line + foreign

    def test_plan_in_foreign_currency(self):
        currency = self.setup_other_currency('EUR', rates=[('2024-01-01', 2.0)])
        foreign = self._create_due_invoice('2024-02-01', 90.0, currency_id=currency.id)
        plan = self._plan(foreign, number=3)
        payment = self._create_unmatched_payment('2024-03-15', 30.0, self.partner_a, currency)
        (payment + foreign).reconcile()
        self.assertEqual(self._get_paid(plan), [30.0, 0.0, 0.0])

    def test_replan(self):
        plan = self._plan()
        self._pay(self.line, '2024-03-15', 250.0)
        action = plan.action_replan()
        prepare = self.env['account.payment.plan.prepare'].with_context(**action['context']).create({
            'number': 3, 'date_first': '2024-05-01'})
        new = self.env['account.payment.plan'].browse(prepare.action_make()['res_id'])
        self.assertRecordValues(new, [{'amount_total': 750.0, 'previous_plan_id': plan.id, 'state': 'draft'}])
        self.assertEqual(plan.state, 'active', "kept to until the new one is signed")
        self.assertFalse(self._night('2024-03-20'))
        new.action_offer()
        self.assertEqual((plan.state, new.state), ('active', 'offered'))
        self.assertEqual(self.line.payment_plan_id, plan)
        new.action_sign()
        self.assertEqual((plan.state, new.state), ('cancelled', 'active'))
        self.assertEqual(self.line.payment_plan_id, new)
        self.assertFalse(self._due('2024-03-15'))

    def test_reminders_go_once(self):
        plan = self._plan()
        template = self.env.ref('account_dunning.mail_template_payment_plan_reminder')
        mails = self.env['mail.mail'].sudo()
        self._update('2024-03-09')
        self.assertFalse(mails.search([('model', '=', plan._name), ('res_id', '=', plan.id)]))
        self._update('2024-03-10')
        mail = mails.search([('model', '=', plan._name), ('res_id', '=', plan.id)])
        self.assertEqual(len(mail), 1)
        self.assertIn("250.00", mail.body_html)
        self.assertIn(plan.name, mail.subject)
        self.assertEqual(mail.recipient_ids, self.partner_a)
        self.assertEqual(plan.installment_ids.mapped('reminder_date'), [date(2024, 3, 10), False, False, False])
        for day in ('2024-03-10', '2024-03-11', '2024-03-15'):
            self._update(day)
        self.assertEqual(mails.search_count([('model', '=', plan._name), ('res_id', '=', plan.id)]), 1)
        self.assertTrue(template)

    def test_paid_installment_is_not_reminded(self):
        plan = self._plan()
        self._pay(self.line, '2024-03-05', 250.0)
        self._update('2024-03-10')
        self.assertFalse(self.env['mail.mail'].sudo().search([('model', '=', plan._name), ('res_id', '=', plan.id)]))

    def _count_reminders(self, plan):
        return self.env['mail.mail'].sudo().search_count([('model', '=', plan._name), ('res_id', '=', plan.id)])

    def test_who_has_paid_is_not_reminded(self):
        """The money is there, and nobody has matched it with the invoice yet."""
        plan = self._plan()
        payment = self._create_unmatched_payment('2024-03-08', 250.0, self.partner_a)
        self._update('2024-03-10')
        self.assertFalse(self._count_reminders(plan))
        payment.move_id.button_draft()
        self._update('2024-03-11')
        self.assertEqual(self._count_reminders(plan), 1)

    def test_an_online_payment_on_its_way_is_waited_for(self):
        plan = self._plan()
        transaction = self._create_online_payment(self.line)
        self._update('2024-03-10')
        self.assertFalse(self._count_reminders(plan))
        self._update('2024-03-21')
        self.assertEqual(plan.state, 'active')
        transaction.state = 'cancel'
        self._update('2024-03-22')
        self.assertEqual(plan.state, 'broken')

    def test_money_for_one_plan_spares_one_reminder(self):
        other = self._plan(self._create_due_invoice('2024-02-01', 1000.0))
        plan = self._plan()
        self._create_unmatched_payment('2024-03-08', 250.0, self.partner_a)
        self._update('2024-03-10')
        self.assertEqual((self._count_reminders(other), self._count_reminders(plan)), (0, 1))

    def test_what_has_run_out_is_not_offered(self):
        plan = self._plan(offer=False)
        with freeze_time('2024-03-16'):
            with self.assertRaisesRegex(UserError, "valid until 03/15/2024 only"):
                plan.action_offer()
            plan.date_validity = '2024-03-30'
            with self.assertRaisesRegex(UserError, "was due on 03/15/2024 already"):
                plan.action_offer()
        self.assertEqual(plan.state, 'draft')

    def test_failing_reminder_does_not_stop_the_others(self):
        good = self._plan()
        bad = self._plan(self._create_due_invoice('2024-02-01', 400.0, partner=self.partner_b))
        template = self.env.ref('account_dunning.mail_template_payment_plan_reminder').sudo()
        # Odoo tries a template on the first record when it is saved: this one fails on another
        self.env.cr.execute(
            "UPDATE mail_template SET subject = jsonb_build_object('en_US', %s) WHERE id = %s",
            ["{{ 1 / (0 if object.partner_id.email == 'b@example.com' else 1) }}", template.id])
        template.invalidate_recordset(['subject'])
        with self.assertLogs('odoo.addons.account_dunning', 'WARNING'):
            self._update('2024-03-10')
        mails = self.env['mail.mail'].sudo()
        self.assertEqual(mails.search_count([('model', '=', good._name), ('res_id', '=', good.id)]), 1)
        self.assertFalse(mails.search([('model', '=', bad._name), ('res_id', '=', bad.id)]))
        self.assertTrue(bad.activity_ids, "somebody is told")
        self.assertTrue(any("could not be reminded" in body for body in bad.message_ids.mapped('body')))

    def test_letter_for_another_bill_mentions_the_plan(self):
        plan = self._plan()
        other = self._create_due_invoice('2024-02-10', 70.0)
        notice = self._prepare('2024-03-01').notice_ids
        self.assertEqual(notice.line_ids.filtered('advances').move_line_id, other)
        html = self.env['ir.qweb']._render('account_dunning.dunning_notice_pauses', {'o': notice})
        self.assertIn(plan.name, html)
        self.assertIn("goes on as agreed", html)

    def test_letter_after_the_break_says_so(self):
        plan = self._plan()
        self._update('2024-03-21')
        notice = self._prepare('2024-03-21').notice_ids
        html = self.env['ir.qweb']._render('account_dunning.dunning_notice_pauses', {'o': notice})
        self.assertIn(plan.name, html)
        self.assertIn("because an installment", html)

    def test_partner_shows_the_running_plan(self):
        plan = self._plan()
        self.assertRecordValues(self.partner_a, [{'payment_plan_id': plan.id, 'payment_plan_count': 1}])
        plan.action_cancel()
        self.env.invalidate_all()
        self.assertRecordValues(self.partner_a, [{'payment_plan_id': False, 'payment_plan_count': 1}])

    def test_pause_of_a_running_plan_cannot_be_ended_alone(self):
        plan = self._plan()
        with self.assertRaisesRegex(UserError, "Cancel the plan"):
            plan.block_id.action_end()

    def test_evidence_is_not_written_by_hand(self):
        plan = self._plan(sign=False)
        clerk = new_test_user(
            self.env, 'clerk', groups='account.group_account_invoice',
            company_id=self.company.id, company_ids=self.company.ids)
        by_clerk = plan.with_user(clerk)
        for values in ({'state': 'done'}, {'signed_by': "Nobody"}, {'signature': b'AAAA'}, {'amount_total': 1.0}):
            with self.assertRaises(AccessError):
                by_clerk.write(values)
        with self.assertRaises(AccessError):
            by_clerk.installment_ids[0].write({'amount_paid': 1.0})
        by_clerk.action_sign()
        self.assertEqual(plan.state, 'active')

    def test_readonly_accountant_cannot_offer(self):
        plan = self._plan(offer=False)
        auditor = new_test_user(
            self.env, 'auditor', groups='account.group_account_readonly',
            company_id=self.company.id, company_ids=self.company.ids)
        with self.assertRaises(UserError):
            plan.with_user(auditor).action_offer()

    def test_dialog_previews_the_schedule(self):
        with Form(self.env['account.payment.plan.prepare'].with_context(
            default_partner_id=self.partner_a.id, default_company_id=self.company.id,
        )) as form:
            self.assertEqual(form.amount_total, 1000.0)
            form.number = 3
            form.date_first = date(2024, 3, 31)
            self.assertEqual(
                [(line['date'], line['amount']) for line in form.line_ids._records],
                [(date(2024, 3, 31), 333.33), (date(2024, 4, 30), 333.33), (date(2024, 5, 31), 333.34)])
            form.down_payment = 100.0
            form.date_down_payment = date(2024, 3, 8)
            self.assertEqual([line['amount'] for line in form.line_ids._records], [100.0, 300.0, 300.0, 300.0])
            form.down_payment = 1000.0
            self.assertIn("less than the open amount", form.warning)
            form.down_payment = 0.0
            form.split = 'amount'
            form.installment_amount = 300.0
            self.assertEqual([line['amount'] for line in form.line_ids._records], [300.0, 300.0, 300.0, 100.0])
            self.assertFalse(form.warning)
        plan = self.env['account.payment.plan'].browse(form.save().action_make()['res_id'])
        self.assertEqual(sum(plan.installment_ids.mapped('amount')), 1000.0)

    def test_dialog_free_dates(self):
        with Form(self.env['account.payment.plan.prepare'].with_context(
            default_partner_id=self.partner_a.id, default_company_id=self.company.id,
        )) as form:
            form.rhythm = 'free'
            form.number = 2
            form.date_first = date(2024, 4, 1)
            with form.line_ids.edit(0) as line:
                line.amount = 700.0
            self.assertIn("not in the schedule", form.warning)
            with form.line_ids.edit(1) as line:
                line.amount = 300.0
                line.date = date(2024, 4, 11)
            self.assertFalse(form.warning)
        plan = self.env['account.payment.plan'].browse(form.save().action_make()['res_id'])
        self.assertRecordValues(plan.installment_ids, [
            {'date': date(2024, 4, 1), 'amount': 700.0}, {'date': date(2024, 4, 11), 'amount': 300.0}])

    def test_dialog_tax_first(self):
        invoice = self.env['account.move'].create({
            'move_type': 'out_invoice', 'partner_id': self.partner_b.id,
            'invoice_date': '2024-01-01', 'invoice_date_due': '2024-02-01', 'invoice_payment_term_id': False,
            'invoice_line_ids': [Command.create({
                'name': "A", 'quantity': 1, 'price_unit': 1000.0, 'tax_ids': self.tax_sale_a.ids})],
        })
        invoice.action_post()
        prepare = self.env['account.payment.plan.prepare'].with_context(
            active_model='account.move', active_ids=invoice.ids, active_id=invoice.id,
        ).create({'number': 3, 'tax_first': True})
        self.assertEqual(prepare.partner_id, self.partner_b)
        self.assertEqual(prepare.line_ids.mapped('amount'), [invoice.amount_tax, 500.0, 500.0])

    def test_dunning_of_the_customers_other_bills_goes_on(self):
        self._plan()
        other = self._create_due_invoice('2024-02-10', 70.0)
        self.assertEqual(list(self._due('2024-03-01')), [other])

    def test_yearlong_history_is_idempotent(self):
        plan = self._plan()
        day = date(2024, 3, 2)
        while day < date(2024, 3, 15):
            self.env['account.dunning.block']._update_pauses(self.company, day)
            day += timedelta(days=1)
        messages = plan.message_ids
        self.env['account.dunning.block']._update_pauses(self.company, day)
        self.assertEqual(plan.message_ids, messages)
