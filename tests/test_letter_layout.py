from lxml import html

from odoo.tests import freeze_time, tagged

from .letter_common import LetterCommon

# What the layout of German letters (module l10n_din5008) shows of a document, and what its style sheet hides.
DIN_LAYOUT = """
<t t-name="account_dunning.test_din5008">
    <div class="header"/>
    <div class="article" t-att-data-oe-model="o and o._name" t-att-data-oe-id="o and o.id">
        <div name="din_address"><t t-out="address"/></div>
        <div name="din_information"><t t-if="din5008_document_information" t-out="din5008_document_information"/></div>
        <h2>
            <t t-if="din5008_document_title" t-out="din5008_document_title"/>
            <t t-else="" t-out="docs[0].display_name"/>
        </h2>
        <t t-out="0"/>
    </div>
    <div class="footer"/>
</t>"""


@freeze_time('2024-05-01')
@tagged('post_install', '-at_install')
class TestLetterLayout(LetterCommon):
    """The documents in another layout than Odoo's own, and the names of their files."""

    def _use_din_layout(self):
        self.company.sudo().external_report_layout_id = self.env['ir.ui.view'].sudo().create({
            'type': 'qweb', 'name': "DIN 5008", 'key': 'account_dunning.test_din5008', 'arch': DIN_LAYOUT})

    def _read(self, report, record):
        content = self.env['ir.actions.report'].sudo().with_company(self.company)._render_qweb_html(
            f'account_dunning.{report}', record.ids)[0]
        page = html.fromstring(content)
        [information] = page.xpath('//*[@name="din_information"]')
        return self._text(page.xpath('//h2')[0]), ' '.join(' '.join(information.itertext()).split())

    def test_letter_in_the_german_layout_has_title_and_information(self):
        self._use_din_layout()
        notice = self._create_notice(
            self.formal, [self._line(self._create_invoice(500), self.formal)], name='/')
        title, information = self._read('action_report_dunning_notice', notice)
        self.assertEqual(title, "Formal notice to pay")
        self.assertEqual(information, (
            "Date May 1, 2024 Customer no. C-1024 Please pay by May 9, 2024 "
            "Your contact Lotte Vermeulen +32 9 123 45 68 lotte@kroon.example"))
        notice.name = 'DUN/2024/00017'
        self.assertIn("Reminder no. DUN/2024/00017", self._read('action_report_dunning_notice', notice)[1])

    def test_statement_in_the_german_layout_has_title_and_information(self):
        self._use_din_layout()
        self._create_invoice(500)
        self.assertEqual(
            self._read('action_report_statement', self.customer),
            ("Statement of open items", "Date May 1, 2024 Customer no. C-1024"))

    def test_agreement_in_the_german_layout_has_title_and_information(self):
        self._use_din_layout()
        invoice = self._create_invoice(500)
        plan = self.env['account.payment.plan'].create({
            'partner_id': self.customer.id,
            'move_line_ids': [(6, 0, invoice.line_ids.filtered(
                lambda line: line.account_id.account_type == 'asset_receivable').ids)],
        })
        title, information = self._read('action_report_payment_plan', plan)
        self.assertEqual(title, f"Payment plan {plan.name}")
        self.assertIn("Date May 1, 2024", information)
        self.assertIn(f"Payment reference {plan.name}", information)

    def test_file_is_named_after_the_level_in_the_language_of_the_recipient(self):
        notice = self._create_notice(self.formal, [self._line(self._create_invoice(500), self.formal)])
        self.assertEqual(notice._get_letter_print_name(), "Formal notice to pay DUN-2024-00017")
        self.env['res.lang'].sudo()._activate_lang('fr_FR')
        self.formal.with_context(lang='fr_FR').letter_title = "Mise en demeure: {amount_due} <{customer}>"
        self.contact.lang = 'fr_FR'
        name = notice.with_context(lang='en_US')._get_letter_print_name().replace('\N{NO-BREAK SPACE}', ' ')
        self.assertEqual(name, "Mise en demeure- $ 500,00 -Azure Interior- DUN-2024-00017")
