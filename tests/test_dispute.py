from datetime import date

from odoo.exceptions import UserError, ValidationError
from odoo.tests import freeze_time, tagged

from .common import DunningCommon


@tagged('post_install', '-at_install')
@freeze_time('2024-03-01')
class TestDispute(DunningCommon):

    def _dispute(self, line, **values):
        return self.env['account.dispute'].create({'move_id': line.move_id.id, 'reason': 'price', **values})

    def _get_due_amounts(self, day='2024-03-01'):
        due = self.Engine._due_lines(self.company, date.fromisoformat(day))
        return {line: row.amount_due for line, row in due.items()}

    def test_whole_invoice_is_not_dunned(self):
        line = self._create_due_invoice('2024-02-01', 100.0)
        dispute = self._dispute(line)
        self.assertRecordValues(dispute, [{
            'amount': 100.0, 'state': 'open', 'partner_id': self.partner_a.id, 'user_id': self.env.uid,
        }])
        self.assertRecordValues(dispute.block_id, [{
            'reason': 'dispute', 'amount': 0.0, 'state': 'active', 'date_until': False,
        }])
        self.assertFalse(self._get_due_amounts())

    def test_disputed_part_is_not_dunned_the_rest_is(self):
        line = self._create_due_invoice('2024-02-01', 100.0)
        other = self._create_due_invoice('2024-02-05', 50.0)
        self._dispute(line, amount=30.0)
        self.assertEqual(self._get_due_amounts(), {line: 70.0, other: 50.0})
        run = self._prepare('2024-03-01')
        self.assertEqual(run.notice_ids.amount_due, 120.0)
        notice_line = run.notice_ids.line_ids.filtered(lambda found: found.move_line_id == line)
        self.assertRecordValues(notice_line, [{'amount_residual': 100.0, 'amount_blocked': 30.0, 'amount_due': 70.0}])

    def test_rest_paid_leaves_nothing_to_dun(self):
        line = self._create_due_invoice('2024-02-01', 100.0)
        self._dispute(line, amount=30.0)
        self._pay(line, '2024-02-28', 70.0)
        self.assertFalse(self._get_due_amounts())

    def test_single_installment(self):
        invoice = self._create_due_invoice('2024-02-01', 100.0, invoice_payment_term_id=self.pay_terms_b.id).move_id
        first, second = self._get_receivable_lines(invoice)
        dispute = self._dispute(first, move_line_ids=second.ids)
        self.assertEqual(dispute.amount, second.amount_residual_currency)
        self.assertEqual(dispute.block_id.move_line_ids, second)

    def test_rejected_resumes_dunning(self):
        line = self._create_due_invoice('2024-02-01', 100.0)
        dispute = self._dispute(line)
        dispute.action_reject()
        self.assertRecordValues(dispute, [{'state': 'rejected', 'date_resolved': date(2024, 3, 1)}])
        self.assertRecordValues(dispute.block_id, [{'state': 'ended', 'broken': False}])
        self.assertEqual(self._get_due_amounts(), {line: 100.0})
        with self.assertRaisesRegex(UserError, "already resolved"):
            dispute.action_accept()

    def test_accepted_prepares_the_credit_note_and_waits_for_it(self):
        line = self._create_due_invoice('2024-02-01', 100.0)
        dispute = self._dispute(line)
        dispute.action_accept()
        credit_note = dispute.credit_note_id
        self.assertRecordValues(credit_note, [{'move_type': 'out_refund', 'state': 'draft', 'amount_total': 100.0}])
        self.assertEqual(dispute.state, 'accepted')
        self.assertFalse(self._get_due_amounts(), "nothing is dunned before the credit note is posted")
        credit_note.action_post()
        self.assertEqual(dispute.block_id.state, 'ended')
        self.assertFalse(self._get_due_amounts())

    def test_accepted_in_part_credits_that_part_to_the_cent(self):
        invoice = self.env['account.move'].create({
            'move_type': 'out_invoice', 'partner_id': self.partner_a.id,
            'invoice_date': '2024-01-01', 'invoice_date_due': '2024-02-01', 'invoice_payment_term_id': False,
            'invoice_line_ids': [
                (0, 0, {'name': "A", 'quantity': 3, 'price_unit': 33.33, 'tax_ids': self.tax_sale_a.ids}),
                (0, 0, {'name': "B", 'quantity': 7, 'price_unit': 1.99, 'tax_ids': []}),
                (0, 0, {
                    'name': "C", 'quantity': 1, 'price_unit': 250.0, 'discount': 15,
                    'tax_ids': self.tax_sale_a.ids}),
            ],
        })
        invoice.action_post()
        line = self._get_receivable_lines(invoice)
        dispute = self._dispute(line, amount=123.45)
        dispute.action_accept()
        self.assertAlmostEqual(dispute.credit_note_id.amount_total, 123.45, delta=0.01)
        dispute.credit_note_id.action_post()
        self.assertAlmostEqual(self._get_due_amounts()[line], invoice.amount_total - 123.45, delta=0.011)

    def test_credit_note_given_up_resumes_dunning(self):
        line = self._create_due_invoice('2024-02-01', 100.0)
        dispute = self._dispute(line)
        dispute.action_accept()
        dispute.credit_note_id.unlink()
        self.env['account.dunning.block']._update_pauses(self.company, date(2024, 3, 2))
        self.assertEqual(self._get_due_amounts('2024-03-02'), {line: 100.0})

    def test_more_than_the_invoice_is_refused(self):
        line = self._create_due_invoice('2024-02-01', 100.0)
        with self.assertRaisesRegex(ValidationError, "can't be more than"):
            self._dispute(line, amount=100.01)

    def test_paid_or_draft_invoice_is_refused(self):
        line = self._create_due_invoice('2024-02-01', 100.0)
        self._pay(line, '2024-02-10')
        with self.assertRaisesRegex(UserError, "Nothing is open"):
            self._dispute(line)
        line = self._create_due_invoice('2024-02-01', 100.0)
        line.move_id.button_draft()
        with self.assertRaisesRegex(UserError, "Only a posted customer invoice"):
            self._dispute(line)

    def test_story_on_invoice_and_customer(self):
        line = self._create_due_invoice('2024-02-01', 100.0)
        dispute = self._dispute(line, amount=40.0)
        dispute.action_reject()
        bodies = line.move_id.message_ids.mapped('body')
        self.assertTrue(any("Dispute opened" in body and "40.00" in body for body in bodies), bodies)
        self.assertTrue(any("rejected" in body for body in bodies), bodies)
        self.assertTrue(any(line.move_id.name in body for body in self.partner_a.message_ids.mapped('body')))
        self.assertEqual(self.partner_a.dispute_open_count, 0)

    def test_growing_the_dispute_grows_the_pause(self):
        line = self._create_due_invoice('2024-02-01', 100.0)
        dispute = self._dispute(line, amount=30.0)
        dispute.amount = 60.0
        self.assertEqual(self._get_due_amounts(), {line: 40.0})
        dispute.amount = 100.0
        self.assertFalse(self._get_due_amounts())

    def test_log_of_a_call_says_reasons_and_methods_in_the_users_language(self):
        self.env['res.lang'].sudo()._activate_lang('fr_FR')
        for field, value, text in (
            (self.env['account.dispute']._fields['reason'], 'price', "Prix erroné"),
            (self.env['account.payment.promise']._fields['method'], 'transfer', "Par virement"),
        ):
            self.env['ir.model.fields.selection'].sudo().search([
                ('field_id.model', '=', field.model_name), ('field_id.name', '=', field.name), ('value', '=', value),
            ]).with_context(lang='fr_FR').name = text
        call = self.env['account.dunning.call'].with_context(lang='fr_FR').fields_get(
            ['dispute_reason', 'promise_method'], ['selection'])
        self.assertIn(('price', "Prix erroné"), call['dispute_reason']['selection'])
        self.assertIn(('transfer', "Par virement"), call['promise_method']['selection'])

    def test_invoice_corrected_meanwhile_stays_paused(self):
        """From two installments to one and back: the lines change, the dispute is about the invoice."""
        invoice = self._create_due_invoice('2024-02-01', 100.0, invoice_payment_term_id=self.pay_terms_b.id).move_id
        first, second = self._get_receivable_lines(invoice)
        self._dispute(first)
        for terms in (self.pay_terms_a, self.pay_terms_b):
            invoice.button_draft()
            invoice.invoice_payment_term_id = terms
            invoice.action_post()
            lines = self._get_receivable_lines(invoice)
            self.assertEqual(len(lines), 1 if terms == self.pay_terms_a else 2)
            self.assertFalse(self._get_due_amounts('2024-06-01'))
            self.assertEqual(invoice.dispute_ids.block_id.move_line_ids, lines)

    def test_changed_after_the_payment_does_not_pause_the_whole_customer(self):
        line = self._create_due_invoice('2024-02-01', 100.0)
        other = self._create_due_invoice('2024-02-05', 50.0)
        dispute = self._dispute(line, amount=30.0)
        self._pay(line, '2024-02-28', 100.0)
        dispute.amount = 40.0
        self.assertEqual(self._get_due_amounts(), {other: 50.0})

    def test_paid_installment_cannot_be_disputed(self):
        invoice = self._create_due_invoice('2024-02-01', 100.0, invoice_payment_term_id=self.pay_terms_b.id).move_id
        first, second = self._get_receivable_lines(invoice)
        self._pay(first, '2024-02-01')
        with self.assertRaisesRegex(UserError, "Nothing is open"):
            self._dispute(second, move_line_ids=first.ids, amount=10.0)
