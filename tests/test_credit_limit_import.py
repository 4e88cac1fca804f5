import base64

from odoo.exceptions import AccessError, UserError
from odoo.tests import Form, freeze_time, tagged

from .credit_common import CreditCommon


@tagged('post_install', '-at_install')
@freeze_time('2024-06-10')
class TestCreditLimitImport(CreditCommon):
    """Limits from a credit insurer's list."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.customer.write({'vat': 'BE0477472701', 'ref': 'C-1', 'credit_limit': 100})
        cls.contact.ref = 'C-9'
        cls.second = cls.env['res.partner'].create({
            'name': "Second", 'is_company': True, 'company_registry': '123 456 789', 'credit_limit': 100})
        cls.third = cls.env['res.partner'].create({'name': "Third", 'is_company': True, 'ref': 'c 3'})
        cls.env['account.credit.event'].sudo().search([]).unlink()

    def _list(self, text, user=None, encoding='utf-8', **values):
        return self.env['account.credit.limit.import'].with_user(user or self.credit_manager).create({
            'name': "insurer.csv", 'file': base64.b64encode(text.encode(encoding)), 'decimal_separator': '.', **values})

    def _read(self, text, **values):
        record = self._list(text, **values)
        record.action_read()
        return record

    def _rows(self, record):
        return [(line.number, line.partner_id.name, line.before, line.amount, line.state)
                for line in record.line_ids.sorted('number')]

    def _limits(self):
        return [partner.credit_limit for partner in (self.customer, self.second, self.third)]

    def test_reading_changes_nothing_and_applying_all(self):
        record = self._read(
            "VAT;Company registry;Reference;Name;Amount\n"
            "BE 0477.472.701;;;Miller;5,000.50\n"
            ";123456789;;Second;100\n"
            ";;C3;Third;700\n"
            ";;X-1;Nobody;900\n"
            "\n")
        self.assertEqual(self._rows(record), [
            (2, "Miller Ltd", "$\xa0100.00", 5000.5, 'change'),
            (3, "Second", "$\xa0100.00", 100, 'same'),
            (4, "Third", "None", 700, 'change'),
            (5, False, '', 900, 'unknown'),
        ])
        self.assertEqual((record.state, record.change_count, record.skipped_count), ('read', 2, 2))
        self.assertEqual(record.line_ids.filtered(lambda line: line.state == 'unknown').message,
                         "No customer has this number.")
        self.assertEqual(self._limits(), [100, 100, 0])
        record.action_apply()
        self.assertEqual(self._limits(), [5000.5, 100, 700])
        self.assertRecordValues(record, [{
            'state': 'done', 'user_id': self.credit_manager.id}])
        attachment = record.message_ids.attachment_ids
        self.assertEqual((attachment.name, attachment.raw.split(b';')[0]), ("insurer.csv", b'VAT'))
        events = self.env['account.credit.event'].sudo().search([('kind', '=', 'limit')], order='partner_id')
        self.assertEqual(
            [(event.partner_id, event.amount, event.user_id, event.note) for event in events],
            [(self.customer, 5000.5, self.credit_manager, "List: insurer.csv"),
             (self.third, 700, self.credit_manager, "List: insurer.csv")])
        with self.assertRaisesRegex(UserError, "Read the list first"):
            record.action_apply()
        with self.assertRaisesRegex(UserError, "stays on record"):
            record.unlink()
        with self.assertRaises(AccessError):
            record.file = base64.b64encode(b"VAT;Amount\n")

    def test_vat_comes_before_registry_before_reference(self):
        record = self._read("Reference,SIREN,TVA,Montant\nC-1,123456789,BE0477472701,7\nC-1,123456789,,8\n")
        self.assertEqual([line.partner_id for line in record.line_ids], [self.customer, self.second])
        record = self._read("Reference,SIREN,TVA,Montant\nC3,999,BE999,8\n")
        self.assertEqual(record.line_ids.partner_id, self.third)

    def test_the_number_of_a_contact_is_nobodys(self):
        record = self._read("Reference;Amount\nC-9;8\n")
        self.assertEqual(self._rows(record), [(2, False, '', 8, 'unknown')])

    def test_several_customers_with_one_number_are_left_out(self):
        self.second.ref = 'C-1'
        record = self._read("Reference;Amount\nC-1;8\nC3;9\n")
        self.assertEqual(record.line_ids[0].state, 'unknown')
        self.assertIn("Several customers have this number: Miller Ltd, Second", record.line_ids[0].message)

    def test_wrong_numbers_are_told_and_nothing_is_applied(self):
        for separator, text, message in (
            ('.', "1,5", "“1,5” is no amount with a decimal point."),
            (',', "1.5", "“1.5” is no amount with a decimal comma."),
            ('.', "", "The amount is missing."),
            ('.', "-5", "“-5” is no amount with a decimal point."),
            ('.', "1e5", "“1e5” is no amount with a decimal point."),
            ('.', "NaN", "“NaN” is no amount with a decimal point."),
            ('.', "10 USD", "“10 USD” is no amount with a decimal point."),
            ('.', "0", "The amount must be more than zero: a limit of zero would be no limit at all."),
            ('.', "99999999999999", "“99999999999999” is too much."),
        ):
            with self.subTest(text=text):
                record = self._read(
                    f"Reference;Amount\nC-1;{text}\nC3;500\n", decimal_separator=separator)
                self.assertEqual((record.line_ids[0].state, record.line_ids[0].message), ('fault', message))
                with self.assertRaisesRegex(UserError, "Lines of the list at fault: 1"):
                    record.action_apply()
        self.assertEqual(self._limits(), [100, 100, 0])

    def test_amounts(self):
        for separator, text, amount in (
            ('.', "1,234.50", 1234.5), ('.', "1,234", 1234), ('.', "1234.5", 1234.5), ('.', "1 234.50", 1234.5),
            (',', "1.234,50", 1234.5), (',', "1.234", 1234), (',', "1234,5", 1234.5), (',', "1\u202f234,50", 1234.5),
            ('.', "1'234.50", 1234.5), ('.', "0.01", 0.01),
        ):
            with self.subTest(text=text):
                record = self._read(f'Reference;Amount\nC-1;"{text}"\n', decimal_separator=separator)
                self.assertEqual(record.line_ids.amount, amount)

    def test_a_customer_twice_is_a_fault(self):
        record = self._read("Reference;VAT;Amount\nC-1;;8\n;BE0477472701;9\nC3;;9\n")
        self.assertEqual([line.state for line in record.line_ids], ['fault', 'fault', 'change'])
        self.assertIn("more than once: lines 2, 3", record.line_ids[0].message)

    def test_currency(self):
        euro = self.setup_other_currency('EUR', rates=[('2024-01-01', 2.0)])
        record = self._read("Reference;Amount;Currency\nC-1;800;EUR\nC3;9;XXQ\n")
        self.assertEqual(record.line_ids[1].message, "“XXQ” is no currency.")
        record = self._read("Reference;Amount;Currency\nC-1;800;eur\nC3;9;USD\n")
        record.action_apply()
        self.assertRecordValues(self.customer, [{
            'credit_limit_in_currency': 800, 'credit_limit_currency_id': euro.id}])
        self.assertEqual(self.third.credit_limit, 9)
        record = self._read("Reference;Amount;Currency\nC-1;800;EUR\n")
        self.assertEqual(record.line_ids.state, 'same')
        self._read("Reference;Amount\nC-1;100\n").action_apply()
        self.assertRecordValues(self.customer, [{
            'credit_limit': 100, 'credit_limit_in_currency': 0, 'credit_limit_currency_id': False}])

    def test_insured_amounts(self):
        record = self._read(
            "Reference;Amount;Valid until\nC-1;800;2024-12-31\nC3;900;\n", kind='insured')
        record.action_apply()
        covers = self.env['account.credit.cover'].search([], order='amount')
        self.assertRecordValues(covers, [
            {'partner_id': self.customer.id, 'amount': 800, 'kind': 'insured', 'reference': "insurer.csv"},
            {'partner_id': self.third.id, 'amount': 900, 'kind': 'insured', 'reference': "insurer.csv"}])
        self.assertEqual(str(covers[0].date_until), '2024-12-31')
        self.assertEqual(self._limits(), [100, 100, 0])
        record = self._read("Reference;Amount;Valid until\nC-1;700;2025-12-31\nC3;900;\n", kind='insured')
        self.assertEqual([line.state for line in record.line_ids], ['change', 'same'])
        record.action_apply()
        self.assertEqual((covers[0].amount, str(covers[0].date_until)), (700, '2025-12-31'))

    def test_dates(self):
        for text, kind, message in (
            ('31/12/2024', 'insured', "“31/12/2024” is no date like 2025-12-31."),
            ('2024-13-01', 'insured', "“2024-13-01” is no date like 2025-12-31."),
            ('2024-06-09', 'insured', "It ended on 2024-06-09."),
            ('2024-12-31', 'limit', "A credit limit from a list has no end: leave the column out."),
        ):
            with self.subTest(text=text, kind=kind):
                record = self._read(f"Reference;Amount;Valid until\nC-1;8;{text}\n", kind=kind)
                self.assertEqual((record.line_ids.state, record.line_ids.message), ('fault', message))

    def test_files_that_can_not_be_read(self):
        for content, sentence in (
            (b'', "must name the columns"),
            (b'Foo;Bar\n1;2\n', "must name the columns.*It is: Foo;Bar"),
            (b'VAT;Name\n1;2\n', "must name the columns"),
            (b'VAT;TVA;Amount\n1;2;3\n', "the same meaning"),
            (b'PK\x03\x04\0\0', "no CSV file"),
        ):
            with self.subTest(content=content), self.assertRaisesRegex(UserError, sentence):
                self.env['account.credit.limit.import'].create({
                    'name': "x", 'file': base64.b64encode(content) or base64.b64encode(b'\n'),
                    'decimal_separator': '.'}).action_read()

    def test_other_encodings_and_a_byte_order_mark(self):
        for encoding in ('utf-8-sig', 'cp1252'):
            with self.subTest(encoding=encoding):
                record = self._read("Référence;Montant\nC-1;8\n", encoding=encoding)
                self.assertEqual(record.line_ids.partner_id, self.customer)

    def test_what_has_changed_since_is_shown_again(self):
        record = self._read("Reference;Amount\nC-1;500\nC3;7\n")
        self.customer.credit_limit = 300
        action = record.action_apply()
        self.assertEqual(action['tag'], 'display_notification')
        self.assertEqual((record.state, self._limits()), ('read', [300, 100, 0]))
        self.assertEqual(record.line_ids[0].before, "$\xa0300.00")
        record.action_apply()
        self.assertEqual(self._limits(), [500, 100, 7])

    def test_what_two_have_to_approve_is_a_fault(self):
        self.company.credit_second_approval_amount = 400
        record = self._read("Reference;Amount\nC-1;400.01\nC3;7\n")
        self.assertEqual(record.line_ids[0].state, 'fault')
        self.assertIn("needs two credit managers", record.line_ids[0].message)
        self._read("Reference;Amount\nC-1;400\n").action_apply()
        self.assertEqual(self.customer.credit_limit, 400)

    def test_a_shared_limit_is_left_out(self):
        self.env['account.credit.group'].create({
            'name': "Group", 'amount': 100, 'partner_ids': self.customer.ids})
        record = self._read("Reference;Amount\nC-1;400\nC3;7\n")
        self.assertEqual([line.state for line in record.line_ids], ['unknown', 'change'])
        self.assertIn("Shares the limit of Group", record.line_ids[0].message)

    def test_another_file_has_to_be_read_again(self):
        record = self._read("Reference;Amount\nC-1;400\n")
        with Form(record) as form:
            form.file = base64.b64encode(b"Reference;Amount\nC-1;500\n").decode()
        self.assertEqual((record.state, len(record.line_ids)), ('draft', 0))
        with self.assertRaisesRegex(UserError, "Read the list first"):
            record.action_apply()

    def test_who_may(self):
        for user in (self.salesperson, self.company_data['default_user_salesman']):
            with self.assertRaises(AccessError):
                self._list("Reference;Amount\nC-1;400\n", user=user)
        record = self._read("Reference;Amount\nC-1;400\n")
        for method in ('action_read', 'action_apply'):
            with self.subTest(method=method), self.assertRaises(AccessError):
                getattr(record.with_user(self.salesperson), method)()
        for values in ({'state': 'done'}, {'user_id': self.salesperson.id}):
            with self.subTest(values=values), self.assertRaises(AccessError):
                record.write(values)
        with self.assertRaises(AccessError):
            record.line_ids.write({'amount': 1e6})
        self.assertEqual(self.customer.credit_limit, 100)

    def test_a_long_list_costs_few_queries(self):
        partners = self.env['res.partner'].create([
            {'name': f"P{number}", 'ref': f"P{number}", 'is_company': True} for number in range(200)])
        text = "Reference;Amount\n" + "".join(f"P{number};{number + 1}\n" for number in range(200))
        record = self._list(text)
        self.env.flush_all()
        self.env.invalidate_all()
        before = self.env.cr.sql_log_count
        record.action_read()
        self.env.flush_all()
        self.assertLess(self.env.cr.sql_log_count - before, 60)
        record.action_apply()
        self.assertEqual(partners.mapped('credit_limit'), [float(number + 1) for number in range(200)])
