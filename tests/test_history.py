from odoo import Command, fields
from odoo.exceptions import AccessError
from odoo.tests import Form, freeze_time, new_test_user, tagged

from .common import DunningMailCommon


@tagged('post_install', '-at_install')
class TestHistory(DunningMailCommon):
    """The life of an account, and the workspace that shows it."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.collector = new_test_user(
            cls.env, 'collector', groups='account.group_account_invoice', email='collector@example.com',
            company_id=cls.company.id, company_ids=[Command.set(cls.company.ids)])

    def _get_history(self, partner=None):
        self.env.invalidate_all()
        return self.env['account.dunning.history'].with_user(self.collector)._get_history(
            self.company, partner or self.partner_a)

    def _get_ledger_balance(self, partner, day):
        self.env.flush_all()
        self.env.cr.execute(
            """
            SELECT COALESCE(SUM(line.balance), 0)
              FROM account_move_line line JOIN account_account account ON account.id = line.account_id
             WHERE account.account_type = 'asset_receivable' AND line.parent_state = 'posted'
               AND line.company_id = %s AND line.partner_id = %s AND line.date <= %s
            """, [self.company.id, partner.id, day])
        return float(self.env.cr.fetchone()[0])

    def _assert_balance_is_the_ledger(self, partner=None):
        partner = partner or self.partner_a
        rows = self._get_history(partner)
        days = sorted(set(rows.mapped('date')))
        self.assertTrue(days)
        for day in days:
            last = rows.filtered(lambda row, day=day: row.date <= day)[:1]
            self.assertEqual(
                self.company.currency_id.compare_amounts(last.balance, self._get_ledger_balance(partner, day)), 0, day)

    def test_money_in_its_order_with_the_balance(self):
        line = self._create_due_invoice('2024-03-01', 100.0, invoice_date='2024-02-01')
        refund = self._create_due_invoice('2024-03-05', 30.0, move_type='out_refund', invoice_date='2024-03-05')
        payment = self._pay(line, '2024-03-10', 40.0)
        self._create_due_invoice('2024-03-01', 7.0, partner=self.partner_b)
        rows = self._get_history()
        self.assertEqual(rows.mapped('kind'), ['entry', 'refund', 'invoice'])
        self.assertEqual(rows.mapped('amount'), [-40.0, -30.0, 100.0])
        self.assertEqual(rows.mapped('balance'), [30.0, 70.0, 100.0])
        self.assertEqual(rows.mapped('res_id'), [payment.move_id.id, refund.move_id.id, line.move_id.id])
        self.assertIn(line.move_id.name, rows[2].description)
        self.assertEqual(rows[2].action_open()['res_id'], line.move_id.id)
        self._assert_balance_is_the_ledger()
        payment.remove_move_reconcile()
        payment.move_id.button_draft()
        self.assertEqual(self._get_history().mapped('balance'), [70.0, 100.0])

    def test_installments_are_one_invoice(self):
        terms = self.env['account.payment.term'].create({
            'name': "30/70", 'line_ids': [
                Command.create({'value': 'percent', 'value_amount': share, 'nb_days': days})
                for share, days in ((30, 10), (70, 40))]})
        lines = self._create_due_invoice('2024-03-01', 100.0, invoice_payment_term_id=terms.id)
        self.assertEqual(len(lines), 2)
        self.assertEqual(self._get_history().mapped('amount'), [100.0])

    def test_foreign_currency_and_exchange_differences(self):
        currency = self.setup_other_currency('EUR')
        line = self._create_due_invoice('2016-03-01', 300.0, currency_id=currency.id)
        payment = self._create_unmatched_payment('2017-02-01', 300.0, self.partner_a, currency)
        (line + payment).reconcile()
        rows = self._get_history()
        self.assertEqual(self.company.currency_id.compare_amounts(rows[0].balance, 0.0), 0)
        self._assert_balance_is_the_ledger()

    def test_each_event_once(self):
        with freeze_time('2024-03-04'):
            line = self._create_due_invoice('2024-03-01')
            self._prepare('2024-03-04').notice_ids.action_send()
            self._run_cron('ir_cron_dunning_send')
            self.env['account.dunning.call'].create({
                'partner_id': self.partner_a.id, 'company_id': self.company.id, 'outcome': 'promise',
                'promise_date': '2024-03-08', 'note': "Transfer"}).action_log()
        with freeze_time('2024-03-20'):
            self.env['account.payment.promise']._update_promises(self.company, fields.Date.to_date('2024-03-20'))
            dispute = self.env['account.dispute'].create({
                'move_id': line.move_id.id, 'amount': 10.0, 'reason': 'other'})
            dispute.action_reject()
        kinds = sorted(row.kind for row in self._get_history())
        self.assertEqual(kinds, ['contact', 'dispute', 'dispute_resolved', 'invoice', 'notice', 'promise',
                                 'promise_broken'])
        for row in self._get_history():
            action = row.action_open()
            self.assertEqual((action['res_model'], action['res_id']), (row.res_model, row.res_id))
        notice = self._get_history().filtered(lambda row: row.kind == 'notice')
        self.assertIn("Level 1", notice.description)
        self._assert_balance_is_the_ledger()

    def test_rights(self):
        self._create_due_invoice('2024-03-01')
        for groups in ('sales_team.group_sale_salesman', 'base.group_portal'):
            user = new_test_user(self.env, groups, groups=groups, company_id=self.company.id,
                                 company_ids=[Command.set(self.company.ids)])
            with self.assertRaises(AccessError):
                self.env['account.dunning.history'].with_user(user).search([])
        other = self.env['res.company'].sudo().create({'name': "Other"})
        stranger = new_test_user(self.env, 'stranger', groups='account.group_account_invoice', company_id=other.id,
                                 company_ids=[Command.set(other.ids)])
        self.assertFalse(self.env['account.dunning.history'].with_user(stranger).search(
            [('company_id', '=', self.company.id)]))

    @freeze_time('2024-03-20')
    def test_workspace_of_who_has_billing_rights(self):
        line = self._create_due_invoice('2024-03-01', 100.0)
        self._create_due_invoice('2024-04-01', 50.0)
        self.env['account.dispute'].create({'move_id': line.move_id.id, 'amount': 100.0, 'reason': 'quality'})
        self.env.flush_all()
        row = self.env['account.dunning.followup'].with_user(self.collector).search([
            ('company_id', '=', self.company.id), ('partner_id', '=', self.partner_a.id)])
        with Form(row) as form:
            self.assertEqual(len(form.history_ids), 3)
            self.assertEqual(len(form.move_line_ids), 2)
        self.assertIn("1–30", row.aging_bar)
        self.assertIn("Dispute", row.move_line_ids.filtered(lambda item: item == line).dunning_situation)
        self.assertEqual(row.action_register_payment()['res_model'], 'account.payment.register')
        self.assertEqual(row.move_line_ids[:1].action_dunning_pdf()['type'], 'ir.actions.act_url')
        for method in ('action_pause', 'action_plan', 'action_open_history'):
            action = getattr(row, method)()
            self.assertTrue(self.env[action['res_model']].with_user(self.collector).has_access('read'))
