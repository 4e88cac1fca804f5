from datetime import date

from odoo.exceptions import UserError, ValidationError
from odoo.tests import freeze_time, tagged

from .common import DunningCommon


@tagged('post_install', '-at_install')
@freeze_time('2024-03-01')
class TestDunningBlock(DunningCommon):

    def _block(self, **values):
        return self.env['account.dunning.block'].sudo().create({
            'company_id': self.company.id, 'partner_id': self.partner_a.id, **values})

    def test_whole_customer_is_paused_and_resumes_by_date(self):
        line = self._create_due_invoice('2024-02-01')
        block = self._block(date_until='2024-03-10')
        self.assertFalse(self._due('2024-03-10'))
        self.assertIn(line, self._due('2024-03-11'), "the pause is over, even before the scheduled action says so")
        self.env['account.dunning.block']._update_pauses(self.company, date(2024, 3, 10))
        self.assertEqual(block.state, 'active', "its last day is a day of the pause")
        self.env['account.dunning.block']._update_pauses(self.company, date(2024, 3, 11))
        self.assertRecordValues(block, [{'state': 'ended', 'date_ended': date(2024, 3, 11), 'broken': False}])

    def test_pausing_an_invoice_pauses_its_installments_only(self):
        first, second = self._create_due_invoice('2024-02-01'), self._create_due_invoice('2024-02-02')
        block = self._block(move_ids=first.move_id.ids)
        self.assertEqual(block.move_line_ids, first)
        self.assertEqual(list(self._due('2024-03-01')), [second])

    def test_ending_by_hand_resumes_dunning(self):
        line = self._create_due_invoice('2024-02-01')
        block = self._block()
        self.assertFalse(self._due('2024-03-01'))
        block.action_end()
        self.assertIn(line, self._due('2024-03-01'))
        self.assertEqual(block.date_ended, date(2024, 3, 1))

    def test_partial_amount_pauses_the_oldest_first(self):
        old = self._create_due_invoice('2024-02-01', 100.0)
        new = self._create_due_invoice('2024-02-10', 100.0)
        self._block(move_line_ids=(old + new).ids, amount=130.0)
        due = self.Engine._due_lines(self.company, date(2024, 3, 1))
        self.assertEqual({line: row.amount_due for line, row in due.items()}, {new: 70.0})

    def test_block_of_a_contact_is_the_companys(self):
        line = self._create_due_invoice('2024-02-01')
        contact = self.env['res.partner'].create({'name': "Jane", 'parent_id': self.partner_a.id})
        block = self._block(partner_id=contact.id)
        self.assertEqual(block.partner_id, self.partner_a)
        self.assertNotIn(line, self._due('2024-03-01'))

    def test_lines_of_another_customer_are_refused(self):
        line = self._create_due_invoice('2024-02-01', partner=self.partner_b)
        with self.assertRaisesRegex(ValidationError, "is not an invoice of"):
            self._block(move_line_ids=line.ids)

    def test_deleting_the_last_line_does_not_pause_the_whole_customer(self):
        other = self._create_due_invoice('2024-02-02')
        line = self._create_due_invoice('2024-02-01')
        block = self._block(move_line_ids=line.ids)
        line.move_id.button_draft()
        line.move_id.unlink()
        self.assertEqual(block.state, 'ended')
        self.assertEqual(list(self._due('2024-03-01')), [other])

    def test_customer_put_under_another_company_keeps_the_pause(self):
        line = self._create_due_invoice('2024-02-01')
        block = self._block()
        parent = self.env['res.partner'].create({'name': "Group", 'is_company': True})
        self.partner_a.write({'parent_id': parent.id, 'is_company': False})
        self.env['account.dunning.block']._update_pauses(self.company, date(2024, 3, 1))
        self.assertEqual(block.partner_id, parent)
        self.assertNotIn(line, self._due('2024-03-01'))

    def test_pauses_of_another_company_are_left_alone(self):
        other = self.setup_other_company()['company']
        block = self._block(company_id=other.id, date_until='2024-03-02')
        self.env['account.dunning.block']._update_pauses(self.company, date(2024, 4, 1))
        self.assertEqual(block.state, 'active')

    def test_long_lived_pauses_are_listed(self):
        old = self._block(date_from='2023-12-01')
        self._block(partner_id=self.partner_b.id, date_from='2024-02-20')
        filters = self.env['account.dunning.block'].search([
            ('state', '=', 'active'), ('date_from', '<', '-60d'), ('company_id', '=', self.company.id)])
        self.assertEqual(filters, old)
        self.assertEqual(old.age_days, 91)

    def test_pause_of_a_dispute_cannot_be_deleted(self):
        line = self._create_due_invoice('2024-02-01')
        dispute = self.env['account.dispute'].create({'move_id': line.move_id.id, 'reason': 'price'})
        with self.assertRaisesRegex(UserError, "part of its history"):
            dispute.block_id.unlink()
