from odoo import fields
from odoo.tests import tagged
from odoo.tools import SQL

from .common import DunningCommon


@tagged('post_install', '-at_install')
class TestEngine(DunningCommon):

    def _assert_reason(self, lines, date, reason, level=None, next_date=None):
        for explained, level_, next_ in self._explain(lines, date).values():
            self.assertEqual(explained, reason)
            if level is not None:
                self.assertEqual(level_, level)
            if next_date is not None:
                self.assertEqual(next_, fields.Date.to_date(next_date) if next_date else False)
        is_due = any(line in self._due(date) for line in lines)
        self.assertEqual(is_due, reason == 'due', "run and explanation must agree")

    # === rule 1: open lines, and the delay at its borders ===

    def test_delay_at_its_borders(self):
        line = self._create_due_invoice('2024-03-01')
        self._assert_reason(line, '2024-02-29', 'not_overdue', self.level_1, '2024-03-04')
        self._assert_reason(line, '2024-03-01', 'not_overdue', self.level_1, '2024-03-04')
        self._assert_reason(line, '2024-03-03', 'waiting', self.level_1, '2024-03-04')
        self._assert_reason(line, '2024-03-04', 'due', self.level_1, '2024-03-04')
        self._assert_reason(line, '2024-03-05', 'due', self.level_1, '2024-03-05')

    def test_a_missed_day_is_caught_up(self):
        line = self._create_due_invoice('2024-03-01')
        self._assert_reason(line, '2024-03-09', 'due', self.level_1)

    def test_nothing_is_skipped(self):
        line = self._create_due_invoice('2023-08-01')
        self._assert_reason(line, '2024-03-01', 'due', self.level_1)

    def test_first_late_installment_counts(self):
        invoice = self.init_invoice(
            'out_invoice', partner=self.partner_a, invoice_date='2024-01-01', amounts=[1000.0], taxes=[])
        invoice.invoice_payment_term_id = self.pay_terms_b
        invoice.action_post()
        early, late = self._get_receivable_lines(invoice)
        self.assertLess(early.date_maturity, late.date_maturity)
        date = fields.Date.add(early.date_maturity, days=3)
        self.assertEqual(self._due(date), {early: "Level 1"})
        self.assertEqual(self._explain(late, date)[late][0], 'not_overdue')

    def test_no_followup(self):
        line = self._create_due_invoice('2024-03-01')
        line.move_id.no_followup = True
        self._assert_reason(line, '2024-03-10', 'no_followup')

    def test_blocked_payment_state(self):
        line = self._create_due_invoice('2024-03-01')
        line.move_id.payment_state = 'blocked'
        self._assert_reason(line, '2024-03-10', 'blocked')

    def test_paid_line_is_not_asked_about(self):
        line = self._create_due_invoice('2024-03-01')
        self._pay(line, '2024-03-02')
        self.assertFalse(self._explain(line, '2024-03-10'))
        self.assertFalse(self._due('2024-03-10'))

    def test_line_without_due_date_is_due_on_its_date(self):
        line = self._create_due_invoice('2024-03-01')
        self.env.cr.execute("UPDATE account_move_line SET date_maturity = NULL, date = %s WHERE id = %s",
                            ['2024-03-01', line.id])
        line.invalidate_recordset()
        self._assert_reason(line, '2024-03-03', 'waiting', self.level_1, '2024-03-04')
        self._assert_reason(line, '2024-03-04', 'due', self.level_1)

    def test_draft_invoice_is_not_open(self):
        line = self._create_due_invoice('2024-03-01')
        line.move_id.button_draft()
        self.assertFalse(self._due('2024-03-10'))

    def test_non_trade_receivable_is_left_alone(self):
        line = self._create_due_invoice('2024-03-01')
        line.account_id.sudo().non_trade = True
        self.assertFalse(self._due('2024-03-10'))

    # === rule 2: blocks ===

    def _create_block(self, lines=None, **values):
        return self.env['account.dunning.block'].sudo().create({
            'partner_id': self.partner_a.id,
            'company_id': self.company.id,
            'move_line_ids': [fields.Command.set(lines.ids)] if lines else False,
            'date_from': '2024-03-05',
            'currency_id': self.company.currency_id.id,
            **values,
        })

    def test_block_at_its_borders(self):
        line = self._create_due_invoice('2024-03-01')
        self._create_block(line, date_until='2024-03-08')
        self._assert_reason(line, '2024-03-04', 'due')
        self._assert_reason(line, '2024-03-05', 'blocked', self.level_1, '2024-03-09')
        self._assert_reason(line, '2024-03-08', 'blocked', self.level_1, '2024-03-09')
        self._assert_reason(line, '2024-03-09', 'due')

    def test_ended_block(self):
        line = self._create_due_invoice('2024-03-01')
        block = self._create_block(line)
        self._assert_reason(line, '2024-03-10', 'blocked', self.level_1, False)
        block.action_end()
        self._assert_reason(line, '2024-03-10', 'due')

    def test_block_of_customer_covers_all(self):
        lines = self._create_due_invoice('2024-03-01') + self._create_due_invoice('2024-02-01')
        self._create_block()
        self._assert_reason(lines, '2024-03-10', 'blocked')

    def test_partial_block_leaves_the_rest(self):
        line = self._create_due_invoice('2024-03-01', amount=100.0)
        self._create_block(line, amount=30.0)
        due = self.Engine._due_lines(self.company, fields.Date.to_date('2024-03-10'))
        self.assertEqual(due[line].amount_due, 70.0)

    def test_partial_block_over_lines_takes_the_oldest_first(self):
        newer = self._create_due_invoice('2024-03-01', amount=100.0)
        older = self._create_due_invoice('2024-02-01', amount=100.0)
        self._create_block(newer + older, amount=130.0)
        due = self.Engine._due_lines(self.company, fields.Date.to_date('2024-03-10'))
        self.assertEqual({line: row.amount_due for line, row in due.items()}, {newer: 70.0})

    def test_broken_agreement_does_not_wait(self):
        line = self._create_due_invoice('2024-03-01')
        self._mark_reminded(line, self.level_1, '2024-03-05')
        block = self._create_block(line, date_until='2024-03-08')
        self._assert_reason(line, '2024-03-07', 'blocked')
        block.write({'state': 'ended', 'broken': True, 'date_ended': '2024-03-07'})
        self._assert_reason(line, '2024-03-06', 'waiting')
        self._assert_reason(line, '2024-03-07', 'due', self.level_2)
        self._mark_reminded(line, self.level_2, '2024-03-07')
        self._assert_reason(line, '2024-03-08', 'waiting', self.level_3, '2024-03-21')

    # === rule 3: net ===

    def test_unmatched_payment_covers(self):
        line = self._create_due_invoice('2024-03-01', amount=100.0)
        self._create_unmatched_payment('2024-03-02', 100.0, self.partner_a)
        self._assert_reason(line, '2024-03-10', 'covered')

    def test_one_cent_short_is_dunned_for_the_cent(self):
        line = self._create_due_invoice('2024-03-01', amount=100.0)
        self._create_unmatched_payment('2024-03-02', 99.99, self.partner_a)
        due = self.Engine._due_lines(self.company, fields.Date.to_date('2024-03-10'))
        self.assertAlmostEqual(due[line].amount_due, 0.01)

    def test_credit_is_set_off_oldest_first(self):
        newer = self._create_due_invoice('2024-03-01', amount=100.0)
        older = self._create_due_invoice('2024-02-01', amount=100.0)
        self._create_due_invoice('2024-03-01', amount=130.0, move_type='out_refund')
        self._assert_reason(older, '2024-03-10', 'covered')
        due = self.Engine._due_lines(self.company, fields.Date.to_date('2024-03-10'))
        self.assertEqual({line: row.amount_due for line, row in due.items()}, {newer: 70.0})

    def test_credit_counts_even_without_followup(self):
        line = self._create_due_invoice('2024-03-01', amount=100.0)
        refund = self._create_due_invoice('2024-03-01', amount=100.0, move_type='out_refund')
        refund.move_id.no_followup = True
        self._assert_reason(line, '2024-03-10', 'covered')

    def test_credit_in_another_currency_does_not_cover(self):
        currency = self.setup_other_currency('EUR', rates=[('2024-01-01', 2.0)])
        line = self._create_due_invoice('2024-03-01', amount=100.0)
        self._create_unmatched_payment('2024-03-02', 500.0, self.partner_a, currency=currency)
        self._assert_reason(line, '2024-03-10', 'due')

    def test_payment_of_a_child_contact_covers_the_company(self):
        contact = self.env['res.partner'].create({'name': "Paul", 'parent_id': self.partner_a.id})
        line = self._create_due_invoice('2024-03-01', amount=100.0)
        self._create_unmatched_payment('2024-03-02', 100.0, contact)
        self._assert_reason(line, '2024-03-10', 'covered')

    def _set_payments_without_entry(self):
        """Odoo's Accounting app books a payment only once it is on the bank statement: behave as it does."""
        self.patch(self.env.registry['account.move'], '_get_invoice_in_payment_state', lambda self: 'in_payment')
        method_line = self.company_data['default_journal_bank'].inbound_payment_method_line_ids[:1]
        method_line.payment_account_id = False
        return method_line

    def test_payment_in_process_without_entry_covers(self):
        line = self._create_due_invoice('2024-03-01', amount=100.0)
        method_line = self._set_payments_without_entry()
        payment = self.env['account.payment'].create({
            'partner_id': self.partner_a.id, 'amount': 100.0, 'payment_type': 'inbound', 'date': '2024-03-02',
            'journal_id': self.company_data['default_journal_bank'].id, 'payment_method_line_id': method_line.id,
        })
        payment.action_post()
        self.assertFalse(payment.move_id)
        self._assert_reason(line, '2024-03-10', 'covered')

    def test_registered_payment_without_entry_covers_its_invoice(self):
        line = self._create_due_invoice('2024-03-01', amount=100.0)
        method_line = self._set_payments_without_entry()
        self.env['account.payment.register'].with_context(
            active_model='account.move', active_ids=line.move_id.ids,
        ).create({'payment_date': '2024-03-02', 'payment_method_line_id': method_line.id})._create_payments()
        self.assertFalse(line.reconciled)
        self._assert_reason(line, '2024-03-10', 'covered')

    def _receive(self, date, amount, partner=None):
        """Money on a bank statement that nobody has matched yet."""
        return self.env['account.bank.statement.line'].create({
            'journal_id': self.company_data['default_journal_bank'].id, 'date': date, 'amount': amount,
            'partner_id': (partner or self.partner_a).id, 'payment_ref': "Transfer",
        })

    def test_money_on_the_bank_statement_covers_for_some_days(self):
        line = self._create_due_invoice('2024-03-01', amount=100.0)
        received = self._receive('2024-03-08', 60.0)
        due = self.Engine._due_lines(self.company, fields.Date.to_date('2024-03-10'))
        self.assertEqual(due[line].amount_due, 40.0)
        received.amount = 100.0
        self._assert_reason(line, '2024-03-10', 'covered')
        self._assert_reason(line, '2024-03-22', 'covered')
        self._assert_reason(line, '2024-03-23', 'due')
        received.partner_id = self.partner_b
        self._assert_reason(line, '2024-03-10', 'due')

    def test_money_that_goes_out_covers_nothing(self):
        line = self._create_due_invoice('2024-03-01', amount=100.0)
        self._receive('2024-03-08', -100.0)
        self._assert_reason(line, '2024-03-10', 'due')

    def test_money_that_goes_out_takes_no_credit_away(self):
        """It may be something else than the customer's money: in doubt nobody is reminded."""
        line = self._create_due_invoice('2024-03-01', amount=100.0)
        self._create_unmatched_payment('2024-03-02', 100.0, self.partner_a)
        self._receive('2024-03-08', -100.0)
        self._assert_reason(line, '2024-03-10', 'covered')

    def test_money_of_a_registered_payment_counts_once(self):
        line = self._create_due_invoice('2024-03-01', amount=100.0)
        paid = self._create_due_invoice('2024-03-01', amount=100.0).move_id
        self.env['account.payment.register'].with_context(
            active_model='account.move', active_ids=paid.ids,
        ).create({'payment_date': '2024-03-05'})._create_payments()
        self._receive('2024-03-08', 100.0)
        self._assert_reason(line, '2024-03-10', 'due')

    def test_money_on_the_bank_statement_is_not_counted_once_it_is_matched(self):
        line = self._create_due_invoice('2024-03-01', amount=150.0)
        received = self._receive('2024-03-08', 100.0)
        suspense = received._seek_for_lines()[1]
        suspense.account_id = line.account_id
        self.assertTrue(received.is_reconciled)
        due = self.Engine._due_lines(self.company, fields.Date.to_date('2024-03-10'))
        self.assertEqual(due[line].amount_due, 50.0, "once, as a credit on the account")

    def test_bounced_payment_puts_the_line_back(self):
        line = self._create_due_invoice('2024-03-01')
        self._mark_reminded(line, self.level_1, '2024-03-05')
        self._pay(line, '2024-03-06')
        self.assertFalse(self._explain(line, '2024-03-15'))
        line.remove_move_reconcile()
        line.move_id.line_ids.invalidate_recordset()
        payment = self.env['account.move.line'].search([('name', '=', "Payment"), ('amount_residual', '<', 0)])
        self._assert_reason(line, '2024-03-15', 'covered')
        payment.move_id.button_draft()
        payment.move_id.button_cancel()
        self._assert_reason(line, '2024-03-15', 'due', self.level_2)

    # === rule 4: procedure ===

    def test_invoice_that_never_reached_the_customer(self):
        self.company.sudo().dunning_delivered_only = True
        line = self._create_due_invoice('2024-02-01')
        sent = self._create_due_invoice('2024-02-02')
        sent.move_id.is_move_sent = True
        self._assert_reason(line, '2024-03-10', 'not_delivered')
        self.assertEqual([*self._due('2024-03-10')], [sent])
        engine = self.env['account.dunning.engine']
        verdict = engine._judge(line, fields.Date.to_date('2024-03-10'))[line]
        self.assertEqual(engine._get_amount_asked(verdict), line.amount_residual, "it may be paid all the same")
        line.move_id.is_move_sent = True
        self._assert_reason(line, '2024-03-10', 'due')
        self.company.sudo().dunning_delivered_only = False
        sent.move_id.is_move_sent = False
        self._assert_reason(sent, '2024-03-10', 'due')

    def test_entry_from_another_program_counts_as_delivered(self):
        self.company.sudo().dunning_delivered_only = True
        line = self._create_due_invoice('2024-02-01')
        self.env.cr.execute("UPDATE account_move SET move_type = 'entry' WHERE id = %s", [line.move_id.id])
        self.env.invalidate_all()
        self._assert_reason(line, '2024-03-10', 'due')

    def test_no_procedure(self):
        self.company.sudo().dunning_procedure_id = False
        line = self._create_due_invoice('2024-03-01')
        self._assert_reason(line, '2024-03-10', 'no_procedure')

    def test_procedure_of_invoice_before_customer_before_company(self):
        customers = self._create_procedure([5])
        invoices = self._create_procedure([8])
        line = self._create_due_invoice('2024-03-01')
        self.partner_a.dunning_procedure_id = customers
        self._assert_reason(line, '2024-03-04', 'waiting', customers.level_ids, '2024-03-06')
        line.move_id.dunning_procedure_id = invoices
        self._assert_reason(line, '2024-03-06', 'waiting', invoices.level_ids, '2024-03-09')

    # === rule 5: level ===

    def _mark_reminded(self, lines, level, date):
        """A notice of that level that went out on the date."""
        notice = self.Notice.sudo().create({
            'company_id': self.company.id, 'partner_id': lines.partner_id.id, 'procedure_id': level.procedure_id.id,
            'level_id': level.id, 'date': date, 'state': 'queued',
            'line_ids': [
                fields.Command.create({
                    'move_line_id': line.id, 'move_id': line.move_id.id, 'level_id': level.id, 'advances': True,
                    'live': True, 'currency_id': line.currency_id.id,
                })
                for line in lines
            ],
        })
        notice._mark_sent(fields.Date.to_date(date))

    def test_step_to_the_next_level_once_its_delay_has_passed(self):
        line = self._create_due_invoice('2024-03-01')
        self._mark_reminded(line, self.level_1, '2024-03-04')
        self._assert_reason(line, '2024-03-10', 'waiting', self.level_2, '2024-03-11')
        self._assert_reason(line, '2024-03-11', 'due', self.level_2)

    def test_last_level(self):
        line = self._create_due_invoice('2024-03-01')
        self._mark_reminded(line, self.level_3, '2024-03-21')
        self._assert_reason(line, '2024-06-01', 'last_level')

    def test_age_takes_the_highest_level(self):
        self.procedure.escalation = 'age'
        line = self._create_due_invoice('2024-03-01')
        self._assert_reason(line, '2024-03-03', 'waiting', self.level_1, '2024-03-04')
        self._assert_reason(line, '2024-03-10', 'due', self.level_1)
        self._assert_reason(line, '2024-03-11', 'due', self.level_2)
        self._assert_reason(line, '2024-03-21', 'due', self.level_3)

    def test_age_never_goes_back(self):
        self.procedure.escalation = 'age'
        line = self._create_due_invoice('2024-03-01')
        self._mark_reminded(line, self.level_2, '2024-03-04')
        self._assert_reason(line, '2024-03-15', 'waiting', self.level_3, '2024-03-21')

    def test_courtesy_before_the_due_date(self):
        procedure = self._create_procedure([-3, 3])
        self.company.sudo().dunning_procedure_id = procedure
        courtesy, reminder = procedure.level_ids
        line = self._create_due_invoice('2024-03-10')
        self._assert_reason(line, '2024-03-06', 'not_overdue', courtesy, '2024-03-07')
        self._assert_reason(line, '2024-03-07', 'due', courtesy)
        self._assert_reason(line, '2024-03-09', 'due', courtesy)
        self._assert_reason(line, '2024-03-10', 'not_overdue', reminder, '2024-03-13')
        self._assert_reason(line, '2024-03-13', 'due', reminder)

    def test_courtesy_by_age_is_passed_over_once_due(self):
        procedure = self._create_procedure([-3, 3], escalation='age')
        self.company.sudo().dunning_procedure_id = procedure
        courtesy, reminder = procedure.level_ids
        line = self._create_due_invoice('2024-03-10')
        self._assert_reason(line, '2024-03-08', 'due', courtesy)
        self._assert_reason(line, '2024-03-11', 'waiting', reminder, '2024-03-13')

    def test_level_of_another_procedure_goes_on_where_the_tone_was(self):
        line = self._create_due_invoice('2024-03-01')
        self._mark_reminded(line, self.level_2, '2024-03-11')
        other = self._create_procedure([5, 10, 15])
        self.partner_a.dunning_procedure_id = other
        self._assert_reason(line, '2024-03-20', 'due', other.level_ids[2])

    def test_archived_level_goes_on_where_the_tone_was(self):
        line = self._create_due_invoice('2024-03-01')
        self._mark_reminded(line, self.level_2, '2024-03-11')
        self.level_2.active = False
        self._assert_reason(line, '2024-03-21', 'due', self.level_3)

    # === rule 6: wait ===

    def test_wait_at_its_borders(self):
        old = self._create_due_invoice('2024-02-01')
        self._mark_reminded(old, self.level_1, '2024-03-05')
        fresh = self._create_due_invoice('2024-03-01')
        self._assert_reason(fresh, '2024-03-11', 'waiting', self.level_1, '2024-03-12')
        self._assert_reason(fresh, '2024-03-12', 'due', self.level_1)

    def test_level_may_wait_longer(self):
        line = self._create_due_invoice('2024-02-01')
        self._mark_reminded(line, self.level_1, '2024-03-05')
        self.level_2.min_wait_days = 9
        self._assert_reason(line, '2024-03-13', 'waiting', self.level_2, '2024-03-14')
        self._assert_reason(line, '2024-03-14', 'due', self.level_2)

    def test_wait_after_a_notice_of_another_procedure(self):
        """One notice per customer: it also moves the bill that follows a procedure of its own, which then waits."""
        other = self._create_procedure([5, 10, 15])
        ours = self._create_due_invoice('2024-02-01')
        its = self._create_due_invoice('2024-02-01', amount=50.0)
        its.move_id.dunning_procedure_id = other
        notice = self._prepare('2024-03-10').notice_ids
        self.assertEqual(notice.line_ids.filtered('advances').move_line_id, ours + its)
        notice._mark_sent(fields.Date.to_date('2024-03-10'))
        for line, level in ((ours, self.level_2), (its, other.level_ids[1])):
            self._assert_reason(line, '2024-03-16', 'waiting', level, '2024-03-17')
            self._assert_reason(line, '2024-03-17', 'due', level)

    def test_broken_agreement_over_two_procedures_is_dunned_once(self):
        other = self._create_procedure([5, 10, 15])
        lines = self._create_due_invoice('2024-02-01') + self._create_due_invoice('2024-02-01')
        lines[1].move_id.dunning_procedure_id = other
        block = self._create_block(lines)
        block.write({'state': 'ended', 'broken': True, 'date_ended': '2024-03-09'})
        self._prepare('2024-03-10').notice_ids._mark_sent(fields.Date.to_date('2024-03-10'))
        self._assert_reason(lines, '2024-03-11', 'waiting')

    def test_wait_of_a_customer_who_became_a_contact(self):
        old = self._create_due_invoice('2024-02-01')
        self._mark_reminded(old, self.level_1, '2024-03-05')
        self._pay(old, '2024-03-06')
        fresh = self._create_due_invoice('2024-03-01')
        self.partner_a.parent_id = self.env['res.partner'].create({'name': "Parent", 'is_company': True})
        self.partner_a.is_company = False
        self.assertNotEqual(fresh.partner_id.commercial_partner_id, self.partner_a)
        self._assert_reason(fresh, '2024-03-11', 'waiting', self.level_1, '2024-03-12')
        self._assert_reason(fresh, '2024-03-12', 'due', self.level_1)

    # === rule 7: amount ===

    def test_minimum_amount_at_its_borders(self):
        line = self._create_due_invoice('2024-03-01', amount=50.0)
        for minimum, reason in ((50.01, 'below_minimum'), (50.0, 'due'), (49.99, 'due')):
            self.procedure.min_amount = minimum
            self._assert_reason(line, '2024-03-10', reason)

    def test_minimum_counts_the_whole_customer_net(self):
        self.procedure.min_amount = 100.0
        lines = (
            self._create_due_invoice('2024-03-01', amount=60.0)
            + self._create_due_invoice('2024-03-02', amount=60.0)
        )
        self._assert_reason(lines, '2024-03-10', 'due')
        self._create_unmatched_payment('2024-03-02', 21.0, self.partner_a)
        self._assert_reason(lines, '2024-03-10', 'below_minimum')

    def test_minimum_of_the_level(self):
        self.level_1.min_amount = 80.0
        line = self._create_due_invoice('2024-03-01', amount=79.99)
        self._assert_reason(line, '2024-03-10', 'below_minimum')

    def test_minimum_in_company_currency(self):
        currency = self.setup_other_currency('EUR', rates=[('2024-01-01', 2.0)])
        self.procedure.min_amount = 50.0
        line = self._create_due_invoice('2024-03-01', amount=100.0, currency_id=currency.id)
        self.assertEqual(line.amount_residual, 50.0)
        self._assert_reason(line, '2024-03-10', 'due')
        self.procedure.min_amount = 50.01
        self._assert_reason(line, '2024-03-10', 'below_minimum')

    # === the query made once for many ===

    def test_query_of_each_customer_says_the_same_as_one_for_them(self):
        """Whatever stands in the rules: without any procedure the query holds `-1` and `0` in many places."""
        for partner in (self.partner_a, self.partner_b):
            self._create_due_invoice('2024-03-01', partner=partner)
        date = fields.Date.to_date('2024-03-10')
        select = SQL("SELECT * FROM verdict ORDER BY id")
        Engine = self.env['account.dunning.engine']
        nothing = self.env['account.dunning.procedure']
        for name, procedures in (("with a procedure", None), ("without any", nothing)):
            with self.subTest(name):
                if procedures is not None:
                    self.patch(type(Engine), '_get_procedures', lambda *args: nothing)
                self.env.registry.clear_cache()
                partners = self.partner_a + self.partner_b
                queries = Engine._get_query_of_each(self.company, date, partners.ids)
                for partner in partners:
                    rows = self.env.execute_query_dict(SQL("%s %s", queries[partner.id], select))
                    self.assertTrue(rows)
                    self.assertEqual(rows, Engine._execute(self.company, date, select, partner.ids))
        self.env.registry.clear_cache()

    # === one notice at a time ===

    def test_pending(self):
        line = self._create_due_invoice('2024-03-01')
        run = self._prepare('2024-03-10')
        self.assertEqual(self._explain(line, '2024-03-10')[line][:2], ('pending', self.level_1))
        run.notice_ids._queue()
        self.assertEqual(self._explain(line, '2024-03-10')[line][0], 'pending')
        self.assertNotIn(line, self._due('2024-03-10'))

    # === companies ===

    def test_each_company_for_itself(self):
        other = self.setup_other_company()
        line = self._create_due_invoice('2024-03-01')
        self.assertFalse(self._due('2024-03-10', company=other['company']))
        self.assertEqual(self._due('2024-03-10'), {line: "Level 1"})

    def test_reading_writes_nothing(self):
        self._create_due_invoice('2024-03-01')
        self.Run._preview(self.company, fields.Date.to_date('2024-03-10'))
        self._due('2024-03-10')
        self.assertFalse(self.Notice.search([('company_id', '=', self.company.id)]))
        self.assertFalse(self.Run.search([('company_id', '=', self.company.id)]))
