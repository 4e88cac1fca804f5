import csv
import io

from odoo import Command, fields
from odoo.exceptions import AccessError, UserError
from odoo.tests import Form, freeze_time, new_test_user, tagged

from .common import DunningCommon


@tagged('post_install', '-at_install')
@freeze_time('2024-03-20')
class TestCollectionCase(DunningCommon):
    """Claims of 300 and 200, both late, and 50 that is not due yet."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.first = cls._create_due_invoice('2024-03-01', 300.0)
        cls.second = cls._create_due_invoice('2024-03-05', 200.0)
        cls.coming = cls._create_due_invoice('2024-04-05', 50.0)
        cls.agency = cls.env['res.partner'].create({'name': "Agency", 'street': "Court 1", 'city': "Ghent"})
        cls.collector = new_test_user(
            cls.env, login='case_collector', groups='account.group_account_invoice', company_id=cls.company.id,
            company_ids=[Command.set(cls.company.ids)])
        cls.company.sudo().collection_write_off_account_id = cls.company_data['default_account_expense']
        cls.case = cls._create_case()

    @classmethod
    def _create_case(cls, **values):
        return cls.env['account.collection.case'].with_user(cls.collector).create({
            'partner_id': cls.partner_a.id, 'company_id': cls.company.id, 'agency_id': cls.agency.id,
            'currency_id': cls.company.currency_id.id, **values})

    def _get_reason(self, line, date='2024-03-20'):
        return self.Engine._explain(line, fields.Date.to_date(date))[line][0]

    def test_collector_with_billing_rights_hands_over_in_the_form(self):
        form = Form(self.env['account.collection.case'].with_user(self.collector))
        form.partner_id = self.partner_a.with_user(self.collector)
        form.agency_id = self.agency.with_user(self.collector)
        case = form.save()
        case.action_open()
        self.assertRecordValues(case, [{
            'state': 'open', 'amount': 500.0, 'amount_open': 500.0, 'amount_recovered': 0.0,
            'date': fields.Date.to_date('2024-03-20')}])
        self.assertTrue(case.name.startswith('COL/2024/'))
        self.assertEqual(case.move_line_ids, self.first + self.second, "what is overdue")
        case.web_save({'reference': "4711", 'fee': 60.0}, {})

    def test_nothing_of_it_is_dunned_and_the_screens_say_where_it_lies(self):
        self.assertEqual(self._get_reason(self.first), 'due')
        self.case.action_open()
        self.assertEqual(self._get_reason(self.first), 'blocked')
        self.assertEqual(self._get_reason(self.coming), 'not_overdue')
        run = self.Run.create({'company_id': self.company.id, 'date': '2024-03-20'})
        run.action_prepare()
        self.assertFalse(run.notice_ids.filtered(lambda notice: notice.partner_id == self.partner_a))
        self.assertIn("With Agency since", self.first.move_id.dunning_next_step)
        with self.assertRaisesRegex(UserError, "with an agency"):
            self.case.block_id.action_end()

    def test_what_comes_in_counts_and_a_credit_note_does_not(self):
        self.case.action_open()
        with freeze_time('2024-04-02'):
            self._pay(self.first, '2024-04-02', 100.0)
            refund = self._create_due_invoice('2024-04-02', 50.0, move_type='out_refund')
            (self.second + refund).reconcile()
            self.env.invalidate_all()
            self.assertRecordValues(self.case, [{'amount': 500.0, 'amount_recovered': 100.0, 'amount_open': 350.0}])
        with self.assertRaisesRegex(UserError, "still open"):
            self.case.action_recovered()

    def test_money_from_before_the_hand_over_is_not_recovered(self):
        self._pay(self.first, '2024-03-10', 100.0)
        self.case.action_open()
        self.assertRecordValues(self.case, [{'amount': 400.0, 'amount_recovered': 0.0}])

    def test_settled_claims_close_the_case_and_a_bounced_payment_opens_it_again(self):
        self.case.action_open()
        Block = self.env['account.dunning.block']
        with freeze_time('2024-04-10'):
            self._pay(self.first, '2024-04-10')
            payment = self._pay(self.second, '2024-04-10')
            Block._update_pauses(self.company, fields.Date.to_date('2024-04-10'))
            self.assertRecordValues(self.case, [{
                'state': 'recovered', 'amount_recovered': 500.0, 'date_closed': fields.Date.to_date('2024-04-10')}])
            payment.move_id.line_ids.remove_move_reconcile()
            payment.move_id.button_draft()
            Block._update_pauses(self.company, fields.Date.to_date('2024-04-10'))
            self.assertRecordValues(self.case, [{'state': 'open', 'amount_recovered': 300.0, 'amount_open': 200.0}])
            self.assertEqual(self._get_reason(self.second, '2024-04-10'), 'blocked')

    def test_returned_claims_are_dunned_again(self):
        self.case.action_open()
        self.case.action_return()
        self.assertEqual(self.case.state, 'returned')
        self.assertEqual(self._get_reason(self.first), 'due')
        self._create_case().action_open()

    def test_uncollectible_claims_are_written_off_to_the_cent(self):
        eur = self.setup_other_currency('EUR', rates=[('2023-01-01', 2.0)])
        foreign = self._create_due_invoice('2024-03-02', 99.99, currency_id=eur.id)
        for lines, currency in ((self.first + self.second, self.company.currency_id), (foreign, eur)):
            case = self._create_case(currency_id=currency.id, move_line_ids=[Command.set(lines.ids)])
            case.action_open()
            open_company = sum(lines.mapped('amount_residual'))
            case.action_write_off()
            self.assertEqual(case.state, 'uncollectible')
            move = case.write_off_move_id
            self.assertEqual(move.state, 'posted')
            self.assertEqual(set(lines.mapped('amount_residual')), {0.0})
            loss = move.line_ids.filtered(
                lambda line: line.account_id == self.company.collection_write_off_account_id)
            self.assertRecordValues(loss, [{'balance': open_company, 'currency_id': currency.id}])
            self.assertEqual(case.amount_recovered, 0.0, "a write-off is no money")

    def test_write_off_needs_an_account(self):
        self.company.sudo().collection_write_off_account_id = False
        self.case.action_open()
        with self.assertRaisesRegex(UserError, "account of bad debts"):
            self.case.action_write_off()
        self.assertEqual(self.case.state, 'open')

    def test_what_was_handed_over_stays(self):
        self.case.action_open()
        for values in ({'agency_id': self.partner_b.id}, {'date': '2024-01-01'}, {'move_line_ids': [Command.clear()]}):
            with self.subTest(values=values), self.assertRaises(UserError):
                self.case.write(values)
        for values in ({'amount': 1.0}, {'state': 'recovered'}, {'date_closed': '2024-01-01'}):
            with self.subTest(values=values), self.assertRaises(AccessError):
                self.case.write(values)
        with self.assertRaises(UserError):
            self.case.unlink()
        self._create_case().unlink()

    def test_claims_go_to_one_agency_and_not_while_disputed(self):
        self.case.action_open()
        second = self._create_case(move_line_ids=[Command.set(self.first.ids)])
        with self.assertRaisesRegex(UserError, "with Agency already"):
            second.action_open()
        with self.assertRaisesRegex(UserError, "nothing to hand over"):
            self._create_case().action_open()
        self.case.action_return()
        self.env['account.dispute'].create({'move_id': self.first.move_id.id, 'amount': 300.0})
        with self.assertRaisesRegex(UserError, "is disputed"):
            second.action_open()
        with self.assertRaisesRegex(UserError, "Choose the agency"):
            self._create_case(agency_id=False).action_open()

    def test_file_and_csv_name_what_the_agency_needs(self):
        self.env['account.dunning.contact'].create({
            'partner_id': self.partner_a.id, 'company_id': self.company.id, 'date': '2024-03-18', 'channel': 'phone',
            'outcome': 'no_answer', 'note': "Rang for long"})
        self._pay(self.first, '2024-03-19', 120.0)
        self.case.action_open()
        html = self.env['ir.actions.report'].sudo()._render_qweb_html(
            'account_dunning.action_report_collection_case', self.case.ids)[0].decode()
        for text in (self.case.name, self.first.move_id.name, self.second.move_id.name, "Rang for long", "380.00",
                     "120.00"):
            self.assertIn(text, html)
        self.assertEqual(self.case.action_download_file()['type'], 'ir.actions.act_url')
        action = self.case.action_download_claims()
        attachment = self.env['ir.attachment'].sudo().browse(int(action['url'].split('/')[3].split('?')[0]))
        rows = list(csv.DictReader(io.StringIO(attachment.raw.decode('utf-8-sig'))))
        self.assertEqual([(row['Invoice'], row['Open'], row['Total']) for row in rows], [
            (self.first.move_id.name, '180.00', '300.00'), (self.second.move_id.name, '200.00', '200.00')])

    def test_life_of_the_account_shows_hand_over_and_end(self):
        self.case.action_open()
        self.case.action_return()
        rows = self.env['account.dunning.history']._get_history(self.company, self.partner_a)
        kinds = rows.filtered(lambda row: row.kind in ('case', 'case_closed'))
        self.assertEqual(sorted(kinds.mapped('kind')), ['case', 'case_closed'])
        self.assertIn(self.case.name, kinds[0].description)

    def test_others_get_nowhere(self):
        self.case.action_open()
        elsewhere = self.env['res.company'].sudo().create({'name': "Elsewhere"})
        others = {
            'salesman': new_test_user(self.env, login='case_sales', groups='sales_team.group_sale_salesman'),
            'portal': new_test_user(self.env, login='case_portal', groups='base.group_portal'),
            'other company': new_test_user(
                self.env, login='case_other', groups='account.group_account_invoice', company_id=elsewhere.id,
                company_ids=[Command.set(elsewhere.ids)]),
            'readonly': new_test_user(
                self.env, login='case_readonly', groups='account.group_account_readonly',
                company_id=self.company.id, company_ids=[Command.set(self.company.ids)]),
        }
        for name, user in others.items():
            case = self.case.with_user(user)
            for method, arguments in (
                ('action_open', ()), ('action_close', ('returned',)), ('action_return', ()), ('action_write_off', ()),
                ('action_recovered', ()), ('action_download_file', ()),
            ):
                with self.subTest(user=name, method=method), self.assertRaises(AccessError):
                    getattr(case, method)(*arguments)
            if name != 'readonly':
                with self.subTest(user=name), self.assertRaises(AccessError):
                    case.action_download_claims()
        self.assertEqual(self.case.state, 'open')
