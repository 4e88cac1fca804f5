import base64
import binascii
import csv
import io
import re
from typing import NamedTuple

from odoo import api, fields, models
from odoo.exceptions import AccessError, UserError
from odoo.tools import SQL, formatLang

# The columns by what their titles may be, in small letters
COLUMNS = {
    'vat': ('vat', 'vat number', 'tax id', 'tva', 'n° tva', 'numéro de tva', 'vat-id', 'ust-id'),
    'company_registry': (
        'company registry', 'registry', 'registration number', 'company id', 'siren', 'siret', 'registre'),
    'ref': ('reference', 'ref', 'customer number', 'customer reference', 'référence', 'numéro de client'),
    'name': ('name', 'customer', 'company', 'nom', 'client', 'raison sociale'),
    'amount': ('amount', 'limit', 'credit limit', 'insured amount', 'montant', 'limite', 'limite de crédit'),
    'currency': ('currency', 'devise'),
    'date_until': ('valid until', 'until', 'end date', "valable jusqu'au", 'date de fin'),
}
KEYS = ('vat', 'company_registry', 'ref')
MAX_BYTES = 5_000_000
MAX_ROWS = 20_000
MAX_AMOUNT = 1e12


class LimitRow(NamedTuple):
    """A line of the list, and what becomes of it."""

    number: int  # in the file; the titles are line 1
    text: str  # who is meant, in the words of the file
    partner_id: int = False
    amount: float = 0.0
    currency_id: int = False
    date_until: object = False
    before: str = ''
    state: str = 'change'
    message: str = ''


class AccountCreditLimitImport(models.Model):
    """Limits or insured amounts from a list, such as a credit insurer's: read first, applied when somebody has looked.

    Reading changes nothing. Applying looks again, and changes all that the table shows or nothing. The list stays on
    record with its file.
    """

    _name = 'account.credit.limit.import'
    _description = "List of credit limits"
    _inherit = ['account.dunning.guarded', 'mail.thread']
    _order = 'id desc'
    _mail_post_access = 'read'

    name = fields.Char(string="File name", required=True, default=lambda self: self.env._("New list"))
    company_id = fields.Many2one(
        comodel_name='res.company', required=True, index=True, ondelete='cascade',
        default=lambda self: self.env.company.root_id)
    file = fields.Binary(string="CSV file", required=True, attachment=True)
    kind = fields.Selection(
        selection=[('limit', "Credit limits"), ('insured', "Insured amounts")],
        string="The list has",
        required=True,
        default='limit',
    )
    decimal_separator = fields.Selection(
        selection=[('.', "Point: 1,234.50"), (',', "Comma: 1.234,50")],
        string="Decimals",
        required=True,
        default=lambda self: self._default_decimal_separator(),
    )
    state = fields.Selection(
        selection=[('draft', "Not read yet"), ('read', "Read"), ('done', "Applied")],
        required=True,
        readonly=True,
        copy=False,
        default='draft',
        tracking=True,
    )
    line_ids = fields.One2many(
        comodel_name='account.credit.limit.import.line', inverse_name='import_id', readonly=True, copy=False)
    change_count = fields.Integer(string="Changes", compute='_compute_counts')
    fault_count = fields.Integer(string="Faults", compute='_compute_counts')
    skipped_count = fields.Integer(string="Not changed", compute='_compute_counts')
    user_id = fields.Many2one(
        comodel_name='res.users', string="Applied by", readonly=True, copy=False, ondelete='set null')
    date_done = fields.Date(string="Applied on", readonly=True, copy=False)

    @api.model
    def _default_decimal_separator(self):
        separator = self.env['res.lang']._get_data(code=self.env.user.lang or 'en_US').decimal_point
        return separator if separator in ('.', ',') else '.'

    #=== COMPUTE METHODS ===#

    @api.depends('line_ids.state')
    def _compute_counts(self):
        for record in self:
            states = record.line_ids.mapped('state')
            record.change_count = states.count('change')
            record.fault_count = states.count('fault')
            record.skipped_count = len(states) - record.change_count - record.fault_count

    #=== CRUD METHODS ===#

    def write(self, vals):
        if not self.env.su and not {'file', 'kind', 'decimal_separator', 'company_id', 'name'}.isdisjoint(vals):
            if self.filtered(lambda record: record.state == 'done'):
                raise AccessError(self.env._("A list that was applied stays as it is."))
            result = super().write(vals)
            self.sudo().line_ids.unlink()
            self.sudo().write({'state': 'draft'})
            return result
        return super().write(vals)

    @api.ondelete(at_uninstall=False)
    def _unlink_except_applied(self):
        if self.filtered(lambda record: record.state == 'done'):
            raise UserError(self.env._("A list that was applied stays on record."))

    #=== ACTION METHODS ===#

    def action_read(self):
        """Read the list and show what it would change; changes nothing.

        :raise AccessError: when the user may not change limits
        :raise UserError: when the file can't be read at all
        """
        self._check_importer()
        for record in self:
            record.sudo()._show(record.sudo()._read_rows())
        return True

    def action_apply(self):
        """Change all that the table shows, or nothing.

        :raise AccessError: when the user may not change limits
        :raise UserError: when a line of the list is at fault, or nothing is to be changed
        """
        self._check_importer()
        self.ensure_one()
        if self.state != 'read':
            raise UserError(self.env._("Read the list first, and look at what it would change."))
        record = self.sudo()
        rows = record._read_rows()
        if record._get_outcome(rows) != record._get_shown():
            record._show(rows)
            return {
                'type': 'ir.actions.client',
                'tag': 'display_notification',
                'params': {
                    'type': 'warning',
                    'message': self.env._("Something has changed since the list was read: look at it again."),
                    'next': {'type': 'ir.actions.client', 'tag': 'soft_reload'},
                },
            }
        if record.fault_count:
            raise UserError(self.env._(
                "Lines of the list at fault: %(count)d. Correct the file; nothing was changed.",
                count=record.fault_count))
        changes = [row for row in rows if row.state == 'change']
        if not changes:
            raise UserError(self.env._("The list changes nothing."))
        reason = self.env._("List: %(name)s", name=record.name)
        if record.kind == 'limit':
            self.env['res.partner']._set_credit_limits(record.company_id, {
                self.env['res.partner'].browse(row.partner_id): (
                    row.amount, self.env['res.currency'].browse(row.currency_id)) for row in changes
            }, reason)
        else:
            record._apply_insured(changes)
        record.write({
            'state': 'done', 'user_id': self.env.uid, 'date_done': record.company_id._get_dunning_today()})
        record.message_post(
            body=self.env._("Customers changed: %(count)d", count=len(changes)),
            attachments=[(record.name, base64.b64decode(record.file))], author_id=self.env.user.partner_id.id)
        return True

    #=== BUSINESS METHODS ===#

    def _check_importer(self):
        if not self.env['res.partner']._may_change_credit_terms():
            raise AccessError(self.env._(
                "Only a credit manager or an accounting administrator can read in credit limits."))
        self.check_access('write')

    def _show(self, rows):
        self.line_ids.unlink()
        self.env['account.credit.limit.import.line'].create([
            {'import_id': self.id, **row._asdict()} for row in rows])
        self.state = 'read'

    @api.model
    def _get_outcome(self, rows):
        return [(row.number, row.partner_id or False, row.amount, row.currency_id or False, row.date_until or False,
                 row.state, row.before) for row in rows]

    def _get_shown(self):
        return [(line.number, line.partner_id.id, line.amount, line.currency_id.id, line.date_until,
                 line.state, line.before or '') for line in self.line_ids.sorted('number')]

    #=== BUSINESS METHODS - READING ===#

    def _read_rows(self):
        """What becomes of each line of the list, as of now.

        :rtype: list[LimitRow]
        :raise UserError: when the file can't be read at all
        """
        self.ensure_one()
        records = self._parse_file()
        customers = self._find_customers(records)
        currencies = {
            currency.name: currency
            for currency in self.env['res.currency'].with_context(active_test=False).search([])}
        rows = [
            self._read_row(number, record, customers, currencies)
            for number, record in enumerate(records, start=2)
        ]
        rows = self._find_duplicates(rows)
        return self._compare_with_now(rows)

    def _parse_file(self):
        """:return: the lines of the file, each with its values by column, see `COLUMNS`
        :rtype: list[dict[str, str]]
        """
        try:
            content = base64.b64decode(self.with_context(bin_size=False).file or b'', validate=False)
        except (binascii.Error, ValueError) as error:
            raise UserError(self.env._("This file can't be read.")) from error
        if len(content) > MAX_BYTES:
            raise UserError(self.env._("The file is too large: at most %(size)d MB.", size=MAX_BYTES // 1_000_000))
        try:
            text = content.decode('utf-8-sig')
        except UnicodeDecodeError:
            text = content.decode('cp1252', errors='replace')
        if '\0' in text:
            raise UserError(self.env._("This is no CSV file: save the list as CSV in your spreadsheet."))
        first = text.splitlines()[0] if text.strip() else ''
        delimiter = max(';,\t', key=first.count)
        try:
            table = list(csv.reader(io.StringIO(text, newline=''), delimiter=delimiter))
        except csv.Error as error:
            raise UserError(self.env._("This is no CSV file: save the list as CSV in your spreadsheet.")) from error
        titles = [self._find_column(title) for title in table[0]] if table else []
        named = [title for title in titles if title]
        if 'amount' not in named or not set(KEYS).intersection(named):
            raise UserError(self.env._(
                "The first line must name the columns: an amount, and VAT, company registry or reference. It is: "
                "%(line)s",
                line=first[:200] or self.env._("empty")))
        if len(named) != len(set(named)):
            raise UserError(self.env._(
                "Two columns have the same meaning in the first line: %(line)s", line=first[:200]))
        rows = [row for row in table[1:] if any(value.strip() for value in row)]
        if len(rows) > MAX_ROWS:
            raise UserError(self.env._("The list is too long: at most %(rows)d lines.", rows=MAX_ROWS))
        return [
            {title: value.strip() for title, value in zip(titles, row, strict=False) if title} for row in rows]

    @api.model
    def _find_column(self, title):
        title = ' '.join(title.lower().split())
        return next((column for column, titles in COLUMNS.items() if title in titles), None)

    @api.model
    def _normalize(self, key):
        return re.sub(r'[^A-Z0-9]', '', (key or '').upper())

    def _find_customers(self, records):
        """The customers that the list names, in one query.

        :return: ids by column and normalized key
        :rtype: dict[str, dict[str, list[int]]]
        """
        wanted = {key: {self._normalize(record.get(key)) for record in records} - {''} for key in KEYS}
        found = {key: {} for key in KEYS}
        if not any(wanted.values()):
            return found
        self.env['res.partner'].flush_model([*KEYS, 'active', 'commercial_partner_id', 'company_id'])
        columns = {
            key: SQL("regexp_replace(upper(%s), '[^A-Z0-9]', '', 'g')", SQL.identifier(key)) for key in KEYS}
        for partner_id, *values in self.env.execute_query(SQL(
            """
            SELECT id, %(columns)s
              FROM res_partner
             WHERE commercial_partner_id = id
               AND active
               AND (company_id IS NULL OR company_id IN %(branch_ids)s)
               AND (%(conditions)s)
          ORDER BY id
            """,
            columns=SQL(', ').join(columns.values()),
            branch_ids=self.env['account.credit.exposure']._get_branch_ids(self.company_id.root_id),
            conditions=SQL(' OR ').join(
                SQL("%s = ANY(%s)", columns[key], list(wanted[key])) for key in KEYS),
        )):
            for key, value in zip(KEYS, values, strict=True):
                if value and value in wanted[key]:
                    found[key].setdefault(value, []).append(partner_id)
        return found

    def _read_row(self, number, record, customers, currencies):
        """:rtype: LimitRow"""
        row = LimitRow(number, " · ".join(filter(None, (record.get(column) for column in ('name', *KEYS)))))
        keys = {key: self._normalize(record.get(key)) for key in KEYS}
        if not any(keys.values()):
            return row._replace(state='fault', message=self.env._("Neither VAT, company registry nor reference."))
        amount, fault = self._read_amount(record.get('amount', ''))
        currency = self.company_id.currency_id
        if not fault and record.get('currency'):
            currency = currencies.get(record['currency'].upper())
            if not currency:
                fault = self.env._("“%(value)s” is no currency.", value=record['currency'])
        date_until = False
        if not fault and record.get('date_until'):
            try:
                date_until = fields.Date.to_date(record['date_until'])
            except ValueError:
                date_until = None
            if not date_until or not re.fullmatch(r'\d{4}-\d\d-\d\d', record['date_until']):
                fault = self.env._("“%(value)s” is no date like 2025-12-31.", value=record['date_until'])
            elif self.kind == 'limit':
                fault = self.env._("A credit limit from a list has no end: leave the column out.")
            elif date_until < self.company_id._get_dunning_today():
                fault = self.env._("It ended on %(value)s.", value=record['date_until'])
        if fault:
            return row._replace(state='fault', message=fault)
        row = row._replace(amount=currency.round(amount), currency_id=currency.id, date_until=date_until)
        for key in KEYS:
            if ids := customers[key].get(keys[key]):
                if len(ids) > 1:
                    names = self.env['res.partner'].browse(ids[:3]).mapped('display_name')
                    return row._replace(state='unknown', message=self.env._(
                        "Several customers have this number: %(names)s", names=", ".join(names)))
                return row._replace(partner_id=ids[0])
        return row._replace(state='unknown', message=self.env._("No customer has this number."))

    def _read_amount(self, text):
        """:return: the amount, and what is wrong with it
        :rtype: tuple[float, str]
        """
        decimal = self.decimal_separator
        thousands = ',' if decimal == '.' else '.'
        value = re.sub(r"[\s\u00a0\u202f'’]", '', text)
        if not re.fullmatch(
            rf'(\d+|\d{{1,3}}({re.escape(thousands)}\d{{3}})+)({re.escape(decimal)}\d+)?', value,
        ):
            if not value:
                return 0.0, self.env._("The amount is missing.")
            return 0.0, self.env._(
                "“%(value)s” is no amount with a decimal point.", value=text,
            ) if decimal == '.' else self.env._("“%(value)s” is no amount with a decimal comma.", value=text)
        amount = float(value.replace(thousands, '').replace(decimal, '.'))
        if amount > MAX_AMOUNT:
            return 0.0, self.env._("“%(value)s” is too much.", value=text)
        if amount <= 0:
            return 0.0, self.env._("The amount must be more than zero: a limit of zero would be no limit at all.")
        return amount, ''

    def _find_duplicates(self, rows):
        numbers = {}
        for row in rows:
            if row.partner_id:
                numbers.setdefault(row.partner_id, []).append(row.number)
        return [
            row if len(numbers.get(row.partner_id, ())) < 2 else row._replace(state='fault', message=self.env._(
                "The list names this customer more than once: lines %(lines)s",
                lines=", ".join(map(str, numbers[row.partner_id]))))
            for row in rows
        ]

    def _compare_with_now(self, rows):
        """What each customer has now, and whether the list changes it."""
        partners = self.env['res.partner'].browse([row.partner_id for row in rows if row.partner_id])
        company = self.company_id
        now = self._get_limits_now(partners) if self.kind == 'limit' else self._get_insured_now(partners)
        rates = self.env['account.credit.exposure']._get_rates_of_day(
            self.env['res.currency'].browse({row.currency_id for row in rows if row.currency_id}), company,
            company._get_dunning_today())
        by_id = {partner.id: partner for partner in partners}  # read together
        compared = []
        for row in rows:
            if not row.partner_id:
                compared.append(row)
                continue
            amount, currency, date_until, limit, note = now[row.partner_id]
            before = formatLang(self.env, amount, currency_obj=currency) if amount else self.env._("None")
            row = row._replace(before=before)
            new_currency = self.env['res.currency'].browse(row.currency_id)
            if row.state == 'change' and note:
                row = row._replace(state='unknown', message=note)
            elif row.state == 'change' and (currency, date_until) == (new_currency, row.date_until) and (
                    not currency.compare_amounts(amount, row.amount)):
                row = row._replace(state='same', message=self.env._("As it is."))
            elif row.state == 'change' and self.kind == 'limit':
                rate = rates[new_currency]
                try:
                    company._check_limit_approved(
                        by_id[row.partner_id].display_name, limit, row.amount * rate if rate else 0.0)
                except UserError as error:
                    row = row._replace(state='fault', message=str(error))
            compared.append(row)
        return compared

    def _get_limits_now(self, partners):
        """:return: amount, currency, end, limit in company currency, and why the list can't change it, by id"""
        company = self.company_id
        terms = partners._get_credit_terms(company, company._get_dunning_today())
        return {
            partner.id: (
                agreed.stated_amount or agreed.limit - agreed.extra,
                self.env['res.currency'].browse(agreed.stated_currency_id) or company.currency_id,
                False,
                agreed.limit,
                agreed.group_id and self.env._(
                    "Shares the limit of %(group)s: change it there.", group=agreed.group_name),
            )
            for partner, agreed in terms.items()
        }

    def _get_insured_now(self, partners):
        covers = self._find_insured(partners)
        return {
            partner.id: (
                covers[partner.id].amount, covers[partner.id].currency_id, covers[partner.id].date_until, 0.0, '',
            ) if partner.id in covers else (0.0, self.company_id.currency_id, False, 0.0, '')
            for partner in partners
        }

    def _find_insured(self, partners):
        """The insurance of each customer that has not ended, the latest one.

        :rtype: dict[int, account.credit.cover]
        """
        today = self.company_id._get_dunning_today()
        covers = self.env['account.credit.cover'].search([
            ('partner_id', 'in', partners.ids), ('kind', '=', 'insured'), ('company_id', '=', self.company_id.id),
            '|', ('date_until', '=', False), ('date_until', '>=', today),
        ], order='date_from, id')
        return {cover.partner_id.id: cover for cover in covers}

    def _apply_insured(self, changes):
        covers = self._find_insured(self.env['res.partner'].browse([row.partner_id for row in changes]))
        new = []
        for row in changes:
            values = {'amount': row.amount, 'currency_id': row.currency_id, 'date_until': row.date_until}
            if row.partner_id in covers:
                covers[row.partner_id].write(values)
            else:
                new.append({
                    **values, 'partner_id': row.partner_id, 'company_id': self.company_id.id, 'kind': 'insured',
                    'reference': self.name, 'date_from': self.company_id._get_dunning_today()})
        self.env['account.credit.cover'].create(new)


class AccountCreditLimitImportLine(models.Model):
    """What becomes of one line of the list."""

    _name = 'account.credit.limit.import.line'
    _description = "Line of a list of credit limits"
    _order = 'number, id'

    import_id = fields.Many2one(
        comodel_name='account.credit.limit.import', string="List", required=True, index=True, ondelete='cascade')
    company_id = fields.Many2one(related='import_id.company_id', store=True, index=True)
    number = fields.Integer(string="Line", readonly=True)
    text = fields.Char(string="In the list", readonly=True)
    partner_id = fields.Many2one(comodel_name='res.partner', string="Customer", readonly=True, ondelete='cascade')
    before = fields.Char(string="Now", readonly=True)
    amount = fields.Monetary(string="Will be", readonly=True)
    currency_id = fields.Many2one(comodel_name='res.currency', readonly=True)
    date_until = fields.Date(string="Valid until", readonly=True)
    state = fields.Selection(
        selection=[
            ('change', "Changes"),
            ('same', "Stays"),
            ('unknown', "Left out"),
            ('fault', "Fault"),
        ],
        string="What happens",
        readonly=True,
    )
    message = fields.Char(string="Why", readonly=True)
