from odoo import Command, fields
from odoo.exceptions import AccessError, UserError
from odoo.tests import Form, freeze_time, new_test_user, tagged

from .common import DunningMailCommon

FRIDAY, MONDAY = '2024-03-08', '2024-03-11'


@tagged('post_install', '-at_install')
class TestWorklist(DunningMailCommon):
    """What a collector has to do, until it is done."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.followups = cls.env['account.dunning.followup']
        cls.level_1.write({'send_email': False, 'create_activity': True, 'activity_summary': "Call them"})
        cls.collector = new_test_user(
            cls.env, 'collector', groups='account.group_account_invoice', email='collector@example.com',
            company_id=cls.company.id, company_ids=[Command.set(cls.company.ids)])

    def _get_row(self, partner=None, user=None):
        self.env.flush_all()
        return self.followups.with_user(user or self.env.user).search([
            ('company_id', '=', self.company.id), ('partner_id', '=', (partner or self.partner_a).id)])

    def _assert_todo(self, todo, date=False, partner=None):
        row = self._get_row(partner)
        self.assertEqual(
            (row.todo or 'none', row.todo_date), (todo, fields.Date.to_date(date) if date else False))

    def _remind(self, date):
        self._prepare(date).notice_ids.action_send()
        self._run_cron('ir_cron_dunning_send')
        return self.Notice.search([('company_id', '=', self.company.id)], order='id desc', limit=1)

    def _log(self, outcome, user=None, **values):
        return self.env['account.dunning.call'].with_user(user or self.env.user).create({
            'partner_id': self.partner_a.id, 'company_id': self.company.id, 'outcome': outcome, **values}).action_log()

    #=== CALLS ===#

    @freeze_time(FRIDAY)
    def test_call_is_planned_until_it_is_logged(self):
        line = self._create_due_invoice('2024-03-01')
        notice = self._remind(FRIDAY)
        self._assert_todo('call', FRIDAY)
        self.assertEqual((notice.state, notice.call_state), ('sent', 'planned'))
        self.assertNotIn("Reminder sent", ' '.join(line.move_id.message_ids.mapped('body')), "nobody has reminded")
        self._log('other', note="Asks for a copy")
        self._assert_todo('none')
        self.assertEqual(notice.call_state, 'done')
        self.assertFalse(notice.activity_ids)
        contact = self.env['account.dunning.contact'].search([('partner_id', '=', self.partner_a.id)])
        self.assertRecordValues(contact, [{
            'outcome': 'other', 'note': "Asks for a copy", 'channel': 'phone', 'user_id': self.env.uid,
            'date': fields.Date.to_date(FRIDAY), 'next_date': False}])
        self.assertEqual(self._get_row().last_contact_date, fields.Date.to_date(FRIDAY))

    def test_no_answer_is_tried_on_the_next_working_day_and_not_for_ever(self):
        with freeze_time(FRIDAY):
            self._create_due_invoice('2024-03-01')
            notice = self._remind(FRIDAY)
            self._log('no_answer')
            self._assert_todo('call', MONDAY)
            self.assertEqual(notice.activity_ids.date_deadline, fields.Date.to_date(MONDAY))
        with freeze_time(MONDAY):
            self._log('no_answer')
            self._assert_todo('call', '2024-03-12')
        with freeze_time('2024-03-12'):
            self._log('no_answer')
            self._assert_todo('none')
            self.assertEqual(notice.call_state, 'done', "three tries are enough")

    @freeze_time(FRIDAY)
    def test_level_has_its_own_number_of_tries(self):
        self.level_1.call_tries = 1
        self._create_due_invoice('2024-03-01')
        self._remind(FRIDAY)
        self._log('no_answer')
        self._assert_todo('none')

    @freeze_time(FRIDAY)
    def test_payment_closes_the_call(self):
        line = self._create_due_invoice('2024-03-01')
        other = self._create_due_invoice('2024-03-02')
        notice = self._remind(FRIDAY)
        self._pay(line, FRIDAY)
        self._assert_todo('call', FRIDAY)
        self._pay(other, FRIDAY)
        self.assertFalse(notice.activity_ids)
        self._assert_todo('none')

    @freeze_time(FRIDAY)
    def test_agreement_closes_the_call(self):
        line = self._create_due_invoice('2024-03-01')
        notice = self._remind(FRIDAY)
        self.env['account.dispute'].create({
            'move_id': line.move_id.id, 'amount': line.amount_residual, 'reason': 'other'})
        self.assertFalse(notice.activity_ids)
        self._assert_todo('none')

    def test_next_level_closes_the_call_of_the_one_before(self):
        with freeze_time('2024-03-04'):
            self._create_due_invoice('2024-03-01')
            first = self._remind('2024-03-04')
            self.assertEqual(first.call_state, 'planned')
        with freeze_time('2024-03-14'):
            second = self._remind('2024-03-14')
            self.assertNotEqual(first, second)
            self.assertEqual(first.call_state, 'done')
            self._assert_todo('none')

    @freeze_time(FRIDAY)
    def test_wrong_contact_is_put_right_at_once(self):
        self._create_due_invoice('2024-03-01')
        self._remind(FRIDAY)
        self._log('wrong_contact', user=self.collector, contact_id=self.partner_a.id, new_phone=" +32 9 123 ",
                  new_email="right@example.com")
        self.assertEqual((self.partner_a.phone, self.partner_a.email), ("+32 9 123", "right@example.com"))
        self._assert_todo('none')

    def test_call_that_was_put_off_is_forgotten_when_something_else_happens(self):
        with freeze_time('2024-03-04'):
            line = self._create_due_invoice('2024-03-01')
            self._remind('2024-03-04')
            self._log('no_answer')
            later = self._create_due_invoice('2024-02-20')
            self._pay(line, '2024-03-04')
            self._assert_todo('none')
            self.assertGreater(self._get_row().amount_overdue, 0.0)
            self._log('no_answer')
            self._assert_todo('call', '2024-03-05')
            self.env['account.dispute'].create({
                'move_id': later.move_id.id, 'amount': 10.0, 'reason': 'other'})
            self._assert_todo('none')

    @freeze_time(FRIDAY)
    def test_nobody_is_called_while_all_is_paused(self):
        self._create_due_invoice('2024-03-01')
        self._remind(FRIDAY)
        block = self.env['account.dunning.block'].create({
            'partner_id': self.partner_a.id, 'company_id': self.company.id, 'date_from': FRIDAY})
        self._assert_todo('none')
        block.action_end()
        self._assert_todo('call', FRIDAY)

    @freeze_time(FRIDAY)
    def test_next_working_day_is_the_company_s(self):
        calendar = self.company.sudo().resource_calendar_id
        calendar.tz = 'America/Los_Angeles'
        self.assertEqual(
            self.env['account.dunning.contact']._get_next_working_day(self.company, fields.Date.to_date('2024-03-06')),
            fields.Date.to_date('2024-03-07'))

    @freeze_time(FRIDAY)
    def test_nobody_takes_over_a_login_through_a_wrong_contact(self):
        contact = self.env['res.partner'].create({'name': "Boss", 'parent_id': self.partner_a.id})
        new_test_user(self.env, 'boss', partner_id=contact.id, email='boss@example.com', groups='base.group_user')
        self._create_due_invoice('2024-03-01')
        with self.assertRaisesRegex(UserError, "has a login"):
            self._log('wrong_contact', user=self.collector, contact_id=contact.id, new_email='thief@example.com')
        self.assertEqual(contact.email, 'boss@example.com')

    #=== THE REST OF THE WORK ===#

    def test_promise_is_looked_after_on_its_day(self):
        with freeze_time(FRIDAY):
            line = self._create_due_invoice('2024-03-01')
            self._log('promise', promise_date=MONDAY)
            self._assert_todo('promise', MONDAY)
            self.assertFalse(self.followups.search([('todo', '!=', 'none'), ('todo_date', '<=', 'today')]))
        with freeze_time(MONDAY):
            self._assert_todo('promise', MONDAY)
            self._pay(line, MONDAY)
            self._assert_todo('none')

    def test_broken_promise_is_work_until_somebody_has_called_or_reminded(self):
        with freeze_time(FRIDAY):
            self._create_due_invoice('2024-03-01')
            self._log('promise', promise_date=MONDAY)
        with freeze_time('2024-04-02'):
            self.env['account.payment.promise']._update_promises(self.company, fields.Date.to_date('2024-04-02'))
            self._assert_todo('broken', '2024-04-02')
            self._log('other')
            self._assert_todo('none')

    @freeze_time(FRIDAY)
    def test_proposals_failures_bounces_and_letters(self):
        self.level_1.write({'create_activity': False, 'send_email': True})
        self._create_due_invoice('2024-03-01')
        notice = self._prepare(FRIDAY).notice_ids
        self._assert_todo('review', FRIDAY)
        self.assertEqual(self._get_row().action_do()['res_id'], notice.id)
        notice.sudo()._fail("Test")
        self._assert_todo('failed', FRIDAY)
        notice.action_send()
        self._run_cron('ir_cron_dunning_send')
        self._assert_todo('none')
        notice.sudo().is_bounced = True
        self._assert_todo('bounced', FRIDAY)
        self._log('wrong_contact')
        self._assert_todo('none')
        notice.sudo().is_letter_to_print = True
        self._assert_todo('post', FRIDAY)
        notice.action_print_letters()
        notice.action_confirm_posted()
        self._assert_todo('none')

    @freeze_time(FRIDAY)
    def test_most_urgent_first_and_money_times_days(self):
        self._create_due_invoice('2024-03-01', 100.0)
        self._create_due_invoice('2024-01-01', 50.0, partner=self.partner_b)
        rows = self.followups.search([('company_id', '=', self.company.id)])
        self.assertEqual(rows.mapped('partner_id'), self.partner_b + self.partner_a)
        # too little is known of how they pay: as long again, shortened by half, at 8 % a year
        for row, euro_days in zip(rows, (50.0 * 67, 100.0 * 7), strict=True):
            self.assertAlmostEqual(row.priority, euro_days * 0.5 * 0.08 / 365, 6)
        self.company.sudo().payer_call_cost = 0.1
        rows.invalidate_recordset()
        rows = self.followups.search([('company_id', '=', self.company.id)])
        self.assertEqual([row.priority > 0 for row in rows], [True, False], "the second is not worth its call")

    #=== WHO ===#

    @freeze_time(FRIDAY)
    def test_collector_with_billing_rights_does_it_all(self):
        self._create_due_invoice('2024-03-01')
        self._remind(FRIDAY)
        row = self._get_row(user=self.collector)
        self.assertEqual(row.todo, 'call')
        action = row.action_log_call()
        with Form(self.env['account.dunning.call'].with_user(self.collector).with_context(**action['context'])) as form:
            self.assertIn("7 days late", ' '.join(form.call_sheet.split()))
            form.outcome = 'no_answer'
        form.save().action_log()
        self.assertEqual(self._get_row(user=self.collector).todo_date, fields.Date.to_date(MONDAY))
        assign = Form(self.env['account.dunning.assign'].with_user(self.collector).with_context(
            **row.action_assign()['context']))
        assign.user_id = self.collector
        assign.save().action_assign()
        self.assertEqual(self._get_row().user_id, self.collector)
        self.assertEqual(row.action_print_statements()['type'], 'ir.actions.report')

    @freeze_time(FRIDAY)
    def test_nobody_else(self):
        self._create_due_invoice('2024-03-01')
        Contact = self.env['account.dunning.contact']
        values = {'partner_id': self.partner_a.id, 'company_id': self.company.id, 'outcome': 'other'}
        contact = Contact.create(values)
        for groups in ('sales_team.group_sale_salesman', 'base.group_portal', 'account.group_account_readonly'):
            user = new_test_user(self.env, groups, groups=groups, company_id=self.company.id,
                                 company_ids=[Command.set(self.company.ids)])
            with self.subTest(groups=groups), self.assertRaises(AccessError):
                Contact.with_user(user).create(values)
        for method, args in (('write', ({'note': "Other"},)), ('unlink', ())):
            with self.assertRaises(AccessError):
                getattr(contact.with_user(self.collector), method)(*args)
        other = self.env['res.company'].sudo().create({'name': "Other"})
        stranger = new_test_user(self.env, 'stranger', groups='account.group_account_invoice', company_id=other.id,
                                 company_ids=[Command.set(other.ids)])
        self.assertFalse(Contact.with_user(stranger).search([('id', '=', contact.id)]))
        with self.assertRaises(AccessError):
            Contact.with_user(stranger).create(values)

    @freeze_time(FRIDAY)
    def test_queries_do_not_grow_with_customers(self):
        partners = self.env['res.partner'].create([{'name': f"Customer {number}"} for number in range(10)])
        today = fields.Date.to_date(FRIDAY)
        for partner in partners:
            self._create_due_invoice('2024-03-01', partner=partner)
        self._prepare(FRIDAY)
        self.env.flush_all()
        self.followups._refresh(self.company, today, partners[:1].ids)
        with self.assertQueryCount(8):
            self.followups._refresh(self.company, today, partners.ids)
