import random
from datetime import date, timedelta

from odoo import Command
from odoo.exceptions import AccessError, UserError, ValidationError
from odoo.tests import freeze_time, new_test_user, tagged
from odoo.tools import SQL

from odoo.addons.account_dunning.models.account_payer_curve import FIRST_DAY

from .common import DunningCommon, DunningMailCommon
from .payer_oracle import Bill, PayerOracle

MONDAY = date(2024, 3, 4)


@tagged('post_install', '-at_install')
class PayerCommon(DunningCommon):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.Settlement = cls.env['account.payer.settlement'].sudo()
        cls.Curve = cls.env['account.payer.curve'].sudo()
        cls.Score = cls.env['account.payer.score'].sudo()
        (cls.partner_a + cls.partner_b).is_company = True

    def _load(self, bills, customers):
        """Put bills straight into the settlement table, as `./dev score` does."""
        for bill in bills:
            [(bill.id,)] = self.env.execute_query(SQL(
                "INSERT INTO account_payer_settlement"
                " (company_id, partner_id, date_issued, date_due, date_settled, amount, is_disputed)"
                " VALUES (%s, %s, %s, %s, %s, 100, FALSE) RETURNING id",
                self.company.id, customers[bill.customer].id, bill.issued, bill.due, bill.settled))

    def _pay_bills(self, partner, count, late, due=date(2024, 1, 1)):
        """Invoices due on one day after the other, each paid so many days late."""
        lines = self.env['account.move.line']
        for number in range(count):
            day = due + timedelta(days=number)
            line = self._create_due_invoice(day, partner=partner)
            self._pay(line, day + timedelta(days=late))
            lines += line
        return lines

    def _update(self, day=MONDAY):
        self.Score._update_company(self.company, day)

    def _rebuild(self, day=MONDAY):
        self.Curve._get(self.company).date_rebuilt = False
        self._update(day)

    def _get_score(self, partner):
        return self.Score.search([('company_id', '=', self.company.id), ('partner_id', '=', partner.id)])


@tagged('post_install', '-at_install')
class TestPayerFormula(PayerCommon):
    """Curves, scores and expected days beside an oracle in plain Python."""

    def _draw(self, seed):
        chance = random.Random(seed)
        bills = []
        for customer in range(12):
            habit = chance.choice((-8, 0, 3, 12, 40))
            for _number in range(chance.choice((0, 1, 2, 5, 15, 30))):
                issued = MONDAY - timedelta(days=chance.randrange(0, 800))
                due = issued + timedelta(days=chance.choice((0, 14, 30, 60)))
                settled = max(issued, due + timedelta(days=round(chance.gauss(habit, 12))))
                bills.append(Bill(0, customer, issued, due, None if chance.random() < 0.15 else settled))
        return bills

    def test_says_the_same_as_the_oracle(self):
        customers = self.env['res.partner'].create([{'name': f"C{n}", 'is_company': True} for n in range(12)])
        for seed in range(6):
            with self.subTest(seed=seed):
                self.env.cr.execute("DELETE FROM account_payer_settlement")
                bills = self._draw(seed)
                self._load(bills, customers)
                oracle = PayerOracle(bills, MONDAY)
                curve = self.Curve._update(self.company, MONDAY)
                if curve.is_weekend_paid:
                    self._compare(oracle, bills, customers)
                else:
                    self.fail("payments of chance days come on weekends, too")

    def _compare(self, oracle, bills, customers):
        self.Score._update(self.company, MONDAY)
        scores = self.Score.search([('partner_id', 'in', customers.ids)])
        self.assertEqual(
            scores.partner_id, customers.filtered(lambda partner: oracle.known[customers.ids.index(partner.id)]))
        curves = dict(self.env.execute_query(SQL(
            "SELECT partner_id, unpaid FROM account_payer_score WHERE partner_id = ANY(%s)", customers.ids)))
        for score in scores:
            number = customers.ids.index(score.partner_id.id)
            self.assertEqual(score.invoices_known, len(oracle.known[number]))
            self.assertAlmostEqual(score.expected_late_days, oracle.get_expected_late(number), 6)
            self.assertAlmostEqual(score.probability_late, oracle.get_probability_late(number), 6)
            self.assertAlmostEqual(
                score.days_paid + score.days_open + score.days_borrowed, score.expected_late_days, 6,
                "the shares that the reasons name add up")
            self.assertAlmostEqual(sum(score._get_shares()), round(score.expected_late_days, 1), 6)
            unpaid = curves[score.partner_id.id]
            left = 1.0
            for index, share in enumerate(oracle.get_curve(number).values(), start=1):
                left -= share
                self.assertAlmostEqual(unpaid[index], left, 6)
            self.assertAlmostEqual(
                sum(unpaid[1 - FIRST_DAY:]), score.expected_late_days, 6, "curve and score are of one piece")
        still_open = [bill for bill in bills if bill.settled is None and bill.issued < MONDAY]
        predicted = dict(self.env.execute_query(SQL(
            "SELECT id, expected_date FROM (%s) prediction", self.Curve._get_prediction_query(
                self.company, MONDAY, SQL(
                    "SELECT id, partner_id, date_due, FALSE AS is_disputed FROM account_payer_settlement"
                    " WHERE date_settled IS NULL AND date_due >= %s", MONDAY - timedelta(days=730))))))
        for bill in still_open:
            if (MONDAY - bill.due).days > 730 or not oracle.known[bill.customer]:
                continue
            middle = oracle.get_middle(bill.customer, bill.due)
            self.assertEqual(
                predicted[bill.id], None if middle is None else max(MONDAY, bill.due + timedelta(days=middle)))

    def test_what_happens_on_the_day_or_later_changes_nothing(self):
        customers = self.env['res.partner'].create([{'name': f"C{n}", 'is_company': True} for n in range(12)])
        bills = self._draw(7)
        self._load(bills, customers)

        def read():
            self.Curve._update(self.company, MONDAY - timedelta(days=100))
            self.Score._update(self.company, MONDAY - timedelta(days=100))
            return [
                {name: round(value, 9) if isinstance(value, float) else value for name, value in row.items()}
                for row in self.Score.search([], order='partner_id').read([
                    'partner_id', 'score', 'expected_late_days', 'probability_late', 'invoices_known', 'average_days'])
            ]

        before = read()
        self.assertTrue(before)
        self.env.cr.execute(
            "DELETE FROM account_payer_settlement WHERE date_issued >= %s", [MONDAY - timedelta(days=100)])
        self.env.cr.execute(
            "UPDATE account_payer_settlement SET date_settled = NULL WHERE date_settled >= %s",
            [MONDAY - timedelta(days=100)])
        self.assertEqual(
            [{**row, 'id': 0} for row in read()], [{**row, 'id': 0} for row in before])

    def test_due_on_a_weekend_is_due_on_monday_where_nobody_pays_on_weekends(self):
        for bank_days in (True, False):
            with self.subTest(bank_days=bank_days):
                self.env.cr.execute("DELETE FROM account_payer_settlement")
                saturday = MONDAY - timedelta(days=16)
                bills = [
                    Bill(0, 0, saturday - timedelta(days=30), saturday,
                         saturday + timedelta(days=2 if bank_days or number < 20 else 0))
                    for number in range(40)
                ]
                self._load(bills, self.partner_a)
                curve = self.Curve._update(self.company, MONDAY)
                self.assertEqual(curve.is_weekend_paid, not bank_days)
                self.Score._update(self.company, MONDAY)
                self.assertAlmostEqual(self._get_score(self.partner_a).average_days, 0.0 if bank_days else 1.0, 6)

    def test_too_few_invoices_foretell_nothing(self):
        due = MONDAY - timedelta(days=20)
        bills = [Bill(0, 0, due - timedelta(days=30), due, due) for _number in range(9)]
        self._load(bills, self.partner_a)
        self.assertFalse(self.Curve._update(self.company, MONDAY))
        self._load([Bill(0, 0, due - timedelta(days=30), due, due)], self.partner_a)
        self.assertTrue(self.Curve._update(self.company, MONDAY))

    def test_grey_below_three_invoices(self):
        due = MONDAY - timedelta(days=20)
        self._load([Bill(0, 0, due - timedelta(days=30), due, due) for _number in range(10)], self.partner_a)
        for count in (1, 2, 3):
            self._load([Bill(0, 1, due - timedelta(days=30), due, due + timedelta(days=10))],
                       {1: self.partner_b})
            self.Curve._update(self.company, MONDAY)
            self.Score._update(self.company, MONDAY)
            score = self._get_score(self.partner_b)
            self.assertEqual((score.invoices_known, bool(score.score)), (count, count >= 3))
            self.assertEqual(count < 3, "leans on the average" in score.reasons)

    def test_bounds_of_the_classes(self):
        self.assertEqual(self.company._get_payer_score_bounds(), [1.0, 3.0, 7.0, 15.0])
        due = MONDAY - timedelta(days=1)
        self._load([Bill(0, 0, due - timedelta(days=30), due, due - timedelta(days=1)) for _number in range(10)],
                   self.partner_a)
        self._load([Bill(0, 1, due - timedelta(days=90), due - timedelta(days=60), due - timedelta(days=57))
                    for _number in range(4)], {1: self.partner_b})
        self.Curve._update(self.company, MONDAY)
        self.Score._update(self.company, MONDAY)
        late = self._get_score(self.partner_b).expected_late_days
        for bounds, score in (
            ((late + 1, late + 2, late + 3, late + 4), 1),
            ((late, late + 1, late + 2, late + 3), 2),
            ((late - 1, late, late + 1, late + 2), 3),
            ((late / 8, late / 4, late / 2, late), 5),
        ):
            self.company.write({f'payer_score_days_{number}': bound for number, bound in enumerate(bounds, start=2)})
            self.Score._update(self.company, MONDAY)
            self.assertEqual(self._get_score(self.partner_b).score, score)
        for wrong in ({'payer_score_days_2': 0.0}, {'payer_score_days_3': 100.0}):
            with self.assertRaises(ValidationError):
                self.company.write(wrong)


@tagged('post_install', '-at_install')
class TestPayerLedger(PayerCommon):
    """What the ledger says of payers."""

    def _get_rows(self, lines):
        return {
            row.move_line_id: (row.date_due, row.date_settled, row.is_disputed)
            for row in self.Settlement.search([('move_line_id', 'in', lines.ids)])
        }

    def test_paid_on_the_day_of_the_last_payment(self):
        line = self._create_due_invoice('2024-02-01')
        self._pay(line, '2024-02-03', 40.0)
        self._update()
        self.assertEqual(self._get_rows(line), {line: (date(2024, 2, 1), False, False)})
        payment = self._pay(line, '2024-02-09', 60.0)
        self._update()
        self.assertEqual(self._get_rows(line), {line: (date(2024, 2, 1), date(2024, 2, 9), False)})
        payment.remove_move_reconcile()
        self._update()
        self.assertEqual(self._get_rows(line), {line: (date(2024, 2, 1), False, False)})

    def test_paid_beforehand(self):
        payment = self._create_unmatched_payment('2023-12-01', 100.0, self.partner_a)
        line = self._create_due_invoice('2024-02-01', invoice_date='2024-01-10')
        (line + payment).reconcile()
        self._update()
        self.assertEqual(self._get_rows(line), {line: (date(2024, 2, 1), date(2024, 1, 10), False)})

    def test_credited_says_nothing_and_partly_credited_does(self):
        for amount, is_known in ((100.0, False), (60.0, False), (30.0, True)):
            with self.subTest(credited=amount):
                line = self._create_due_invoice('2024-02-01')
                note = self._create_due_invoice('2024-02-20', amount, move_type='out_refund')
                (line + note).reconcile()
                if amount < 100.0:
                    self._pay(line, '2024-02-05')
                self._update()
                self.assertEqual(
                    self._get_rows(line), {line: (date(2024, 2, 1), date(2024, 2, 5), False)} if is_known else {})

    def test_written_off_says_nothing_and_a_small_difference_does(self):
        for paid, is_known in ((0.0, False), (10.0, False), (97.0, True)):
            with self.subTest(paid=paid):
                line = self._create_due_invoice('2024-02-01')
                if paid:
                    self._pay(line, '2024-02-04', paid)
                loss = self.env['account.move'].create({
                    'move_type': 'entry', 'date': '2024-03-01',
                    'journal_id': self.company_data['default_journal_misc'].id,
                    'line_ids': [
                        Command.create({'name': "Loss", 'partner_id': self.partner_a.id,
                                        'account_id': line.account_id.id, 'credit': 100.0 - paid}),
                        Command.create({'name': "Loss", 'debit': 100.0 - paid,
                                        'account_id': self.company_data['default_account_expense'].id}),
                    ],
                })
                loss.action_post()
                (line + loss.line_ids.filtered('credit')).reconcile()
                self._update()
                self.assertEqual(
                    self._get_rows(line), {line: (date(2024, 2, 1), date(2024, 2, 4), False)} if is_known else {})

    def test_disputed_is_marked(self):
        line = self._create_due_invoice('2024-02-01')
        self.env['account.dispute'].create({'move_id': line.move_id.id, 'reason': 'price', 'amount': 10.0})
        self._update()
        self.assertTrue(self._get_rows(line)[line][2])

    def test_bills_to_pay_credit_notes_and_entries_are_none(self):
        bill = self.init_invoice('in_invoice', partner=self.partner_a, post=True, amounts=[50.0])
        note = self._create_due_invoice('2024-02-20', 10.0, move_type='out_refund')
        payment = self._create_unmatched_payment('2024-02-01', 5.0, self.partner_a)
        self._update()
        self.assertFalse(self.Settlement.search(
            [('move_line_id', 'in', (bill.line_ids + note + payment).ids)]))

    def test_what_is_older_than_two_years_is_forgotten(self):
        line = self._create_due_invoice(MONDAY - timedelta(days=730))
        older = self._create_due_invoice(MONDAY - timedelta(days=731))
        self._update()
        self.assertEqual(self._get_rows(line + older).keys(), {line})
        self._rebuild(MONDAY + timedelta(days=1))
        self.assertFalse(self._get_rows(line))

    def test_undoing_a_payment_gives_the_score_of_before(self):
        self._pay_bills(self.partner_b, 12, 2)
        lines = self._pay_bills(self.partner_a, 4, 9)
        still_open = self._create_due_invoice('2024-02-20')
        self._update()
        names = ['score', 'expected_late_days', 'probability_late', 'invoices_known', 'invoices_open', 'reasons']
        before = self._get_score(self.partner_a).read(names)
        payment = self._pay(still_open, '2024-02-21')
        self._update()
        self.assertNotEqual(self._get_score(self.partner_a).read(names), before)
        payment.remove_move_reconcile()
        payment.move_id.button_draft()
        payment.move_id.unlink()
        self._update()
        self.assertEqual(self._get_score(self.partner_a).read(names), before)
        self.assertEqual(len(self._get_rows(lines)), 4)

    def test_what_has_changed_is_enough(self):
        """After each event the night's part and a full rebuild say the same."""
        chance = random.Random(3)
        self._pay_bills(self.partner_b, 12, 2)
        lines = [self._create_due_invoice('2024-02-01', partner=chance.choice((self.partner_a, self.partner_b)))
                 for _number in range(6)]
        names = ['partner_id', 'score', 'expected_late_days', 'probability_late', 'invoices_known', 'invoices_late']

        def read():
            return [{**row, 'id': 0, 'expected_late_days': round(row['expected_late_days'], 9)}
                    for row in self.Score.search([], order='partner_id').read(names)]

        self._update()
        payments = []
        for _step in range(10):
            event = chance.choice(('pay', 'part', 'undo', 'credit', 'new'))
            line = chance.choice(lines)
            if event in ('pay', 'part') and not line.reconciled:
                payments.append(self._pay(
                    line, chance.choice(('2024-02-02', '2024-02-20')), 30.0 if event == 'part' else None))
            elif event == 'undo' and payments:
                payments.pop().remove_move_reconcile()
            elif event == 'credit' and not line.reconciled:
                note = self._create_due_invoice('2024-02-20', 100.0, line.partner_id, move_type='out_refund')
                (line + note).reconcile()
            elif event == 'new':
                lines.append(self._create_due_invoice('2024-02-10', partner=line.partner_id))
            self._update()
            partly = read()
            self._rebuild()
            self.assertEqual(partly, read(), event)

    def test_customers_that_were_merged(self):
        self._pay_bills(self.partner_b, 12, 2)
        self._pay_bills(self.partner_a, 4, 9)
        self._update()
        self.env['base.partner.merge.automatic.wizard'].with_context(active_test=False)._merge(
            (self.partner_a + self.partner_b).ids, self.partner_b)
        self._update()
        self.assertEqual(self.Score.search([('company_id', '=', self.company.id)]).partner_id, self.partner_b)
        self.assertEqual(self._get_score(self.partner_b).invoices_known, 16)

    def test_each_company_for_itself(self):
        self._pay_bills(self.partner_b, 12, 2)
        self._update()
        other = self.setup_other_company()['company']
        self.Score._update_company(other, MONDAY)
        self.assertFalse(self.Score.search([('company_id', '=', other.id)]))
        self.assertEqual(self.partner_b.payer_score, 2)
        self.assertFalse(self.partner_b.with_company(other).payer_score)


@tagged('post_install', '-at_install')
class TestPayerNight(PayerCommon, DunningMailCommon):

    @freeze_time(MONDAY)
    def test_the_night_scores(self):
        self._pay_bills(self.partner_b, 12, 20)
        self._run_cron('ir_cron_payer_score')
        score = self._get_score(self.partner_b)
        self.assertEqual((score.score, score.invoices_known, score.date), (5, 12, MONDAY))
        self.assertIn("12 of 12", score.reasons)


@tagged('post_install', '-at_install')
class TestPayerPrediction(PayerCommon):
    """The expected day of open invoices, and the weeks' sums."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.Forecast = cls.env['account.payment.forecast']

    def test_by_the_customer_s_habit(self):
        self._pay_bills(self.partner_b, 12, 0)
        self._pay_bills(self.partner_a, 12, 9)
        self._update()
        due = date(2024, 3, 12)
        line_a = self._create_due_invoice(due)
        line_b = self._create_due_invoice(due, partner=self.partner_b)
        predictions = self.Score._predict(line_a + line_b, MONDAY)
        self.assertEqual(predictions[line_a][0], due + timedelta(days=9))
        self.assertEqual(predictions[line_b][0], due)
        self.assertGreater(predictions[line_a][1], 0.8)
        self.assertLess(predictions[line_b][1], 0.2)

    def test_overdue_is_late_for_sure_and_expected_from_today_on(self):
        self._pay_bills(self.partner_a, 12, 9)
        self._update()
        line = self._create_due_invoice('2024-03-01')
        for day, expected in ((date(2024, 3, 4), date(2024, 3, 11)), (date(2024, 6, 15), None)):
            expected_date, probability = self.Score._predict(line, day)[line]
            self.assertEqual(probability, 1.0)
            if expected:
                self.assertGreaterEqual(expected_date, day)
            else:
                self.assertIsNone(expected_date, "so late that nothing can be foretold")

    def test_a_promise_and_installments_go_before_habit(self):
        self._pay_bills(self.partner_a, 12, 9)
        self._update()
        line = self._create_due_invoice('2024-03-01', 1000.0)
        with freeze_time(MONDAY):
            promise = self.env['account.payment.promise'].create({
                'partner_id': self.partner_a.id, 'date': '2024-03-15', 'amount': 1000.0,
                'move_line_ids': [Command.set(line.ids)]})
        self.assertEqual(self.Score._predict(line, MONDAY)[line], (date(2024, 3, 15), 1.0))
        weeks = self.Forecast._forecast(self.company, MONDAY, 4)
        self.assertEqual(weeks, {date(2024, 3, 11): 1000.0})
        with freeze_time(MONDAY):
            promise.action_cancel()
        self.assertNotEqual(self.Forecast._forecast(self.company, MONDAY, 4), weeks)

    def test_part_that_is_promised(self):
        self._pay_bills(self.partner_a, 12, 9)
        self._update()
        line = self._create_due_invoice('2024-03-01', 1000.0)
        with freeze_time(MONDAY):
            self.env['account.payment.promise'].create({
                'partner_id': self.partner_a.id, 'date': '2024-04-05', 'amount': 300.0,
                'move_line_ids': [Command.set(line.ids)]})
        rows = self.Forecast.search([('move_line_id', '=', line.id)])
        with freeze_time(MONDAY):
            self.assertAlmostEqual(sum(self.Forecast.search(
                [('move_line_id', '=', line.id), ('kind', '=', 'agreed')]).mapped('amount')), 300.0)
            self.assertAlmostEqual(sum(self.Forecast.search(
                [('move_line_id', '=', line.id)]).mapped('amount')), 1000.0, 1)
        self.assertTrue(rows)

    def test_weeks_add_up_to_what_is_open(self):
        self._pay_bills(self.partner_a, 12, 9)
        self._pay_bills(self.partner_b, 12, 0)
        lines = self.env['account.move.line']
        for due, amount in (('2023-10-01', 70.0), ('2024-02-20', 50.0), ('2024-03-09', 110.0), ('2024-06-30', 99.0)):
            for partner in (self.partner_a, self.partner_b):
                lines += self._create_due_invoice(due, amount, partner)
        self._pay(lines[2], '2024-03-01', 20.0)
        self._create_unmatched_payment('2024-03-01', 15.0, self.partner_b)
        self._update()
        weeks = self.Forecast._forecast(self.company, MONDAY, 13)
        expected = sum(lines.mapped('amount_residual')) - 15.0
        self.assertAlmostEqual(sum(weeks.values()), expected, delta=0.5)
        self.assertEqual(weeks['unknown'], 140.0 - 15.0, "what has come in pays the oldest")
        self.assertLessEqual({day.weekday() for day in weeks if isinstance(day, date)}, {0})
        self.assertEqual(min(day for day in weeks if isinstance(day, date)), MONDAY)

    def test_without_history_nothing_is_foreseeable(self):
        line = self._create_due_invoice('2024-03-20')
        self.assertEqual(self.Score._predict(line, MONDAY), {line: (None, None)})
        self.assertEqual(self.Forecast._forecast(self.company, MONDAY, 4), {'unknown': 100.0})

    def test_paid_lines_are_left_out(self):
        line = self._create_due_invoice('2024-03-20')
        self._pay(line, '2024-03-01')
        self.assertEqual(self.Score._predict(line, MONDAY), {})

    def test_first_prediction_is_kept(self):
        self._pay_bills(self.partner_a, 12, 9)
        line = self._create_due_invoice('2024-03-20', invoice_date='2024-03-01')
        older = self._create_due_invoice('2024-03-21', invoice_date='2024-01-01')
        self._update()
        settlement = self.Settlement.search([('move_line_id', '=', line.id)])
        first = settlement.date_predicted
        self.assertEqual(first, date(2024, 3, 29))
        self.assertFalse(self.Settlement.search([('move_line_id', '=', older.id)]).date_predicted)
        self._pay_bills(self.partner_a, 12, 0, due=date(2024, 2, 1))
        self._rebuild(MONDAY + timedelta(days=3))
        self.assertEqual(settlement.date_predicted, first)


@tagged('post_install', '-at_install')
class TestPayerPrivacy(PayerCommon):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.person = cls.env['res.partner'].create({'name': "Ada"})

    def test_persons_have_no_score_by_default(self):
        self._pay_bills(self.partner_b, 12, 2)
        self._pay_bills(self.person, 4, 9)
        self._update()
        self.assertFalse(self._get_score(self.person))
        self.company.payer_score_persons = True
        self._rebuild()
        self.assertEqual(self._get_score(self.person).invoices_known, 4)
        self.company.payer_score_persons = False
        self.assertFalse(self._get_score(self.person), "forgotten at once")

    def test_who_is_not_to_be_scored_is_foretold_as_the_average(self):
        self._pay_bills(self.partner_b, 12, 0)
        self._pay_bills(self.partner_a, 4, 20)
        self._update()
        self.assertTrue(self._get_score(self.partner_a))
        self.partner_a.payer_is_excluded = True
        self.assertFalse(self._get_score(self.partner_a))
        self._update()
        self.assertFalse(self._get_score(self.partner_a))
        line = self._create_due_invoice('2024-03-20')
        self.assertLess(self.Score._predict(line, MONDAY)[line][0], date(2024, 3, 31))

    def test_salespeople_and_visitors_see_no_score(self):
        self._pay_bills(self.partner_b, 12, 2)
        self._update()
        for groups in ('sales_team.group_sale_manager', 'base.group_user', 'base.group_portal'):
            user = new_test_user(self.env, login=f'payer_{groups}', groups=groups)
            partner = self.partner_b.with_user(user)
            with self.subTest(groups=groups):
                for model in ('account.payer.score', 'account.payment.forecast', 'account.payer.settlement',
                              'account.payer.curve'):
                    with self.assertRaises(AccessError):
                        self.env[model].with_user(user).search([])
                for name in ('payer_score', 'payer_score_id', 'payer_reasons', 'payer_is_excluded'):
                    with self.assertRaises(AccessError):
                        partner.read([name])
                    with self.assertRaises(AccessError):
                        partner.search([(name, '!=', False)])
                    with self.assertRaises(UserError):  # an AccessError for whoever may export
                        partner.export_data([name])
                    with self.assertRaises(AccessError):
                        partner.formatted_read_group([], [name], ['__count'])
                    self.assertNotIn(name, partner.fields_get())

    def test_what_is_known_is_printed_in_the_customer_s_language(self):
        self.env['res.lang']._activate_lang('fr_FR')
        self.env['ir.module.module'].search([('name', '=', 'account_dunning')])._update_translations(['fr_FR'])
        self.partner_b.lang = 'fr_FR'
        self._pay_bills(self.partner_b, 12, 2)
        self._update()
        html, _kind = self.env['ir.actions.report']._render_qweb_html(
            'account_dunning.report_payer_score', self._get_score(self.partner_b).ids)
        text = html.decode()
        for part in ("Votre manière de payer", "4 mars 2024", "12 factures sur 12", "Pourquoi cette note"):
            self.assertIn(part, text)

    def test_invoicing_user_reads_and_makes_anew_but_writes_nothing(self):
        self._pay_bills(self.partner_b, 12, 2)
        self._update()
        user = new_test_user(self.env, login='payer_invoice', groups='account.group_account_invoice')
        score = self._get_score(self.partner_b).with_user(user)
        self.assertIn("12 of 12", score.reasons)
        with freeze_time(MONDAY):
            score.action_update()
        for operation in (lambda: score.write({'score': 1}), lambda: score.unlink(),
                          lambda: score.create({'company_id': self.company.id, 'partner_id': self.partner_a.id,
                                                'date': MONDAY})):
            with self.assertRaises(AccessError):
                operation()
        reader = new_test_user(self.env, login='payer_reader', groups='account.group_account_readonly')
        self.assertTrue(score.with_user(reader).reasons)
        with self.assertRaises(AccessError):
            score.with_user(reader).action_update()


@tagged('post_install', '-at_install')
class TestPayerWorkList(PayerCommon):
    """Whom to call first, by how they pay."""

    @freeze_time('2024-03-12 08:00:00')
    def test_the_slow_payer_s_call_is_worth_more(self):
        today = date(2024, 3, 12)
        self._pay_bills(self.partner_a, 12, 4)
        self._pay_bills(self.partner_b, 12, 30)
        for partner in (self.partner_a, self.partner_b):
            self._create_due_invoice('2024-03-10', 100.0, partner)
        self._update(today)
        self.env['account.dunning.followup'].sudo()._refresh(self.company, today)
        rows = self.env['account.dunning.followup'].search([('company_id', '=', self.company.id)])
        self.assertEqual([row.partner_id for row in rows], [self.partner_b, self.partner_a])
        self.assertEqual(rows[0].score, 5)
        self.assertIn("of 13", rows[0].payer_reasons)
        self.assertGreater(rows[0].priority, 2 * rows[1].priority)
        # about 28 days, of which a call saves half, at 8 % a year
        self.assertAlmostEqual(rows[0].priority, 100.0 * 28 * 0.5 * 0.08 / 365, delta=0.15)
        # the curve's own array of days left says the same as the curve
        for unpaid, days_left in self.env.execute_query(SQL(
            "SELECT unpaid, days_left FROM account_payer_score WHERE company_id = %s", self.company.id)):
            for day, left in enumerate(self.Curve._get_days_left(unpaid)):
                self.assertAlmostEqual(left, days_left[day] or 0.0, 6)
