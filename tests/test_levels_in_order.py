from odoo.tests import freeze_time, tagged
from odoo.tools import mute_logger

from .common import DunningCommon


@tagged('post_install', '-at_install')
@freeze_time('2024-03-10 08:00:00')
class TestLevelsInOrder(DunningCommon):
    """No level twice, none skipped, whatever is done to levels and bills meanwhile."""

    def _remind(self, date):
        """The whole way on a day: prepared and gone out."""
        with freeze_time(f'{date} 08:00:00'):
            notices = self._prepare(date).notice_ids.filtered(lambda notice: notice.state == 'draft')
            if notices:
                notices._mark_sent(notices[:1].date)
        self.env.invalidate_all()
        return notices

    #=== THE FURTHEST LEVEL ===#

    def test_reordered_levels_repeat_nothing(self):
        line = self._create_due_invoice('2024-01-15')
        self._remind('2024-02-10')
        self._remind('2024-02-20')
        self.assertEqual(line.dunning_level_id, self.level_2)
        # the second level becomes the first one: the line has both behind it
        self.level_2.sequence, self.level_1.sequence = 1, 2
        self.assertEqual(self._due('2024-03-10'), {line: "Level 3"})
        run = self._prepare('2024-03-10')
        self.assertFalse(run.failure_reason)
        self.assertEqual(run.notice_ids.level_id, self.level_3)

    def test_line_set_back_by_hand_repeats_nothing(self):
        line = self._create_due_invoice('2024-01-15')
        self._remind('2024-02-10')
        self._remind('2024-02-20')
        line.sudo().dunning_level_id = self.level_1
        self.assertEqual(self._due('2024-03-10'), {line: "Level 3"})
        line.sudo().dunning_level_id = False
        self.assertEqual(self._due('2024-03-10'), {line: "Level 3"})
        notice = self._remind('2024-03-10')
        self.assertEqual(notice.line_ids.previous_level_id, self.level_2)
        self.assertEqual(line.dunning_level_id, self.level_3)
        self.assertEqual(self._explain(line, '2024-04-10')[line][0], 'last_level')

    def test_line_set_forward_by_hand_goes_on_there(self):
        line = self._create_due_invoice('2024-01-15')
        self._remind('2024-02-10')
        line.sudo().dunning_level_id = self.level_2
        self.assertEqual(self._due('2024-03-10'), {line: "Level 3"})

    def test_dropped_proposal_leaves_no_level_behind(self):
        line = self._create_due_invoice('2024-01-15')
        with freeze_time('2024-02-10 08:00:00'):
            self._prepare('2024-02-10').notice_ids.action_cancel()
        self.assertEqual(self._due('2024-03-10'), {line: "Level 1"})

    def test_customer_left_out_is_named_without_the_database_error(self):
        self._create_due_invoice('2024-02-01')
        self.env.cr.execute(
            "ALTER TABLE account_dunning_notice ADD CONSTRAINT test_refuses CHECK (amount_due <> 100)")
        with mute_logger('odoo.sql_db', 'odoo.addons.account_dunning.models.account_dunning_run'):
            run = self._prepare('2024-03-10')
        self.assertIn(self.partner_a.name, run.failure_reason)
        self.assertNotIn('test_refuses', run.failure_reason)

    #=== NOT THE SAME LETTER AGAIN ===#

    def test_new_bill_does_not_bring_the_same_letter_again(self):
        self.level_1.repeat_days = 14
        first = self._create_due_invoice('2024-02-01')
        self._remind('2024-02-10')
        second = self._create_due_invoice('2024-02-14')
        # the wait between reminders is over, the 14 days are not
        self.assertEqual(self._due('2024-02-17'), {first: "Level 2", second: "Level 1"})
        first.move_id.payment_state = 'blocked'
        self.assertFalse(self._due('2024-02-17'))
        self.assertEqual(self._explain(second, '2024-02-17')[second][0], 'waiting')
        self.assertEqual(str(self._explain(second, '2024-02-17')[second][2]), '2024-02-24')
        self.assertFalse(self._due('2024-02-23'))
        self.assertEqual(self._due('2024-02-24'), {second: "Level 1"})

    def test_waiting_bill_joins_the_notice_that_goes_anyway(self):
        self.level_1.repeat_days = 14
        first = self._create_due_invoice('2024-02-01')
        self._remind('2024-02-10')
        second = self._create_due_invoice('2024-02-14')
        notice = self._remind('2024-02-17')
        self.assertEqual(notice.level_id, self.level_2)
        self.assertEqual((first.dunning_level_id, second.dunning_level_id), (self.level_2, self.level_1))

    def test_bills_of_a_steady_buyer_do_not_starve(self):
        self.level_1.repeat_days = 14
        lines = self.env['account.move.line']
        for day in range(1, 29):
            lines += self._create_due_invoice(f'2024-02-{day:02}')
        for day in range(5, 32):
            self._remind(f'2024-03-{day:02}')
        self.assertEqual(lines.mapped('dunning_level_id'), self.level_3)

    def test_other_customers_do_not_wait(self):
        self.level_1.repeat_days = 14
        self._create_due_invoice('2024-02-01')
        self._remind('2024-02-10')
        other = self._create_due_invoice('2024-02-10', partner=self.partner_b)
        self.assertEqual(self._due('2024-02-16')[other], "Level 1")

    def test_without_repeat_days_each_bill_goes_its_own_way(self):
        first = self._create_due_invoice('2024-02-01')
        self._remind('2024-02-10')
        second = self._create_due_invoice('2024-02-14')
        first.move_id.payment_state = 'blocked'
        self.assertEqual(self._due('2024-02-17'), {second: "Level 1"})

    def test_shipped_procedures_do_not_repeat_a_level_within_two_weeks(self):
        levels = self.env.ref('account_dunning.account_dunning_procedure_standard').level_ids
        levels += self.env.ref('account_dunning.account_dunning_procedure_crescendo').level_ids
        self.assertEqual(set(levels.mapped('repeat_days')), {14})

    #=== BRANCHES ===#

    def test_branch_without_procedure_follows_the_company_above(self):
        branch = self.env['res.company'].sudo().create({'name': "Branch", 'parent_id': self.company.id})
        self.assertEqual(branch._get_dunning_procedure(), self.procedure)
        self.assertTrue(branch._has_dunning())
        own = self._create_procedure([1], company=self.company)
        branch.dunning_procedure_id = own
        self.assertEqual(branch._get_dunning_procedure(), own)

    #=== WORDS ===#

    def test_explanation_names_what_was_promised_also_when_it_is_all(self):
        line = self._create_due_invoice('2024-02-01', amount=1234.0)
        self.env['account.payment.promise'].create({
            'partner_id': self.partner_a.id, 'company_id': self.company.id, 'amount': 1234.0, 'date': '2024-03-12',
            'move_line_ids': line.ids,
        })
        self.assertIn('1,234.00', line.move_id.dunning_next_step)
