import csv
import io
from collections import defaultdict

from odoo import Command, api, fields, models
from odoo.exceptions import UserError
from odoo.tools.pdf import merge_pdf

# What stays as it was handed over
HANDED_OVER_FIELDS = frozenset({'partner_id', 'company_id', 'currency_id', 'agency_id', 'date', 'move_line_ids'})
# How a case can end
OUTCOMES = ('recovered', 'returned', 'uncollectible')


class AccountCollectionCase(models.Model):
    """Claims that lie with a collection agency or a lawyer, from hand-over to the end. Nothing of them is dunned
    meanwhile: the agency does that.

    What has come in is read from the ledger, whoever paid: the customer to us, or the agency what it collected. A
    payment of the agency counts once it is matched with the customer's invoices.
    """

    _name = 'account.collection.case'
    _description = "Collection case"
    _inherit = ['account.dunning.pausing', 'mail.thread', 'mail.activity.mixin']
    _order = 'date desc, id desc'
    _pause_reason = 'collection'

    name = fields.Char(string="Number", required=True, readonly=True, copy=False, default='/')
    agency_id = fields.Many2one(
        comodel_name='res.partner', index='btree_not_null', ondelete='restrict', tracking=True,
        help="The collection agency or lawyer who asks for the money now.")
    date = fields.Date(
        string="Handed over on", copy=False, help="Empty: the day on which the case is opened.")
    date_closed = fields.Date(string="Closed on", readonly=True, copy=False)
    reference = fields.Char(string="Agency's reference", copy=False, tracking=True)
    move_line_ids = fields.Many2many(
        relation='account_collection_case_move_line_rel',
        column1='case_id',
        column2='move_line_id',
        string="Claims",
        copy=False,
        domain="[('partner_id', 'child_of', partner_id), ('company_id', '=', company_id),"
               " ('currency_id', '=', currency_id), ('account_type', '=', 'asset_receivable'),"
               " ('parent_state', '=', 'posted'), ('reconciled', '=', False)]",
        help="Empty: what the customer owes that is overdue and not paused.",
    )
    amount = fields.Monetary(
        string="Amount handed over", readonly=True, copy=False,
        help="What was open on the claims on the day of hand-over.")
    amount_recovered = fields.Monetary(
        string="Recovered", compute='_compute_amounts',
        help="Money matched with the claims since the hand-over, by the ledger; no credit notes, no write-offs.")
    amount_open = fields.Monetary(string="Still open", compute='_compute_amounts')
    fee = fields.Monetary(string="Agency's fee", copy=False, tracking=True)
    user_id = fields.Many2one(
        comodel_name='res.users', string="Collector", default=lambda self: self.env.user, index=True)
    note = fields.Html()
    state = fields.Selection(
        string="Status",
        selection=[
            ('draft', "In preparation"),
            ('open', "With the agency"),
            ('recovered', "Recovered"),
            ('returned', "Returned"),
            ('uncollectible', "Uncollectible"),
        ],
        required=True,
        default='draft',
        readonly=True,
        copy=False,
        index=True,
        tracking=True,
    )
    write_off_move_id = fields.Many2one(
        comodel_name='account.move', string="Write-off", readonly=True, copy=False, index='btree_not_null',
        ondelete='set null')

    #=== COMPUTE METHODS ===#

    @api.depends('name', 'partner_id', 'agency_id')
    def _compute_display_name(self):
        for case in self:
            number = case.name if case.name != '/' else self.env._("Collection case")
            case.display_name = " · ".join(filter(None, [number, case.partner_id.display_name]))

    @api.depends('move_line_ids.amount_residual_currency', 'date', 'state')
    def _compute_amounts(self):
        recovered = self._get_recovered()
        for case in self:
            case.amount_recovered = recovered.get(case.id, 0.0)
            case.amount_open = case._get_open_amount()

    #=== CRUD METHODS ===#

    def write(self, vals):
        if not self.env.su and HANDED_OVER_FIELDS.intersection(vals) and (
            gone := self.filtered(lambda case: case.state != 'draft')[:1]
        ):
            raise UserError(self.env._(
                "%(case)s was handed over: what it claims can't be changed any more. Close it and open another one.",
                case=gone.name))
        return super().write(vals)

    @api.ondelete(at_uninstall=False)
    def _unlink_except_handed_over(self):
        if self.filtered(lambda case: case.state != 'draft'):
            raise UserError(self.env._("A case that was handed over is part of the customer's history."))

    #=== ACTION METHODS ===#

    def action_open(self):
        """Hand the claims over: they are not dunned any more, and the file for the agency can be downloaded.

        :raise UserError: without an agency, when nothing is open, or when claims are disputed or with an agency already
        """
        self.check_access('write')
        for case in self:
            if case.state != 'draft':
                raise UserError(self.env._("%(case)s was handed over already.", case=case.name))
            if not case.agency_id:
                raise UserError(self.env._("Choose the agency that the claims are handed over to."))
            case._fill_claims()
            case._check_claims()
            sequence = self.env['ir.sequence'].sudo().with_company(case.company_id)
            case.sudo().write({
                'name': sequence.next_by_code('account.collection.case'),
                'date': case.date or case.company_id._get_dunning_today(),
                'amount': case._get_open_amount(),
                'state': 'open',
            })
            case._open_block()
        self._log(lambda case: self.env._(
            "%(case)s: %(amount)s handed over to %(agency)s.",
            case=case.name, amount=case._format_amount(), agency=case.agency_id.display_name))

    def action_close(self, outcome):
        """End the cases.

        :param str outcome: ``recovered`` (nothing is open any more), ``returned`` (dunning goes on) or
            ``uncollectible`` (what is open is written off)
        :raise UserError: for another outcome, a case that is not open, or a recovered one with something still open
        """
        self.check_access('write')
        if outcome not in OUTCOMES:
            raise UserError(self.env._("A case ends as recovered, returned or uncollectible."))
        for case in self:
            if case.state != 'open':
                raise UserError(self.env._("%(case)s is not with an agency.", case=case.display_name))
            if outcome == 'recovered' and case._get_open_lines():
                raise UserError(self.env._(
                    "%(amount)s of %(case)s is still open: the case is returned, or written off as uncollectible.",
                    amount=case._format_amount(case.amount_open), case=case.name))
            if outcome == 'uncollectible' and case._get_open_lines():
                case.sudo().write_off_move_id = case._write_off(case.company_id._get_dunning_today())
        self._close(outcome)

    def action_recovered(self):
        return self.action_close('recovered')

    def action_return(self):
        return self.action_close('returned')

    def action_write_off(self):
        return self.action_close('uncollectible')

    def action_view_write_off(self):
        self.ensure_one()
        return self.write_off_move_id._get_records_action()

    def action_download_file(self):
        """The file for the agency as it stands today: claims, payments, reminders, calls, what was promised, the
        letters and the invoices; kept on the case.

        :return: an action that downloads the PDF
        """
        self.ensure_one()
        self.check_access('write')
        return self._keep_and_download(
            self.env._("Collection file %s", self._get_file_name()) + '.pdf', self._get_file(), 'application/pdf')

    def action_download_claims(self):
        """The claims of the cases as a CSV file, a row each, for the agency's own program.

        :return: an action that downloads it
        """
        self.check_access('read')
        file = io.StringIO()
        writer = csv.DictWriter(file, self._get_claim_columns())
        writer.writeheader()
        for case in self:
            writer.writerows(case._prepare_claim_rows())
        name = self.env._("Claims %s", self._get_file_name() if len(self) == 1 else fields.Date.to_string(
            self.env.company._get_dunning_today()))
        # With a mark at its beginning, by which spreadsheets know the encoding
        return self[:1]._keep_and_download(f'{name}.csv', file.getvalue().encode('utf-8-sig'), 'text/csv')

    def _keep_and_download(self, name, content, mimetype):
        self.ensure_one()
        # Letters and invoices are read as the case's own evidence, whatever the user's access to attachments.
        attachment = self.env['ir.attachment'].sudo().create({
            'name': name, 'raw': content, 'mimetype': mimetype, 'res_model': self._name, 'res_id': self.id,
            'company_id': self.company_id.id,
        })
        return {
            'type': 'ir.actions.act_url',
            'url': f'/web/content/{attachment.id}?download=true',
            'target': 'download',
        }

    #=== THE CLAIMS ===#

    def _get_pause_period(self):
        # EXTENDS 'account.dunning.pausing': until the case is closed
        return self.date, False

    def _fill_claims(self):
        """Without claims, the case is about what is overdue and not paused."""
        self.ensure_one()
        if self.move_line_ids:
            return
        today = self.company_id._get_dunning_today()
        lines = self.env['account.dunning.ledger']._find_open_lines(self.partner_id, self.company_id, self.currency_id)
        lines = self.env['account.dunning.block']._leave_out_paused(lines, today)
        self.move_line_ids = [Command.set(lines.filtered(
            lambda line: (line.date_maturity or line.date) < today).ids)]

    def _check_claims(self):
        """:raise UserError: when the claims can't be handed over"""
        self.ensure_one()
        if not self._get_open_lines():
            raise UserError(self.env._(
                "%(customer)s owes nothing in %(currency)s that is overdue and not paused: there is nothing to hand "
                "over.", customer=self.partner_id.display_name, currency=self.currency_id.name))
        elsewhere = self.sudo().search([
            ('state', '=', 'open'), ('move_line_ids', 'in', self.move_line_ids.ids), ('id', '!=', self.id)], limit=1)
        if elsewhere:
            raise UserError(self.env._(
                "Claims of this case are with %(agency)s already: %(case)s.",
                agency=elsewhere.agency_id.display_name, case=elsewhere.name))
        disputes = self.env['account.dispute'].sudo().search([
            ('state', '=', 'open'), ('move_id', 'in', self.move_line_ids.move_id.ids)])
        if dispute := disputes.filtered(lambda dispute: dispute._get_open_lines() & self.move_line_ids)[:1]:
            raise UserError(self.env._(
                "%(invoice)s is disputed: decide the dispute before it goes to an agency.",
                invoice=dispute.move_id.name))

    def _get_recovered(self):
        """What has come in for the claims since the hand-over: money alone, each euro matched with them.

        :return: amounts in the currency of each case, by its id
        :rtype: dict[int, float]
        """
        recovered = defaultdict(float)
        Ledger = self.env['account.dunning.ledger']
        handed_over = self.filtered(lambda case: case.date and case.state != 'draft')
        for company, cases in handed_over.grouped('company_id').items():
            lines = cases.move_line_ids
            receipts = Ledger._find_receipts(
                company, company._get_dunning_today(), cases.partner_id.commercial_partner_id.ids, lines.ids)
            for case in cases:
                claims = set(case.move_line_ids.ids)
                recovered[case.id] = case.currency_id.round(sum(
                    receipt.amount for receipt in receipts
                    if receipt.line_id in claims and receipt.is_money and receipt.is_matched
                    and receipt.date >= case.date))
        return recovered

    def _get_charges(self):
        """Charges that letters have claimed on the claims, and that are not invoiced.

        :rtype: account.late.charge
        """
        return self.env['account.late.charge'].sudo().search([
            ('move_line_id', 'in', self.move_line_ids.ids), ('state', '=', 'claimed')])

    #=== THE END ===#

    def _close(self, outcome):
        for company, cases in self.grouped('company_id').items():
            cases.sudo().write({'state': outcome, 'date_closed': company._get_dunning_today()})
        self.sudo().block_id._end_today()
        outcomes = dict(self._fields['state']._description_selection(self.env))
        self._log(lambda case: self.env._(
            "%(case)s closed: %(outcome)s. %(amount)s has come in.",
            case=case.name, outcome=outcomes[outcome], amount=case._format_amount(case.amount_recovered)))

    def _write_off(self, date):
        """Take what is open off the books, onto the company's account of bad debts. Tax stays as it was invoiced: when
        and how it may be taken back differs from country to country, and is an entry of the accountant's.

        :param datetime.date date: of the entry
        :return: the posted entry, matched with the claims
        :rtype: account.move
        :raise UserError: when the company has no account for it, or no journal
        """
        self.ensure_one()
        company = self.company_id.sudo()
        account = company.collection_write_off_account_id
        if not account:
            raise UserError(self.env._(
                "Choose the account of bad debts first, in the dunning settings of %(company)s.",
                company=company.name))
        journal = self.env['account.journal'].sudo().search([
            *self.env['account.journal']._check_company_domain(company), ('type', '=', 'general')], limit=1)
        if not journal:
            raise UserError(self.env._("%(company)s has no miscellaneous journal.", company=company.name))
        lines = self._get_open_lines()
        label = self.env._("Uncollectible: %(case)s", case=self.name)
        credits = [{
            'name': f"{label}, {line.move_id.name}", 'account_id': line.account_id.id, 'partner_id': line.partner_id.id,
            'currency_id': line.currency_id.id, 'amount_currency': -line.amount_residual_currency,
            'balance': -line.amount_residual,
        } for line in lines]
        move = self.env['account.move'].sudo().with_company(company).create({
            'move_type': 'entry', 'journal_id': journal.id, 'company_id': company.id, 'date': date, 'ref': label,
            'line_ids': [Command.create(values) for values in [*credits, {
                'name': label, 'account_id': account.id, 'partner_id': self.partner_id.id,
                'currency_id': self.currency_id.id, 'amount_currency': sum(lines.mapped('amount_residual_currency')),
                'balance': sum(lines.mapped('amount_residual')),
            }]],
        })
        move.action_post()
        for line, credit in zip(lines.sudo(), move.line_ids.filtered(lambda line: line.balance < 0), strict=True):
            (line + credit).reconcile()
        return move

    @api.model
    def _follow_ledger(self, company):
        """Cases whose claims are settled are recovered; those whose money went back are with the agency again.

        :param res.company company:
        """
        cases = self.search([('company_id', '=', company.id), ('state', 'in', ('open', 'recovered'))])
        settled = cases.filtered(lambda case: case.state == 'open' and not case._get_open_lines()
                                 and all(line.parent_state == 'posted' for line in case.move_line_ids))
        if settled:
            settled._close('recovered')
        reopened = cases.filtered(lambda case: case.state == 'recovered' and case not in settled
                                  and case._get_open_lines())
        if reopened:
            reopened.sudo().write({'state': 'open', 'date_closed': False})
            reopened._open_block()
            reopened._log(lambda case: self.env._(
                "%(case)s is open again: a payment was undone.", case=case.name))

    #=== THE FILE ===#

    def _get_file_name(self):
        return self.name.replace('/', '-') if self.name != '/' else self.partner_id.name

    def _get_notices(self):
        """The reminders sent about the claims, oldest first.

        :rtype: account.dunning.notice
        """
        self.ensure_one()
        return self.env['account.dunning.notice'].sudo().search([
            ('state', '=', 'sent'), ('line_ids.move_line_id', 'in', self.move_line_ids.ids),
        ], order='sent_date, id')

    def _get_invoices(self):
        self.ensure_one()
        return self.move_line_ids.move_id.sudo().filtered(
            lambda move: move.is_sale_document(include_receipts=True)).sorted('invoice_date')

    def _get_events(self):
        """What the agency should know besides claims and reminders, oldest first: contacts, promises, plans, disputes.

        :return: dicts of ``date`` and ``text``
        :rtype: list[dict]
        """
        self.ensure_one()
        kinds = ('contact', 'promise', 'promise_kept', 'promise_broken', 'plan', 'plan_broken', 'plan_done', 'dispute',
                 'dispute_resolved')
        rows = self.env['account.dunning.history'].sudo()._get_history(self.company_id, self.partner_id)
        labels = dict(rows._fields['kind']._description_selection(self.env))
        return [
            {'date': row.date, 'text': f"{labels[row.kind]}: {row.description}"}
            for row in reversed(rows) if row.kind in kinds
        ]

    def _get_payments(self):
        """What has been paid on the claims, oldest first.

        :return: dicts of ``date``, ``invoice`` (str) and ``amount`` (float, in the case's currency)
        :rtype: list[dict]
        """
        self.ensure_one()
        lines = {line.id: line for line in self.move_line_ids}
        receipts = self.env['account.dunning.ledger']._find_receipts(
            self.company_id, self.company_id._get_dunning_today(), self.partner_id.ids, list(lines))
        return [
            {'date': receipt.date, 'invoice': lines[receipt.line_id].move_id.name, 'amount': receipt.amount}
            for receipt in receipts if receipt.line_id in lines
        ]

    def _get_file(self):
        """The whole file (bytes, PDF): statement, letters in the order in which they were sent, invoices by date."""
        self.ensure_one()
        report = self.env['ir.actions.report'].sudo()
        statement, kind = report._render_qweb_pdf('account_dunning.action_report_collection_case', self.ids)
        if kind != 'pdf':
            return statement  # under test, Odoo renders no PDF unless it is told to
        letters = self._get_notices().attachment_id
        invoices = self._get_invoices()
        kept = invoices.filtered('invoice_pdf_report_id')
        documents = [
            statement, *letters.filtered(lambda letter: letter.mimetype == 'application/pdf').mapped('raw'),
            *kept.invoice_pdf_report_id.mapped('raw')]
        if missing := invoices - kept:
            documents.append(report._render_qweb_pdf('account.account_invoices', missing.ids)[0])
        return merge_pdf(documents)

    @api.model
    def _get_claim_columns(self):
        """The header of the CSV file, in the words of the interface's language.

        :rtype: list[str]
        """
        return [
            self.env._("Case"), self.env._("Debtor"), self.env._("Street"), self.env._("Postcode"), self.env._("Town"),
            self.env._("Country"), self.env._("VAT"), self.env._("Registration number"), self.env._("E-mail"),
            self.env._("Telephone"), self.env._("Invoice"), self.env._("Invoice date"), self.env._("Due date"),
            self.env._("Total"), self.env._("Open"), self.env._("Charges claimed"), self.env._("Currency"),
        ]

    def _prepare_claim_rows(self):
        """:return: a row for each claim, see `_get_claim_columns`
        :rtype: list[dict]
        """
        self.ensure_one()
        debtor = self.partner_id
        charges = self._get_charges().grouped('move_line_id')
        rows = []
        for line in self.move_line_ids.sorted(lambda line: (line.date_maturity or line.date, line.id)):
            charged = sum(charges[line].mapped('amount')) if line in charges else 0.0
            rows.append(dict(zip(self._get_claim_columns(), [
                self.name, debtor.name, debtor.street or '', debtor.zip or '', debtor.city or '',
                debtor.country_id.code or '', debtor.vat or '', debtor.company_registry or '', debtor.email or '',
                debtor.phone or '', line.move_id.name, line.move_id.invoice_date or line.date,
                line.date_maturity or line.date, self._format_number(line.amount_currency),
                self._format_number(line.amount_residual_currency), self._format_number(charged),
                self.currency_id.name,
            ], strict=True)))
        return rows

    def _format_number(self, amount):
        return f"{amount:.{self.currency_id.decimal_places}f}"

    #=== TOOLING ===#

    def _prepare_log_entries(self, sentence):
        # EXTENDS 'account.dunning.pausing': on the case, too
        return [*super()._prepare_log_entries(sentence), (self, sentence)]
