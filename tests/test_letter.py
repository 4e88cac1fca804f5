import io
from unittest.mock import patch

from lxml import html
from pypdf import PdfReader

from odoo import Command
from odoo.exceptions import AccessError, UserError, ValidationError
from odoo.tests import freeze_time, new_test_user, tagged

from odoo.addons.account_dunning.models.ir_actions_report import PrintPages

from .letter_common import REPORT, LetterCommon


@freeze_time('2024-05-01')
@tagged('post_install', '-at_install')
class TestLetter(LetterCommon):

    #=== WHAT THE LETTER SAYS ===#

    def test_letter_states_each_invoice_and_the_sum_to_pay(self):
        first = self._create_invoice(1210, 40, ref='PO 4711')
        second = self._create_invoice(845.5, 25)
        letter = self._render(self._create_notice(self.friendly, [
            self._line(first, self.friendly, paid=210), self._line(second, self.friendly),
        ]))
        [table] = letter.xpath('//table[@data-currency]')
        self.assertEqual(self._rows(table), [
            [f'{first.name} Your ref. PO 4711', 'Feb 21, 2024', 'Mar 22, 2024', '40', '1,210.00', '210.00', '1,000.00'],
            [second.name, 'Mar 7, 2024', 'Apr 6, 2024', '25', '845.50', '0.00', '845.50'],
            [f'Total in {self.currency.name}', '2,055.50', '210.00', '1,845.50'],
        ])
        self.assertEqual(self._text(letter, 'to_pay'), 'To pay $ 1,845.50 by May 8, 2024')
        self.assertEqual(self._text(letter, 'reference'), f'Reference {first.name}, {second.name}')
        self.assertIn('BE68539007547034', self._text(letter, 'bank_account').replace(' ', ''))
        self.assertEqual(self._text(letter, 'number'), 'Reminder no. DUN/2024/00017')
        self.assertEqual(self._text(letter, 'customer_ref'), 'Customer no. C-1024')
        self.assertEqual(self._text(letter, 'date'), 'Date May 1, 2024')
        self.assertEqual(
            self._text(letter, 'contact_person'), 'Your contact Lotte Vermeulen +32 9 123 45 68 lotte@kroon.example')
        intro = self._text(letter, 'letter_intro')
        self.assertIn('Dear Brandon Freeman,', intro)
        self.assertIn('$ 1,845.50 by May 8, 2024', intro)
        address = self._text(letter, 'address')
        self.assertIn('Azure Interior, Brandon Freeman', address)
        self.assertIn('Rue de la Loi 16', address)
        self.assertIn('Kroon Brewery', self._text(letter, 'signature'))

    def test_set_off_and_paused_parts_are_shown_only_when_there_are_any(self):
        invoice = self._create_invoice(1000)
        letter = self._render(self._create_notice(
            self.friendly, [self._line(invoice, self.friendly, set_off=100, blocked=250)]))
        [table] = letter.xpath('//table[@data-currency]')
        self.assertEqual(self._rows(table)[0][4:], ['1,000.00', '0.00', '1,000.00', '-100.00', '-250.00', '650.00'])
        self.assertEqual(self._rows(table)[1][1:], ['1,000.00', '0.00', '1,000.00', '-100.00', '-250.00', '650.00'])
        self.assertIn('$ 650.00', self._text(letter, 'to_pay'))

    def test_lines_not_yet_due_stand_apart_and_are_not_asked_for(self):
        overdue, coming = self._create_invoice(100, 10), self._create_invoice(70, -10)
        letter = self._render(self._create_notice(self.friendly, [
            self._line(overdue, self.friendly), self._line(coming, self.friendly, coming_due=True),
        ]))
        [table] = letter.xpath('//table[@data-currency]')
        self.assertNotIn(coming.name, self._text(table))
        self.assertIn(coming.name, self._text(letter, 'coming_due'))
        self.assertIn('$ 100.00', self._text(letter, 'to_pay'))
        self.assertNotIn(coming.name, self._text(letter, 'reference'))

    def test_courtesy_before_the_due_date_states_what_will_be_due(self):
        coming = self._create_invoice(70, -3)
        letter = self._render(self._create_notice(
            self.friendly, [self._line(coming, self.friendly, coming_due=True)]))
        self.assertIn('$ 70.00', self._text(letter, 'to_pay'))
        self.assertFalse(letter.xpath('//*[@name="coming_due"]'))

    def test_one_table_and_total_for_each_currency(self):
        notice = self._create_notice(self.reminder, [
            self._line(self._create_invoice(99.99), self.reminder),
            self._line(self._create_invoice(20, currency_id=self.foreign_currency.id), self.reminder),
            self._line(self._create_invoice(30.5, currency_id=self.foreign_currency.id), self.reminder),
        ])
        letter = self._render(notice)
        tables = letter.xpath('//table[@data-currency]')
        self.assertEqual([table.get('data-currency') for table in tables], [self.currency.name, 'EUR'])
        self.assertEqual([self._rows(table)[-1][-1] for table in tables], ['99.99', '50.50'])
        self.assertIn('$ 99.99 and 50.50 €', self._text(letter, 'letter_intro').replace('\N{NO-BREAK SPACE}', ' '))
        self.assertEqual(len(letter.xpath('//*[@name="payment"]')), 2)

    def test_formal_notice_names_the_earlier_reminders(self):
        lines = [self._line(self._create_invoice(500), self.formal)]
        for level, date in ((self.friendly, '2024-04-08'), (self.reminder, '2024-04-20')):
            self._create_notice(level, lines, state='sent', date=date, sent_date=date)
        other = self._line(self._create_invoice(5), self.friendly)
        self._create_notice(self.friendly, [other], state='sent', date='2024-04-21', sent_date='2024-04-21')
        notice = self._create_notice(self.formal, lines)
        letter = self._render(notice)
        self.assertEqual(
            self._text(letter, 'formal_notice'),
            "This letter is a formal notice to pay. "
            "It follows our written reminders: April 8, 2024 and April 20, 2024.")
        self.assertIn('$ 500.00', self._text(letter, 'letter_intro'))
        self.assertIn('May 9, 2024', self._text(letter, 'letter_closing'))
        self.assertFalse(self._render(self._create_notice(self.reminder, lines, state='cancelled')).xpath(
            '//*[@name="formal_notice"]'))

    def test_calls_are_no_written_reminders(self):
        call = self.env.ref('account_dunning.account_dunning_level_crescendo_call').sudo()
        lines = [self._line(self._create_invoice(500), call)]
        self._create_notice(call, lines, state='sent', sent_date='2024-04-20')
        last = self.env.ref('account_dunning.account_dunning_level_crescendo_last_reminder').sudo()
        self.assertFalse(self._create_notice(last, lines).earlier_notice_ids)

    def test_last_reminder_names_the_first(self):
        first = self.env.ref('account_dunning.account_dunning_level_crescendo_friendly').sudo()
        last = self.env.ref('account_dunning.account_dunning_level_crescendo_last_reminder').sudo()
        lines = [self._line(self._create_invoice(500), first)]
        self._create_notice(first, lines, state='sent', date='2024-04-20', sent_date='2024-04-22')
        letter = self._render(self._create_notice(last, lines))
        self.assertIn("our reminder of April 22, 2024", self._text(letter, 'letter_intro'))

    def test_same_reminder_again_mentions_the_first(self):
        lines = [self._line(self._create_invoice(500), self.friendly)]
        first = self._create_notice(self.friendly, lines, state='sent', date='2024-04-20', sent_date='2024-04-22')
        self.assertFalse(self._render(first).xpath('//*[@name="repeat"]'))
        again = self._create_notice(self.friendly, [*lines, self._line(self._create_invoice(20), self.friendly)])
        sentence = "We wrote to you about some of these invoices on April 22, 2024 already."
        self.assertEqual(self._text(self._render(again), 'repeat'), sentence)
        self.assertIn(sentence, self._text(html.fromstring(str(again._get_mail_summary()))))
        again.state = 'cancelled'
        again.flush_recordset()
        # The next level's own words name it.
        second = self._create_notice(self.reminder, lines)
        self.assertFalse(self._render(second).xpath('//*[@name="repeat"]'))

    def test_words_for_one_letter_only(self):
        notice = self._create_notice(
            self.friendly, [self._line(self._create_invoice(20), self.friendly)], state='draft')
        notice.action_edit_letter()
        self.assertTrue(notice.letter_intro, "the level's words to begin with")
        notice.letter_intro = "<p>As agreed on the phone, {customer}.</p>"
        letter = self._render(notice)
        self.assertIn(f"As agreed on the phone, {self.customer.name}.", self._text(letter, 'letter_intro'))
        other = self._create_notice(
            self.friendly, [self._line(self._create_invoice(30), self.friendly)], state='sent')
        self.assertNotIn("As agreed", self._text(self._render(other)))
        with self.assertRaisesRegex(ValidationError, "which does not exist"), self.cr.savepoint():
            notice.letter_intro = "<p>{nonsense}</p>"
        notice.sudo().level_id = self.reminder
        self.assertNotIn("As agreed", self._text(self._render(notice)), "written for another level")

    def test_words_of_a_letter_that_is_out_stay(self):
        user = new_test_user(
            self.env, 'words', groups='account.group_account_invoice', company_id=self.company.id,
            company_ids=[Command.set(self.company.ids)])
        notice = self._create_notice(
            self.friendly, [self._line(self._create_invoice(20), self.friendly)], state='draft').with_user(user)
        notice.letter_closing = "<p>Kind regards</p>"
        notice.sudo().state = 'sent'
        with self.assertRaises(AccessError):
            notice.letter_closing = "<p>Other words</p>"
        with self.assertRaises(UserError):
            notice.action_edit_letter()

    def test_letter_in_the_language_of_the_recipient(self):
        self.env['res.lang'].sudo()._activate_lang('fr_FR')
        self.contact.lang = 'fr_FR'
        self.friendly.with_context(lang='fr_FR').write({
            'letter_title': "Rappel", 'letter_intro': "<p>Merci de payer {amount_due} avant le {deadline}.</p>",
        })
        notice = self._create_notice(self.friendly, [self._line(self._create_invoice(1234.5), self.friendly)])
        letter = self._render(notice)
        self.assertIn("Rappel", self._text(letter.xpath('//h2')[0]))
        intro = self._text(letter, 'letter_intro').replace('\N{NARROW NO-BREAK SPACE}', ' ')
        self.assertEqual(intro.replace('\N{NO-BREAK SPACE}', ' '), "Merci de payer $ 1 234,50 avant le 8 mai 2024.")
        self.assertEqual(self._rows(letter.xpath('//table[@data-currency]')[0])[0][2], '1er avr. 2024')
        self.assertEqual(notice._get_letter_lang(), 'fr_FR')

    def test_letter_without_collector_names_the_company(self):
        notice = self._create_notice(
            self.friendly, [self._line(self._create_invoice(10), self.friendly)], user_id=False)
        self.assertEqual(
            self._text(self._render(notice), 'contact_person'),
            'Your contact Kroon Brewery +32 9 123 45 67 office@kroon.example')

    def test_claimed_charges_are_added_to_the_sum_to_pay(self):
        notice = self._create_notice(self.formal, [self._line(self._create_invoice(500), self.formal)])
        with patch.object(type(notice), '_get_charge_totals', autospec=True, return_value=[
            (self.currency, 40.0), (self.foreign_currency, 12.5),
        ]):
            tables = notice._get_letter_tables()
            self.assertEqual([table['to_pay'] for table in tables], [540.0, 12.5])
            self.assertEqual([table['amount_due'] for table in tables], [500.0, 0.0])
            self.assertEqual(notice._get_letter_amount().replace('\N{NO-BREAK SPACE}', ' '), '$ 540.00 and 12.50 €')
            # Those that get an invoice of their own are paid with that.
            self.formal.charge = 'invoice'
            self.assertEqual([table['to_pay'] for table in notice._get_letter_tables()], [500.0])

    #=== HOW TO PAY ===#

    def test_one_invoice_is_paid_with_its_own_reference(self):
        invoice = self._create_invoice(10, payment_reference='+++123/4567/89012+++')
        notice = self._create_notice(self.friendly, [self._line(invoice, self.friendly)])
        self.assertEqual(
            notice._get_letter_payment_reference(invoice), ('+++123/4567/89012+++', '+++123/4567/89012+++'))

    def test_many_invoices_are_paid_with_the_number_of_the_notice(self):
        invoices = self.env['account.move'].union(*(self._create_invoice(10) for _count in range(12)))
        notice = self._create_notice(self.friendly, [self._line(invoice, self.friendly) for invoice in invoices])
        self.assertEqual(notice._get_letter_payment_reference(invoices), ('DUN/2024/00017', ''))

    def test_account_that_the_invoices_name(self):
        other_bank = self.bank.sudo().create({
            'partner_id': self.company.partner_id.id, 'acc_number': 'BE71096123456769', 'allow_out_payment': True})
        invoice = self._create_invoice(10, partner_bank_id=other_bank.id)
        notice = self._create_notice(self.friendly, [self._line(invoice, self.friendly)])
        [table] = notice._get_letter_tables()
        self.assertEqual(notice._get_letter_payment(table)['bank'], other_bank)

    def test_account_in_the_currency_comes_first(self):
        euro_bank = self.bank.sudo().create({
            'partner_id': self.company.partner_id.id, 'acc_number': 'BE71096123456769',
            'currency_id': self.foreign_currency.id, 'allow_out_payment': True})
        self.bank.sudo().currency_id = self.currency
        no_move = self.env['account.move']
        self.assertEqual(self.company._get_dunning_bank_account(self.foreign_currency, no_move), euro_bank)
        self.assertEqual(self.company._get_dunning_bank_account(self.currency), self.bank)

    def test_qr_code_only_when_the_company_prints_them(self):
        notice = self._create_notice(self.friendly, [
            self._line(self._create_invoice(10, currency_id=self.foreign_currency.id), self.friendly)])
        [table] = notice._get_letter_tables()
        self.company.qr_code = False
        self.assertFalse(notice._get_letter_payment(table)['qr_code'])
        self.company.qr_code = True
        with patch.object(
            type(self.bank), 'build_qr_code_base64', autospec=True, return_value='data:image/png;base64,AA==',
        ) as build:
            self.assertEqual(notice._get_letter_payment(table)['qr_code'], 'data:image/png;base64,AA==')
        self.assertEqual(build.call_args.args[1], 10)
        self.assertEqual(build.call_args.args[4], self.foreign_currency)

    #=== WORDS AND PLACEHOLDERS ===#

    def test_customer_data_is_escaped_and_never_evaluated(self):
        self.contact.name = "<b>Bobby</b> {company} {{ 7 * 7 }} <script>alert(1)</script>"
        notice = self._create_notice(self.friendly, [self._line(self._create_invoice(10), self.friendly)])
        intro = str(notice._get_letter_texts()['letter_intro'])
        self.assertIn("Dear &lt;b&gt;Bobby&lt;/b&gt; {company} {{ 7 * 7 }} &lt;script&gt;alert(1)&lt;/script&gt;,",
                      intro)
        content = self.env['ir.actions.report'].sudo()._render_qweb_html(REPORT, notice.ids)[0].decode()
        self.assertNotIn('<script>alert(1)', content)
        mail = self._send_mail('friendly', notice)
        self.assertNotIn('<script>alert(1)', mail.body_html)
        self.assertNotIn('<b>Bobby', mail.body_html)

    def test_unknown_placeholder_is_refused_and_named(self):
        for fname, text in (
            ('letter_title', "Reminder {nmae}"),
            ('letter_intro', "<p>Dear {nmae}</p>"),
            ('letter_closing', "<p>Bye <b>{nmae}</b></p>"),
        ):
            with self.assertRaisesRegex(ValidationError, r"\{nmae\}, which does not exist"):
                self.friendly.write({fname: text})
        with self.assertRaisesRegex(ValidationError, "does not exist"):
            self.friendly.letter_intro = "<p>{{ object.company_id }}</p>"

    def test_placeholder_formatted_in_parts_is_refused(self):
        with self.assertRaisesRegex(ValidationError, r"\{deadline\} .* is formatted in parts"):
            self.friendly.letter_intro = "<p>Pay by {dead<b>line}</b>.</p>"

    def test_letter_with_an_unknown_placeholder_does_not_go_out(self):
        # A file of translations comes in without the check of the form.
        self.env['res.lang'].sudo()._activate_lang('fr_FR')
        self.friendly.letter_intro = "<p>Dear {contact}</p>"
        self.friendly.flush_recordset()
        self.env.cr.execute(
            """UPDATE account_dunning_level
                  SET letter_intro = letter_intro || '{"fr_FR": "<p>Cher {nmae}</p>"}'
                WHERE id = %s""", [self.friendly.id])
        self.friendly.invalidate_recordset()
        notice = self._create_notice(self.friendly, [])
        self.assertIn("Dear Brandon", notice._get_letter_texts()['letter_intro'])
        with self.assertRaisesRegex(UserError, r"\{nmae\}"):
            notice.with_context(lang='fr_FR')._get_letter_texts()

    def test_paragraph_about_nothing_is_left_out(self):
        self.friendly.letter_intro = (
            "<p>We wrote on {last_reminder_date}.</p><p>Pay.</p><ul><li>By {deadline}</li><li>{customer}</li></ul>")
        notice = self._create_notice(self.friendly, [], deadline=False)
        intro = html.fromstring(str(notice._get_letter_texts()['letter_intro']))
        self.assertEqual(self._text(intro), "Pay.Azure Interior")

    def test_headings_in_the_words_do_not_split_the_pdf(self):
        self.friendly.letter_intro = "<h1>Big {customer}</h1><p>Pay.</p>"
        texts = self._create_notice(self.friendly, [])._get_letter_texts()
        self.assertIn('<p class="fw-bold">Big Azure Interior</p>', texts['letter_intro'])
        self.assertNotIn('<h1', texts['letter_intro'])

    def test_title_of_a_level_without_one_is_its_name(self):
        self.friendly.letter_title = False
        texts = self._create_notice(self.friendly, [])._get_letter_texts()
        self.assertEqual(texts['letter_title'], "Friendly reminder")

    def test_preview_of_the_words(self):
        self.assertIn("Dear Brandon Freeman,", self.friendly.letter_preview)
        self.assertIn("1,250.00", self.friendly.letter_preview)

    #=== E-MAIL AND SMS ===#

    def _send_mail(self, name, notice):
        template = self.env.ref(f'account_dunning.mail_template_dunning_{name}').sudo()
        return self.env['mail.mail'].sudo().browse(template.send_mail(notice.id))

    def test_mail_goes_to_the_contact_and_the_answer_to_the_collector(self):
        first, second = self._create_invoice(1210, 40), self._create_invoice(845.5, 25)
        notice = self._create_notice(self.reminder, [
            self._line(first, self.reminder, paid=210), self._line(second, self.reminder)])
        for name, subject in (
            ('friendly', "A friendly reminder: $ 1,845.50 overdue (DUN/2024/00017)"),
            ('reminder', "Reminder: please pay $ 1,845.50 (DUN/2024/00017)"),
            ('formal', "Formal notice to pay $ 1,845.50 (DUN/2024/00017)"),
        ):
            with self.subTest(template=name):
                mail = self._send_mail(name, notice)
                self.assertEqual(mail.subject.replace('\N{NO-BREAK SPACE}', ' '), subject)
                self.assertEqual(mail.recipient_ids, self.contact)
                self.assertEqual(mail.email_from, '"Lotte Vermeulen" <lotte@kroon.example>')
                self.assertEqual(mail.reply_to, '"Lotte Vermeulen" <lotte@kroon.example>')
                body = self._text(html.fromstring(mail.body_html)).replace('\N{NO-BREAK SPACE}', ' ')
                self.assertIn("Dear Brandon Freeman,", body)
                self.assertIn(f"{first.name} Due on March 22, 2024, 40 days late $ 1,000.00", body)
                self.assertIn(f"Total in {self.currency.name} $ 1,845.50", body)
                self.assertIn("BE68539007547034", body.replace(' ', ''))
                self.assertIn("+32 9 123 45 68", body)
                self.assertIn(notice._get_letter_portal_url(), mail.body_html)

    def test_mail_in_the_language_of_the_contact(self):
        self.env['res.lang'].sudo()._activate_lang('fr_FR')
        self.contact.lang = 'fr_FR'
        notice = self._create_notice(self.friendly, [self._line(self._create_invoice(1234.5, 40), self.friendly)])
        body = self._text(html.fromstring(self._send_mail('friendly', notice).body_html))
        self.assertIn("22 mars 2024", body)
        self.assertIn("1 234,50", body.replace('\N{NARROW NO-BREAK SPACE}', ' ').replace('\N{NO-BREAK SPACE}', ' '))

    def test_sms_is_short_and_says_what_to_do(self):
        notice = self._create_notice(self.reminder, [self._line(self._create_invoice(845.5, 25), self.reminder)])
        body = self.env.ref('account_dunning.sms_template_dunning_last_reminder').sudo()._render_field(
            'body', notice.ids, compute_lang=True)[notice.id]
        self.assertEqual(
            body.replace('\N{NO-BREAK SPACE}', ' '),
            "Kroon Brewery: $ 845.50 is still unpaid (ref. DUN/2024/00017). Please pay now or call us: +32 9 123 45 68")
        self.assertLessEqual(len(body), 160)

    #=== PROCEDURES ===#

    def test_ready_procedures_remind_nobody_by_themselves(self):
        procedures = (
            self.env.ref('account_dunning.account_dunning_procedure_standard')
            + self.env.ref('account_dunning.account_dunning_procedure_crescendo')
        ).sudo()
        self.assertFalse(procedures.company_id)
        self.assertEqual(set(procedures.mapped('mode')), {'review'})
        self.assertEqual(procedures[0].level_ids.mapped('delay_days'), [7, 21, 35])
        self.assertEqual(procedures[1].level_ids.mapped('delay_days'), [-3, 3, 7, 10, 14, 30])
        for level in procedures.level_ids:
            self.assertTrue(level.send_email or level.create_activity, level.name)
            self.assertEqual(bool(level.send_email), bool(level.mail_template_id), level.name)
            self.assertFalse(level.create_activity and not level.activity_summary, level.name)
            self.assertEqual(level.letter_preview.count('{'), 0)

    def test_letter_that_went_out_is_printed_as_it_went_out(self):
        notice = self._create_notice(self.friendly, [self._line(self._create_invoice(500, 40), self.friendly)])
        report = self.env['ir.actions.report'].sudo().with_context(force_report_rendering=True)
        content = report._render_qweb_pdf(REPORT, notice.ids)[0]
        notice.write({'state': 'sent', 'sent_date': '2024-05-01', 'attachment_id': self.env['ir.attachment'].create({
            'name': 'Reminder 1.pdf', 'raw': content, 'mimetype': 'application/pdf',
            'res_model': notice._name, 'res_id': notice.id}).id})
        notice.flush_recordset()
        self.friendly.letter_title = "Quite another title"
        self.assertEqual(report._render_qweb_pdf(REPORT, notice.ids)[0], content)
        proposal = self._create_notice(self.friendly, [self._line(self._create_invoice(10, 40), self.friendly)])
        text = "".join(page.extract_text() for page in PdfReader(io.BytesIO(
            report._render_qweb_pdf(REPORT, proposal.ids)[0])).pages)
        self.assertIn("Quite another title", text)

    #=== HAND-OVER ===#

    def test_file_for_the_collection_agency(self):
        hand_over = self.env.ref('account_dunning.account_dunning_level_crescendo_hand_over').sudo()
        invoice = self._create_invoice(500, 40)
        lines = [self._line(invoice, self.formal)]
        letter = self._create_notice(
            self.formal, lines, state='sent', date='2024-04-20', sent_date='2024-04-20', name='DUN/2024/00009')
        report = self.env['ir.actions.report'].sudo().with_context(force_report_rendering=True)
        letter.attachment_id = self.env['ir.attachment'].sudo().create({
            'name': 'letter.pdf', 'raw': report._render_qweb_pdf(REPORT, letter.ids)[0], 'mimetype': 'application/pdf'})
        notice = self._create_notice(hand_over, lines)
        action = notice.with_context(force_report_rendering=True).with_user(self.env.user).action_hand_over_file()
        [attachment] = self.env['ir.attachment'].sudo().search([
            ('res_model', '=', notice._name), ('res_id', '=', notice.id)])
        self.assertIn(f'/web/content/{attachment.id}?', action['url'])
        pages = [page.extract_text() for page in PdfReader(io.BytesIO(attachment.raw)).pages]
        self.assertIn("Statement for collection", pages[0])
        self.assertIn("Azure Interior", pages[0])
        self.assertIn('DUN/2024/00009', pages[0])
        self.assertIn('500.00', pages[0])
        self.assertTrue(any("formal notice to pay" in page for page in pages[1:]))
        self.assertIn(invoice.name, pages[-1])

    def test_file_for_the_agency_claims_what_is_still_owed(self):
        hand_over = self.env.ref('account_dunning.account_dunning_level_crescendo_hand_over').sudo()
        paid, partly_paid, excluded = (self._create_invoice(amount, 40) for amount in (500, 300, 200))
        notice = self._create_notice(hand_over, [
            self._line(invoice, hand_over) for invoice in (paid, partly_paid, excluded)])
        excluded.no_followup = True
        for invoice, amount in ((paid, 500), (partly_paid, 100)):
            self.env['account.payment.register'].with_context(
                active_model='account.move', active_ids=invoice.ids,
            ).create({'amount': amount, 'payment_difference_handling': 'open'})._create_payments()
        [table] = notice._get_hand_over_tables()
        self.assertEqual(
            {line.move_id: line.amount_due for line in table['lines']}, {partly_paid: 200.0, excluded: 200.0})
        self.assertEqual(table['amount_due'], 400.0)
        self.assertEqual(set(notice._get_hand_over_invoices()), {partly_paid, excluded})
        self.assertEqual(len(notice.line_ids), 3, "What the notice said stays written")
        for invoice, amount in ((partly_paid, 200), (excluded, 200)):
            self.env['account.payment.register'].with_context(
                active_model='account.move', active_ids=invoice.ids).create({'amount': amount})._create_payments()
        with self.assertRaisesRegex(UserError, "nothing to hand over"):
            notice.action_hand_over_file()

    def test_only_a_hand_over_has_a_file_for_the_agency(self):
        notice = self._create_notice(self.formal, [])
        with self.assertRaisesRegex(UserError, "hands over to collection"):
            notice.action_hand_over_file()

    #=== PDF ===#

    def test_many_letters_in_one_pdf_run(self):
        notices = self.env['account.dunning.notice']
        for position, count in enumerate((1, 60, 2)):
            partner = self.env['res.partner'].create({'name': f"Customer {position}", 'lang': 'en_US'})
            notices += self._create_notice(
                self.formal,
                [
                    self._line(self._create_invoice(100 + number, partner=partner), self.formal)
                    for number in range(count)
                ],
                partner=partner,
                name=f'DUN/2024/0002{position}',
            )
        report = self.env['ir.actions.report'].sudo().with_context(force_report_rendering=True)
        with patch.object(
            PrintPages, '_run', autospec=True, side_effect=PrintPages._run,
        ) as run:
            streams, kind = report._pre_render_qweb_pdf(REPORT, notices.ids)
        self.assertEqual(kind, 'pdf')
        self.assertEqual(
            run.call_count, 4, "the letters, those of several pages measured and broken, and their letterheads")
        for position, notice in enumerate(notices):
            reader = PdfReader(io.BytesIO(streams[notice.id]['stream'].getvalue()))
            text = ' '.join('\n'.join(page.extract_text() for page in reader.pages).split())
            self.assertIn(notice.name, text)
            self.assertIn(f"Customer {position}", text)
            self.assertNotIn(f"Customer {(position + 1) % 3}", text)
            for line in notice.line_ids:
                self.assertIn(line.move_name, text)
            [table] = notice._get_letter_tables()
            self.assertIn(f"{table['to_pay']:,.2f}", text)
            if position == 1:
                self.assertGreater(len(reader.pages), 1)
