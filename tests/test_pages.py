import io
import re
from unittest.mock import patch

from pypdf import PdfReader

from odoo.fields import Command
from odoo.tests import freeze_time, tagged

from odoo.addons.account_dunning.utils import pagination

from .letter_common import REPORT, LetterCommon

AMOUNT = r"-?[\d,]+\.\d\d"


@freeze_time('2024-05-01')
@tagged('post_install', '-at_install')
class TestPages(LetterCommon):
    """Where documents of several pages break."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.company.sudo().external_report_layout_id = cls.env.ref('web.external_layout_standard')
        cls.invoice = cls._create_invoice(100)

    def _create_long_notice(self, level, count, **values):
        line = self._line(self.invoice, level)
        return self._create_notice(level, [
            {**line, 'move_name': f'INV/{number:05}', 'amount_total': 100.0 + number, 'amount_residual': 100.0 + number,
             'amount_due': 100.0 + number}
            for number in range(count)
        ], name=f'DUN/2024/{count:05}', **values)

    def _create_long_notices(self, counts):
        return self.env['account.dunning.notice'].union(*(
            self._create_long_notice(self.formal, count, partner=self.customer.copy()) for count in counts))

    def _print(self, records, report=REPORT):
        """The text of each page, by record."""
        reports = self.env['ir.actions.report'].sudo().with_company(self.company)
        self.env.flush_all()
        documents = reports._print_documents(reports._get_report(report), records)
        return {
            record: [
                ' '.join(page.extract_text().split()) for page in PdfReader(io.BytesIO(documents[record.id])).pages]
            for record in records
        }

    def _find_sums(self, label, page):
        match = re.search(rf"{label}\s+({AMOUNT}(?:\s+{AMOUNT})*)", page)
        return match and match[1].split()

    def test_sums_are_carried_forward_from_page_to_page(self):
        notice = self._create_long_notice(self.formal, 150)
        pages = self._print(notice)[notice]
        self.assertGreater(len(pages), 3)
        open_so_far, brought = 0.0, None
        for page in pages:
            rows = [int(number) for number in re.findall(r"INV/(\d{5})\b", page)]
            if rows:
                self.assertEqual(self._find_sums("Brought forward", page), brought)
            open_so_far += sum(100.0 + number for number in rows)
            brought = self._find_sums("Carried forward", page)
            if brought:
                self.assertEqual(brought, [f'{open_so_far:,.2f}', '0.00', f'{open_so_far:,.2f}'])
                self.assertNotIn("Total in", page)
            else:
                self.assertIs(page, pages[-1])
                self.assertIn(f"{open_so_far:,.2f}", page)
        self.assertEqual(open_so_far, 150 * 100 + sum(range(150)))

    def test_rows_of_different_height_do_not_spill_over(self):
        notice = self._create_long_notice(self.formal, 90)
        self.invoice.ref = "Your order of last week, with a long text that needs more than one line in its column"
        for line in notice.line_ids[::3]:
            line.move_id = self.invoice
        for line in notice.line_ids - notice.line_ids[::3]:
            line.move_id = False
        with self.assertNoLogs('odoo.addons.account_dunning.models.ir_actions_report', 'WARNING'):
            pages = self._print(notice)[notice]
        for page, following in zip(pages, pages[1:], strict=False):
            self.assertEqual(
                self._find_sums("Carried forward", page), self._find_sums("Brought forward", following))
            self.assertGreater(len(re.findall(r"INV/\d{5}", page)), 8)

    def test_no_page_has_only_consequences_or_a_signature(self):
        notices = self._create_long_notices(range(1, 31))
        for notice, pages in self._print(notices).items():
            with self.subTest(lines=len(notice.line_ids)):
                self.assertLessEqual(len(pages), 2)
                [signed] = [page for page in pages if "Yours sincerely" in page]
                self.assertRegex(signed, "Lotte Vermeulen ?, Kroon Brewery")
                self.assertIn("hand the matter over", signed)
                self.assertIn("To pay", signed)
                self.assertRegex(signed, r"INV/\d{5}")
                self.assertIn("Total in", signed)
                self.assertEqual(sum(page.count("Total in") for page in pages), 1)

    def test_letter_a_little_too_long_is_printed_tighter(self):
        notices = self._create_long_notices(range(6, 20, 2))
        tight = self._print(notices)
        with patch.object(pagination, 'make_compact', side_effect=lambda tree: tree):
            loose = self._print(notices)
        saved = [notice for notice in notices if len(tight[notice]) == 1 and len(loose[notice]) == 2]
        self.assertTrue(saved)
        self.assertTrue(all(len(tight[notice]) <= len(loose[notice]) for notice in notices))

    def test_signatures_of_an_agreement_stay_together(self):
        invoices = self.invoice.union(*(self._create_invoice(10) for _count in range(11)))
        lines = invoices.line_ids.filtered(lambda line: line.account_id.account_type == 'asset_receivable')
        plans = self.env['account.payment.plan']
        for count in range(1, 30):
            plans += self.env['account.payment.plan'].create({
                'partner_id': self.customer.id,
                'move_line_ids': [Command.set(lines.ids)],
                'installment_ids': [
                    Command.create({'date': f'2024-{6 + number // 28:02}-{1 + number % 28:02}', 'amount': 1.0})
                    for number in range(count)
                ],
            })
        for plan, pages in self._print(plans, 'account_dunning.action_report_payment_plan').items():
            with self.subTest(installments=len(plan.installment_ids)):
                signed = [page for page in pages if "For Kroon Brewery" in page]
                self.assertEqual(len(signed), 1)
                self.assertIn("For Azure Interior", signed[0])
                # not alone: what is signed stands above
                self.assertRegex(
                    signed[0], r"payments count for the oldest .*with the reference PLAN/\S+ ?\. .*For Kroon Brewery")

    def test_statement_carries_its_balance_forward(self):
        for _count in range(59):
            self._create_invoice(100)
        [pages] = self._print(self.customer, 'account_dunning.action_report_statement').values()
        self.assertGreater(len(pages), 1)
        for page, following in zip(pages, pages[1:], strict=False):
            rows = len(re.findall(r"INV/2024/\d{5}", page))
            self.assertTrue(rows)
            self.assertEqual(
                self._find_sums(r"Carried forward\s+\$", page), self._find_sums(r"Brought forward\s+\$", following))
        self.assertIn("Balance", pages[-1])
        self.assertIn("Please pay to", pages[-1])

    def test_document_that_does_not_fit_its_plan_is_printed_as_it_comes(self):
        notice = self._create_long_notice(self.formal, 60)
        with patch.object(pagination, 'get_room', return_value=10000.0), self.assertLogs(
            'odoo.addons.account_dunning.models.ir_actions_report', 'WARNING',
        ):
            pages = self._print(notice)[notice]
        self.assertGreater(len(pages), 1)
        text = ' '.join(pages)
        self.assertEqual(len(set(re.findall(r"INV/\d{5}\b", text))), 60)
        self.assertNotIn("forward", text)
