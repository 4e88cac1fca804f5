import base64
import io
from pathlib import Path
from unittest.mock import patch

from PIL import Image
from pypdf import PdfReader

from odoo.exceptions import UserError
from odoo.tests import freeze_time, tagged
from odoo.tools.pdf import merge_pdf

from odoo.addons.account_dunning.models import ir_actions_report
from odoo.addons.account_dunning.utils import css

from .common import DunningCommon

REPORT = 'account_dunning.action_report_dunning_notice'


@freeze_time('2024-05-01')
@tagged('post_install', '-at_install')
class TestPrinting(DunningCommon):
    """Letters are printed by wkhtmltopdf without a web server: styled and whole, or not at all."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.company.partner_id.sudo().name = "Kroon Brewery"
        cls.company.sudo().external_report_layout_id = cls.env.ref('web.external_layout_standard')
        cls.env['ir.config_parameter'].sudo().set_param('report.url', 'http://127.0.0.1:9')
        cls.line = cls._create_due_invoice('2024-04-01')[:1]

    def _create_notice(self, partner=None, line_count=1, **values):
        notice = self.Notice.sudo().create({
            'company_id': self.company.id,
            'partner_id': (partner or self.partner_a).id,
            'procedure_id': self.procedure.id,
            'level_id': self.level_1.id,
            'date': '2024-05-01',
            'line_ids': [(0, 0, {
                'move_line_id': self.line.id, 'move_id': self.line.move_id.id, 'move_name': f"INV/{number}",
                'date_maturity': '2024-04-01', 'days_overdue': 30, 'amount_total': 100.0, 'amount_residual': 100.0,
                'amount_due': 100.0, 'currency_id': self.line.currency_id.id,
            }) for number in range(line_count)],
            **values,
        })
        self.env.flush_all()
        return notice

    def _print(self, notices):
        report = self.env['ir.actions.report'].sudo()
        return report._print_documents(report._get_report(REPORT), notices)

    def _read(self, document):
        return [page.extract_text() for page in PdfReader(io.BytesIO(document)).pages]

    def _create_picture(self, **values):
        picture = io.BytesIO()
        Image.new('RGB', (8, 8), 'red').save(picture, 'PNG')
        return self.env['ir.attachment'].sudo().create({'name': "Seal", 'raw': picture.getvalue(), **values})

    def _count_pictures(self, document):
        return sum(len(page.images) for page in PdfReader(io.BytesIO(document)).pages)

    #=== WITHOUT A SERVER ===#

    def test_letter_is_styled_although_no_server_answers(self):
        notice = self._create_notice()
        document = self._print(notice)[notice.id]
        self.assertIn("Page", self._read(document)[0])
        self.assertIn("Kroon Brewery", self._read(document)[0])
        fonts = {
            font['/BaseFont'] for page in PdfReader(io.BytesIO(document)).pages
            for font in (value.get_object() for value in page['/Resources']['/Font'].values())
        }
        self.assertTrue(any('Lato' in font for font in fonts), f"the company's font is missing: {fonts}")

    def test_each_page_has_its_number_and_header(self):
        long, short = self._create_notice(line_count=80), self._create_notice(self.partner_b)
        documents = self._print(long + short)
        pages = self._read(documents[long.id])
        self.assertGreater(len(pages), 1)
        for number, page in enumerate(pages, start=1):
            self.assertIn("Kroon Brewery", page)
            self.assertIn(f"Page {number} / {len(pages)}", ' '.join(page.split()))
        self.assertEqual(len(self._read(documents[short.id])), 1)
        self.assertIn("Page 1 / 1", ' '.join(self._read(documents[short.id])[0].split()))

    def test_button_and_delivery_print_the_same_way(self):
        notice = self._create_notice()
        document, kind = self.env['ir.actions.report'].sudo().with_context(
            force_report_rendering=True)._render_qweb_pdf(REPORT, notice.ids)
        self.assertEqual(kind, 'pdf')
        self.assertEqual(self._read(document), self._read(self._print(notice)[notice.id]))

    def test_companies_and_languages_of_one_batch_keep_their_own(self):
        self.env['res.lang']._activate_lang('fr_FR')
        other = self.setup_other_company(name="Zythos")['company']
        notice = self._create_notice()
        self.partner_b.lang = 'fr_FR'
        foreign = self._create_notice(self.partner_b, line_count=0, company_id=other.id)
        documents = self._print(notice + foreign)
        self.assertIn("Kroon Brewery", self._read(documents[notice.id])[0])
        self.assertNotIn("Zythos", self._read(documents[notice.id])[0])
        self.assertIn("Zythos", self._read(documents[foreign.id])[0])
        self.assertNotIn("Kroon Brewery", self._read(documents[foreign.id])[0])

    def test_nothing_is_printed_without_wkhtmltopdf(self):
        notice = self._create_notice()
        with patch.object(type(self.env['ir.actions.report']), 'get_wkhtmltopdf_state', lambda self: 'install'):
            with self.assertRaisesRegex(UserError, "not installed"):
                self._print(notice)

    def test_error_of_wkhtmltopdf_is_an_error(self):
        notice = self._create_notice()
        with patch.object(ir_actions_report, '_wkhtml', lambda: type('Broken', (), {'bin': '/bin/false'})):
            with self.assertRaisesRegex(UserError, "could not be printed"):
                self._print(notice)

    def test_missing_style_sheet_is_an_error(self):
        notice = self._create_notice()
        with patch.object(type(self.env['ir.actions.report']), '_get_style_sheet', side_effect=UserError("No style")):
            with self.assertRaisesRegex(UserError, "No style"):
                self._print(notice)

    def test_printed_letters_can_be_merged_with_other_files(self):
        notice = self._create_notice(line_count=80)
        document = self._print(notice)[notice.id]
        merged = merge_pdf([document, document])
        self.assertEqual(self._read(merged), self._read(document) * 2)

    #=== WHAT A LETTER MAY SHOW ===#

    def _print_with_footer(self, footer):
        # As written into the database, past the cleaning of HTML fields
        self.company.sudo().report_footer = False
        self.env.flush_all()
        self.env.cr.execute(
            "UPDATE res_company SET report_footer = jsonb_build_object('en_US', %s) WHERE id = %s",
            [footer, self.company.id])
        self.env.invalidate_all()
        notice = self.Notice.search([('company_id', '=', self.company.id)], limit=1) or self._create_notice()
        return self._print(notice.sudo())[notice.id]

    def test_files_of_the_server_are_not_printed(self):
        secret = Path(self.env['ir.attachment']._filestore()).resolve() / 'secret.txt'
        for address in ('file:///etc/hostname', f'file://{secret}', '/etc/hostname', '//etc/hostname',
                        '/web/static/../../../../../../../../etc/hostname', '/account_dunning/__manifest__.py',
                        '/account_dunning/static/../__manifest__.py'):
            for html in (f'<img src="{address}">', f'<div style="background: url({address})">x</div>',
                         f'<svg><image href="{address}"/></svg>'):
                with self.subTest(html=html), self.assertRaisesRegex(UserError, "can't be printed"):
                    self._print_with_footer(html)

    def test_frames_and_scripts_print_nothing(self):
        document = self._print_with_footer(
            '<p>Before</p><iframe src="file:///etc/hostname"></iframe><object data="file:///etc/hostname"></object>'
            '<script>document.write("scripted")</script><p>After</p><embed src="file:///etc/hostname">')
        text = self._read(document)[0]
        self.assertIn("Before", text)
        self.assertIn("After", text)
        self.assertNotIn("scripted", text)
        self.assertNotIn(Path('/etc/hostname').read_text().strip(), text)

    def test_nothing_is_fetched_from_the_network(self):
        for address in ('http://127.0.0.1:9/x.png', 'https://tracker.example/x.png', '//tracker.example/x.png',
                        'ftp://tracker.example/x.png'):
            with self.subTest(address=address), self.assertRaisesRegex(UserError, "can't be printed"):
                self._print_with_footer(f'<img src="{address}">')

    def test_attachments_of_others_are_not_printed(self):
        picture = self._create_picture(res_model='res.partner', res_id=self.partner_b.id)
        for address in (f'/web/image/{picture.id}', f'/web/content/{picture.id}', f'/web/image?id={picture.id}',
                        f'/web/image/ir.attachment/{picture.id}/raw', f'/web/image/{picture.id}?access_token=guess',
                        f'/web/image/res.partner/{self.partner_b.id}/image_1920'):
            with self.subTest(address=address), self.assertRaisesRegex(UserError, "can't be printed"):
                self._print_with_footer(f'<img src="{address}">')

    def test_pictures_that_users_put_into_the_footer_are_printed(self):
        picture = self._create_picture()
        token = picture.generate_access_token()[0]
        bare = self._count_pictures(self._print_with_footer('<p>No picture</p>'))
        data = base64.b64encode(picture.raw).decode()
        public = self._create_picture(public=True)
        for address in (f'/web/image/{picture.id}-1a2b/seal.png?access_token={token}', f'/web/image/{public.id}',
                        '/web/static/img/logo.png', f'data:image/png;base64,{data}',
                        f'{self.company.get_base_url()}/web/image/{public.id}',
                        '/report/barcode/QR/pay?width=50&amp;height=50', f'/logo.png?company={self.company.id}'):
            with self.subTest(address=address):
                document = self._print_with_footer(f'<img src="{address}" style="width: 20px">')
                self.assertEqual(self._count_pictures(document), bare + 1)

    def test_markup_in_a_name_is_text(self):
        self.partner_a.name = '<img src="file:///etc/hostname"> & Sons'
        notice = self._create_notice()
        self.assertIn('<img src="file:///etc/hostname"> & Sons', self._read(self._print(notice)[notice.id])[0])

    #=== STYLE SHEETS ===#

    def test_purged_style_sheet_keeps_what_can_match(self):
        names = frozenset({'p', 'td', '.total', '.w-1/2', '#letter'})
        kept = css.purge(
            "@import url(x.css); p{a:b} .gone{a:b} p.total,p.gone{a:b} #letter > td:first-child{a:b} .w-1\\/2{a:b} "
            "table td{a:b} *{a:b} td:not(.gone){a:b} [data-x='},']{a:b} @media print{.total{a:b}.gone{a:b}} "
            "@media screen{.gone{a:b}} @font-face{font-family:'Used';src:url(u.woff)} "
            "@font-face{font-family:'Spare';src:url(s.woff)} .total{font-family:Used} @keyframes k{from{a:b}}", names)
        self.assertEqual(kept, (
            "@font-face{font-family:'Used';src:url(u.woff)}p{a:b}p.total{a:b}#letter > td:first-child{a:b}.w-1\\/2{a:b}"
            "*{a:b}td:not(.gone){a:b}[data-x='},']{a:b}@media print{.total{a:b}}.total{font-family:Used}"))
