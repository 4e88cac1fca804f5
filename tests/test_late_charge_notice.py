from datetime import date

import psycopg2
from lxml import html

from odoo import Command
from odoo.exceptions import AccessError, UserError
from odoo.tests import freeze_time, new_test_user, tagged
from odoo.tools import mute_logger

from .common_late_charge import LateChargeCommon


@freeze_time('2024-03-01')
@tagged('post_install', '-at_install')
class TestLateChargeNotice(LateChargeCommon):
    """What happens to charges from the proposal to the waiver. 36,500 at 12.5 % cost 12.50 a day."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls._set_rule(cls.customer, cls._rule('eu_company'))
        cls._set_rule(cls.consumer, cls._rule('be_person'))
        cls.move = cls._invoice(36500, '2024-01-31', currency=cls.eur)
        cls.level = cls._level('print')
        cls.invoicing_level = cls._level('invoice')

    def _rows(self, charges):
        return [
            (charge.kind, str(charge.date_from or ''), str(charge.date_to or ''), charge.amount, charge.state)
            for charge in charges.sorted(lambda charge: (charge.kind, charge.date_from or date.min))
        ]

    #=== PROPOSE ===#

    def test_proposal(self):
        notice = self._notice(self.move, '2024-02-10', self.level)
        notice._prepare_charges(date(2024, 2, 10))
        self.assertEqual(self._rows(notice.charge_ids), [
            ('compensation', '', '', 40.0, 'proposed'),
            ('interest', '2024-02-01', '2024-02-10', 125.0, 'proposed'),
        ])
        interest = notice.charge_ids.filtered(lambda charge: charge.kind == 'interest')
        self.assertRecordValues(interest, [{
            'days': 10, 'base': 36500.0, 'rate': 12.5, 'year_days': 365, 'currency_id': self.eur.id,
            'move_id': self.move.id, 'move_line_id': self._line(self.move).id, 'partner_id': self.customer.id,
            'legal_basis': self._rule('eu_company').legal_basis,
            'source': "Banque de France, key ECB interest rates (banque-france.fr/en/policy-rates)",
        }])

    def test_proposing_again_refreshes(self):
        notice = self._notice(self.move, '2024-02-10', self.level)
        notice._prepare_charges(date(2024, 2, 10))
        notice._prepare_charges(date(2024, 2, 10))
        self.assertEqual(len(notice.charge_ids), 2)
        self._pay(self.move, 16500, '2024-02-06')
        notice.line_ids.amount_due = 20000
        notice._prepare_charges(date(2024, 2, 10))
        # five days of 36,500, five of 20,000
        self.assertEqual(
            [row[3] for row in self._rows(notice.charge_ids)], [40.0, 62.5, 34.25])
        self.assertEqual(self.env['account.late.charge'].search_count([('move_id', '=', self.move.id)]), 3)

    def test_amount_in_company_currency(self):
        usd_per_euro = self.eur._convert(1.0, self.company.currency_id, self.company, date(2024, 2, 10))
        notice = self._notice(self.move, '2024-02-10', self.level)
        notice._prepare_charges(date(2024, 2, 10))
        self.assertAlmostEqual(notice.amount_charges, 165.0 * usd_per_euro, 2)

    def test_level_without_charges(self):
        notice = self._notice(self.move, '2024-02-10', self._level('none'))
        notice._prepare_charges(date(2024, 2, 10))
        self.assertFalse(notice.charge_ids)
        self.assertEqual(notice.amount_charges, 0.0)

    def test_only_lines_whose_own_level_charges(self):
        mild = self._level('none')
        fresh = self._invoice(36500, '2024-02-05', currency=self.eur)
        notice = self._notice(self.move + fresh, '2024-02-10', self.level)
        notice.line_ids.filtered(lambda line: line.move_id == fresh).level_id = mild
        notice._prepare_charges(date(2024, 2, 10))
        self.assertEqual(notice.charge_ids.move_id, self.move)

    def test_coming_due_bears_nothing(self):
        notice = self._notice(self.move, '2024-02-10', self.level, is_coming_due=True)
        notice._prepare_charges(date(2024, 2, 10))
        self.assertFalse(notice.charge_ids)

    def test_discarded(self):
        notice = self._notice(self.move, '2024-02-10', self.level)
        notice._prepare_charges(date(2024, 2, 10))
        notice._discard_charges()
        self.assertFalse(notice.charge_ids)
        self.assertEqual(notice.amount_charges, 0.0)
        self.assertFalse(self.env['account.late.charge'].search([('move_id', '=', self.move.id)]))

    def test_set_off_lowers_the_balance_from_the_date_of_the_credit(self):
        """A payment of 16,500 that nobody has matched came in on 6 February."""
        self._pay(self.move, 16500, '2024-02-06', reconcile=False)
        notice = self._notice(self.move, '2024-02-10', self.level, amount_set_off=16500, amount_due=20000)
        notice._prepare_charges(date(2024, 2, 10))
        self.assertEqual([row[3] for row in self._rows(notice.charge_ids)], [40.0, 62.5, 34.25])

    def test_paused_part_bears_nothing(self):
        notice = self._notice(self.move, '2024-02-10', self.level, amount_blocked=16500, amount_due=20000)
        notice._prepare_charges(date(2024, 2, 10))
        self.assertEqual([row[3] for row in self._rows(notice.charge_ids)], [40.0, 68.49])

    def test_less_than_a_cent_is_not_written(self):
        move = self._invoice(1, '2024-01-31', currency=self.eur)
        self._set_rule(self.customer, self._rule('de_person'))
        notice = self._notice(move, '2024-02-10', self.level)
        notice._prepare_charges(date(2024, 2, 1))
        self.assertFalse(notice.charge_ids)

    def test_legal_basis_in_the_language_of_the_recipient(self):
        self.env['res.lang']._activate_lang('fr_FR')
        self._rule('eu_company').sudo().with_context(lang='fr_FR').legal_basis = "Directive 2011/7/UE"
        self.customer.lang = 'fr_FR'
        notice = self._notice(self.move, '2024-02-10', self.level)
        notice._prepare_charges(date(2024, 2, 10))
        self.assertEqual(set(notice.charge_ids.mapped('legal_basis')), {"Directive 2011/7/UE"})

    def test_rates_as_the_language_of_the_recipient_writes_numbers(self):
        self.env['res.lang'].sudo()._activate_lang('fr_FR')
        self._set_rule(self.customer, self._rule('fr_company'))
        notice = self._notice(self._invoice(1000, '2023-01-31', currency=self.eur), '2023-02-10', self.level)
        notice._prepare_charges(date(2023, 2, 10))
        for lang, rate in (('en_US', '12.5 %'), ('fr_FR', '12,5 %')):
            letter = self.env['ir.qweb'].with_context(lang=lang)._render(
                'account_dunning.dunning_notice_charges', {'o': notice.with_context(lang=lang)})
            self.assertIn(rate, str(letter))
        rule = self._rule('fr_company')
        self.assertIn("12.5", ' '.join(rule._get_explanation(date(2023, 2, 10))))
        self.assertIn("12,5", ' '.join(rule.with_context(lang='fr_FR')._get_explanation(date(2023, 2, 10))))

    #=== CLAIM ===#

    def test_claimed_once_and_never_twice_for_a_day(self):
        first = self._send(self._notice(self.move, '2024-02-10', self.level), '2024-02-10')
        first._mark_sent(date(2024, 2, 10))
        self.assertEqual({charge.state for charge in first.charge_ids}, {'claimed'})
        second = self._send(self._notice(self.move, '2024-02-20', self.level), '2024-02-20')
        new = second.charge_ids.filtered(lambda charge: charge.notice_id == second)
        self.assertEqual(self._rows(new), [('interest', '2024-02-11', '2024-02-20', 125.0, 'claimed')])
        self.assertEqual(
            sum(second.charge_ids.mapped('amount')), 290.0, "the second letter states the earlier claim as well")
        self.assertEqual(first._get_charge_totals(), [(self.eur, 165.0)], "the first one stays as it went out")

    def test_same_day_again(self):
        self._send(self._notice(self.move, '2024-02-10', self.level), '2024-02-10')
        again = self._send(self._notice(self.move, '2024-02-10', self.level), '2024-02-10')
        self.assertFalse(again.charge_ids.filtered(lambda charge: charge.notice_id == again))
        self.assertEqual(self._rule('eu_company')._compute_interest(self._line(self.move), date(2024, 2, 10)), 0.0)

    def test_database_refuses_a_day_twice(self):
        first = self._send(self._notice(self.move, '2024-02-10', self.level), '2024-02-10')
        interest = first.charge_ids.filtered(lambda charge: charge.kind == 'interest').sudo()
        with mute_logger('odoo.sql_db'), self.assertRaises(psycopg2.IntegrityError):
            interest.copy({'state': 'claimed', 'date_from': '2024-02-10', 'date_to': '2024-02-15'})
            self.env.flush_all()

    def test_database_refuses_a_second_compensation(self):
        first = self._send(self._notice(self.move, '2024-02-10', self.level), '2024-02-10')
        compensation = first.charge_ids.filtered(lambda charge: charge.kind == 'compensation').sudo()
        with mute_logger('odoo.sql_db'), self.assertRaises(psycopg2.IntegrityError):
            compensation.copy({'state': 'claimed'})
            self.env.flush_all()

    def test_many_notices_cost_as_many_queries_as_one(self):
        def notices(number):
            customers = [self._create_customer(f"Late {index}", True) for index in range(number)]
            for customer in customers:
                self._set_rule(customer, self._rule('eu_company'))
            return self.env['account.dunning.notice'].union(*[
                self._notice(self._invoice(1000, '2024-01-31', partner=customer, currency=self.eur), '2024-02-10',
                             self.level)
                for customer in customers
            ])

        def count(records):
            self.env.flush_all()
            self.env.invalidate_all()
            before = self.cr.sql_log_count
            records._prepare_charges(date(2024, 2, 10))
            return self.cr.sql_log_count - before

        count(notices(1))  # fills the caches of rights and rates
        few, many = count(notices(2)), count(notices(12))
        self.assertLessEqual(many, few)
        self.assertLess(few, 30)

    #=== INVOICE ===#

    def test_invoice_states_the_same_total_as_the_notice_and_the_sheet(self):
        second = self._invoice(20000, '2024-01-15', currency=self.eur)
        notice = self._send(self._notice(self.move + second, '2024-02-10', self.invoicing_level), '2024-02-10')
        invoice = notice.charge_ids.charge_move_id
        # 36,500: 125 + 40; 20,000 x 12.5 % x 26 / 365 = 178.08, + 40
        self.assertEqual(notice._get_charge_totals(), [(self.eur, 383.08)])
        self.assertRecordValues(invoice, [{
            'move_type': 'out_invoice', 'state': 'draft', 'is_late_charge': True, 'amount_total': 383.08,
            'amount_tax': 0.0, 'currency_id': self.eur.id, 'partner_id': self.customer.id,
            'invoice_date': date(2024, 2, 10),
        }])
        self.assertEqual(len(invoice.invoice_line_ids), 4)
        self.assertEqual({charge.state for charge in notice.charge_ids}, {'invoiced'})
        sheets = notice._get_late_charge_sheets()
        self.assertEqual(len(sheets), 2)
        self.assertEqual(self.eur.round(sum(sheet['total'] for sheet in sheets)), 383.08)

    def test_invoiced_once(self):
        notice = self._send(self._notice(self.move, '2024-02-10', self.invoicing_level), '2024-02-10')
        notice._mark_sent(date(2024, 2, 10))
        self.assertEqual(len(self.env['account.move'].search([('is_late_charge', '=', True)])), 1)
        with self.assertRaisesRegex(UserError, "Only claimed charges"):
            notice.charge_ids.action_invoice()

    def test_posted_by_setting(self):
        self.company.sudo().late_charge_post = True
        notice = self._send(self._notice(self.move, '2024-02-10', self.invoicing_level), '2024-02-10')
        invoice = notice.charge_ids.charge_move_id
        self.assertEqual((invoice.state, invoice.amount_residual), ('posted', 165.0))

    def test_the_next_level_invoices_what_an_earlier_letter_claimed(self):
        self._send(self._notice(self.move, '2024-02-10', self.level), '2024-02-10')
        second = self._send(self._notice(self.move, '2024-02-20', self.invoicing_level), '2024-02-20')
        self.assertEqual(second.charge_ids.charge_move_id.amount_total, 290.0)

    def test_claimed_charges_invoiced_by_hand(self):
        notice = self._send(self._notice(self.move, '2024-02-10', self.level), '2024-02-10')
        notice.charge_ids.action_invoice()
        self.assertEqual(notice.charge_ids.charge_move_id.amount_total, 165.0)

    def test_product_account_and_taxes_of_the_settings(self):
        account = self.copy_account(self.company_data['default_account_revenue'])
        product = self.env['product.product'].create({'name': "Delay", 'taxes_id': [Command.set(self.tax_sale_a.ids)]})
        self.company.sudo().write({'late_charge_product_id': product.id, 'late_charge_account_id': account.id})
        notice = self._send(self._notice(self.move, '2024-02-10', self.invoicing_level), '2024-02-10')
        lines = notice.charge_ids.charge_move_id.invoice_line_ids
        self.assertEqual((lines.product_id, lines.account_id, lines.tax_ids), (product, account, self.tax_sale_a))

    def test_refused_before_the_letter_when_it_cannot_be_invoiced(self):
        self.env['account.journal'].search([('type', '=', 'sale')]).sudo().active = False
        notice = self._notice(self.move, '2024-02-10', self.invoicing_level)
        with self.assertRaisesRegex(UserError, "no sales journal"):
            notice._prepare_charges(date(2024, 2, 10))

    def test_no_charges_on_charges(self):
        self.company.sudo().late_charge_post = True
        notice = self._send(self._notice(self.move, '2024-01-31', self.invoicing_level), '2024-02-05')
        invoice = notice.charge_ids.charge_move_id
        following = self._notice(invoice, '2024-03-10', self.level)
        following._prepare_charges(date(2024, 3, 10))
        self.assertFalse(following.charge_ids)
        rule = self._rule('eu_company')
        self.assertEqual(rule._compute_interest(self._line(invoice), date(2024, 3, 10)), 0.0)
        self.assertEqual(rule._compute_compensation(invoice), 0.0)
        rule.sudo().on_charges = True
        following._prepare_charges(date(2024, 3, 10))
        self.assertEqual(set(following.charge_ids.mapped('kind')), {'interest', 'compensation'})

    def test_deleted_draft_leaves_the_charges_claimed(self):
        notice = self._send(self._notice(self.move, '2024-02-10', self.invoicing_level), '2024-02-10')
        notice.charge_ids.charge_move_id.unlink()
        self.assertEqual({charge.state for charge in notice.charge_ids}, {'claimed'})

    #=== FEE ===#

    def _rule_with_fee(self, **values):
        """Ten euro for each reminder after the first; no interest, no compensation."""
        rule = self._rule('eu_company').copy({
            'series': False, 'margin': 0, 'tier_ids': [Command.clear()], 'reminder_fee': 10.0, **values})
        self._set_rule(self.customer, rule)
        return rule

    def test_first_reminder_bears_no_fee_and_each_further_one_does_once(self):
        rule = self._rule_with_fee()
        second_bill = self._invoice(100, '2024-02-15', currency=self.eur)
        first = self._send(self._notice(self.move, '2024-02-10', self.level), '2024-02-10')
        self.assertFalse(first.charge_ids)
        second = self._notice(second_bill + self.move, '2024-02-20', self.level)
        second._prepare_charges(date(2024, 2, 20))
        second._prepare_charges(date(2024, 2, 20))
        self._send(second, '2024-02-20')
        second._mark_sent(date(2024, 2, 20))
        self.assertRecordValues(second.charge_ids, [{
            'kind': 'fee', 'amount': 10.0, 'state': 'claimed', 'move_id': self.move.id, 'currency_id': self.eur.id,
            'rule_id': rule.id, 'base': 0.0, 'date': date(2024, 2, 20)}])
        third = self._send(self._notice(self.move, '2024-02-27', self.level), '2024-02-27')
        self.assertEqual(third._get_charge_totals(), [(self.eur, 20.0)], "its own, and the one claimed before")
        fresh = self._send(self._notice(self._invoice(50, '2024-02-20', currency=self.eur), '2024-02-28', self.level),
                           '2024-02-28')
        self.assertFalse(fresh.charge_ids, "the first reminder of that bill")

    def test_fee_is_the_same_in_letter_sheet_and_invoice(self):
        self._rule_with_fee()
        self._send(self._notice(self.move, '2024-02-10', self.level), '2024-02-10')
        notice = self._send(self._notice(self.move, '2024-02-20', self.invoicing_level), '2024-02-20')
        section = self.env['ir.qweb']._render('account_dunning.dunning_notice_charges', {'o': notice})
        text = ' '.join(html.fromstring(f'<div>{section}</div>').text_content().split())
        self.assertIn("Reminder fee", text)
        self.assertIn("10.00", text)
        self.assertNotIn("0.00 ", text.replace("10.00", ''), "no balance, no rate")
        sheet = self.move._get_late_charge_sheet(date(2024, 2, 20))
        self.assertEqual([(row['kind_label'], row['amount']) for row in sheet['rows']], [("Reminder fee", 10.0)])
        self.assertEqual([sheet['total'] for sheet in notice._get_late_charge_sheets()], [10.0])
        invoice = notice.charge_ids.charge_move_id
        self.assertEqual(invoice.amount_total, 10.0)
        self.assertIn(f"Reminder fee, {self.move.name}", invoice.invoice_line_ids.name)

    def test_fee_of_a_consumer_waits_for_the_free_reminder(self):
        rule = self._rule('be_person').copy({'reminder_fee': 7.5, 'tier_ids': [Command.clear()], 'margin': -99})
        self._set_rule(self.consumer, rule)
        move = self._invoice(215, '2024-01-31', partner=self.consumer, currency=self.eur)
        self._send(self._notice(move, '2024-02-09', self.level), '2024-02-09')
        early = self._notice(move, '2024-02-20', self.level)
        early._prepare_charges(date(2024, 2, 20))
        self.assertFalse(early.charge_ids, "the fourteen days are not over")
        early._cancel("Too early")
        early.flush_recordset()
        late = self._notice(move, '2024-03-04', self.level)
        late._prepare_charges(date(2024, 3, 4))
        self.assertEqual(late._get_charge_totals(), [(self.eur, 7.5)])

    def test_fee_waived_before_sending_does_not_come_back(self):
        self._rule_with_fee()
        self._send(self._notice(self.move, '2024-02-10', self.level), '2024-02-10')
        notice = self._notice(self.move, '2024-02-20', self.level)
        notice._prepare_charges(date(2024, 2, 20))
        self._waive(notice.charge_ids)
        self._send(notice, '2024-02-20')
        self.assertFalse(notice._get_charge_totals())
        self.assertEqual(notice.amount_charges, 0.0)

    def test_database_refuses_a_second_fee(self):
        self._rule_with_fee()
        self._send(self._notice(self.move, '2024-02-10', self.level), '2024-02-10')
        notice = self._send(self._notice(self.move, '2024-02-20', self.level), '2024-02-20')
        with mute_logger('odoo.sql_db'), self.assertRaises(psycopg2.IntegrityError):
            notice.charge_ids.sudo().copy()
            self.env.flush_all()

    #=== OTHER CURRENCIES ===#

    def test_compensation_is_the_same_whenever_it_is_claimed(self):
        """40 € on bills in francs; two francs make a euro until 14 February, then four.

        Due 31 January: first day of delay 1 February, 80 francs, in the letter of the 20th as well. Due 19 February:
        160 francs.
        """
        francs = self.setup_other_currency('CHF', rates=[('2024-01-01', 2.0), ('2024-02-15', 4.0)])
        early = self._invoice(1000, '2024-01-31', currency=francs)
        late = self._invoice(1000, '2024-02-19', currency=francs)
        notice = self._notice(early + late, '2024-02-20', self.level)
        self.assertEqual(self._rule('eu_company')._compute_compensation(early, date(2024, 2, 25)), 80.0, "the sheet")
        notice._prepare_charges(date(2024, 2, 20))
        compensation = {
            charge.move_id: charge.amount for charge in notice.charge_ids if charge.kind == 'compensation'}
        self.assertEqual(compensation, {early: 80.0, late: 160.0})

    def test_tier_of_a_bill_in_another_currency(self):
        """Belgian consumer, 430 francs of which two make a euro: 215 €, 36.50 €, 73 francs."""
        francs = self.setup_other_currency('CHF', rates=[('2024-01-01', 2.0), ('2024-02-15', 4.0)])
        move = self._invoice(430, '2024-01-31', partner=self.consumer, currency=francs)
        notice = self._notice(move, '2024-02-09', self.level)
        notice.email_to = "late@example.com"
        self.assertEqual([row[1] for row in notice._get_charge_announcement()['invoices']], [73.0])
        self._send(notice, '2024-02-09')
        late = self._notice(move, '2024-03-04', self.level)
        late._prepare_charges(date(2024, 3, 4))
        self.assertEqual(
            [charge.amount for charge in late.charge_ids if charge.kind == 'compensation'], [73.0], "as announced")

    def test_no_exchange_rate_no_compensation(self):
        """One to one would be a guess: 40 of a currency that may be worth anything."""
        shells = self.env['res.currency'].sudo().create({'name': 'SHL', 'symbol': 's', 'rounding': 0.01})
        self.env['res.currency.rate'].sudo().search([('currency_id', 'in', (self.eur + shells).ids)]).unlink()
        move = self._invoice(36500, '2024-01-31', currency=shells)
        notice = self._notice(move, '2024-02-10', self.level)
        notice._prepare_charges(date(2024, 2, 10))
        self.assertEqual(self._rows(notice.charge_ids), [('interest', '2024-02-01', '2024-02-10', 125.0, 'proposed')])
        self.assertIn("no exchange rate between EUR and SHL", notice.charge_warning)

    def test_many_days_and_currencies_cost_as_many_queries_as_one(self):
        currencies = [
            self.setup_other_currency(code, rates=[('2023-01-01', 2.0), ('2024-01-01', 3.0)])
            for code in ('CHF', 'SEK', 'NOK')
        ]
        self._rule('eu_company').sudo().reminder_fee = 5.0

        def count(number):
            moves = self.env['account.move'].union(*[
                self._invoice(1000, f'2024-01-{day:02d}', currency=currencies[day % 3])
                for day in range(1, number + 1)
            ])
            notice = self._notice(moves, '2024-02-10', self.level)
            self.env.flush_all()
            self.env.invalidate_all()
            before = self.cr.sql_log_count
            notice._prepare_charges(date(2024, 2, 10))
            queries = self.cr.sql_log_count - before
            self.assertEqual(len(notice.charge_ids), 2 * number)
            notice._cancel("Counted")
            notice.flush_recordset()
            return queries

        count(1)
        few, many = count(3), count(28)
        self.assertLessEqual(many, few)

    #=== WAIVE ===#

    def _waive(self, charges, reason="Goodwill"):
        action = charges.action_waive()
        wizard = self.env[action['res_model']].with_context(**action['context']).create({'reason': reason})
        self.assertTrue(wizard.summary)
        return wizard.action_waive()

    def test_waived_claim_is_not_charged_again(self):
        notice = self._send(self._notice(self.move, '2024-02-10', self.level), '2024-02-10')
        self._waive(notice.charge_ids)
        self.assertRecordValues(notice.charge_ids, [
            {
                'state': 'waived', 'waive_reason': "Goodwill", 'waive_user_id': self.env.uid,
                'waive_date': date(2024, 3, 1),
            },
        ] * 2)
        following = self._send(self._notice(self.move, '2024-02-20', self.level), '2024-02-20')
        self.assertEqual(
            self._rows(following.charge_ids), [('interest', '2024-02-11', '2024-02-20', 125.0, 'claimed')])
        self.assertIn("Goodwill", notice.message_ids[:1].body)

    def test_waiving_reverses_the_posted_invoice_once(self):
        self.company.sudo().late_charge_post = True
        notice = self._send(self._notice(self.move, '2024-02-10', self.invoicing_level), '2024-02-10')
        invoice = notice.charge_ids.charge_move_id
        self._waive(notice.charge_ids[:1])
        self.assertEqual({charge.state for charge in notice.charge_ids}, {'waived'})
        self.assertEqual(invoice.payment_state, 'reversed')
        self.assertEqual(len(invoice.reversal_move_ids), 1)
        with self.assertRaisesRegex(UserError, "already been waived"):
            self._waive(notice.charge_ids)
        self.assertEqual(len(invoice.reversal_move_ids), 1)

    def test_waiving_cancels_a_draft(self):
        notice = self._send(self._notice(self.move, '2024-02-10', self.invoicing_level), '2024-02-10')
        invoice = notice.charge_ids.charge_move_id
        action = invoice.action_waive_late_charges()
        self.env[action['res_model']].with_context(**action['context']).create({'reason': "Mistake"}).action_waive()
        self.assertEqual(invoice.state, 'cancel')

    def test_waiving_a_paid_charge_invoice_gives_the_money_back_as_credit(self):
        self.company.sudo().late_charge_post = True
        notice = self._send(self._notice(self.move, '2024-02-10', self.invoicing_level), '2024-02-10')
        invoice = notice.charge_ids.charge_move_id
        credit = self._pay(invoice, 165.0, '2024-02-15')
        self._waive(notice.charge_ids)
        self.assertEqual(invoice.payment_state, 'reversed')
        self.assertFalse(credit.reconciled)

    def test_waiving_a_proposal_takes_it_off_the_notice(self):
        notice = self._notice(self.move, '2024-02-10', self.level)
        notice._prepare_charges(date(2024, 2, 10))
        self._waive(notice.charge_ids.filtered(lambda charge: charge.kind == 'compensation'))
        self.assertEqual(notice._get_charge_totals(), [(self.eur, 125.0)])
        self._send(notice, '2024-02-10')
        self.assertEqual(notice._get_charge_totals(), [(self.eur, 125.0)])

    def test_a_reason_is_needed(self):
        notice = self._send(self._notice(self.move, '2024-02-10', self.level), '2024-02-10')
        with self.assertRaisesRegex(UserError, "say why"):
            notice.charge_ids._waive("  ")
        self.assertEqual({charge.state for charge in notice.charge_ids}, {'claimed'})

    #=== CONSUMERS ===#

    def test_belgian_consumer_first_reminder_is_free(self):
        """First reminder by e-mail on 9 February: fourteen days from the 10th, charges from the 24th."""
        move = self._invoice(215, '2024-01-31', partner=self.consumer, currency=self.eur)
        first = self._notice(move, '2024-02-09', self.level)
        first.email_to = "late@example.com"
        first._prepare_charges(date(2024, 2, 9))
        self.assertFalse(first.charge_ids)
        announcement = first._get_charge_announcement()
        self.assertEqual(announcement['deadline'], date(2024, 2, 23))
        self.assertEqual([row[1] for row in announcement['invoices']], [36.5])
        self._send(first, '2024-02-09')
        self.assertEqual(first._get_charge_announcement()['deadline'], date(2024, 2, 23), "printed again, the same")
        early = self._notice(move, '2024-02-23', self.level)
        early._prepare_charges(date(2024, 2, 23))
        self.assertFalse(early.charge_ids)
        self.assertIsNone(early._get_charge_announcement())
        early._cancel("Too early")
        early.flush_recordset()
        late = self._notice(move, '2024-03-04', self.level)
        late._prepare_charges(date(2024, 3, 4))
        # 215 x 12.5 % x 10 / 365 = 0.736
        self.assertEqual(self._rows(late.charge_ids), [
            ('compensation', '', '', 36.5, 'proposed'),
            ('interest', '2024-02-24', '2024-03-04', 0.74, 'proposed'),
        ])

    def test_belgian_consumer_first_reminder_by_post(self):
        """Posted on Friday 9 February: third working day is Wednesday 14, charges from the 28th."""
        move = self._invoice(215, '2024-01-31', partner=self.consumer, currency=self.eur)
        self._send(self._notice(move, '2024-02-09', self.level), '2024-02-09')
        late = self._notice(move, '2024-03-04', self.level)
        late._prepare_charges(date(2024, 3, 4))
        interest = late.charge_ids.filtered(lambda charge: charge.kind == 'interest')
        self.assertEqual(interest.date_from, date(2024, 2, 28))

    def test_bounced_email_is_no_reminder_before_its_letter_is_posted(self):
        """Posted on Monday 12 February: third working day is Thursday 15, charges from the 29th."""
        move = self._invoice(215, '2024-01-31', partner=self.consumer, currency=self.eur)
        first = self._notice(move, '2024-02-09', self.level)
        first.email_to = "late@example.com"
        self._send(first, '2024-02-09')
        first.is_bounced = True
        late = self._notice(move, '2024-03-04', self.level)
        late._prepare_charges(date(2024, 3, 4))
        self.assertFalse(late.charge_ids)
        self.assertTrue(late._get_charge_announcement(), "this one is the first, and free")
        first.posted_date = '2024-02-12'
        late._prepare_charges(date(2024, 3, 4))
        self.assertEqual(min(late.charge_ids.filtered('date_from').mapped('date_from')), date(2024, 2, 29))

    def test_letter_counts_from_the_day_it_was_posted(self):
        """Made and printed on Friday 9, posted on Monday 12 February."""
        move = self._invoice(215, '2024-01-31', partner=self.consumer, currency=self.eur)
        first = self._send(self._notice(move, '2024-02-09', self.level), '2024-02-09', posted=False)
        first.write({
            'is_letter_to_print': True,
            'attachment_id': self.env['ir.attachment'].sudo().create({'name': "Letter.pdf", 'raw': b'%PDF'}).id,
        })
        late = self._notice(move, '2024-03-04', self.level)
        late._prepare_charges(date(2024, 3, 4))
        self.assertFalse(late.charge_ids, "not posted, not reminded")
        with freeze_time('2024-02-09'):
            first.action_print_letters()
        late._prepare_charges(date(2024, 3, 4))
        self.assertFalse(late.charge_ids, "printed is not posted")
        with freeze_time('2024-02-12'):
            first.action_confirm_posted()
        self.assertEqual(first.posted_date, date(2024, 2, 12))
        late._prepare_charges(date(2024, 3, 4))
        self.assertEqual(min(late.charge_ids.filtered('date_from').mapped('date_from')), date(2024, 2, 29))

    def test_a_telephone_call_is_no_written_reminder(self):
        move = self._invoice(215, '2024-01-31', partner=self.consumer, currency=self.eur)
        self._send(self._notice(move, '2024-02-09', self._level('none')), '2024-02-09', posted=False)
        late = self._notice(move, '2024-03-04', self.level)
        late._prepare_charges(date(2024, 3, 4))
        self.assertFalse(late.charge_ids)

    def test_a_courtesy_before_the_due_date_is_no_reminder(self):
        move = self._invoice(215, '2024-01-31', partner=self.consumer, currency=self.eur)
        self._send(self._notice(move, '2024-01-28', self.level, is_coming_due=True), '2024-01-28')
        late = self._notice(move, '2024-03-04', self.level)
        late._prepare_charges(date(2024, 3, 4))
        self.assertFalse(late.charge_ids)

    #=== SHOW ===#

    def test_section_of_the_letter(self):
        notice = self._notice(self.move, '2024-02-10', self.level)
        notice._prepare_charges(date(2024, 2, 10))
        section = self.env['ir.qweb']._render('account_dunning.dunning_notice_charges', {'o': notice})
        page = html.fromstring(f'<div>{section}</div>')
        text = ' '.join(page.text_content().split())
        for expected in (
            self.move.name, "125.00", "40.00", "165.00", "12.5 %", "Feb 1, 2024", "Feb 10, 2024", "Statutory interest",
        ):
            self.assertIn(expected, text)

    def test_section_of_a_letter_without_charges_is_empty(self):
        notice = self._notice(self.move, '2024-02-10', self._level('none'))
        page = str(self.env['ir.qweb']._render('account_dunning.dunning_notice_charges', {'o': notice}))
        self.assertFalse(page.strip())

    def test_section_announces_the_cost_to_a_consumer(self):
        move = self._invoice(215, '2024-01-31', partner=self.consumer, currency=self.eur)
        notice = self._notice(move, '2024-02-09', self._level('none'))
        page = str(self.env['ir.qweb']._render('account_dunning.dunning_notice_charges', {'o': notice}))
        self.assertIn("free of charge", page)
        self.assertIn("36.50", page)

    def test_sheet_on_screen_shows_charged_and_not_yet_charged(self):
        self._send(self._notice(self.move, '2024-02-10', self.level), '2024-02-10')
        action = self.move.action_view_late_charge_sheet()
        wizard = self.env[action['res_model']].browse(action['res_id'])
        self.assertEqual(wizard.date, date(2024, 3, 1))
        sheet = self.move._get_late_charge_sheet(wizard.date)
        self.assertEqual((sheet['total'], sheet['preview_total']), (165.0, 250.0))
        text = html.fromstring(wizard.sheet).text_content()
        for expected in ("165.00", "250.00", "125.0000", "Not charged so far", "Banque de France"):
            self.assertIn(expected, text)
        self.assertNotIn("European Central Bank", text, "a compensation has no rate, and so no source of one")
        self.assertEqual(len(self.move.late_charge_ids), 2, "the preview writes nothing")

    def test_reports_render(self):
        notice = self._send(self._notice(self.move, '2024-02-10', self.level), '2024-02-10')
        for report, record in (
            ('account_dunning.action_report_late_charge_sheet_notice', notice),
            ('account_dunning.action_report_late_charge_sheet',
             self.env['account.late.charge.sheet'].create({'move_id': self.move.id})),
        ):
            with self.subTest(report):
                content, _kind = self.env['ir.actions.report']._render_qweb_pdf(report, record.ids)
                self.assertIn(b"165.00", content)

    def test_waived_charges_are_struck_out_on_the_sheet_and_not_summed(self):
        notice = self._send(self._notice(self.move, '2024-02-10', self.level), '2024-02-10')
        notice.charge_ids.filtered(lambda charge: charge.kind == 'compensation')._waive("Goodwill")
        self.assertEqual(self.move._get_late_charge_sheet(date(2024, 2, 10))['total'], 125.0)

    def test_warning_on_a_notice_when_a_rate_is_missing(self):
        notice = self._notice(self.move, '2024-02-10', self.level)
        self.assertFalse(notice.charge_warning)
        self.env['account.reference.rate'].sudo().search(
            [('series', '=', 'ECB'), ('date', '=', '2024-01-01')]).verified = False
        notice.invalidate_recordset()
        self.assertIn("missing", notice.charge_warning)
        self.assertIn("12/31/2023", notice.charge_warning)

    def _unverify(self, day):
        rate = self.env['account.reference.rate'].sudo().search([('series', '=', 'ECB'), ('date', '=', day)])
        rate.verified = False
        return rate

    def test_a_missing_half_year_in_between_is_told_on_notice_run_and_rule(self):
        move = self._invoice(36500, '2023-06-10', currency=self.eur)
        rate = self._unverify('2023-07-01')
        run = self.env['account.dunning.run'].sudo().create({'company_id': self.company.id, 'date': '2024-02-10'})
        notice = self._notice(move, '2024-02-10', self.level)
        notice.run_id = run
        rule = notice.env['account.late.charge.rule']._find_rules(self.company, self.customer)[self.customer]
        for record, name in ((notice, 'charge_warning'), (run, 'charge_warning'), (rule, 'rate_warning')):
            with self.subTest(record=record._name):
                self.assertIn("from 07/01/2023 to 12/31/2023 is missing", record[name])
        rate.verified = True
        notice.invalidate_recordset()
        run.invalidate_recordset()
        self.assertFalse(notice.charge_warning or run.charge_warning)

    def test_a_half_year_whose_rate_comes_late_is_claimed_with_the_next_letter(self):
        move = self._invoice(36500, '2023-06-10', currency=self.eur)
        rate = self._unverify('2023-07-01')
        self._send(self._notice(move, '2024-02-10', self.level), '2024-02-10')
        claimed = self._get_interest(move.sudo().late_charge_ids, 'claimed')
        rate.verified = True
        notice = self._notice(move, '2024-02-20', self.level)
        notice._prepare_charges(date(2024, 2, 20))
        rule = notice.charge_ids.rule_id
        self.assertEqual(
            self._get_interest(notice.charge_ids, 'claimed', 'proposed'),
            sum(row['amount'] for row in rule._get_interest_rows_of_days(
                self._line(move), [(date(2023, 6, 11), date(2024, 2, 20))])))
        self.assertGreater(self._get_interest(notice.charge_ids, 'claimed', 'proposed'), claimed + 1000)

    def test_a_half_year_before_an_invoiced_one_is_charged_once_its_rate_is_there(self):
        self.company.sudo().late_charge_post = True
        move = self._invoice(36500, '2023-06-10', currency=self.eur)
        rate = self._unverify('2023-07-01')
        self._send(self._notice(move, '2024-02-10', self.level), '2024-02-10')
        interest = move.sudo().late_charge_ids.filtered(lambda charge: charge.kind == 'interest')
        interest.action_invoice()
        rate.verified = True
        notice = self._notice(move, '2024-02-10', self.level)
        notice._prepare_charges(date(2024, 2, 10))
        late = notice.charge_ids.filtered(lambda charge: charge.state == 'proposed')
        self.assertEqual(late.mapped('date_from'), [date(2023, 7, 1)])
        self.assertEqual(late.mapped('date_to'), [date(2023, 12, 31)])
        self.assertFalse(self.env['account.late.charge']._propose_credit_notes(self.company, date(2024, 3, 1)))

    def test_invoicing_a_later_claim_looks_at_its_own_days_only(self):
        self.company.sudo().late_charge_post = True
        self._send(self._notice(self.move, '2024-02-10', self.level), '2024-02-10')
        self.move.sudo().late_charge_ids.action_invoice()
        self._send(self._notice(self.move, '2024-02-20', self.level), '2024-02-20')
        self._pay(self.move, 36400, '2024-02-10')
        claimed = self.move.sudo().late_charge_ids.filtered(lambda charge: charge.state == 'claimed')
        action = claimed.action_invoice()
        # 100 at 12.5 % for the ten days since, not the 125.00 that were claimed; the running total rounds it up
        self.assertEqual(self.env['account.move'].browse(action['res_id']).amount_untaxed, 0.35)

    #=== RIGHTS ===#

    def test_rights(self):
        notice = self._send(self._notice(self.move, '2024-02-10', self.level), '2024-02-10')
        charge = notice.charge_ids[:1]
        reader = new_test_user(
            self.env, login='charge_reader', groups='account.group_account_readonly',
            company_id=self.company.id, company_ids=[Command.set(self.company.ids)])
        outsider = new_test_user(self.env, login='charge_outsider', groups='base.group_user')
        with self.assertRaises(AccessError):
            charge.with_user(reader)._waive("Goodwill")
        with self.assertRaises(AccessError):
            charge.with_user(reader).action_invoice()
        with self.assertRaises(AccessError):
            charge.with_user(outsider).read(['amount'])
        accountant = new_test_user(
            self.env, login='charge_accountant', groups='account.group_account_invoice',
            company_id=self.company.id, company_ids=[Command.set(self.company.ids)])
        with self.assertRaises(AccessError):
            charge.with_user(accountant).write({'amount': 1.0})
        charge.with_user(accountant)._waive("Goodwill")
        self.assertEqual(charge.waive_user_id, accountant)

    def test_other_company_sees_nothing(self):
        notice = self._send(self._notice(self.move, '2024-02-10', self.level), '2024-02-10')
        other = self.setup_other_company()['company']
        user = new_test_user(
            self.env, login='charge_other', groups='account.group_account_manager', company_id=other.id,
            company_ids=[Command.set(other.ids)])
        self.assertFalse(self.env['account.late.charge'].with_user(user).search([('id', 'in', notice.charge_ids.ids)]))

    def test_accountant_works_with_the_screens(self):
        """The whole way with the rights of an accountant only."""
        notice = self._send(self._notice(self.move, '2024-02-10', self.level), '2024-02-10')
        accountant = new_test_user(
            self.env, login='charge_clerk', groups='account.group_account_invoice',
            company_id=self.company.id, company_ids=[Command.set(self.company.ids)])
        move, charges = self.move.with_user(accountant), notice.charge_ids.with_user(accountant)
        self.assertEqual(move.late_charge_count, 2)
        action = move.action_view_late_charge_sheet()
        self.assertIn("165.00", self.env[action['res_model']].with_user(accountant).browse(action['res_id']).sheet)
        charges.action_invoice()
        self.assertEqual(charges.charge_move_id.amount_total, 165.0)
        self.assertTrue(notice.with_user(accountant).action_view_charges()['domain'])

    #=== TRUED UP ===#

    def _refund(self, amount, day):
        refund = self.env['account.move'].create({
            'move_type': 'out_refund', 'partner_id': self.customer.id, 'currency_id': self.eur.id, 'invoice_date': day,
            'invoice_line_ids': [Command.create({'name': "Price", 'price_unit': amount, 'tax_ids': []})]})
        refund.action_post()
        (self._line(self.move) + self._line(refund)).reconcile()

    def _get_interest(self, charges, *states):
        return sum(charges.filtered(
            lambda charge: charge.kind == 'interest' and charge.state in states).mapped('amount'))

    def test_payment_of_an_earlier_date_corrects_what_was_claimed(self):
        self._send(self._notice(self.move, '2024-02-10', self.level), '2024-02-10')
        self._pay(self.move, 36400, '2024-01-31')
        notice = self._notice(self.move, '2024-02-20', self.level)
        notice._prepare_charges(date(2024, 2, 20))
        claimed = self.move.sudo().late_charge_ids
        self.assertEqual(self._get_interest(claimed, 'corrected'), 125.0)
        # 100 at 12.5 % for 20 days
        self.assertEqual(self._get_interest(notice.charge_ids, 'proposed', 'claimed'), 0.68)
        self.assertEqual(notice._get_charge_totals(), [(self.eur, 40.68)])

    def test_credit_note_of_a_later_day_takes_its_interest_back(self):
        self._send(self._notice(self.move, '2024-02-10', self.level), '2024-02-10')
        self._refund(18250, '2024-02-15')
        notice = self._notice(self.move, '2024-02-20', self.level)
        notice._prepare_charges(date(2024, 2, 20))
        self.assertEqual(self._get_interest(notice.charge_ids, 'proposed', 'claimed'), 125.0, "20 days on the half")

    def test_payment_undone_is_claimed_with_the_next_letter(self):
        credit = self._pay(self.move, 36400, '2024-01-31')
        self._send(self._notice(self.move, '2024-02-10', self.level), '2024-02-10')
        credit.remove_move_reconcile()
        credit.move_id.button_draft()
        credit.move_id.button_cancel()
        notice = self._notice(self.move, '2024-02-20', self.level)
        notice._prepare_charges(date(2024, 2, 20))
        self.assertEqual(self._get_interest(notice.charge_ids, 'proposed', 'claimed'), 250.0)

    def test_nothing_changed_is_nothing_corrected(self):
        self._send(self._notice(self.move, '2024-02-10', self.level), '2024-02-10')
        self._pay(self.move, 100, '2024-02-15')
        notice = self._notice(self.move, '2024-02-20', self.level)
        notice._prepare_charges(date(2024, 2, 20))
        self.assertEqual(self._get_interest(self.move.sudo().late_charge_ids, 'corrected'), 0)
        self.assertEqual(self._get_interest(notice.charge_ids, 'claimed'), 125.0)

    def test_invoicing_charges_only_what_is_still_owed(self):
        self._send(self._notice(self.move, '2024-02-10', self.level), '2024-02-10')
        self._pay(self.move, 36400, '2024-01-31')
        interest = self.move.sudo().late_charge_ids.filtered(lambda charge: charge.kind == 'interest')
        action = interest.action_invoice()
        self.assertEqual(self.env['account.move'].browse(action['res_id']).amount_untaxed, 0.34)

    def test_invoiced_excess_is_proposed_as_one_credit_note(self):
        self.company.sudo().late_charge_post = True
        self._send(self._notice(self.move, '2024-02-10', self.level), '2024-02-10')
        interest = self.move.sudo().late_charge_ids.filtered(lambda charge: charge.kind == 'interest')
        interest.action_invoice()
        Charge = self.env['account.late.charge']
        self.assertFalse(Charge._propose_credit_notes(self.company, date(2024, 3, 1)))
        self._pay(self.move, 36400, '2024-01-31')
        [credit_note] = Charge._propose_credit_notes(self.company, date(2024, 3, 1))
        self.assertRecordValues(credit_note, [{'state': 'draft', 'amount_untaxed': 124.66}])
        self.assertEqual(credit_note.reversed_entry_id, interest.charge_move_id)
        self.assertFalse(Charge._propose_credit_notes(self.company, date(2024, 3, 2)))

    def test_proposal_that_a_run_takes_back_leaves_no_charges(self):
        notice = self._notice(self.move, '2024-02-10', self.level)
        notice._prepare_charges(date(2024, 2, 10))
        self.assertTrue(notice.charge_ids)
        notice._cancel("Nothing left")
        self.assertFalse(self.move.sudo().late_charge_ids)

    #=== LAW ===#

    def test_rule_that_nobody_has_checked_is_used_by_itself_for_no_customer(self):
        self._set_rule(self.customer, self.env['account.late.charge.rule'])
        self.company.sudo().account_fiscal_country_id = self.env.ref('base.at')
        Rule = self.env['account.late.charge.rule']
        self.assertFalse(Rule._find_rules(self.company, self.customer)[self.customer])
        rule = self._rule('eu_company').sudo()
        self.assertNotIn("Directive", rule.legal_basis)
        rule.is_checked = True
        self.assertEqual(Rule._find_rules(self.company, self.customer)[self.customer], rule)

    def test_french_default_rate_has_no_floor(self):
        rule = self._rule('fr_company')
        self.assertFalse(rule.floor_series)
        self.assertNotIn("three times", rule.legal_basis)

    def test_german_consumer_pays_interest_only_after_a_reminder(self):
        self._set_rule(self.customer, self._rule('de_person'))
        line = self._line(self.move)
        self.assertEqual(self._rule('de_person')._compute_interest(line, date(2024, 2, 20)), 0.0)

    def test_british_compensation_is_for_the_debt_when_interest_began(self):
        rule = self._rule('uk_company').sudo().copy({'currency_id': self.eur.id})
        self._set_rule(self.customer, rule)
        self._pay(self.move, 36450, '2024-02-05')
        self.assertEqual(rule._compute_compensation(self.move), 100.0)
        notice = self._notice(self.move, '2024-02-10', self.level)
        notice._prepare_charges(date(2024, 2, 10))
        self.assertEqual(
            notice.charge_ids.filtered(lambda charge: charge.kind == 'compensation').amount, 100.0)
