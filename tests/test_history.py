from datetime import date

from odoo import Command, fields
from odoo.exceptions import AccessError, UserError
from odoo.tests import Form, freeze_time, new_test_user, tagged

from .common import DunningMailCommon
from .credit_common import CreditCommon


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

    @freeze_time('2024-03-04')
    def test_what_was_agreed_and_given_up_again(self):
        line = self._create_due_invoice('2024-03-01')
        plan = self.env['account.payment.plan'].create({
            'partner_id': self.partner_a.id, 'company_id': self.company.id, 'currency_id': line.currency_id.id,
            'move_line_ids': [Command.set(line.ids)],
            'installment_ids': [Command.create({'date': '2024-04-01', 'amount': 100.0})]})
        dropped = plan.copy()
        dropped.action_cancel()
        self.assertEqual(self._get_history().mapped('kind'), ['invoice'], "drafts were said to nobody")
        plan.action_offer()
        promise = self.env['account.payment.promise'].create({
            'partner_id': self.partner_a.id, 'company_id': self.company.id, 'amount': 100.0, 'date': '2024-03-08',
            'move_line_ids': [Command.set(line.ids)]})
        promise.action_cancel()
        plan.action_sign()
        with freeze_time('2024-03-06'):
            plan.action_cancel()
            pause = self.env['account.dunning.block'].create({
                'company_id': self.company.id, 'partner_id': self.partner_a.id, 'date_from': '2024-03-06'})
        with freeze_time('2024-03-08'):
            pause.action_end()
        self.assertEqual(
            [(row.kind, str(row.date)) for row in self._get_history() if row.kind != 'invoice'], [
                ('pause_ended', '2024-03-08'), ('pause', '2024-03-06'), ('plan_cancelled', '2024-03-06'),
                ('plan', '2024-03-04'), ('plan_offered', '2024-03-04'), ('promise_cancelled', '2024-03-04'),
                ('promise', '2024-03-04')])

    def test_days_are_the_company_s(self):
        self.company.sudo().partner_id.tz = 'America/New_York'
        with freeze_time('2024-03-05 04:30:00'):  # 23:30 of the 4th there
            line = self._create_due_invoice('2024-03-01')
            plan = self.env['account.payment.plan'].create({
                'partner_id': self.partner_a.id, 'company_id': self.company.id, 'currency_id': line.currency_id.id,
                'move_line_ids': [Command.set(line.ids)],
                'installment_ids': [Command.create({'date': '2024-04-01', 'amount': 100.0})]})
            plan.action_offer()
            plan.action_sign()
            plan.action_cancel()
            pause = self.env['account.dunning.block'].create({
                'company_id': self.company.id, 'partner_id': self.partner_a.id, 'date_from': '2024-03-04'})
            pause.action_end()
        events = self._get_history().filtered(lambda row: row.kind != 'invoice')
        self.assertEqual(set(events.mapped('kind')), {'plan_offered', 'plan', 'plan_cancelled', 'pause', 'pause_ended'})
        self.assertEqual(set(events.mapped('date')), {date(2024, 3, 4)})

    #=== WHOSE LIFE IS READ ===#

    def test_rows_read_by_their_ids_tell_whose_they_are(self):
        with freeze_time('2024-03-04'):
            line = self._create_due_invoice('2024-03-01')
            self._create_due_invoice('2024-03-01', partner=self.partner_b)
            self.env['account.dispute'].create({'move_id': line.move_id.id, 'amount': 10.0, 'reason': 'other'})
        self._pay(line, '2024-03-10', 40.0)
        expected = [(row.kind, row.balance, row.description) for row in self._get_history()]
        self.assertEqual(len(expected), 3)
        for ids in (self._get_history().ids, self._get_history().ids[1:]):
            rows = self.env['account.dunning.history'].with_user(self.collector).browse(ids)
            self.env.invalidate_all()
            rows.fetch(['kind', 'balance', 'res_model', 'res_id'])  # rights and rules are in the cache
            self.env.invalidate_all()
            with self.assertQueryCount(2):  # whose they are, and their lives
                rows.fetch(['kind', 'balance', 'res_model', 'res_id'])
            self.assertEqual([(row.kind, row.balance, row.description) for row in rows], expected[-len(ids):])
            self.env.invalidate_all()
            with self.assertQueryCount(2):
                self.assertEqual(rows.exists(), rows)
        with self.assertQueryCount(2):
            self.assertEqual(len(rows.search([('id', 'in', rows.ids), ('kind', '=', 'invoice')])), 1)

    def test_row_of_somebody_else_is_not_of_the_named_customer(self):
        self._create_due_invoice('2024-03-01')
        self._create_due_invoice('2024-03-01', partner=self.partner_b)
        row = self._get_history(self.partner_b)
        History = row.with_user(self.collector)
        self.assertFalse(History.search([('id', 'in', row.ids), ('partner_id', '=', self.partner_a.id)]))
        self.assertFalse(History.search([('id', '=', 0)]))
        self.assertFalse(History.search([('id', 'in', [2**40, 31, -1])]))
        self.assertFalse(History.browse([2**40, 31]).exists())

    def test_nobody_in_particular_is_refused(self):
        self._create_due_invoice('2024-03-01')
        History = self.env['account.dunning.history'].with_user(self.collector)
        partner = self.partner_a
        for domain in (
            [], [('company_id', '=', self.company.id)], [('partner_id', '!=', partner.id)],
            [('partner_id', '!=', False)], ['|', ('partner_id', '=', partner.id), ('kind', '=', 'invoice')],
            ['!', ('partner_id', 'in', partner.ids)],
        ):
            with self.subTest(domain=domain):
                for ask in (History.search, History.search_count, lambda domain: History._read_group(domain, ['kind'])):
                    with self.assertRaisesRegex(UserError, "some customers at a time"):
                        ask(domain)
        for domain in (
            [('partner_id', '=', partner.id)], [('partner_id', 'child_of', partner.id)],
            [('partner_id', '=', partner.name)], [('partner_id', 'ilike', partner.name)],
            [('partner_id.email', '=', partner.email)],
            ['|', ('partner_id', '=', partner.id), '&', ('partner_id', '=', self.partner_b.id), ('kind', '=', 'pause')],
            ['&', ('partner_id', '=', partner.id), '|', ('kind', '=', 'invoice'), ('kind', '=', 'notice')],
        ):
            with self.subTest(domain=domain):
                self.assertEqual(History.search(domain).partner_id, partner)
                self.assertEqual(History.search_count(domain), 1)
        self.assertFalse(History.search([('partner_id', 'in', [])]))

    def test_rights(self):
        self._create_due_invoice('2024-03-01')
        for groups in ('sales_team.group_sale_salesman', 'base.group_portal'):
            user = new_test_user(self.env, groups, groups=groups, company_id=self.company.id,
                                 company_ids=[Command.set(self.company.ids)])
            for domain in ([], [('partner_id', '=', self.partner_a.id)]):
                with self.assertRaises(AccessError):
                    self.env['account.dunning.history'].with_user(user).search(domain)
        other = self.env['res.company'].sudo().create({'name': "Other"})
        stranger = new_test_user(self.env, 'stranger', groups='account.group_account_invoice', company_id=other.id,
                                 company_ids=[Command.set(other.ids)])
        row = self._get_history()
        History = self.env['account.dunning.history'].with_user(stranger)
        self.assertFalse(History.search([('partner_id', '=', self.partner_a.id)]))
        self.assertFalse(History.search([('id', 'in', row.ids)]))
        with self.assertRaises(AccessError):
            History.browse(row.ids).mapped('balance')

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


@tagged('post_install', '-at_install')
class TestHistoryOfOrders(CreditCommon):
    """Orders that had to wait, whatever becomes of them."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.customer.credit_limit = 100
        cls.collector = new_test_user(
            cls.env, 'collector', groups='account.group_account_invoice', company_id=cls.company.id,
            company_ids=[Command.set(cls.company.ids)])

    def _get_rows(self):
        self.env.invalidate_all()
        rows = self.env['account.dunning.history'].with_user(self.collector)._get_history(self.company, self.customer)
        return rows.filtered(lambda row: row.kind.startswith('order_'))  # not how the limit has changed

    def _get_kinds(self):
        return [(row.kind, str(row.date)) for row in reversed(self._get_rows())]

    def test_held_rejected_held_again_released_and_cancelled(self):
        with freeze_time('2024-06-10'):
            order = self._order(150)
            order.with_user(self.salesperson).action_request_release()
        with freeze_time('2024-06-11'):
            order.with_user(self.credit_manager).action_reject_release("Pays late")
        with freeze_time('2024-06-12'):
            order.with_user(self.credit_manager).action_release("Has paid by cheque")
        self.assertEqual(self._get_kinds(), [
            ('order_held', '2024-06-10'), ('order_rejected', '2024-06-11'), ('order_released', '2024-06-12')])
        row = self._get_rows()[0]
        self.assertIn(order.name, row.description)
        self.assertIn("Has paid by cheque", row.description)
        self.assertEqual(row.action_open()['res_id'], order.id)
        with freeze_time('2024-06-13'):
            order._action_cancel()
            order._action_cancel()
        self.assertEqual(self._get_kinds()[-1], ('order_cancelled', '2024-06-13'))
        self.assertEqual(len(self._get_rows()), 4)
        self.assertFalse(any(self._get_rows().mapped('amount')))
        order.unlink()
        self.assertEqual(len(self._get_rows()), 4)
        self.assertIn(row.description, self._get_rows().mapped('description'))
        with self.assertRaisesRegex(UserError, "no longer there"):
            self._get_rows()[0].action_open()

    @freeze_time('2024-06-10')
    def test_what_the_order_forgets_stays(self):
        order = self._order(150)
        order.with_user(self.salesperson).action_request_release()
        order.sudo()._write_credit({'credit_hold_date': False})
        self.assertEqual(self._get_kinds(), [('order_held', '2024-06-10')])
        self.assertEqual(self._get_rows().action_open()['res_id'], order.id)

    @freeze_time('2024-06-10')
    def test_freed_by_a_higher_limit(self):
        orders = self._order(150) + self._order(160)
        for order in orders:
            order.with_user(self.salesperson).action_request_release()
        self.customer.credit_limit = 1000
        orders[0].action_confirm()
        self.company.credit_auto_release = True
        self.env['sale.order']._recheck_held_orders(self.customer)
        self.assertEqual([kind for kind, _day in self._get_kinds()], ['order_held'] * 2 + ['order_released'] * 2)
        self._order(10)._action_cancel()  # never had to wait
        self.assertEqual(len(self._get_rows()), 4)

    def test_day_is_the_company_s(self):
        self.company.sudo().partner_id.tz = 'America/New_York'
        with freeze_time('2024-06-11 03:30:00'):  # 23:30 of the 10th there
            order = self._order(150)
            order.with_user(self.salesperson).action_request_release()
            order.with_user(self.credit_manager).action_release("Trusted")
        self.assertEqual(self._get_kinds(), [('order_held', '2024-06-10'), ('order_released', '2024-06-10')])

    @freeze_time('2024-06-10')
    def test_events_are_written_by_the_flow_alone(self):
        order = self._order(150)
        order.with_user(self.salesperson).action_request_release()
        event = self.env['account.credit.event'].search([('order_id', '=', order.id)])
        self.assertRecordValues(event, [{
            'kind': 'held', 'name': order.name, 'amount': 150.0, 'partner_id': self.customer.id,
            'user_id': self.salesperson.id}])
        manager = new_test_user(
            self.env, 'administrator', groups='account.group_account_manager', company_id=self.company.id,
            company_ids=[Command.set(self.company.ids)])
        for user in (manager, self.credit_manager, self.salesperson):
            for change in (
                lambda event: event.write({'kind': 'released'}),
                lambda event: event.unlink(),
                lambda event: event.create({
                    'company_id': self.company.id, 'partner_id': self.customer.id, 'name': "X", 'date': '2024-06-10',
                    'kind': 'released'}),
            ):
                with self.subTest(user=user.login), self.assertRaises(AccessError):
                    change(event.with_user(user))
        with self.assertRaises(AccessError):
            event.with_user(self.salesperson).read(['note'])
