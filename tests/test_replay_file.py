"""The file that ./dev replay reads. Not imported by tests/__init__.py: tools/ is no part of an installed addon."""
import tempfile
from datetime import date
from decimal import Decimal
from pathlib import Path

from odoo.tests import BaseCase

from odoo.addons.account_dunning.tools.environment.ui import Failure
from odoo.addons.account_dunning.tools.proofs import receivables

HEAD = (
    "countryCode,customerID,PaperlessDate,invoiceNumber,InvoiceDate,DueDate,InvoiceAmount,Disputed,SettledDate,"
    "PaperlessBill,DaysToSettle,DaysLate\n"
)
GOOD = "391,0379-NEVHP,4/6/2013,611365,1/2/2013,2/1/2013,55.94,No,1/15/2013,Paper,13,0\n"


class TestReplayFile(BaseCase):

    def _read(self, content):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / 'bills.csv'
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
            return receivables.read(path)

    def _read_broken(self, **fields):
        """A good line, one with these fields changed, and a good one again; returns the sentence about it."""
        names = HEAD.strip().split(',')
        values = dict(zip(names, GOOD.strip().split(','), strict=True), invoiceNumber='2')
        line = ','.join({**values, **fields}[name] for name in names) + '\n'
        bills, problems = self._read(HEAD + GOOD + line + GOOD.replace('611365', '3'))
        self.assertEqual([bill.number for bill in bills], ['611365', '3'], "The rest is kept")
        [problem] = problems
        self.assertTrue(problem.startswith("line 3: "), problem)
        return problem

    def test_a_line_becomes_a_bill(self):
        bills, problems = self._read(HEAD + GOOD)
        self.assertEqual(problems, [])
        self.assertEqual(bills, [receivables.Bill(
            line=2, customer='0379-NEVHP', number='611365', date=date(2013, 1, 2), due=date(2013, 2, 1),
            amount=Decimal('55.94'), is_disputed=False, settled=date(2013, 1, 15), is_paperless=False,
        )])

    def test_disputed_electronic_and_unpaid(self):
        [bill], _problems = self._read(
            HEAD + "391,A,,1,1/2/2013,2/1/2013,10,Yes,,Electronic,,\n")
        self.assertTrue(bill.is_disputed)
        self.assertTrue(bill.is_paperless)
        self.assertIsNone(bill.settled)

    def test_byte_order_mark_and_windows_line_ends(self):
        bills, problems = self._read(b'\xef\xbb\xbf' + (HEAD + GOOD).replace('\n', '\r\n').encode())
        self.assertEqual((len(bills), problems), (1, []))

    def test_order_of_columns_does_not_matter(self):
        names = list(receivables.COLUMNS)
        values = dict(zip(HEAD.strip().split(','), GOOD.strip().split(','), strict=True))
        bills, _problems = self._read(
            ','.join(reversed(names)) + '\n' + ','.join(values[name] for name in reversed(names)) + '\n')
        self.assertEqual(bills[0].amount, Decimal('55.94'))

    def test_broken_dates(self):
        self.assertIn("DueDate “31/1/2013” is no date", self._read_broken(DueDate='31/1/2013'))
        self.assertIn("InvoiceDate “” is no date", self._read_broken(InvoiceDate=''))
        self.assertIn("before its date", self._read_broken(DueDate='1/1/2013'))
        self.assertIn("before its date", self._read_broken(SettledDate='1/1/2013'))

    def test_broken_amounts(self):
        for text in ('abc', '', 'NaN', 'Infinity'):
            self.assertIn("is no number", self._read_broken(InvoiceAmount=text))
        for text in ('0', '-5', '1e15'):
            self.assertIn("is no amount", self._read_broken(InvoiceAmount=text))
        self.assertIn("fractions", self._read_broken(InvoiceAmount='1.005'))

    def test_broken_words(self):
        self.assertIn("neither Yes nor No", self._read_broken(Disputed='maybe'))
        self.assertIn("neither Electronic nor Paper", self._read_broken(PaperlessBill='Fax'))
        self.assertIn("customerID is empty", self._read_broken(customerID=''))

    def test_same_invoice_twice(self):
        self.assertIn("stands in line 2 already", self._read_broken(invoiceNumber='611365'))

    def test_too_many_and_too_few_fields(self):
        bills, problems = self._read(HEAD + GOOD + GOOD.strip() + ",x\n" + "391,B\n")
        self.assertEqual(len(bills), 1)
        self.assertEqual([problem.split(':')[0] for problem in problems], ["line 3", "line 4"])

    def test_unusable_files_are_one_sentence(self):
        with self.assertRaisesRegex(Failure, "cannot be read"):
            receivables.read('/nowhere/bills.csv')
        with self.assertRaisesRegex(Failure, "cannot be read"):
            receivables.read(tempfile.gettempdir())
        with self.assertRaisesRegex(Failure, "is empty"):
            self._read('')
        with self.assertRaisesRegex(Failure, "no invoice"):
            self._read(HEAD)
        with self.assertRaisesRegex(Failure, "no invoice that can be used; the first of 1 broken lines: line 2"):
            self._read(HEAD + GOOD.replace('55.94', 'x'))
        with self.assertRaisesRegex(Failure, "lacks the columns Disputed, PaperlessBill"):
            self._read(HEAD.replace('Disputed', 'a').replace('PaperlessBill', 'b') + GOOD)
        with self.assertRaisesRegex(Failure, "twice"):
            self._read(HEAD.replace('DaysLate', 'DueDate') + GOOD)
        with self.assertRaisesRegex(Failure, "UTF-8"):
            self._read(HEAD.encode() + 'é'.encode('latin-1') + GOOD.encode())
