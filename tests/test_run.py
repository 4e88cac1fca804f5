from unittest.mock import patch

import psycopg2
from psycopg2 import IntegrityError

from odoo import fields
from odoo.exceptions import UserError
from odoo.tests import freeze_time, tagged
from odoo.tests.common import warmup
from odoo.tools import mute_logger

from .common import DunningCommon


@tagged('post_install', '-at_install')
@freeze_time('2024-03-10 08:00:00')
class TestRun(DunningCommon):
    """What a run proposes."""

    def test_proposal_of_one_customer(self):
        self.level_1.deadline_days = 8
        old = self._create_due_invoice('2024-02-01', amount=100.0)
        new = self._create_due_invoice('2024-03-09', amount=40.0)
        coming = self._create_due_invoice('2024-03-25', amount=60.0)
        notice = self._prepare('2024-03-10').notice_ids
        self.assertRecordValues(notice, [{
            'partner_id': self.partner_a.id, 'contact_id': self.partner_a.id, 'level_id': self.level_1.id,
            'procedure_id': self.procedure.id, 'state': 'draft', 'amount_due': 140.0,
            'date': fields.Date.to_date('2024-03-10'), 'deadline': fields.Date.to_date('2024-03-18'),
        }])
        self.assertRecordValues(notice.line_ids, [
            {'move_line_id': old.id, 'advances': True, 'is_coming_due': False, 'days_overdue': 38,
             'level_id': self.level_1.id, 'amount_residual': 100.0, 'amount_due': 100.0},
            {'move_line_id': new.id, 'advances': False, 'is_coming_due': False, 'days_overdue': 1,
             'level_id': False, 'amount_residual': 40.0, 'amount_due': 40.0},
            {'move_line_id': coming.id, 'advances': False, 'is_coming_due': True, 'days_overdue': -15,
             'level_id': False, 'amount_residual': 60.0, 'amount_due': 0.0},
        ])

    def test_set_off_is_shown(self):
        line = self._create_due_invoice('2024-02-01', amount=100.0)
        self._create_unmatched_payment('2024-03-02', 30.0, self.partner_a)
        notice = self._prepare('2024-03-10').notice_ids
        self.assertRecordValues(notice.line_ids, [{
            'move_line_id': line.id, 'amount_total': 100.0, 'amount_residual': 100.0, 'amount_set_off': 30.0,
            'amount_due': 70.0,
        }])

    def test_several_currencies(self):
        currency = self.setup_other_currency('EUR', rates=[('2024-01-01', 2.0)])
        self._create_due_invoice('2024-02-01', amount=100.0)
        self._create_due_invoice('2024-02-02', amount=100.0, currency_id=currency.id)
        notice = self._prepare('2024-03-10').notice_ids
        self.assertEqual(notice.amount_due, 150.0)
        self.assertEqual(notice.line_ids.mapped('amount_due'), [100.0, 100.0])
        self.assertEqual(notice.line_ids.mapped('amount_due_company'), [100.0, 50.0])

    def test_highest_level_decides(self):
        old = self._create_due_invoice('2024-01-15')
        with freeze_time('2024-02-01'):
            self._prepare('2024-02-01').notice_ids._mark_sent(fields.Date.to_date('2024-02-01'))
        self.assertEqual(old.dunning_level_id, self.level_1)
        new = self._create_due_invoice('2024-03-01')
        notice = self._prepare('2024-03-10').notice_ids
        self.assertEqual(notice.level_id, self.level_2)
        self.assertEqual(
            {line.move_line_id: line.level_id for line in notice.line_ids}, {old: self.level_2, new: self.level_1})

    def test_preparing_again_doubles_nothing(self):
        line = self._create_due_invoice('2024-02-01')
        run = self._prepare('2024-03-10')
        notice = run.notice_ids
        run.action_prepare()
        self.assertEqual(run.notice_ids, notice)
        self.assertEqual(len(notice.line_ids), 1)
        second = self._prepare('2024-03-10')
        self.assertEqual(second.notice_ids, notice)
        self.assertEqual(notice.line_ids.move_line_id, line)

    def test_proposal_follows_the_account(self):
        line = self._create_due_invoice('2024-02-01', amount=100.0)
        run = self._prepare('2024-03-10')
        notice = run.notice_ids
        self._pay(line, '2024-03-10', amount=60.0)
        run.action_prepare()
        self.assertEqual(notice.amount_due, 40.0)
        self._pay(line, '2024-03-10', amount=40.0)
        run.action_prepare()
        self.assertEqual(notice.state, 'cancelled')
        self.assertEqual(run.state, 'done')

    def test_dropped_proposal_comes_back_tomorrow(self):
        line = self._create_due_invoice('2024-02-01')
        run = self._prepare('2024-03-10')
        run.notice_ids.action_cancel()
        run.action_prepare()
        self.assertEqual(run.notice_ids.mapped('state'), ['cancelled'])
        self.assertEqual(self._explain(line, '2024-03-10')[line], (
            'waiting', self.level_1, fields.Date.to_date('2024-03-11')))
        self.assertEqual(self._prepare('2024-03-11').notice_ids.state, 'draft')

    def test_recipient(self):
        self._create_due_invoice('2024-02-01')
        run = self._prepare('2024-03-10')
        self.assertEqual(run.notice_ids.contact_id, self.partner_a)
        invoice_address, followup_address = self.env['res.partner'].create([
            {'name': "Accounts", 'parent_id': self.partner_a.id, 'type': 'invoice'},
            {'name': "Dunning", 'parent_id': self.partner_a.id, 'type': 'dunning'},
        ])
        run.action_prepare()
        self.assertEqual(run.notice_ids.contact_id, followup_address)
        followup_address.active = False
        run.action_prepare()
        self.assertEqual(run.notice_ids.contact_id, invoice_address)

    def test_recipient_is_the_address_that_the_invoice_went_to(self):
        self.env['res.partner'].create({'name': "North", 'parent_id': self.partner_a.id, 'type': 'invoice'})
        south = self.env['res.partner'].create({'name': "South", 'parent_id': self.partner_a.id, 'type': 'invoice'})
        self._create_due_invoice('2024-02-01', partner=south)
        self.assertEqual(self._prepare('2024-03-10').notice_ids.contact_id, south)

    def test_recipient_is_nobody_who_has_left(self):
        buyer = self.env['res.partner'].create({
            'name': "Buyer", 'parent_id': self.partner_a.id, 'email': 'buyer@example.com'})
        self._create_due_invoice('2024-02-01', partner=buyer)
        run = self._prepare('2024-03-10')
        self.assertEqual(run.notice_ids.contact_id, buyer)
        buyer.active = False
        run.action_prepare()
        self.assertEqual(run.notice_ids.contact_id, self.partner_a)

    def test_recipient_is_no_address_of_another_company(self):
        other = self.setup_other_company()['company']
        self.env['res.partner'].create({
            'name': "Theirs", 'parent_id': self.partner_a.id, 'type': 'dunning', 'company_id': other.id})
        ours = self.env['res.partner'].create({
            'name': "Ours", 'parent_id': self.partner_a.id, 'type': 'dunning', 'company_id': self.company.id})
        self._create_due_invoice('2024-02-01')
        self.assertEqual(self._prepare('2024-03-10').notice_ids.contact_id, ours)

    def test_collector(self):
        collector = self.env.ref('base.user_admin')
        self.partner_a.with_company(self.company).dunning_user_id = collector
        self._create_due_invoice('2024-02-01')
        self.assertEqual(self._prepare('2024-03-10').notice_ids.user_id, collector)

    def test_child_contacts_get_one_notice_together(self):
        contact = self.env['res.partner'].create({'name': "Paul", 'parent_id': self.partner_a.id})
        self._create_due_invoice('2024-02-01')
        self._create_due_invoice('2024-02-01', partner=contact)
        notice = self._prepare('2024-03-10').notice_ids
        self.assertEqual(notice.partner_id, self.partner_a)
        self.assertEqual(len(notice.line_ids), 2)

    def test_chosen_level_outlives_refreshing(self):
        line = self._create_due_invoice('2024-02-01')
        run = self._prepare('2024-03-10')
        run.notice_ids.action_set_level(self.level_2)
        self.assertRecordValues(run.notice_ids.line_ids, [{'level_id': self.level_2.id, 'advances': True}])
        run.action_prepare()
        self.assertEqual(run.notice_ids.level_id, self.level_2)
        self.assertRecordValues(run.notice_ids.line_ids, [{'level_id': self.level_2.id, 'advances': True}])
        run.notice_ids._mark_sent(fields.Date.to_date('2024-03-10'))
        self.assertEqual(line.dunning_level_id, self.level_2)

    def test_chosen_recipient_outlives_refreshing(self):
        self._create_due_invoice('2024-02-01')
        notice = self._prepare('2024-03-10').notice_ids
        contact = self.env['res.partner'].create({'name': "Accounts", 'parent_id': self.partner_a.id})
        notice.sudo(False).contact_id = contact
        self._prepare('2024-03-11')
        self.assertEqual((notice.date, notice.contact_id), (fields.Date.to_date('2024-03-11'), contact))

    def test_softer_level_moves_nothing(self):
        line = self._create_due_invoice('2024-01-15')
        self._prepare('2024-02-01').notice_ids._mark_sent(fields.Date.to_date('2024-02-01'))
        run = self._prepare('2024-03-10')
        self.assertEqual(run.notice_ids.level_id, self.level_2)
        run.notice_ids.action_set_level(self.level_1)
        self.assertRecordValues(run.notice_ids.line_ids, [{'level_id': self.level_1.id, 'advances': False}])
        run.notice_ids._mark_sent(fields.Date.to_date('2024-03-10'))
        self.assertEqual(line.dunning_level_id, self.level_1)

    def test_chosen_level_leaves_bills_of_another_procedure_where_they_are(self):
        other = self._create_procedure([5, 10, 15])
        ours = self._create_due_invoice('2024-02-01', amount=80.0)
        its = self._create_due_invoice('2024-02-01')
        its.move_id.dunning_procedure_id = other
        for date in ('2024-02-15', '2024-02-25'):
            self._prepare(date).notice_ids._mark_sent(fields.Date.to_date(date))
        levels = other.level_ids
        self.assertEqual((ours.dunning_level_id, its.dunning_level_id), (self.level_2, levels[1]))
        notice = self._prepare('2024-03-10').notice_ids
        self.assertEqual(notice.procedure_id, self.procedure)
        for level in (self.level_1, self.level_3):
            notice.action_set_level(level)
            self.assertEqual(
                {line.move_line_id: (line.level_id, line.advances) for line in notice.line_ids},
                {ours: (level if level == self.level_3 else self.level_2, level == self.level_3),
                 its: (levels[1], False)})

    def test_level_of_another_procedure_is_refused(self):
        self._create_due_invoice('2024-02-01')
        notice = self._prepare('2024-03-10').notice_ids
        other = self._create_procedure([1])
        with self.assertRaises(UserError):
            notice.action_set_level(other.level_ids)

    def test_one_live_notice_per_customer(self):
        self._create_due_invoice('2024-02-01')
        notice = self._prepare('2024-03-10').notice_ids
        with mute_logger('odoo.sql_db'), self.assertRaises(IntegrityError):
            notice.sudo().copy({'partner_id': self.partner_a.id})

    def test_failing_customer_is_left_out_and_named(self):
        for partner in (self.partner_a, self.partner_b):
            self._create_due_invoice('2024-02-01', partner=partner)
        partners = self.env['res.partner'].create([{'name': f"Customer {i}"} for i in range(5)])
        for partner in partners:
            self._create_due_invoice('2024-02-01', partner=partner)
        # a constraint of the database that only this customer violates
        self.env.cr.execute("ALTER TABLE account_dunning_notice ADD CONSTRAINT test_failing CHECK (partner_id != %s)",
                            [partners[2].id])
        with mute_logger('odoo.sql_db', 'odoo.addons.account_dunning.models.account_dunning_run'):
            run = self._prepare('2024-03-10')
        self.assertEqual(run.notice_ids.partner_id, self.partner_a + self.partner_b + partners - partners[2])
        self.assertIn("Customer 2", run.failure_reason)
        self.assertEqual(run.state, 'prepared')

    def test_preview_says_what_the_run_does(self):
        self._create_due_invoice('2024-02-01', amount=10.0)
        self._create_due_invoice('2024-02-01', amount=20.0, partner=self.partner_b)
        preview = self.Run._preview(self.company, fields.Date.to_date('2024-03-10'))
        notices = self._prepare('2024-03-10').notice_ids
        self.assertEqual(
            [(row['partner_id'], row['level_id'], row['amount_due']) for row in preview],
            [(notice.partner_id.id, notice.level_id.id, notice.amount_due)
             for notice in notices.sorted('amount_due', reverse=True)])

    def test_large_run_goes_on_in_the_background(self):
        self.procedure.mode = 'review'
        self._create_due_invoice('2024-02-01')
        self._create_due_invoice('2024-02-01', partner=self.partner_b)
        with patch('odoo.addons.account_dunning.models.account_dunning_run.FOREGROUND_CUSTOMERS', 1):
            run = self._prepare('2024-03-10')
        self.assertRecordValues(run, [{'state': 'running', 'customers_total': 2, 'customers_done': 0}])
        self.assertFalse(run.notice_ids)
        self._run_cron('ir_cron_dunning_run')
        # made before today's own run, which has then taken its proposals over
        self.assertRecordValues(run, [{'state': 'done', 'customers_total': 2, 'customers_done': 2}])
        notices = self.Notice.search([('company_id', '=', self.company.id)])
        self.assertEqual(notices.mapped('state'), ['draft', 'draft'])

    def test_conflict_at_the_end_of_a_run_does_not_stop_the_night(self):
        """A collector edits a proposal at the very moment in which it is queued."""
        self._create_due_invoice('2024-02-01')
        queue = self.registry['account.dunning.notice']._queue
        calls = []

        def conflict_once(notices):
            calls.append(notices)
            if len(calls) == 1:
                raise psycopg2.errors.SerializationFailure
            return queue(notices)

        with patch.object(self.registry['account.dunning.notice'], '_queue', conflict_once), \
                freeze_time('2024-03-10 08:00:00'):
            self._run_cron('ir_cron_dunning_run')
        run = self.Run.search([('company_id', '=', self.company.id)])
        self.assertEqual(run.state, 'prepared')
        self.assertEqual(run.notice_ids.state, 'queued')

    @mute_logger('odoo.addons.account_dunning.models.account_dunning_run', 'odoo.addons.base.models.ir_cron')
    def test_trouble_of_one_company_leaves_the_others_their_night(self):
        other = self.setup_other_company()['company']
        self._create_due_invoice('2024-02-01')
        other.sudo().dunning_procedure_id = self._create_procedure([3], company=other)
        settle = self.registry['account.dunning.run']._cancel_settled

        def stumble(run):
            if run.company_id == self.company:
                raise psycopg2.errors.SerializationFailure
            return settle(run)

        with (
            patch.object(self.registry['account.dunning.run'], '_cancel_settled', stumble),
            freeze_time('2024-03-10 08:00:00'),
            self.enter_registry_test_mode(),
        ):
            self.env.ref('account_dunning.ir_cron_dunning_run').sudo().method_direct_trigger()
        self.env.invalidate_all()
        runs = self.Run.sudo().search([('company_id', 'in', (self.company | other).ids)])
        self.assertEqual({run.company_id: run.state for run in runs}, {self.company: 'running', other: 'done'})

    def test_company_without_any_procedure_gets_no_run(self):
        self.company.sudo().dunning_procedure_id = False
        self._create_due_invoice('2024-02-01')
        with freeze_time('2024-03-10 08:00:00'):
            self._run_cron('ir_cron_dunning_run')
            self.assertFalse(self.Run.search([('company_id', '=', self.company.id)]))
            self.partner_a.with_company(self.company).dunning_procedure_id = self.procedure
            self._run_cron('ir_cron_dunning_run')
        self.assertTrue(self.Run.search([('company_id', '=', self.company.id)]).notice_ids)

    def test_run_whose_proposals_have_moved_on_is_done(self):
        self._create_due_invoice('2024-02-01')
        first, second = self._prepare('2024-03-10'), self._prepare('2024-03-11')
        self.assertEqual((first.state, second.state), ('done', 'prepared'))

    def test_company_has_its_own_today_whoever_looks(self):
        contact = self.company.sudo().partner_id
        self.env.user.sudo().tz = 'Pacific/Auckland'
        with freeze_time('2024-03-10 01:30:00'):
            for zone, country, today in (
                ('America/New_York', 'US', '2024-03-09'), (False, 'US', '2024-03-09'), (False, 'FR', '2024-03-10'),
                (False, 'NZ', '2024-03-10'), (False, False, '2024-03-10'), ('Asia/Tokyo', 'US', '2024-03-10'),
            ):
                with self.subTest(zone=zone, country=country):
                    contact.write({'tz': zone, 'country_id': country and self.env.ref(f'base.{country.lower()}').id})
                    self.assertEqual(
                        self.company.with_context(tz='Asia/Tokyo')._get_dunning_today(), fields.Date.to_date(today))

    def test_merged_customers_keep_their_evidence_and_get_one_notice(self):
        """Both have been reminded, and both have a proposal."""
        lines = self.env['account.move.line']
        for partner in (self.partner_a, self.partner_b):
            lines += self._create_due_invoice('2024-02-01', partner=partner)
        sent = self._prepare('2024-03-01').notice_ids
        sent._mark_sent(fields.Date.to_date('2024-03-01'))
        proposals = self._prepare('2024-03-10').notice_ids
        self.assertEqual(len(proposals), 2)
        self.env['base.partner.merge.automatic.wizard'].sudo().create({})._merge(
            (self.partner_a + self.partner_b).ids, self.partner_a, extra_checks=False)
        self.assertEqual(sent.exists().partner_id, self.partner_a)
        self.assertEqual(len(sent.exists()), 2)
        self.assertEqual(sorted(proposals.mapped('state')), ['cancelled', 'draft'])
        self._prepare('2024-03-10')
        [notice] = proposals.filtered(lambda notice: notice.state == 'draft')
        self.assertEqual(notice.line_ids.filtered('advances').move_line_id, lines)
        notice._mark_sent(fields.Date.to_date('2024-03-10'))
        self.assertFalse(self._prepare('2024-03-11').notice_ids)

    def test_customer_who_became_a_contact_gets_one_notice(self):
        line = self._create_due_invoice('2024-02-01')
        self._prepare('2024-03-10')
        parent = self.env['res.partner'].create({'name': "Parent", 'is_company': True})
        self.partner_a.write({'is_company': False, 'parent_id': parent.id})
        self.assertEqual(self.partner_a.commercial_partner_id, parent)
        self.Run._propose(self.company, parent)
        notices = self.Notice.search([('line_ids.move_line_id', '=', line.id)])
        self.assertEqual(
            {notice.partner_id: notice.state for notice in notices},
            {self.partner_a: 'cancelled', parent: 'draft'})

    def test_evidence_cannot_be_deleted(self):
        self._create_due_invoice('2024-02-01')
        notice = self._prepare('2024-03-10').notice_ids
        notice._mark_sent(fields.Date.to_date('2024-03-10'))
        with self.assertRaises(UserError):
            notice.sudo().unlink()
        with self.assertRaises(UserError):
            notice.action_cancel()

    def test_notice_survives_its_invoice(self):
        line = self._create_due_invoice('2024-02-01')
        invoice = line.move_id
        name = invoice.name
        notice = self._prepare('2024-03-10').notice_ids
        notice._mark_sent(fields.Date.to_date('2024-03-10'))
        invoice.button_draft()
        invoice.with_context(force_delete=True).unlink()
        self.assertRecordValues(notice.line_ids, [{'move_name': name, 'move_line_id': False, 'amount_due': 100.0}])

    # === scheduled action ===

    def test_cron_queues_automatic_and_leaves_review(self):
        self._create_due_invoice('2024-02-01')
        review = self._create_procedure([3], mode='review')
        self.partner_b.with_company(self.company).dunning_procedure_id = review
        self._create_due_invoice('2024-02-01', partner=self.partner_b)
        self._run_cron('ir_cron_dunning_run')
        notices = self.Notice.search([('company_id', '=', self.company.id)])
        self.assertEqual(
            {notice.partner_id: notice.state for notice in notices},
            {self.partner_a: 'queued', self.partner_b: 'draft'})

    def test_cron_twice_a_day(self):
        self._create_due_invoice('2024-02-01')
        self._run_cron('ir_cron_dunning_run')
        self._create_due_invoice('2024-02-01', partner=self.partner_b)
        self._run_cron('ir_cron_dunning_run')
        notices = self.Notice.search([('company_id', '=', self.company.id)])
        self.assertEqual(notices.partner_id, self.partner_a + self.partner_b)
        self.assertEqual(len(notices), 2)
        self.assertEqual(len(self.Run.search([('company_id', '=', self.company.id)])), 1)

    def test_interrupted_run_goes_on_where_it_stopped(self):
        self._create_due_invoice('2024-02-01')
        self._create_due_invoice('2024-02-01', partner=self.partner_b)
        run = self.Run.sudo().create({'company_id': self.company.id, 'date': '2024-03-10', 'queue_automatic': True})
        partner_ids = run._start()
        run._prepare_batch(partner_ids[:1])
        self.assertEqual(run._start(), partner_ids[1:])
        self._run_cron('ir_cron_dunning_run')
        self.assertEqual(run.customers_done, 2)
        self.assertEqual(sorted(run.notice_ids.mapped('state')), ['queued', 'queued'])

    def test_week_without_a_run_is_caught_up(self):
        line = self._create_due_invoice('2024-02-25')
        self._run_cron('ir_cron_dunning_run')
        self.assertEqual(self.Notice.search([('partner_id', '=', self.partner_a.id)]).line_ids.move_line_id, line)

    # === queries ===

    def _count_queries(self, customers, lines):
        partners = self.env['res.partner'].create([{'name': f"Q {i}"} for i in range(customers)])
        template = self._create_due_invoice('2024-02-01', partner=self.partner_b).move_id
        self.env.flush_all()
        for partner in partners:
            for __ in range(lines):
                invoice = template.copy({'partner_id': partner.id, 'invoice_date': '2024-01-01'})
                invoice.invoice_date_due = '2024-02-01'
                invoice.action_post()
        self.env.flush_all()
        self.env.invalidate_all()
        run = self.Run.create({'company_id': self.company.id, 'date': '2024-03-10'})
        self.env.flush_all()
        before = self.cr.sql_log_count
        run.action_prepare()
        self.env.flush_all()
        self.assertGreaterEqual(len(run.notice_ids), customers)
        return self.cr.sql_log_count - before

    @warmup
    def test_queries_do_not_grow(self):
        for _earlier_run in range(2):  # each closes the one before
            self._count_queries(1, 1)
        small = self._count_queries(2, 1)
        large = self._count_queries(12, 3)
        self.assertLessEqual(large, small)
