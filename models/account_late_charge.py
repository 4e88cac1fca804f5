from dateutil.relativedelta import relativedelta

from odoo import Command, api, fields, models
from odoo.exceptions import AccessError, UserError
from odoo.tools import SQL, format_date, html_escape


class AccountLateCharge(models.Model):
    """One amount charged for a delay, with all that is needed to recompute it by hand.

    Rows are proposed with a notice, claimed when it has gone out, invoiced when the level says so or somebody asks
    for it, and may be waived. Only these methods write them: nobody has the right to edit one.
    """

    _name = 'account.late.charge'
    _description = "Late charge"
    _order = 'move_name, move_line_id, kind desc, date_from, id'
    _check_company_auto = True

    notice_id = fields.Many2one(
        comodel_name='account.dunning.notice', string="First claimed in", readonly=True, index='btree_not_null',
        ondelete='set null')
    notice_ids = fields.Many2many(
        comodel_name='account.dunning.notice',
        relation='account_late_charge_notice_rel',
        column1='charge_id',
        column2='notice_id',
        string="Notices",
        readonly=True,
        help="All notices that state this charge.",
    )
    company_id = fields.Many2one(comodel_name='res.company', required=True, readonly=True, index=True)
    partner_id = fields.Many2one(
        comodel_name='res.partner', string="Customer", required=True, readonly=True, index=True, ondelete='restrict')
    rule_id = fields.Many2one(
        comodel_name='account.late.charge.rule', readonly=True, index='btree_not_null', ondelete='restrict')
    move_id = fields.Many2one(
        comodel_name='account.move', string="Overdue invoice", readonly=True, index='btree_not_null',
        ondelete='set null')
    move_name = fields.Char(string="Number", readonly=True)
    move_line_id = fields.Many2one(
        comodel_name='account.move.line', string="Installment", readonly=True, index='btree_not_null',
        ondelete='set null')
    date_maturity = fields.Date(string="Due date", readonly=True)
    kind = fields.Selection(
        selection=[('interest', "Interest"), ('compensation', "Compensation"), ('fee', "Reminder fee")],
        required=True, readonly=True)
    date_from = fields.Date(string="From", readonly=True)
    date_to = fields.Date(string="To", readonly=True)
    days = fields.Integer(readonly=True, aggregator=False)
    base = fields.Monetary(
        string="Open balance", readonly=True, aggregator=False, help="What was open on each day of the period.")
    rate = fields.Float(string="Rate (%)", digits=(9, 4), readonly=True, aggregator=False)
    year_days = fields.Integer(string="Days of the year", readonly=True, aggregator=False)
    amount_exact = fields.Float(
        string="Exact interest", digits=(16, 6), readonly=True, help="Not rounded.", aggregator=False)
    amount = fields.Monetary(
        readonly=True,
        help="The running total of the exact interest is rounded to the currency; each period gets the difference to "
             "the one before.",
    )
    currency_id = fields.Many2one(comodel_name='res.currency', required=True, readonly=True)
    legal_basis = fields.Char(string="Legal basis", readonly=True)
    source = fields.Char(string="Source of the rate", readonly=True)
    date = fields.Date(readonly=True, help="The date of the notice that first states the charge.")
    state = fields.Selection(
        string="Status",
        selection=[
            ('proposed', "Proposed"),
            ('claimed', "Claimed"),
            ('invoiced', "Invoiced"),
            ('waived', "Waived"),
            ('corrected', "Corrected"),
        ],
        required=True,
        default='proposed',
        readonly=True,
        index=True,
    )
    charge_move_id = fields.Many2one(
        comodel_name='account.move', string="Charge invoice", readonly=True, index='btree_not_null',
        ondelete='set null', check_company=True)
    waive_reason = fields.Char(string="Reason of the waiver", readonly=True)
    waive_user_id = fields.Many2one(comodel_name='res.users', string="Waived by", readonly=True)
    waive_date = fields.Date(string="Waived on", readonly=True)

    # Interest never twice for a day of a line: int4range and daterange need no extension of PostgreSQL.
    _interest_day_once = models.Constraint(
        "EXCLUDE USING gist (int4range(move_line_id, move_line_id, '[]') WITH &&,"
        " daterange(date_from, date_to, '[]') WITH &&)"
        " WHERE (kind = 'interest' AND state IN ('claimed', 'invoiced', 'waived'))",
        "Interest has already been charged for some of these days.",
    )
    _compensation_once = models.UniqueIndex(
        "(move_id) WHERE kind = 'compensation' AND state IN ('claimed', 'invoiced', 'waived')",
        "Compensation has already been claimed for this invoice.",
    )
    _fee_once = models.UniqueIndex(
        "(notice_id) WHERE kind = 'fee'",
        "A reminder bears its fee once.",
    )

    #=== COMPUTE METHODS ===#

    @api.depends('kind', 'move_name')
    def _compute_display_name(self):
        kinds = dict(self._fields['kind']._description_selection(self.env))
        for charge in self:
            charge.display_name = f"{kinds.get(charge.kind, '')} {charge.move_name or ''}".strip()

    #=== ACTION METHODS ===#

    def action_waive(self):
        """Open the window that asks for the reason."""
        return {
            'type': 'ir.actions.act_window',
            'name': self.env._("Waive charges"),
            'res_model': 'account.late.charge.waive',
            'view_mode': 'form',
            'target': 'new',
            'context': {'default_charge_ids': [Command.set(self.ids)]},
        }

    def action_invoice(self):
        """Invoice claimed charges, one invoice per customer and currency, and show the invoices."""
        self._check_accountant()
        claimed = self.filtered(lambda charge: charge.state == 'claimed')
        if not claimed:
            raise UserError(self.env._("Only claimed charges that are not invoiced or waived can be invoiced."))
        claimed._check_invoice_settings()
        claimed = claimed._true_up_claimed()
        if not claimed:
            raise UserError(self.env._(
                "Nothing is left to invoice: payments or credit notes of earlier dates have taken the charges away."))
        invoices = self.env['account.move'].union(*(
            charges._create_invoices(company._get_dunning_today())
            for company, charges in claimed.grouped('company_id').items()))
        return invoices._get_records_action(name=self.env._("Charge invoices"))

    def action_view_charge_invoice(self):
        self.ensure_one()
        return self.charge_move_id._get_records_action()

    def action_view_sheet(self):
        """Open the calculation sheet of the overdue invoice."""
        self.ensure_one()
        return self.move_id.action_view_late_charge_sheet()

    #=== BUSINESS METHODS ===#

    def _check_accountant(self):
        """Refuse whoever may not write invoices: the methods below write as superuser.

        :raise AccessError: if the user has no right to invoices
        """
        self.check_access('read')
        if not (self.env.su or self.env.user.has_group('account.group_account_invoice')):
            raise AccessError(self.env._("Only people who may create invoices can invoice or waive charges."))

    def _check_invoice_settings(self):
        """Refuse early, before anything goes out, when charges could not be invoiced.

        :raise UserError: if the company has no journal or account for them
        """
        self.sudo().company_id._check_late_charge_settings()

    def _get_true_interest(self, reductions=None):
        """What the interest on these lines is by the ledger of now, for the days of these charges, under the rules by
        which they were charged.

        :param dict reductions: line id -> (amount in the line's currency, date) that lowers its balance from that day
        :return: line id -> (charged, true), in the line's currency
        :rtype: dict[int, tuple[float, float]]
        """
        Rule = self.env['account.late.charge.rule'].sudo()
        charged = self.sudo().filtered(lambda charge: charge.kind == 'interest' and charge.move_line_id)
        by_line = charged.grouped('move_line_id')
        claims = []
        for line, charges in by_line.items():
            rule = charges.rule_id[:1]
            if rule:
                amount, day = (reductions or {}).get(line.id, (0.0, None))
                claims.append({
                    **rule._get_claim(line, max(charges.mapped('date_to'))),
                    'days': charges._get_days(), 'reduction': amount, 'reduction_date': day,
                })
        query = Rule._get_interest_query(Rule._prepare_claims(claims))
        true = {}
        if query is not None:
            self.env.flush_all()
            true = dict(self.env.execute_query(SQL(
                "SELECT line_id, SUM(amount) FROM (%s) interest GROUP BY line_id", query)))
        return {
            line.id: (
                line.currency_id.round(sum(charges.mapped('amount'))),
                line.currency_id.round(float(true.get(line.id) or 0.0)))
            for line, charges in by_line.items() if charges.rule_id
        }

    def _get_days(self):
        """The days that the charges are for: `(first day, last day)` of each.

        :rtype: list[tuple[date, date]]
        """
        return [(charge.date_from, charge.date_to) for charge in self]

    def _correct(self, reductions=None):
        """The ledger's past has changed (a payment or credit note of an earlier date, a payment undone): interest that
        was claimed and is not true any more is set aside, kept as evidence. Its days count as not charged, so that the
        next letter claims what is true.

        Days that were invoiced or waived are left alone: for those see `_propose_credit_notes`.

        :return: the charges that were set aside
        :rtype: account.late.charge
        """
        charges = self.sudo().search([
            ('move_line_id', 'in', self.sudo().move_line_id.ids), ('kind', '=', 'interest'), ('state', '=', 'claimed'),
        ])
        wrong = {
            line_id for line_id, (claimed, true) in charges._get_true_interest(reductions).items()
            if claimed != true
        }
        charges = charges.filtered(lambda charge: charge.move_line_id.id in wrong)
        charges.write({'state': 'corrected'})
        return charges

    def _true_up_claimed(self):
        """Bring claimed charges up to the ledger of now before they are invoiced: less is invoiced, never more than
        was claimed.

        :return: the charges to invoice
        :rtype: account.late.charge
        """
        charges = self.sudo()
        interest = charges.filtered(lambda charge: charge.kind == 'interest')
        lines = interest.move_line_id
        for line_id, (claimed, true) in interest._get_true_interest().items():
            line = lines.browse(line_id)
            if line.currency_id.compare_amounts(true, claimed) >= 0:
                continue
            wrong = interest.filtered(lambda charge, line=line: charge.move_line_id == line)
            rows = wrong.rule_id[:1]._get_interest_rows_of_days(line, wrong._get_days())
            wrong.write({'state': 'corrected'})
            wrong.flush_recordset()  # its days are free for the rows below
            charges -= wrong
            template = wrong[0].copy_data()[0]
            charges |= charges.create([{
                **template, 'state': 'claimed', 'notice_id': wrong[0].notice_id.id, 'date_from': row['date_from'],
                'date_to': row['date_to'], 'days': row['days'], 'base': row['base'], 'rate': row['rate'],
                'year_days': row['basis'], 'amount_exact': row['exact'], 'amount': row['amount'],
                'source': row['source'],
            } for row in rows])
        return charges.sudo(False).filtered(lambda charge: charge.state == 'claimed')

    @api.model
    def _propose_credit_notes(self, company, date):
        """Interest that was invoiced and is not owed any more by the ledger of now: prepare a credit note over the
        excess, as a draft, for somebody to check and post. What is proposed already is not proposed again.

        :param res.company company:
        :param datetime.date date: the company's today, date of the credit notes
        :return: the draft credit notes
        :rtype: account.move
        """
        invoiced = self.sudo().search([
            ('company_id', '=', company.id), ('state', '=', 'invoiced'), ('kind', '=', 'interest'),
            ('charge_move_id.state', '=', 'posted'), ('date', '>=', date - relativedelta(years=1)),
        ])
        # A smallest unit more may be a matter of rounding, where the days between two charges were charged later.
        excess = {
            line_id: charged - true for line_id, (charged, true) in invoiced._get_true_interest().items()
            if charged - true > 1.5 * self.env['account.move.line'].browse(line_id).currency_id.rounding
        }
        credit_notes = self.env['account.move'].sudo()
        for invoice, charges in invoiced.grouped('charge_move_id').items():
            currency = invoice.currency_id
            amount = currency.round(sum(excess.get(line.id, 0.0) for line in charges.move_line_id))
            proposed = invoice.reversal_move_ids.filtered(lambda move: move.state != 'cancel')
            amount -= sum(proposed.mapped('amount_untaxed'))
            if currency.compare_amounts(amount, 0.0) <= 0:
                continue
            line = invoice.invoice_line_ids[:1]
            credit_note = credit_notes.with_company(company).create({
                'move_type': 'out_refund',
                'company_id': company.id,
                'journal_id': invoice.journal_id.id,
                'partner_id': invoice.partner_id.id,
                'currency_id': currency.id,
                'invoice_date': date,
                'reversed_entry_id': invoice.id,
                'ref': self.env._("Interest of %(invoice)s that is not owed", invoice=invoice.name),
                'invoice_line_ids': [Command.create({
                    'product_id': line.product_id.id,
                    'name': self.env._(
                        "Correction of late payment interest: payments or credit notes of an earlier date"),
                    'quantity': 1.0,
                    'price_unit': amount,
                    'account_id': line.account_id.id,
                    'tax_ids': [Command.set(line.tax_ids.ids)],
                })],
            })
            invoice._message_log(body=self.env._(
                "The ledger has changed since: %(amount)s of this interest is not owed. A credit note is prepared.",
                amount=currency.format(amount)))
            credit_notes += credit_note
        return credit_notes

    def _group_by_document(self):
        """Group rows as invoices and letters state them: one group for each overdue invoice and kind.

        :return: `(overdue invoice's number, kind, rows)` in the order of the rows
        :rtype: list[tuple[str, str, account.late.charge]]
        """
        return [
            (number, kind, charges)
            for (number, kind), charges in self.grouped(lambda charge: (charge.move_name, charge.kind)).items()
        ]

    def _create_invoices(self, date):
        """Make the customer invoices of claimed charges, posted if the company says so.

        One invoice for each company, customer and currency, one line for each overdue invoice and kind, no tax unless
        the charge product has one.

        :param date date: invoice date
        :return: the invoices
        :rtype: account.move
        :raise UserError: if an invoice can't be made or posted; the notice is then not sent
        """
        charges = self.sudo()
        moves = self.env['account.move'].sudo()
        for (company, _partner, _currency), group in charges.grouped(
                lambda charge: (charge.company_id, charge.partner_id, charge.currency_id)).items():
            move = moves.with_company(company).create(group._prepare_invoice_values(date))
            group.write({'state': 'invoiced', 'charge_move_id': move.id})
            moves += move
        moves.filtered(lambda move: move.company_id.late_charge_post).action_post()
        return moves.sudo(False)

    def _prepare_invoice_values(self, date):
        """Return the values of one invoice over charges of one customer and currency.

        :rtype: dict
        """
        company, partner, currency = self.company_id, self.partner_id, self.currency_id
        invoice_partner = partner.browse(partner.address_get(['invoice'])['invoice'])
        self = self.with_context(lang=invoice_partner.lang)
        notices = self.notice_id
        return {
            'move_type': 'out_invoice',
            'company_id': company.id,
            'journal_id': company._get_late_charge_journal().id,
            'partner_id': invoice_partner.id,
            'currency_id': currency.id,
            'invoice_date': date,
            'invoice_date_due': max([date, *notices.filtered('deadline').mapped('deadline')]),
            'invoice_payment_term_id': False,
            'invoice_origin': ", ".join(notices.mapped('name')),
            'is_late_charge': True,
            'invoice_line_ids': [
                Command.create(charges._prepare_invoice_line_values(number, kind))
                for number, kind, charges in self._group_by_document()
            ],
        }

    def _prepare_invoice_line_values(self, number, kind):
        """Return the values of the invoice line over charges of one kind on one overdue invoice.

        :rtype: dict
        """
        company = self.company_id
        product = company._get_late_charge_product()
        if kind == 'interest':
            label = self.env._(
                "Late payment interest on %(invoice)s, %(date_from)s to %(date_to)s",
                invoice=number,
                date_from=format_date(self.env, min(self.mapped('date_from'))),
                date_to=format_date(self.env, max(self.mapped('date_to'))),
            )
        elif kind == 'fee':
            label = self.env._("Reminder fee, %(invoice)s", invoice=number)
        else:
            label = self.env._("Compensation for recovery costs on %(invoice)s", invoice=number)
        taxes = product.taxes_id.filtered_domain(self.env['account.tax']._check_company_domain(company))
        return {
            'product_id': product.id,
            'name': "\n".join(filter(None, [label, self[:1].legal_basis])),
            'quantity': 1.0,
            'price_unit': self.currency_id.round(sum(self.mapped('amount'))),
            'account_id': company._get_late_charge_account().id,
            'tax_ids': [Command.set(taxes.ids)],
        }

    def _waive(self, reason):
        """Give the charges up; a charge invoice is reversed as a whole, with all the charges on it.

        Waived days and compensations are not charged again. Waiving twice does nothing more.

        :param str reason: shown on the charges, the notices and the reversed invoices
        :return: the charges that have been waived
        :rtype: account.late.charge
        :raise UserError: without a reason, or when all of them are waived already
        """
        self._check_accountant()
        reason = (reason or '').strip()
        if not reason:
            raise UserError(self.env._("Please say why the charges are waived."))
        charges = self.sudo().filtered(lambda charge: charge.state not in ('waived', 'corrected'))
        if not charges:
            raise UserError(self.env._("These charges have already been waived."))
        charges |= charges.charge_move_id.late_charge_row_ids.filtered(
            lambda charge: charge.state not in ('waived', 'corrected'))
        # two people at once: the second waits here, fails to serialise, and sees the first one's work when retried
        charges.lock_for_update()
        charges.charge_move_id._cancel_late_charges(reason)
        for company, company_charges in charges.grouped('company_id').items():
            company_charges.write({
                'state': 'waived',
                'waive_reason': reason,
                'waive_user_id': self.env.uid,
                'waive_date': company._get_dunning_today(),
            })
        for notice in charges.notice_ids:
            total = notice._format_charge_totals(charges & notice.charge_ids)
            notice.message_post(body=self.env._(
                "Late charges of %(amount)s waived: %(reason)s", amount=total, reason=html_escape(reason)))
        charges.notice_ids.filtered(lambda notice: notice.state not in ('sent', 'cancelled'))._update_charges_amount()
        return charges.sudo(False)

    def _get_sheet_row(self):
        """Return the row as the calculation sheet shows it.

        :rtype: dict
        """
        self.ensure_one()
        selections = {
            name: dict(self._fields[name]._description_selection(self.env))[self[name]] for name in ('kind', 'state')}
        return {
            name: self[name]
            for name in (
                'kind', 'state', 'date_maturity', 'date_from', 'date_to', 'days', 'base', 'rate', 'year_days',
                'amount_exact', 'amount', 'source', 'legal_basis')
        } | {'kind_label': selections['kind'], 'state_label': selections['state']}
