from datetime import date

from odoo import fields
from odoo.exceptions import AccessError
from odoo.tests import freeze_time, new_test_user, tagged

from .common import DunningMailCommon
from .test_payer_score import PayerCommon


@tagged('post_install', '-at_install')
class TestResult(PayerCommon):
    """Days sales outstanding and what goes with them."""

    def _get_months(self, *ends):
        Result = self.env['account.dunning.result']
        return Result._get_months(
            Result._get_daily(Result._get_ledger_movements(self.company)), [date.fromisoformat(end) for end in ends])

    def test_by_hand(self):
        january = self._create_due_invoice('2024-01-31', 3100.0, invoice_date='2024-01-01')
        self._create_due_invoice('2024-04-30', 2900.0, invoice_date='2024-02-01')
        self._pay(january, '2024-02-10', 1000.0)
        [jan, feb] = self._get_months('2024-01-31', '2024-02-29')
        self.assertEqual((jan['amount_open'], jan['amount_overdue'], jan['amount_sales']), (3100.0, 0.0, 3100.0))
        self.assertAlmostEqual(jan['dso'], 90.0)
        self.assertAlmostEqual(jan['dso_count_back'], 31.0)
        self.assertIsNone(jan['effectiveness'], "nothing could be collected")
        self.assertEqual((feb['amount_open'], feb['amount_overdue']), (5000.0, 2100.0))
        self.assertAlmostEqual(feb['dso'], 5000.0 / 6000.0 * 90)
        self.assertAlmostEqual(feb['dso_best'], 2900.0 / 6000.0 * 90)
        self.assertAlmostEqual(feb['days_delinquent'], 2100.0 / 6000.0 * 90)
        self.assertAlmostEqual(feb['dso_count_back'], 29 + 2100.0 / 3100.0 * 31)
        self.assertAlmostEqual(feb['effectiveness'], 1000.0 / 3100.0)

    def test_open_is_the_ledger_s_balance_whatever_happened(self):
        lines = [self._create_due_invoice(f'2024-0{month}-15', 100.0 * month) for month in (1, 2, 3)]
        note = self._create_due_invoice('2024-02-20', 50.0, move_type='out_refund')
        (lines[0] + note).reconcile()
        self._create_unmatched_payment('2024-03-02', 70.0, self.partner_b)
        self._pay(lines[1], '2024-03-20', 30.0)
        for month in self._get_months('2024-01-31', '2024-02-29', '2024-03-31'):
            rows = self.env['account.dunning.aging']._get_balances(self.company, month['date'])
            self.assertAlmostEqual(month['amount_open'], sum(float(row['amount']) for row in rows))
            self.assertAlmostEqual(
                month['amount_overdue'], sum(float(row['amount']) for row in rows if row['days'] > 0))

    def test_without_anything(self):
        [month] = self._get_months('2024-01-31')
        self.assertEqual((month['amount_open'], month['dso'], month['dso_count_back'], month['effectiveness']),
                         (0.0, None, None, None))

    @freeze_time('2024-03-15')
    def test_on_screen(self):
        self._create_due_invoice('2024-01-31', 3100.0, invoice_date='2024-01-01')
        user = new_test_user(self.env, login='results', groups='account.group_account_invoice')
        months = self.env['account.dunning.result'].with_user(user).search([('amount_open', '>', 0)])
        self.assertEqual(
            months.mapped('date'), [date(2024, 3, 15), date(2024, 2, 29), date(2024, 1, 31)])
        [(month, dso)] = self.env['account.dunning.result'].with_user(user)._read_group(
            [('date', '=', '2024-01-31')], ['date:month'], ['dso:avg'])
        self.assertEqual((month, dso), (date(2024, 1, 1), 90.0))
        salesman = new_test_user(self.env, login='results_sale', groups='sales_team.group_sale_manager')
        for model in ('account.dunning.result', 'account.dunning.effect'):
            with self.assertRaises(AccessError):
                self.env[model].with_user(salesman).search([])


@tagged('post_install', '-at_install')
class TestEffect(PayerCommon, DunningMailCommon):
    """What came in after a reminder, beside what was expected anyway."""

    def test_within_7_14_and_30_days(self):
        self._pay_bills(self.partner_b, 12, 20)
        line = self._create_due_invoice('2024-03-01', 1000.0)
        with freeze_time('2024-03-06 08:00:00'):
            self._prepare('2024-03-06').notice_ids.action_send()
            self._run_cron('ir_cron_dunning_send')
            self._run_cron('ir_cron_payer_score')
        notice_line = self.env['account.dunning.notice.line'].search([('move_line_id', '=', line.id)])
        shares = [notice_line.expected_share_7, notice_line.expected_share_14, notice_line.expected_share_30]
        self.assertEqual(shares, sorted(shares))
        self.assertLess(shares[0], 0.1, "customers pay 20 days late here")
        self.assertGreater(shares[2], 0.9)
        self._pay(line, '2024-03-06', 50.0)  # came before
        self._pay(line, '2024-03-13', 300.0)  # the 7th day
        self._pay(line, '2024-03-14', 200.0)
        note = self._create_due_invoice('2024-03-15', 100.0, move_type='out_refund')
        (line + note).reconcile()
        for day, recovered in (
            ('2024-03-12', (0.0, 0.0, 0.0)), ('2024-03-13', (300.0, 0.0, 0.0)), ('2024-03-20', (300.0, 500.0, 0.0)),
            ('2024-04-05', (300.0, 500.0, 500.0)),
        ):
            with self.subTest(day=day), freeze_time(day):
                effect = self.env['account.dunning.effect'].search([('move_id', '=', line.move_id.id)])
                effect.invalidate_recordset()
                self.assertEqual((effect.recovered_7, effect.recovered_14, effect.recovered_30), recovered)
                self.assertEqual(
                    effect.amount_14, 1000.0 if fields.Date.to_date(day) >= date(2024, 3, 20) else 0.0)
        self.assertEqual((effect.channel, effect.level_id), ('email', self.level_1))
        self.assertAlmostEqual(effect.expected_30, 1000.0 * shares[2], 2)

    def test_without_a_curve_nothing_is_said_to_be_expected(self):
        line = self._create_due_invoice('2024-03-01', 1000.0)
        with freeze_time('2024-03-06 08:00:00'):
            self._prepare('2024-03-06').notice_ids.action_send()
            self._run_cron('ir_cron_dunning_send')
            self._run_cron('ir_cron_payer_score')
        with freeze_time('2024-04-10'):
            effect = self.env['account.dunning.effect'].search([('move_id', '=', line.move_id.id)])
            self.assertEqual((effect.amount_30, effect.recovered_30, effect.expected_30), (1000.0, 0.0, 0.0))
