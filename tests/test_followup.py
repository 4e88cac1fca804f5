from datetime import date, timedelta

from odoo import fields
from odoo.exceptions import UserError
from odoo.tests import freeze_time, tagged
from odoo.tools.safe_eval import safe_eval

from .common import DunningCommon


@freeze_time('2024-03-20')
@tagged('post_install', '-at_install')
class TestFollowup(DunningCommon):
    """The list of customers with something overdue, and what invoice and customer say about the next step."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.Followup = cls.env['account.dunning.followup']
        cls.today = date(2024, 3, 20)

    def _list(self):
        """The list as the accountant opens it: overdue amounts by customer."""
        action = self.env['ir.actions.act_window']._for_xml_id('account_dunning.account_dunning_followup_action')
        followups = self.Followup.search([*safe_eval(action['domain']), ('company_id', '=', self.company.id)])
        return {followup.partner_id: followup.amount_overdue for followup in followups}

    #=== THE LIST ===#

    def test_customer_appears_when_overdue_and_leaves_when_paid(self):
        line = self._create_due_invoice('2024-03-10', 300.0)
        self._create_due_invoice('2024-04-10', 50.0, partner=self.partner_b)
        self.assertEqual(self._list(), {self.partner_a: 300.0})
        self._pay(line, '2024-03-20', 100.0)
        self.assertEqual(self._list(), {self.partner_a: 200.0})
        self._pay(line, '2024-03-20', 200.0)
        self.assertEqual(self._list(), {})

    def test_customer_is_not_overdue_on_the_due_date(self):
        self._create_due_invoice('2024-03-20')
        self.assertEqual(self._list(), {})
        with freeze_time('2024-03-21'):
            self.assertEqual(self._list(), {self.partner_a: 100.0})

    def test_unmatched_payment_is_set_off(self):
        self._create_due_invoice('2024-03-10', 300.0)
        self._create_unmatched_payment('2024-03-15', 120.0, self.partner_a)
        self.assertEqual(self._list(), {self.partner_a: 180.0})
        self._create_unmatched_payment('2024-03-15', 180.0, self.partner_a)
        self.assertEqual(self._list(), {})

    def test_money_on_the_bank_statement_is_set_off(self):
        self._create_due_invoice('2024-03-10', 300.0)
        self.assertEqual(self._list(), {self.partner_a: 300.0})
        received = self.env['account.bank.statement.line'].create({
            'journal_id': self.company_data['default_journal_bank'].id, 'date': '2024-03-19', 'amount': 100.0,
            'partner_id': self.partner_a.id, 'payment_ref': "Transfer"})
        self.assertEqual(self._list(), {self.partner_a: 200.0})
        received.amount = 250.0
        self.assertEqual(self._list(), {self.partner_a: 50.0})
        received.unlink()
        self.assertEqual(self._list(), {self.partner_a: 300.0})

    def test_promised_and_paid_but_not_matched_is_not_owing(self):
        self._create_due_invoice('2024-03-10', 300.0)
        self.env['account.dunning.block'].sudo().create({
            'company_id': self.company.id, 'partner_id': self.partner_a.id, 'reason': 'promise',
            'date_from': '2024-03-15', 'date_until': '2024-03-30',
        })
        self.assertEqual(self._list(), {self.partner_a: 300.0})
        self._create_unmatched_payment('2024-03-18', 300.0, self.partner_a)
        self.assertEqual(self._list(), {})

    def test_payment_undone_brings_the_customer_back(self):
        line = self._create_due_invoice('2024-03-10', 300.0)
        payment = self._pay(line, '2024-03-20')
        self.assertEqual(self._list(), {})
        payment.remove_move_reconcile()
        payment.move_id.button_draft()
        payment.move_id.unlink()
        self.assertEqual(self._list(), {self.partner_a: 300.0})

    def test_cancelled_and_deleted_invoice_leaves_the_list(self):
        line = self._create_due_invoice('2024-03-10', 300.0)
        self.assertEqual(self._list(), {self.partner_a: 300.0})
        line.move_id.button_draft()
        line.move_id.posted_before = False
        line.move_id.unlink()
        self.assertEqual(self._list(), {})

    def test_other_currency_is_shown_in_company_currency_and_never_covers_another(self):
        currency = self.setup_other_currency('EUR', rates=[('2016-01-01', 2.0)])
        self._create_due_invoice('2024-03-10', 300.0, currency_id=currency.id)
        self._create_due_invoice('2024-03-10', 40.0)
        self.assertEqual(self._list(), {self.partner_a: 190.0})
        self._create_unmatched_payment('2024-03-15', 100.0, self.partner_a)
        self.assertEqual(self._list(), {self.partner_a: 150.0})

    def test_amount_is_that_of_the_notice(self):
        currency = self.setup_other_currency('EUR', rates=[('2016-01-01', 3.0)])
        self._create_due_invoice('2024-02-01', 333.33, currency_id=currency.id)
        self._create_due_invoice('2024-02-10', 100.01)
        self._create_due_invoice('2024-03-19', 77.77)
        self._create_unmatched_payment('2024-03-15', 50.05, self.partner_a, currency=currency)
        notice = self._prepare('2024-03-20').notice_ids
        self.assertEqual(len(notice), 1)
        [overdue] = self._list().values()
        self.assertEqual(self.company.currency_id.compare_amounts(overdue, notice.amount_due), 0)

    def test_excluded_invoice_is_not_shown(self):
        line = self._create_due_invoice('2024-03-10', 300.0)
        self.assertEqual(self._list(), {self.partner_a: 300.0})
        line.no_followup = True
        self.assertEqual(self._list(), {})

    def test_row_knows_level_last_reminder_and_oldest_due_date(self):
        old = self._create_due_invoice('2024-02-01')
        new = self._create_due_invoice('2024-03-10')
        (old + new).sudo().write({'dunning_last_date': '2024-03-01'})
        old.sudo().dunning_level_id = self.level_2
        new.sudo().dunning_level_id = self.level_1
        followup = self.Followup.search([('partner_id', '=', self.partner_a.id)])
        self.assertRecordValues(followup, [{
            'level_id': self.level_2.id, 'last_date': date(2024, 3, 1), 'date_oldest': date(2024, 2, 1),
            'days_overdue': 48, 'amount_total': 200.0,
        }])
        self._pay(old, '2024-03-20')
        followup = self.Followup.search([('partner_id', '=', self.partner_a.id)])
        self.assertRecordValues(followup, [{'level_id': self.level_1.id, 'date_oldest': date(2024, 3, 10)}])

    def test_collector_filter(self):
        self._create_due_invoice('2024-03-10')
        self.partner_a.with_company(self.company).dunning_user_id = self.env.user
        mine = self.Followup.search([('user_id', '=', self.env.uid), ('amount_overdue', '>', 0)])
        self.assertEqual(mine.partner_id, self.partner_a)
        self.partner_a.with_company(self.company).dunning_user_id = False
        self.assertFalse(self.Followup.search([('user_id', '=', self.env.uid), ('amount_overdue', '>', 0)]))

    #=== HOW THE FIGURES STAY UP TO DATE ===#

    def test_events_only_append_to_a_queue_when_the_transaction_commits(self):
        line = self._create_due_invoice('2024-03-10', 300.0)
        self.assertEqual(self._list(), {self.partner_a: 300.0})
        self._pay(line, '2024-03-20')
        self.assertEqual(self._stored_amount(), 300.0, "a payment touches no row that another one may touch")
        self.assertFalse(self._queued())
        self.env.cr.precommit.run()
        self.assertEqual(self._queued(), {self.partner_a.id})
        self.assertEqual(self._list(), {})
        self.assertFalse(self._queued())

    def _stored_amount(self):
        self.env.cr.execute(
            "SELECT amount_overdue FROM account_dunning_followup WHERE partner_id = %s", [self.partner_a.id])
        return float(self.env.cr.fetchone()[0])

    def _queued(self):
        self.env.cr.execute("SELECT partner_id FROM account_dunning_followup_change")
        return {partner_id for partner_id, in self.env.cr.fetchall()}

    def test_first_look_of_the_day_refreshes_everybody(self):
        self._create_due_invoice('2024-03-10', 300.0)
        self._create_due_invoice('2024-03-21', 40.0, partner=self.partner_b)
        self.assertEqual(self._list(), {self.partner_a: 300.0})
        with freeze_time('2024-03-22'):
            self.assertEqual(self._list(), {self.partner_a: 300.0, self.partner_b: 40.0})

    def test_a_new_day_leaves_no_row_behind(self):
        """Whoever looks first on a day sees what a run of the night would have left, but for what only counts days."""
        def make(*days, **values):
            partner = self.env['res.partner'].create({'name': f"Customer {days}"})
            return [self._create_due_invoice(day, 10.0, partner=partner, **values) for day in days]

        urgent = self._create_procedure([1, 2, 30], escalation='age')
        for number in range(1, 28):
            make(f'2024-03-{number:02}')
            make(f'2024-03-{number:02}', '2024-03-10')
            make(f'2024-03-{number:02}', '2024-03-10', dunning_procedure_id=urgent.id)
        reminded = make('2024-03-01')[0]
        reminded.sudo().write({'dunning_level_id': self.level_1.id, 'dunning_last_date': '2024-03-19'})
        [promised] = make('2024-03-12')
        self.env['account.payment.promise'].create({
            'partner_id': promised.partner_id.id, 'company_id': self.company.id, 'amount': 10.0, 'date': '2024-03-23'})
        for line, dates in ((make('2024-03-11')[0], {'date_from': '2024-03-22'}),
                            (make('2024-03-11')[0], {'date_from': '2024-03-20', 'date_until': '2024-03-22'})):
            self.env['account.dunning.block'].create({
                'company_id': self.company.id, 'partner_id': line.partner_id.id, **dates})
        [called] = make('2024-03-11')
        self.env['account.dunning.contact'].create({
            'partner_id': called.partner_id.id, 'company_id': self.company.id, 'outcome': 'other', 'date': '2024-03-20',
            'next_date': '2024-03-22'})
        self._prepare('2024-03-20').notice_ids[::2].action_cancel()
        covered = make('2024-03-11')[0].partner_id
        self.env['account.bank.statement.line'].create({
            'journal_id': self.company_data['default_journal_bank'].id, 'partner_id': covered.id, 'amount': 10.0,
            'date': '2024-03-08', 'payment_ref': "Somebody"})
        columns = ['partner_id', 'amount_overdue', 'amount_total', 'date_oldest', 'level_id', 'last_date', 'reason',
                   'next_level_id', 'is_paused', 'todo', 'todo_date', 'last_contact_date']
        self.Followup.search([])
        for days in (('2024-03-21', '2024-03-22', '2024-03-23', '2024-03-24'), ('2024-03-29', '2024-04-12')):
            for day in days:
                with freeze_time(day), self.subTest(day=day):
                    looked_at = self.Followup.search([('company_id', '=', self.company.id)], order='id').read(columns)
                    self.Followup._refresh(self.company, fields.Date.to_date(day))
                    made_anew = self.Followup.search([('company_id', '=', self.company.id)], order='id').read(columns)
                    known = {row['id'] for row in looked_at}
                    self.assertFalse([
                        row for row in made_anew if row['id'] not in known and row['amount_overdue']])
                    for before, after in zip(
                            looked_at, [row for row in made_anew if row['id'] in known], strict=True):
                        self.assertEqual(before, after)

    def test_who_was_due_yesterday_is_left_alone(self):
        self._create_due_invoice('2024-03-10')
        self._create_due_invoice('2024-03-18', partner=self.partner_b)
        self.assertEqual(len(self.Followup.search([('company_id', '=', self.company.id)])), 2)
        with freeze_time('2024-03-21'):  # three days after the due date
            rows = self.Followup.search([('company_id', '=', self.company.id)])
            self.assertEqual({row.partner_id: str(row.date) for row in rows}, {
                self.partner_a: '2024-03-20', self.partner_b: '2024-03-21'})
            self.assertEqual(set(rows.mapped('reason')), {'due'})

    def _reason(self):
        return self.Followup.search([
            ('company_id', '=', self.company.id), ('partner_id', '=', self.partner_a.id)]).reason

    def test_change_of_configuration_shows_at_once(self):
        self._create_due_invoice('2024-03-14')
        self.assertEqual(self._reason(), 'due')
        self.level_1.delay_days = 9
        self.assertEqual(self._reason(), 'waiting')
        self.company.sudo().dunning_procedure_id = False
        self.assertEqual(self._reason(), 'no_procedure')
        self.company.sudo().dunning_procedure_id = self.procedure
        self.procedure.sudo().min_amount = 1000.0
        self.level_1.delay_days = 3
        self.assertEqual(self._reason(), 'below_minimum')

    def test_nightly_refresh_leaves_nothing_noted_as_changed(self):
        self._create_due_invoice('2024-03-10')
        self.env.flush_all()
        self.env.cr.precommit.run()
        changes = self.env['account.dunning.followup.change'].sudo()
        self.assertTrue(changes.search_count([('company_id', '=', self.company.id)]))
        self.Followup._refresh(self.company, self.today)
        changes.invalidate_model()
        self.assertFalse(changes.search_count([('company_id', '=', self.company.id)]))

    def test_number_of_queries_does_not_depend_on_the_number_of_customers(self):
        counts = []
        for size in (2, 3, 30):  # the first only fills Odoo's own caches
            for partner in self.env['res.partner'].create([{'name': f"Customer {n}"} for n in range(size)]):
                self._create_due_invoice('2024-03-10', 10.0, partner=partner)
            self._list()
            self.env.flush_all()
            self.env.invalidate_all()
            before = self.env.cr.sql_log_count
            page = self.Followup.web_search_read(
                [('amount_overdue', '>', 0)], {'partner_id': {'fields': {'display_name': {}}}, 'amount_overdue': {},
                'next_step': {}, 'level_id': {'fields': {'display_name': {}}}, 'user_id': {}}, limit=80)
            counts.append(self.env.cr.sql_log_count - before)
            self.assertGreaterEqual(page['length'], size)
            before = self.env.cr.sql_log_count
            self.Followup._refresh(self.company, self.today)
            counts.append(self.env.cr.sql_log_count - before)
        self.assertLessEqual(counts[4], counts[2])
        self.assertLessEqual(counts[5], counts[3])

    #=== THE NEXT STEP IN WORDS ===#

    def _next_step(self, partner=None):
        partner = (partner or self.partner_a).with_company(self.company)
        partner.invalidate_recordset(['dunning_next_step'])
        followup = self.Followup.search([('partner_id', '=', partner.id), ('company_id', '=', self.company.id)])
        self.assertEqual(
            followup.next_step, partner.dunning_next_step, "the list and the customer's form say the same")
        return partner.dunning_next_step

    def test_next_step_before_and_on_the_day(self):
        line = self._create_due_invoice('2024-03-18')
        self.assertEqual(self._next_step(), "Next: Level 1 on Mar 21")
        self.assertEqual(line.move_id.dunning_next_step, "Next: Level 1 on Mar 21")
        with freeze_time('2024-03-21'):
            self.assertEqual(self._next_step(), "Next: Level 1, due now")
            self._prepare('2024-03-21')
            self.assertEqual(self._next_step(), "In preparation: Level 1")

    def test_next_step_of_the_next_year_names_the_year(self):
        self._create_due_invoice('2024-03-18')
        self.level_1.sudo().delay_days = 300
        self.procedure.sudo().level_ids[1:].active = False
        self.assertEqual(self._next_step(), "Next: Level 1 on Jan 12, 2025")

    def test_paused_customer_says_until_when_and_why(self):
        line = self._create_due_invoice('2024-03-10', 1200.0)
        self.env['account.dunning.block'].sudo().create({
            'company_id': self.company.id, 'partner_id': self.partner_a.id, 'reason': 'promise', 'amount': 1200.0,
            'currency_id': self.company.currency_id.id, 'date_from': '2024-03-15', 'date_until': '2024-04-03',
            'move_line_ids': [fields.Command.set(line.ids)],
        })
        text = self._next_step()
        self.assertTrue(text.startswith("Paused until Apr 3: Promise to pay of"), text)
        self.assertIn("1,200.00", text)
        line.move_id.invalidate_recordset(['dunning_next_step'])
        self.assertEqual(line.move_id.dunning_next_step, text)
        self.assertTrue(self.Followup.search([('partner_id', '=', self.partner_a.id)]).is_paused)

    def test_why_there_is_no_reminder(self):
        self._create_due_invoice('2024-03-10')
        self.procedure.sudo().min_amount = 1000.0
        self.Followup._refresh(self.company, self.today)
        self.assertEqual(self._next_step(), "No reminder: less than the minimum amount")
        self.procedure.sudo().min_amount = 0.0
        self.company.sudo().dunning_procedure_id = False
        self.Followup._refresh(self.company, self.today)
        self.assertEqual(self._next_step(), "No reminder: no dunning procedure")
        self.company.sudo().dunning_procedure_id = self.procedure
        line = self._get_receivable_lines(self.partner_a.invoice_ids)
        line.sudo().dunning_level_id = self.level_3
        self.assertEqual(self._next_step(), "No further reminder: last level reached")

    def test_every_reason_has_words(self):
        explanation = self.env['account.dunning.explanation']
        for reason, _label in explanation._get_reasons():
            self.assertTrue(explanation._describe_step(reason, self.level_1, self.today))
            self.assertTrue(explanation._describe_step(reason, self.level_1.browse(), False))

    #=== THE CUSTOMER ===#

    def test_customer_and_contact_show_the_same_figures(self):
        contact = self.env['res.partner'].create({'name': "Contact", 'parent_id': self.partner_a.id})
        line = self._create_due_invoice('2024-03-10', 300.0)
        line.sudo().write({'dunning_level_id': self.level_2.id, 'dunning_last_date': '2024-03-14'})
        for partner in (self.partner_a, contact):
            self.assertRecordValues(partner.with_company(self.company), [{
                'amount_overdue': 300.0, 'dunning_level_id': self.level_2.id, 'dunning_last_date': date(2024, 3, 14),
            }])
        self._pay(line, '2024-03-20')
        self.assertRecordValues(self.partner_a.with_company(self.company), [{
            'amount_overdue': 0.0, 'dunning_level_id': False, 'dunning_last_date': False}])

    def test_customers_are_found_by_what_is_overdue_and_by_level(self):
        line = self._create_due_invoice('2024-03-10', 300.0)
        self._create_due_invoice('2024-04-10', 50.0, partner=self.partner_b)
        Partner = self.env['res.partner'].with_company(self.company)
        both = [('id', 'in', (self.partner_a + self.partner_b).ids)]

        def find(*condition):
            return Partner.search([condition, *both])

        self.assertEqual(find('amount_overdue', '>', 0), self.partner_a)
        self.assertEqual(find('amount_overdue', '>=', 300.0), self.partner_a)
        self.assertEqual(find('amount_overdue', '>', 300.0), Partner)
        self.assertEqual(find('amount_overdue', '=', 0), self.partner_b)
        self.assertEqual(find('amount_overdue', '!=', 0), self.partner_a)
        self.assertEqual(find('amount_overdue', '<', 100.0), self.partner_b)
        self.assertEqual(find('dunning_level_id', '=', False), self.partner_a + self.partner_b)
        line.sudo().write({'dunning_level_id': self.level_2.id, 'dunning_last_date': '2024-03-14'})
        self.assertEqual(find('dunning_level_id', '=', self.level_2.id), self.partner_a)
        self.assertEqual(find('dunning_level_id', '!=', False), self.partner_a)
        self.assertEqual(find('dunning_level_id', '=', False), self.partner_b)
        self.assertEqual(find('dunning_level_id', '!=', self.level_2.id), self.partner_b)
        self.assertEqual(find('dunning_level_id', 'ilike', "Level 2"), self.partner_a)
        self.assertEqual(find('dunning_level_id.sequence', '=', 2), self.partner_a)
        self.assertEqual(find('dunning_last_date', '<', '2024-03-15'), self.partner_a)
        self.assertEqual(find('dunning_last_date', '=', False), self.partner_b)
        self._pay(line, '2024-03-20')
        self.assertEqual(find('amount_overdue', '>', 0), Partner)
        self.assertEqual(find('dunning_level_id', '!=', False), Partner)

    def test_figures_are_those_of_one_company(self):
        other = self.setup_other_company()['company']
        self._create_due_invoice('2024-03-10', 300.0)
        self.assertEqual(self.partner_a.with_company(self.company).amount_overdue, 300.0)
        self.assertEqual(self.partner_a.with_company(other).amount_overdue, 0.0)
        Partner = self.env['res.partner']
        self.assertIn(self.partner_a, Partner.with_company(self.company).search([('amount_overdue', '>', 0)]))
        self.assertNotIn(self.partner_a, Partner.with_company(other).search([('amount_overdue', '>', 0)]))

    def test_many_customers_are_computed_by_one_query(self):
        partners = self.env['res.partner'].create([{'name': f"Customer {n}"} for n in range(20)])
        for partner in partners:
            self._create_due_invoice('2024-03-10', 10.0, partner=partner)
        partners = partners.with_company(self.company)
        counts = []
        for some in (partners[:1], partners[:2], partners):  # the first only fills Odoo's own caches
            self.env.flush_all()
            self.env.invalidate_all()
            before = self.env.cr.sql_log_count
            self.assertEqual(set(some.mapped('amount_overdue')), {10.0})
            counts.append(self.env.cr.sql_log_count - before)
        self.assertLessEqual(counts[2], counts[1])

    #=== FROM THE LIST ===#

    def test_remind_makes_a_proposal_and_opens_it(self):
        self._create_due_invoice('2024-03-10', 300.0)
        followup = self.Followup.search([('partner_id', '=', self.partner_a.id)])
        action = followup.action_remind()
        notice = self.Notice.browse(action['res_id'])
        self.assertRecordValues(notice, [{'partner_id': self.partner_a.id, 'state': 'draft', 'amount_due': 300.0}])
        self.assertEqual(followup.action_remind()['res_id'], notice.id, "a second click opens the same one")

    def test_remind_explains_why_there_is_nothing_to_send(self):
        self._create_due_invoice('2024-03-18', 300.0)
        followup = self.Followup.search([('partner_id', '=', self.partner_a.id)])
        with self.assertRaisesRegex(UserError, "Next: Level 1 on Mar 21"):
            followup.action_remind()
        self.assertFalse(self.Notice.search([('partner_id', '=', self.partner_a.id)]))

    def test_nightly_run_leaves_fresh_figures(self):
        self._create_due_invoice('2024-03-10', 300.0)
        self.company.sudo().dunning_followup_date = False
        self._run_cron('ir_cron_dunning_run')
        self.assertEqual(self.company.dunning_followup_date, self.today)
        self.assertEqual(self._stored_amount(), 300.0)

    #=== THE INVOICE ===#

    def test_installments_the_first_late_one_speaks(self):
        move = self._create_due_invoice(
            '2024-03-10', 1000.0, invoice_payment_term_id=self.pay_terms_b.id, invoice_date='2024-02-20').move_id
        self.assertEqual(len(self._get_receivable_lines(move)), 2)
        first = self._get_receivable_lines(move)[0]
        expected = first.date_maturity + timedelta(days=3)
        if expected > self.today:
            self.assertIn("on ", move.dunning_next_step)
        else:
            self.assertEqual(move.dunning_next_step, "Next: Level 1, due now")

    def test_notices_are_counted_on_invoice_and_customer(self):
        line = self._create_due_invoice('2024-03-10', 300.0)
        self.assertEqual(line.move_id.dunning_notice_count, 0)
        notice = self._prepare('2024-03-20').notice_ids
        self.env.invalidate_all()
        self.assertEqual(line.move_id.dunning_notice_count, 1)
        self.assertEqual(self.partner_a.with_company(self.company).dunning_notice_count, 1)
        self.assertEqual(self.Notice.search(line.move_id.action_view_dunning_notices()['domain']), notice)
        self.assertEqual(self.Notice.search(
            self.partner_a.with_company(self.company).action_view_dunning_notices()['domain']), notice)

    #=== CONFIGURATION EXPLAINS ITSELF ===#

    def test_level_in_words(self):
        self.level_1.sudo().write({
            'send_email': True, 'print_letter': True, 'credit_hold': True, 'delay_days': 10, 'deadline_days': 7})
        self.assertIn("no effect: the company does not block orders", self.level_1.summary)
        self.company.sudo().write({'account_use_credit_limit': True, 'credit_control_policy': 'block'})
        self.level_1.invalidate_recordset()
        self.assertEqual(
            self.level_1.summary, "10 days after the due date: e-mail, letter, 7 days to pay, new orders on hold")
        self.level_1.sudo().write({
            'send_email': False, 'print_letter': False, 'create_activity': True, 'credit_hold': False, 'delay_days': -3,
            'deadline_days': 0})
        self.assertEqual(self.level_1.summary, "3 days before the due date: activity")
        unfinished = self.level_1.new({'send_email': False, 'delay_days': 0})
        self.assertEqual(unfinished.summary, "On the due date: nothing is sent")

    def test_procedure_warns_of_delays_that_do_not_rise(self):
        self.assertFalse(self.procedure.level_warning)
        self.level_2.sudo().delay_days = 3
        self.assertIn("“Level 2” (3 days) stands after “Level 1” (3 days)", self.procedure.level_warning)

    #=== PREVIEW AND CHANGE OF LEVEL ===#

    def test_preview_shows_any_day_and_writes_nothing(self):
        self._create_due_invoice('2024-03-18', 300.0)
        before = self.Notice.search_count([])
        preview = self.env['account.dunning.preview'].create({'company_id': self.company.id, 'date': '2024-03-20'})
        self.assertIn("Nobody would be reminded", preview.preview)
        preview.date = '2024-03-21'
        self.assertIn(self.partner_a.display_name, preview.preview)
        self.assertIn("300.00", preview.preview)
        self.assertEqual(self.Notice.search_count([]), before)

    def test_change_of_level_of_several_proposals(self):
        self._create_due_invoice('2024-03-10')
        self._create_due_invoice('2024-03-10', partner=self.partner_b)
        notices = self._prepare('2024-03-20').notice_ids
        self.env['account.dunning.notice.change.level'].with_context(active_ids=notices.ids).create({
            'level_id': self.level_3.id}).action_apply()
        self.assertEqual(notices.level_id, self.level_3)
        self.assertEqual(notices.line_ids.level_id, self.level_3)

    def test_change_of_level_is_for_proposals_of_one_procedure(self):
        self._create_due_invoice('2024-03-10')
        notice = self._prepare('2024-03-20').notice_ids
        notice.action_cancel()
        with self.assertRaisesRegex(UserError, "Only proposals"):
            self.env['account.dunning.notice.change.level'].with_context(active_ids=notice.ids).create({
                'level_id': self.level_3.id})

    def test_run_shows_figures_by_level(self):
        self._create_due_invoice('2024-03-10', 120.0)
        run = self._prepare('2024-03-20')
        self.assertEqual((run.notice_count, run.amount_due), (1, 120.0))
        self.assertIn("Level 1", run.statistics)
        self.assertIn("120.00", run.statistics)
