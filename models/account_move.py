from collections import defaultdict

from odoo import api, fields, models
from odoo.exceptions import AccessError

# What only a notice that has gone out writes
DUNNING_HISTORY = {'dunning_level_id', 'dunning_last_date'}


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
    dunning_notice_count = fields.Integer(
        string="Dunning notices",
        compute='_compute_dunning_notice_count',
        groups='account.group_account_invoice,account.group_account_readonly',
    )

    #=== CRUD METHODS - DUNNING ===#

    def write(self, vals):
        # EXTENDS 'account': over RPC, too
        self._check_dunning_history(vals)
        return super().write(vals)

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

    #=== COMPUTE METHODS - DUNNING ===#

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

    def _filter_to_dun(self):
        """Invoices that dunning may speak about: posted, with something open.

        :rtype: account.move
        """
        return self.filtered(lambda move: (
            move.move_type in ('out_invoice', 'out_receipt', 'entry')
            and move.state == 'posted'
            and move.payment_state not in ('paid', 'in_payment', 'reversed', 'invoicing_legacy')
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

    #=== ACTION METHODS - DUNNING ===#

    def action_view_dunning_notices(self):
        """Open the dunning notices that list the invoice.

        :rtype: dict
        """
        self.ensure_one()
        action = self.env['ir.actions.act_window']._for_xml_id('account_dunning.account_dunning_notice_action')
        return {**action, 'domain': [('line_ids.move_id', '=', self.id)], 'context': {}}

    #=== PAUSES: blocks, disputes, promises, payment plans ===#

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

    def _post(self, soft=True):
        # EXTENDS 'account': the credit note of an accepted dispute takes over from the pause
        posted = super()._post(soft=soft)
        # An invoice that was corrected may have other installments than those that are paused
        self.env['account.dispute'].sudo().search([
            ('move_id', 'in', posted.ids), ('state', '=', 'open')])._renew_blocks()
        if credit_notes := posted.filtered(lambda move: move.move_type == 'out_refund' and move.state == 'posted'):
            disputes = self.env['account.dispute'].sudo().search([
                ('credit_note_id', 'in', credit_notes.ids), ('block_id.state', '=', 'active')])
            disputes.block_id._end_today()
        return posted

    def _get_dunning_open_lines(self):
        """Receivable lines of posted invoices on which something is open, oldest due first.

        :return: account.move.line
        """
        return self.line_ids.filtered(
            lambda line: line.account_type == 'asset_receivable'
            and line.parent_state == 'posted'
            and not line.reconciled
            and line.amount_residual_currency > 0
        ).sorted(lambda line: (line.date_maturity or line.date, line.id))

    #=== End of pauses ===#
