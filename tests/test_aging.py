import random
from datetime import timedelta

from psycopg2 import IntegrityError

from odoo import Command, fields
from odoo.exceptions import AccessError, UserError
from odoo.tests import Form, freeze_time, new_test_user, tagged
from odoo.tools import mute_logger

from .common import DunningCommon


@tagged('post_install', '-at_install')
class TestAging(DunningCommon):
    """What was open on a day, by age: its total is the ledger's."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.aging = cls.env['account.dunning.aging']
        cls.other_currency = cls.setup_other_currency('EUR')

    def _get_buckets(self, day, partner=None, company=None):
        partner = partner or self.partner_a
        return self.aging._get_buckets(
            company or self.company, fields.Date.to_date(day), partner.ids).get(partner.id, [0.0] * 5)

    def _get_ledger_balance(self, day):
        """The balance of the receivable accounts, as a trial balance has it."""
        self.env.cr.execute(
            """
            SELECT COALESCE(SUM(line.balance), 0)
              FROM account_move_line line JOIN account_account account ON account.id = line.account_id
             WHERE account.account_type = 'asset_receivable' AND account.non_trade IS NOT TRUE
               AND line.parent_state = 'posted' AND line.company_id = %s AND line.date <= %s
            """, [self.company.id, day])
        return float(self.env.cr.fetchone()[0])

    def _assert_equals_ledger(self, *days):
        for day in days:
            self.env.flush_all()
            with self.subTest(day=day):
                rows = self.aging._get_balances(self.company, fields.Date.to_date(day))
                self.assertEqual(
                    self.company.currency_id.compare_amounts(
                        sum(float(row['amount']) for row in rows), self._get_ledger_balance(day)), 0)

    def test_buckets_at_their_borders(self):
        self._create_due_invoice('2024-03-01', 100.0)
        for day, bucket in (
            ('2024-02-01', 0), ('2024-03-01', 0), ('2024-03-02', 1), ('2024-03-31', 1), ('2024-04-01', 2),
            ('2024-04-30', 2), ('2024-05-01', 3), ('2024-05-30', 3), ('2024-05-31', 4), ('2025-05-31', 4),
        ):
            with self.subTest(day=day):
                self.assertEqual(self._get_buckets(day), [100.0 * (number == bucket) for number in range(5)])
        self.assertEqual(self._get_buckets('2024-01-30'), [0.0] * 5, "the day before it was invoiced")

    def test_buckets_by_the_company_s_days(self):
        self._create_due_invoice('2024-03-01', 100.0)
        self.company.sudo().dunning_aging_days = 15
        self.assertEqual(self._get_buckets('2024-03-17'), [0.0, 0.0, 100.0, 0.0, 0.0])
        self.assertEqual(
            self.aging.with_company(self.company)._get_bucket_labels(self.company)[1:4], ["1–15", "16–30", "31–45"])
        with self.assertRaises(IntegrityError), mute_logger('odoo.sql_db'), self.cr.savepoint():
            self.company.sudo().dunning_aging_days = 0

    def test_what_was_open_before_it_was_paid(self):
        line = self._create_due_invoice('2024-03-01', 100.0)
        self._pay(line, '2024-03-20', 30.0)
        self._pay(line, '2024-04-20', 70.0)
        self.assertEqual(self._get_buckets('2024-03-19'), [0.0, 100.0, 0.0, 0.0, 0.0])
        self.assertEqual(self._get_buckets('2024-03-20'), [0.0, 70.0, 0.0, 0.0, 0.0])
        self.assertEqual(self._get_buckets('2024-04-19'), [0.0, 0.0, 70.0, 0.0, 0.0])
        self.assertEqual(self._get_buckets('2024-04-20'), [0.0] * 5)
        self._assert_equals_ledger('2024-02-28', '2024-03-19', '2024-03-20', '2024-04-19', '2024-04-20', '2030-01-01')

    def test_money_that_came_before_its_bill(self):
        payment = self._create_unmatched_payment('2024-01-10', 100.0, self.partner_a)
        line = self._create_due_invoice('2024-03-01', 100.0, invoice_date='2024-02-01')
        (payment + line).reconcile()
        self.assertEqual(sum(self._get_buckets('2024-01-15')), -100.0, "it was not matched with anything then")
        self.assertEqual(self._get_buckets('2024-02-01'), [0.0] * 5)
        self._assert_equals_ledger('2024-01-09', '2024-01-10', '2024-01-31', '2024-02-01')

    def test_credit_notes_foreign_currency_and_exchange_differences(self):
        currency = self.other_currency
        line = self._create_due_invoice('2016-03-01', 300.0, currency_id=currency.id)
        refund = self._create_due_invoice(
            '2016-04-01', 60.0, move_type='out_refund', currency_id=currency.id, invoice_date='2016-04-01')
        (line + refund).reconcile()
        self._pay_foreign(line, '2017-02-01', 240.0, currency)
        self.assertTrue(line.reconciled)
        self._assert_equals_ledger(
            '2016-01-31', '2016-03-31', '2016-04-01', '2016-12-31', '2017-01-31', '2017-02-01', '2018-01-01')

    def _pay_foreign(self, line, date, amount, currency):
        payment = self._create_unmatched_payment(date, amount, line.partner_id, currency)
        (line + payment).reconcile()

    def test_total_is_the_ledger_whatever_happened(self):
        rand = random.Random(7)
        start = fields.Date.to_date('2016-01-01')
        lines = self.env['account.move.line']
        for _number in range(25):
            due = start + timedelta(days=rand.randrange(500))
            lines += self._create_due_invoice(
                due, float(rand.randrange(10, 900)), partner=rand.choice([self.partner_a, self.partner_b]),
                move_type=rand.choice(['out_invoice'] * 4 + ['out_refund']),
                currency_id=rand.choice([self.company.currency_id, self.other_currency]).id)
        for line in lines.filtered(lambda line: line.balance > 0 and rand.random() < 0.7):
            payment = self._create_unmatched_payment(
                line.date + timedelta(days=rand.randrange(-20, 200)),
                line.currency_id.round(line.amount_currency * rand.choice([0.3, 1.0, 1.2])), line.partner_id,
                line.currency_id)
            if rand.random() < 0.8:
                (line + payment).reconcile()
        rand.choice(lines.filtered('matched_credit_ids')).remove_move_reconcile()
        self._assert_equals_ledger(*(start + timedelta(days=days) for days in range(-30, 800, 29)))

    @freeze_time('2024-04-15 09:00:00')
    def test_report_groups_and_opens_its_items(self):
        line = self._create_due_invoice('2024-03-01', 100.0)
        self._create_due_invoice('2024-04-30', 50.0)
        self._create_due_invoice('2024-03-01', 7.0, partner=self.partner_b)
        user = new_test_user(
            self.env, 'aging', groups='account.group_account_invoice', company_id=self.company.id,
            company_ids=[Command.set(self.company.ids)])
        report = self.aging.with_user(user)
        groups = dict((group, amounts) for group, *amounts in report._read_group(
            [], ['partner_id'], ['amount_0:sum', 'amount_2:sum', 'amount:sum']))
        self.assertEqual(groups, {self.partner_a: [50.0, 100.0, 150.0], self.partner_b: [0.0, 7.0, 7.0]})
        item = report.search([('bucket', '=', '2'), ('partner_id', '=', self.partner_a.id)])
        self.assertEqual((item.id, item.days, item.move_id), (line.id, 45, line.move_id))
        self.assertEqual(item.action_open_move()['res_id'], line.move_id.id)
        self.env.invalidate_all()  # another request
        past = report.with_context(aging_date='2024-03-01')
        self.assertEqual(past.search([('partner_id', '=', self.partner_a.id)]).mapped('bucket'), ['0'])
        dialog = Form(self.env['account.dunning.aging.open'].with_user(user))
        dialog.date = '2024-03-01'
        self.assertEqual(dialog.save().action_open()['context']['aging_date'], '2024-03-01')
        self.assertEqual(report.fields_get(['amount_1'])['amount_1']['string'], "1–30")

    @freeze_time('2024-04-15 09:00:00')
    def test_statement_has_the_same_buckets(self):
        self._create_due_invoice('2024-03-01', 100.0)
        self._create_due_invoice('2024-04-30', 50.0)
        self._create_unmatched_payment('2024-04-10', 20.0, self.partner_a)
        [item] = self.partner_a._get_open_items(self.company)
        self.assertEqual([amount for _label, amount in item['buckets']], self._get_buckets('2024-04-15'))
        self.assertEqual(sum(amount for _label, amount in item['buckets']), item['total'])
        self.assertEqual(item['overdue'], 80.0, "less what has come in")
        self.env.flush_all()
        row = self.env['account.dunning.followup'].search([
            ('company_id', '=', self.company.id), ('partner_id', '=', self.partner_a.id)])
        self.assertEqual(row.amount_overdue, item['overdue'])
        other = self.env['res.company'].sudo().create({'name': "Other"})
        self.env.user.sudo().company_ids += other
        with self.assertRaisesRegex(UserError, "change to"):
            row.with_context(allowed_company_ids=(other + self.company).ids).action_print_statements()

    def test_nonsense_for_a_day(self):
        with self.assertRaisesRegex(UserError, "is no day"):
            self.aging.with_context(aging_date="yesterday").search([])

    @freeze_time('2024-03-10 08:00:00')
    def test_level_of_the_day(self):
        line = self._create_due_invoice('2024-02-01')
        notice = self._prepare('2024-03-10').notice_ids
        notice._mark_sent(fields.Date.to_date('2024-03-10'))
        for day, level in (('2024-03-09', None), ('2024-03-10', self.level_1.id)):
            [row] = self.aging._get_balances(self.company, fields.Date.to_date(day))
            self.assertEqual((row['id'], row['level_id']), (line.id, level))

    def test_rights(self):
        self._create_due_invoice('2024-03-01', 100.0)
        for groups in ('sales_team.group_sale_salesman', 'base.group_portal'):
            user = new_test_user(self.env, groups, groups=groups, company_id=self.company.id,
                                 company_ids=[Command.set(self.company.ids)])
            with self.assertRaises(AccessError):
                self.aging.with_user(user).search([])
            with self.assertRaises(AccessError):
                self.aging.with_user(user)._read_group([], ['partner_id'], ['amount:sum'])
        other = self.company_data_2['company'] if hasattr(self, 'company_data_2') else self.env['res.company'].sudo(
            ).create({'name': "Other"})
        user = new_test_user(self.env, 'other', groups='account.group_account_invoice', company_id=other.id,
                             company_ids=[Command.set(other.ids)])
        report = self.aging.with_user(user).with_context(allowed_company_ids=other.ids)
        self.assertFalse(report.search([('company_id', '=', self.company.id)]))

    def test_queries_do_not_grow_with_customers(self):
        partners = self.env['res.partner'].create([{'name': f"Customer {number}"} for number in range(12)])
        for partner in partners:
            self._create_due_invoice('2024-03-01', 10.0, partner=partner)
        self.env.flush_all()
        day = fields.Date.to_date('2024-04-01')
        self.aging._get_buckets(self.company, day, partners[:1].ids)
        with self.assertQueryCount(3):
            self.assertEqual(len(self.aging._get_buckets(self.company, day, partners.ids)), 12)
