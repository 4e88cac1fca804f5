from odoo import api, fields, models


class AccountMove(models.Model):
    _inherit = 'account.move'

    # A plain, nullable column: nothing to compute on the old invoices at installation.
    is_late_charge = fields.Boolean(
        string="Late charges",
        readonly=True,
        copy=False,
        help="This invoice charges a delay. Such an invoice bears no charges itself unless the rule says so.",
    )
    late_charge_ids = fields.One2many(
        comodel_name='account.late.charge',
        inverse_name='move_id',
        string="Late charges on this invoice",
        readonly=True,
        groups='account.group_account_invoice,account.group_account_readonly',
    )
    late_charge_row_ids = fields.One2many(
        comodel_name='account.late.charge',
        inverse_name='charge_move_id',
        string="Charges on this charge invoice",
        readonly=True,
        groups='account.group_account_invoice,account.group_account_readonly',
    )
    late_charge_count = fields.Integer(
        compute='_compute_late_charge_count',
        groups='account.group_account_invoice,account.group_account_readonly',
    )

    #=== COMPUTE METHODS ===#

    @api.depends('late_charge_ids')
    def _compute_late_charge_count(self):
        counts = dict(self.env['account.late.charge']._read_group(
            [('move_id', 'in', self.ids)], ['move_id'], ['__count']))
        for move in self:
            move.late_charge_count = counts.get(move._origin, 0)

    #=== CRUD METHODS ===#

    @api.ondelete(at_uninstall=False)
    def _unlink_reopen_late_charges(self):
        """A deleted draft of a charge invoice leaves its charges claimed: they can be invoiced again."""
        self.sudo().late_charge_row_ids.filtered(lambda charge: charge.state == 'invoiced').state = 'claimed'

    #=== ACTION METHODS ===#

    def action_view_late_charge_sheet(self):
        """Open the calculation sheet: what has been charged on the invoice, and what could be by today."""
        self.ensure_one()
        self.check_access('read')
        sheet = self.env['account.late.charge.sheet'].create({'move_id': self.id})
        return {
            'type': 'ir.actions.act_window',
            'name': self.env._("Late charges of %s", self.name),
            'res_model': sheet._name,
            'res_id': sheet.id,
            'view_mode': 'form',
            'target': 'new',
        }

    def action_view_late_charges(self):
        """Open the rows of charges on the invoice, or those that a charge invoice is made of."""
        self.ensure_one()
        field = 'charge_move_id' if self.is_late_charge else 'move_id'
        return {
            'type': 'ir.actions.act_window',
            'name': self.env._("Late charges"),
            'res_model': 'account.late.charge',
            'view_mode': 'list,form',
            'domain': [(field, '=', self.id)],
        }

    def action_waive_late_charges(self):
        """Waive all the charges of this charge invoice."""
        self.ensure_one()
        return self.late_charge_row_ids.action_waive()

    #=== BUSINESS METHODS ===#

    def _cancel_late_charges(self, reason):
        """Reverse posted charge invoices, cancel drafts; what is reversed or cancelled already stays as it is.

        :param str reason: reference of the credit note
        """
        self.filtered(lambda move: move.state == 'draft').button_cancel()
        posted = self.filtered(lambda move: move.state == 'posted' and not move.reversal_move_ids)
        if posted:
            posted._reverse_moves([
                {'ref': reason, 'date': today, 'invoice_date': today, 'is_late_charge': True}
                for today in (move.company_id._get_dunning_today() for move in posted)
            ], cancel=True)

    def _get_late_charge_sheet(self, date, charges=None):
        """Return what the calculation sheet of an invoice shows, on screen and on paper.

        :param date date: the day of the sheet
        :param account.late.charge charges: only these; left out: all that were ever claimed, and a preview of what
            could be charged until the date
        :return: `rows` and `preview` (lists of dictionaries like the fields of `account.late.charge`), their totals in
            the invoice's currency, and the rule's name, legal basis and warning
        :rtype: dict
        """
        self.ensure_one()
        partner = self.commercial_partner_id
        Rule = self.env['account.late.charge.rule']
        rule = charges.rule_id[:1] if charges else Rule._find_rules(self.company_id, partner)[partner]
        stated = charges if charges is not None else self.sudo().late_charge_ids.filtered(
            lambda charge: charge.state != 'proposed')
        sheet = {
            'move': self,
            'date': date,
            'rule': rule,
            'rows': [charge._get_sheet_row() for charge in stated.sorted()],
            'with_states': charges is None,  # of no interest to the customer
            'preview': [],
            'warning': rule._get_rate_warning(date) if rule and charges is None else '',
        }
        if charges is None and rule:
            sheet['preview'] = self._get_late_charge_preview(rule, date)
        for part, total in (('rows', 'total'), ('preview', 'preview_total')):
            sheet[total] = self.currency_id.round(sum(
                row['amount'] for row in sheet[part] if row['state'] not in ('waived', 'corrected')))
        return sheet

    def _get_late_charge_preview(self, rule, date):
        """Return what could be charged on the invoice until a date, beyond what has been: nothing is written.

        :rtype: list[dict]
        """
        lines = self.line_ids.filtered(lambda line: line.account_type == 'asset_receivable')
        maturities = {line.id: line.date_maturity or line.date for line in lines}
        states = dict(self.env['account.late.charge']._fields['state']._description_selection(self.env))
        kinds = dict(self.env['account.late.charge']._fields['kind']._description_selection(self.env))
        common = {'state': 'proposed', 'state_label': states['proposed'], 'legal_basis': rule.legal_basis}
        rows = [
            {
                **common, **row, 'kind': 'interest', 'kind_label': kinds['interest'], 'year_days': row['basis'],
                'amount_exact': row['exact'], 'date_maturity': maturities[row['line_id']],
            }
            for row in rule._get_interest_rows(lines, date)
        ]
        allowed = not rule.free_reminder or rule._prepare_claims(
            [rule._get_claim(line, date) for line in lines])
        compensation = rule._compute_compensation(self, date) if allowed else 0.0
        if compensation:
            rows.append({
                **common, 'kind': 'compensation', 'kind_label': kinds['compensation'], 'amount': compensation,
                'date_maturity': min(maturities.values()),
            })
        return rows
