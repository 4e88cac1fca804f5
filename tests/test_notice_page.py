from datetime import timedelta

from lxml import html

from odoo.fields import Command
from odoo.tests import HttpCase, freeze_time, new_test_user, tagged

from .letter_common import LetterCommon


@freeze_time('2024-05-01')
@tagged('post_install', '-at_install')
class TestNoticePage(LetterCommon, HttpCase):
    """The page that letters and e-mails lead to: no login, and the same sums."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.company.sudo().dunning_procedure_id = cls.friendly.procedure_id
        cls.invoice, cls.other = cls._create_invoice(1280), cls._create_invoice(70, 20)
        cls.notice = cls._create_notice(
            cls.friendly, [cls._line(cls.invoice, cls.friendly), cls._line(cls.other, cls.friendly)],
            state='sent', sent_date=cls.today)
        cls.url = cls.notice._get_letter_portal_url()
        cls.path = cls.url.removeprefix(cls.notice.get_base_url())

    def _open(self, path=None):
        response = self.url_open(path or self.path)
        self.assertEqual(response.status_code, 200)
        return response, html.fromstring(response.content)

    def _rows(self, page):
        return [
            self._text(row).replace('\N{NO-BREAK SPACE}', ' ')
            for row in page.xpath('//*[@name="line" or @name="to_pay"]')
        ]

    def _dispute_half(self):
        self.env['account.dispute'].create({
            'move_id': self.invoice.id, 'amount': 640, 'reason': 'other', 'user_id': self.env.user.id})

    def test_page_needs_no_login_and_says_what_the_letter_says(self):
        response, page = self._open()
        self.assertNotIn('/web/login?', response.url)
        self.assertEqual(self._rows(page), [
            f"{self.invoice.name} Due on April 1, 2024, 30 days late $ 1,280.00 Pay",
            f"{self.other.name} Due on April 11, 2024, 20 days late $ 70.00 Pay",
            "To pay $ 1,350.00",
        ])
        self.assertEqual(response.headers['X-Robots-Tag'], 'noindex, nofollow')
        self.assertIn(self.invoice.access_token, page.xpath(f'//a[text()="{self.invoice.name}"]/@href')[0])
        self.assertIn("Lotte Vermeulen", response.text)

    def test_page_lowers_what_is_disputed_as_the_letter_does(self):
        self._dispute_half()
        _response, page = self._open()
        self.assertEqual(self._rows(page), [
            f"{self.invoice.name} Due on April 1, 2024, 30 days late "
            "$ 1,280.00 open, of which $ 640.00 is not asked for at present $ 640.00 Pay",
            f"{self.other.name} Due on April 11, 2024, 20 days late $ 70.00 Pay",
            "To pay $ 710.00",
        ])
        [pay] = page.xpath('//*[@name="line"][1]//a[contains(@class, "btn")]/@href')
        response = self.url_open(pay.removeprefix(self.notice.get_base_url()).partition('#')[0])
        self.assertEqual(response.status_code, 200)
        self.assertIn(f'/my/invoices/{self.invoice.id}', response.url)
        self.assertIn('640.00', response.text)

    def test_page_says_what_has_been_paid_since(self):
        self.env['account.payment.register'].with_context(
            active_model='account.move', active_ids=self.invoice.ids).create({})._create_payments()
        _response, page = self._open()
        self.assertEqual(self._rows(page)[-1], "To pay $ 70.00")
        self.assertEqual(self._text(page, 'settled'), f"Paid or credited since the letter: {self.invoice.name}")
        self.env['account.payment.register'].with_context(
            active_model='account.move', active_ids=self.other.ids).create({})._create_payments()
        _response, page = self._open()
        self.assertIn("Nothing is to be paid any more", self._text(page, 'nothing_open'))

    def test_page_of_a_courtesy_asks_for_what_will_be_due(self):
        coming = self._create_invoice(300, -3)
        later = self._create_invoice(400, -20)
        line = {**self._line(coming, self.friendly), 'amount_due': 300.0}
        notice = self._create_notice(
            self.friendly, [line, self._line(later, self.friendly, coming_due=True)], partner=self.customer.copy(),
            state='sent', sent_date=self.today)
        (coming + later).line_ids.partner_id = notice.partner_id
        notice.partner_id.lang = 'en_US'
        _response, page = self._open(notice._get_letter_portal_url().removeprefix(notice.get_base_url()))
        self.assertEqual(
            self._rows(page), [f"{coming.name} Due on May 4, 2024 $ 300.00 Pay", "To pay $ 300.00"])

    def test_address_can_be_typed(self):
        code = self.path.removeprefix('/reminder/')
        self.assertRegex(code, r"^[0-9a-f]{4}(-[0-9a-f]{4}){3}$")
        self._open(f"/reminder/{code.replace('-', '').upper()}")

    def test_unknown_old_and_withdrawn_addresses_open_nothing(self):
        for code in ('0000-0000-0000-0000', 'x', 'ö' * 16, self.notice.id, f"{self.path[-19:]}0"):
            with self.subTest(code=code):
                self.assertEqual(self.url_open(f'/reminder/{code}').status_code, 404)
        self.notice.sent_date = self.today - timedelta(days=181)
        self.assertEqual(self.url_open(self.path).status_code, 404)
        self.notice.write({'sent_date': self.today, 'state': 'cancelled'})
        self.assertEqual(self.url_open(self.path).status_code, 404)

    def test_each_notice_has_its_own_address(self):
        notices = self.notice + self._create_notice(self.friendly, [
            self._line(self._create_invoice(5, partner=self.contact), self.friendly)], partner=self.customer.copy())
        notices._ensure_portal_tokens()
        codes = notices.mapped('access_code')
        self.assertEqual(len(set(codes)), 2)
        notices._ensure_portal_tokens()
        self.assertEqual(notices.mapped('access_code'), codes)
        salesperson = new_test_user(self.env, 'page_sales', 'sales_team.group_sale_salesman')
        self.assertNotIn('access_code', self.env['account.dunning.notice'].with_user(salesperson).fields_get())

    def test_page_in_the_language_of_the_recipient(self):
        self.env['res.lang'].sudo()._activate_lang('fr_FR')
        self.contact.lang = 'fr_FR'
        response, _page = self._open()
        self.assertIn("11 avril 2024", response.text)
        self.assertIn("1er mai 2024", response.text)

    #=== PAY OVERDUE ===#

    def _open_overdue(self):
        self.customer.email = 'azure@azure.example'
        self.env['res.users'].sudo().with_context(no_reset_password=True).create({
            'name': "Azure", 'login': 'azure_portal', 'password': 'azure_portal', 'partner_id': self.customer.id,
            'group_ids': [Command.set(self.env.ref('base.group_portal').ids)],
            'company_id': self.company.id, 'company_ids': [Command.set(self.company.ids)],
        })
        self.authenticate('azure_portal', 'azure_portal')
        response = self.url_open('/my/invoices/overdue')
        self.assertEqual(response.status_code, 200)
        return response, html.fromstring(response.content)

    def test_pay_overdue_asks_for_all_that_is_overdue(self):
        _response, page = self._open_overdue()
        self.assertIn("1,350.00", self._text(page.xpath('//*[@id="wrap"]')[0]))
        self.assertFalse(page.xpath('//*[@name="partly_asked"]'))

    def test_pay_overdue_leaves_out_what_is_disputed(self):
        self._dispute_half()
        _response, page = self._open_overdue()
        text = self._text(page.xpath('//*[@id="wrap"]')[0]).replace('\N{NO-BREAK SPACE}', ' ')
        self.assertNotIn("1,350.00", text)
        self.assertIn("Amount $ 70.00", text)
        self.assertEqual(
            self._text(page, 'partly_asked').replace('\N{NO-BREAK SPACE}', ' '),
            f"{self.invoice.name}: $ 640.00 of $ 1,280.00 is asked for at present Pay")
        self.assertEqual((self.invoice + self.other)._get_amounts_asked_for(), {self.invoice: 640, self.other: 70})

    def test_pay_overdue_of_one_disputed_bill_asks_for_the_rest(self):
        self._dispute_half()
        self.env['account.payment.register'].with_context(
            active_model='account.move', active_ids=self.other.ids).create({})._create_payments()
        response, _page = self._open_overdue()
        self.assertIn(f'/my/invoices/{self.invoice.id}', response.url)
        self.assertIn('amount=640.0', response.url)

    #=== LETTER AND E-MAIL ===#

    def _receive(self, amount):
        """Money of the customer that nobody has matched yet."""
        line = self._line_of(self.other)
        bank = self.company_data['default_journal_bank']
        self.env['account.move'].create({
            'move_type': 'entry', 'date': '2024-04-20', 'journal_id': bank.id,
            'line_ids': [
                Command.create({
                    'account_id': line.account_id.id, 'partner_id': line.partner_id.id, 'balance': -amount}),
                Command.create({'account_id': bank.default_account_id.id, 'balance': amount}),
            ]}).action_post()

    def _line_of(self, move):
        return move.line_ids.filtered(lambda line: line.account_type == 'asset_receivable')

    def test_pay_overdue_asks_for_nothing_that_has_come_in(self):
        """Unmatched money covers the oldest bill first: what is covered is not asked for, and the rest is."""
        self._receive(1300)
        self.assertEqual((self.invoice + self.other)._get_amounts_asked_for(), {self.other: 50})
        self._receive(50)
        self.assertEqual((self.invoice + self.other)._get_amounts_asked_for(), {})
        _response, page = self._open_overdue()
        self.assertFalse(page.xpath('//form[@id="o_payment_form"]'), "nothing to pay")
        self.assertNotIn("1,350.00", self._text(page.xpath('//*[@id="wrap"]')[0]))

    def test_pay_overdue_asks_for_what_is_only_excluded_from_reminders(self):
        self._line_of(self.invoice).no_followup = True
        self.assertEqual(
            (self.invoice + self.other)._get_amounts_asked_for(), {self.invoice: 1280, self.other: 70})

    def test_page_asks_for_nothing_that_has_come_in(self):
        self._receive(1350)
        _response, page = self._open()
        self.assertEqual(self._rows(page), [])

    def test_page_of_a_courtesy_asks_for_nothing_that_has_come_in(self):
        self._line_of(self.invoice).date_maturity = '2024-05-04'
        self._line_of(self.other).date_maturity = '2024-05-04'
        self.notice.line_ids.sudo().days_overdue = -3
        self.assertEqual(len(self._rows(self._open()[1])), 3, "asked for before it is due")
        self._receive(1350)
        self.assertEqual(self._rows(self._open()[1]), [])

    def test_letter_names_an_address_that_can_be_read(self):
        address = self.url.partition('://')[2]
        self.assertEqual(
            self._text(self._render(self.notice), 'portal'), f"Online See your invoices and pay online: {address}")

    def test_mail_links_each_invoice_without_a_login(self):
        self.notice._ensure_portal_tokens()
        summary = html.fromstring(str(self.notice._get_mail_summary()))
        for invoice in self.invoice + self.other:
            [link] = summary.xpath(f'//a[text()="{invoice.name}"]/@href')
            self.assertTrue(link.endswith(f'/my/invoices/{invoice.id}?access_token={invoice.access_token}'), link)
        self.assertEqual(summary.xpath('//a')[-1].get('href'), self.url)
        self.assertNotIn('/my/invoices?', str(self.notice._get_mail_summary()))

    def test_mail_of_a_deleted_invoice_has_no_link(self):
        self.notice.line_ids[0].move_id = False
        summary = html.fromstring(str(self.notice._get_mail_summary()))
        self.assertFalse(summary.xpath(f'//a[text()="{self.invoice.name}"]'))
        self.assertIn(self.invoice.name, summary.text_content())

    def test_mail_fits_a_phone(self):
        self.notice.sudo().write({'line_ids': [Command.create(self._line(self.other, self.friendly))]})
        summary = html.fromstring(str(self.notice._get_mail_summary()))
        for row in summary.xpath('//tr'):
            self.assertLessEqual(len(row.xpath('./td')), 2)
