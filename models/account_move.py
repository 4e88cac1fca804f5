from collections import defaultdict

from odoo import api, fields, models
from odoo.exceptions import AccessError

from odoo.addons.payment import utils as payment_utils

# What only a notice that has gone out writes
DUNNING_HISTORY = {'dunning_level_id', 'dunning_last_date'}
# What makes a customer's row in the follow-up stale
FOLLOWUP_CHANGES = {
    'state', 'payment_state', 'no_followup', 'dunning_procedure_id', 'is_move_sent', 'peppol_move_state',
}


class AccountMove(models.Model):
    _inherit = 'account.move'

    dunning_procedure_id = fields.Many2one(
        comodel_name='account.dunning.procedure',
        string="Dunning procedure",
        copy=False,
        index='btree_not_null',
        check_company=True,
        ondelete='restrict',
        groups='base.group_user',
        help="Empty: the customer's procedure, else the company's.",
    )
    # Plain columns, written when a notice goes out: nothing to compute on the old invoices at installation.
    dunning_level_id = fields.Many2one(
        comodel_name='account.dunning.level',
        string="Dunning level",
        copy=False,
        readonly=True,
        index='btree_not_null',
        ondelete='restrict',
        groups='base.group_user',
    )
    dunning_last_date = fields.Date(string="Last reminder", copy=False, readonly=True, groups='base.group_user')
    dunning_next_step = fields.Char(
        string="Next reminder",
        compute='_compute_dunning_next_step',
        groups='account.group_account_invoice,account.group_account_readonly',
    )
    payment_expected_date = fields.Date(
        string="Expected payment",
        compute='_compute_payment_expected_date',
        groups='account.group_account_invoice,account.group_account_readonly',
        help="Of its last installment: by what was promised or agreed, else by how the customer pays. Empty: not "
             "foreseeable.",
    )
    dunning_notice_count = fields.Integer(
        string="Dunning notices",
        compute='_compute_dunning_notice_count',
        groups='account.group_account_invoice,account.group_account_readonly',
    )
    dispute_ids = fields.One2many(
        comodel_name='account.dispute',
        inverse_name='move_id',
        groups='account.group_account_invoice,account.group_account_readonly',
    )
    dispute_count = fields.Integer(
        compute='_compute_dispute_count',
        groups='account.group_account_invoice,account.group_account_readonly',
    )
    payment_plan_ids = fields.Many2many(
        comodel_name='account.payment.plan',
        string="Payment plans",
        compute='_compute_payment_plan_ids',
        groups='account.group_account_invoice,account.group_account_readonly',
    )
    payment_plan_count = fields.Integer(
        compute='_compute_payment_plan_ids',
        groups='account.group_account_invoice,account.group_account_readonly',
    )
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

    # The few that a customer has among all invoices, for the exposure.
    _draft_partner_idx = models.Index("(partner_id) WHERE state = 'draft'")

    #=== COMPUTE METHODS ===#

    @api.depends('payment_state', 'state', 'dunning_level_id', 'dunning_procedure_id', 'no_followup')
    @api.depends_context('lang')
    def _compute_dunning_next_step(self):
        explanation = self.env['account.dunning.explanation']
        self.dunning_next_step = False
        for company, moves in self._filter_to_dun().grouped('company_id').items():
            today = company._get_dunning_today()
            lines = moves.line_ids.filtered(lambda line: line.account_type == 'asset_receivable')
            verdicts = self.env['account.dunning.engine']._explain(lines, today)
            paused = lines.browse(line.id for line, verdict in verdicts.items() if verdict[0] == 'blocked')
            pauses = explanation._find_pauses(company, paused.partner_id.commercial_partner_id, today)
            for move in moves:
                if line := move._get_next_dunning_line(verdicts):
                    reason, level, next_date = verdicts[line]
                    move.dunning_next_step = explanation._describe_step(
                        reason, level, next_date, explanation._filter_pauses_of(line, pauses))

    def _compute_payment_expected_date(self):
        open_moves = self._filter_to_dun()
        lines = open_moves.line_ids.filtered(
            lambda line: line.account_type == 'asset_receivable' and line.amount_residual > 0)
        by_move = lines.grouped('move_id')
        for move in self:
            days = by_move.get(move, lines.browse()).mapped('payment_expected_date')
            move.payment_expected_date = max(days) if days and all(days) else False

    def _filter_to_dun(self):
        """Invoices that dunning may speak about: posted, with something open.

        :rtype: account.move
        """
        return self.filtered(lambda move: (
            move.move_type in ('out_invoice', 'out_receipt', 'entry')
            and move.state == 'posted'
            and move.payment_state not in ('paid', 'reversed', 'invoicing_legacy')
        ))

    def _get_next_dunning_line(self, verdicts):
        """The installment on which something happens first.

        :param dict verdicts: of the engine, by line.
        :rtype: account.move.line
        """
        self.ensure_one()
        lines = self.line_ids.filtered(lambda line: line in verdicts)
        return lines.sorted(lambda line: (
            verdicts[line][0] not in ('due', 'pending'),
            not verdicts[line][2],
            verdicts[line][2] or line.date_maturity or line.date,
            line.id,
        ))[:1]

    def _compute_dunning_notice_count(self):
        counts = dict(self.env['account.dunning.notice.line']._read_group(
            [('move_id', 'in', self.ids)],
            groupby=['move_id'],
            aggregates=['notice_id:count_distinct'],
        ))
        for move in self:
            move.dunning_notice_count = counts.get(move, 0)

    def _compute_dispute_count(self):
        counts = dict(self.env['account.dispute']._read_group(
            [('move_id', 'in', self.ids)], ['move_id'], ['__count']))
        for move in self:
            move.dispute_count = counts.get(move._origin, 0)

    def _compute_payment_plan_ids(self):
        plans = self.env['account.payment.plan'].search([('move_line_ids.move_id', 'in', self.ids)])
        plans_by_move = defaultdict(self.env['account.payment.plan'].browse)
        for plan in plans:
            for move in plan.move_line_ids.move_id:
                plans_by_move[move] |= plan
        for move in self:
            move.payment_plan_ids = plans_by_move[move._origin]
            move.payment_plan_count = len(move.payment_plan_ids)

    @api.depends('late_charge_ids')
    def _compute_late_charge_count(self):
        counts = dict(self.env['account.late.charge']._read_group(
            [('move_id', 'in', self.ids)], ['move_id'], ['__count']))
        for move in self:
            move.late_charge_count = counts.get(move._origin, 0)

    @api.depends_context('uid', 'lang')
    def _compute_partner_credit_warning(self):
        # OVERRIDE of 'account': the banner counts what the check of orders counts, in the company of the invoice
        self.partner_credit_warning = ''
        drafts = self.filtered(
            lambda move: move.state == 'draft' and move.move_type == 'out_invoice' and move.partner_id)
        if not drafts or not self.env.user._is_internal():
            return
        Exposure = self.env['account.credit.exposure'].sudo()
        for company, moves in drafts.sudo().grouped('company_id').items():
            date = company.root_id._get_dunning_today()
            partners = moves.partner_id.commercial_partner_id._origin
            terms = partners._get_credit_terms(company, date)
            partners = partners.filtered(
                lambda partner, terms=terms, company=company:
                    terms[partner].policy != 'off' or company.account_use_credit_limit)
            amounts = Exposure._get_amounts({company.root_id: partners}, date)
            for move in moves:
                partner = move.partner_id.commercial_partner_id._origin
                owed = amounts.get((partner.id, company.root_id.id))
                if not owed:
                    continue
                # The draft is counted as it is stored; what is on the screen may differ.
                stored, amount = move._origin, move._get_credit_amount()
                if stored.state == 'draft' and stored.commercial_partner_id == partner:
                    owed = owed._replace(draft=company.currency_id.round(owed.draft - stored.amount_total_signed))
                total = company.currency_id.round(owed.total + amount)
                move.with_env(self.env).partner_credit_warning = '\n'.join(Exposure._explain(
                    company, partner, terms[partner], owed, total, with_document=amount > 0).values())

    def _get_credit_amount(self):
        """:return: what the invoice on the screen comes to, in company currency"""
        totals = self.tax_totals or {}
        return totals.get(
            'total_amount_currency' if self.currency_id == self.company_currency_id else 'total_amount', 0.0)

    #=== CRUD METHODS ===#

    def write(self, vals):
        # EXTENDS 'account': over RPC, too
        self._check_dunning_history(vals)
        result = super().write(vals)
        if not vals.keys().isdisjoint(FOLLOWUP_CHANGES):
            self.env['account.dunning.followup']._note_changed(self)
            if vals.get('state', 'posted') != 'posted':
                # It may be deleted before the transaction ends.
                self.env['account.dunning.followup']._note_changed(self.partner_id)
        return result

    @api.model
    def _check_dunning_history(self, vals):
        """:raise AccessError: when a user sets what the reminders that went out have written; administrators may, to
            take over the history of another program
        """
        if DUNNING_HISTORY.isdisjoint(vals) or self.env.su:
            return
        if not self.env.user.has_group('account.group_account_manager'):
            raise AccessError(self.env._(
                "The dunning level changes with a reminder that has gone out. Only an accounting administrator may set "
                "it by hand."))

    @api.ondelete(at_uninstall=False)
    def _unlink_reopen_late_charges(self):
        """A deleted draft of a charge invoice leaves its charges claimed: they can be invoiced again."""
        self.sudo().late_charge_row_ids.filtered(lambda charge: charge.state == 'invoiced').state = 'claimed'

    #=== ACTION METHODS ===#

    def action_view_dunning_notices(self):
        """Open the dunning notices that list the invoice.

        :rtype: dict
        """
        self.ensure_one()
        action = self.env['ir.actions.act_window']._for_xml_id('account_dunning.account_dunning_notice_action')
        return {**action, 'domain': [('line_ids.move_id', '=', self.id)], 'context': {}}

    def action_view_disputes(self):
        """Open the disputes of the invoice."""
        self.ensure_one()
        action = self.env['ir.actions.act_window']._for_xml_id('account_dunning.account_dispute_action')
        action['domain'] = [('move_id', '=', self.id)]
        action['context'] = {'default_move_id': self.id}
        return action

    def action_view_payment_plans(self):
        """Open the payment plans that cover the invoice, or did."""
        self.ensure_one()
        action = self.env['ir.actions.act_window']._for_xml_id('account_dunning.account_payment_plan_action')
        action['domain'] = [('id', 'in', self.payment_plan_ids.ids)]
        action['context'] = {'create': False}
        return action

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

    def _get_amounts_asked_for(self):
        """What reminders would ask for today of overdue invoices: neither what is paused or disputed, nor what is paid
        and not matched yet. What is only excluded from reminders is asked for all the same.

        :return: the amount (float, in its currency) by invoice; those of which nothing is asked are left out
        :rtype: dict[account.move, float]
        """
        engine, asked = self.env['account.dunning.engine'], {}
        for company, moves in self.grouped('company_id').items():
            lines = moves.sudo().line_ids.filtered(
                lambda line: line.account_id.account_type == 'asset_receivable' and not line.reconciled)
            verdicts = engine._judge(lines, company._get_dunning_today())
            for move in moves:
                amount = move.currency_id.round(sum(
                    engine._get_amount_asked(verdicts[line])
                    for line in lines if line.move_id == move and line in verdicts))
                if amount > 0:
                    asked[move] = amount
        return asked

    def _get_payment_url(self, amount):
        """Where the customer pays so much of the invoice, without a login (str); '' when that can't be done online.

        :param float amount: in the invoice's currency
        """
        self.ensure_one()
        invoice = self.sudo()  # who may see it may pay it; online payments are closed to customers
        if invoice.state != 'posted' or amount <= 0 or not invoice._has_to_be_paid():
            return ''
        token = payment_utils.generate_access_token(invoice.id, amount, env=invoice.env)
        return invoice.get_base_url() + invoice.get_portal_url(
            query_string=f'&payment=True&amount={amount}&payment_token={token}', anchor='portal_pay')

    def _post(self, soft=True):
        # EXTENDS 'account': payments and credit notes free credit, corrected invoices are paused as they are now, and
        # the credit note of an accepted dispute takes over from its pause
        posted = super()._post(soft=soft)
        self.env['account.dispute']._follow_posted(posted)
        credits = posted.line_ids.filtered(
            lambda line: line.account_type == 'asset_receivable' and line.balance < 0)
        self.env['sale.order']._recheck_held_orders(credits.partner_id)
        return posted

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
