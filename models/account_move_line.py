from odoo import api, fields, models

# What makes a customer's row in the follow-up stale
FOLLOWUP_CHANGES = {
    'account_id', 'date_maturity', 'dunning_last_date', 'dunning_level_id', 'no_followup', 'partner_id',
}


class AccountMoveLine(models.Model):
    _inherit = 'account.move.line'

    # Plain columns, written when a notice goes out: nothing to compute on the old lines at installation.
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
    payment_plan_id = fields.Many2one(
        comodel_name='account.payment.plan',
        string="Payment plan",
        copy=False,
        readonly=True,
        index='btree_not_null',
        ondelete='set null',
        groups='account.group_account_invoice,account.group_account_readonly',
        help="The running plan that the line is in; plans that are over are not shown here.",
    )

    dunning_situation = fields.Char(
        string="Dunning situation",
        compute='_compute_dunning_situation',
        groups='account.group_account_invoice,account.group_account_readonly',
        help="What pauses the item: a dispute, a promise, a payment plan.",
    )

    payment_expected_date = fields.Date(
        string="Expected payment",
        compute='_compute_payment_expected_date',
        groups='account.group_account_invoice,account.group_account_readonly',
        help="By what was promised or agreed, else by how the customer pays. Empty: not foreseeable.",
    )

    #=== COMPUTE METHODS ===#

    def _compute_payment_expected_date(self):
        receivable = self.filtered(
            lambda line: line.account_type == 'asset_receivable' and line.parent_state == 'posted'
            and line.amount_residual > 0 and isinstance(line.id, int))
        self.payment_expected_date = False
        for company, lines in receivable.grouped('company_id').items():
            predictions = self.env['account.payment.forecast']._predict(lines, company._get_dunning_today())
            for line, (expected_date, _probability) in predictions.items():
                line.payment_expected_date = expected_date

    @api.depends_context('lang')
    def _compute_dunning_situation(self):
        explanation = self.env['account.dunning.explanation']
        self.dunning_situation = False
        for company, lines in self.grouped('company_id').items():
            pauses = explanation._find_pauses(
                company, lines.partner_id.commercial_partner_id, company._get_dunning_today())
            for line in lines if pauses else ():
                if pause := explanation._filter_pauses_of(line, pauses):
                    line.dunning_situation = explanation._describe_pauses(pause)

    #=== ACTION METHODS ===#

    def action_dunning_pdf(self):
        """Open the PDF of the item's invoice.

        :rtype: dict
        """
        self.ensure_one()
        return self.move_id.action_invoice_download_pdf(target='new')

    #=== CRUD METHODS ===#

    def write(self, vals):
        # EXTENDS 'account': over RPC, too
        self.env['account.move']._check_dunning_history(vals)
        if 'partner_id' in vals:
            self.env['account.dunning.followup']._note_changed(self.partner_id)
        result = super().write(vals)
        if not vals.keys().isdisjoint(FOLLOWUP_CHANGES):
            self.env['account.dunning.followup']._note_changed(self)
        return result

    def unlink(self):
        # EXTENDS 'account': a pause whose last line is gone must not become one of the whole customer
        blocks = self.env['account.dunning.block']._find_of_lines(self)
        result = super().unlink()
        blocks._end_without_lines()
        return result

    #=== BUSINESS METHODS ===#

    def _filter_open_receivables(self):
        """What a customer owes among the items: receivables of posted entries with something open, oldest due first.

        :rtype: account.move.line
        """
        return self.filtered(
            lambda line: line.account_type == 'asset_receivable'
            and line.parent_state == 'posted'
            and not line.reconciled
            and line.amount_residual_currency > 0
        ).sorted(lambda line: (line.date_maturity or line.date, line.id))

    def _sale_create_reinvoice_sale_line(self):
        # EXTENDS 'sale': a vendor's bill that is passed on makes the order grow; the money is spent already
        with self.env['sale.order']._let_grow():
            return super()._sale_create_reinvoice_sale_line()

    def _reconcile_post_hook(self, data):
        # EXTENDS 'account': agreements show at once what was paid, and a paid bill ends the holds that it caused
        result = super()._reconcile_post_hook(data)
        self.env['account.payment.plan']._follow_up_lines(self)
        self.env['account.payment.promise']._follow_up_lines(self)
        receivables = self.filtered(lambda line: line.account_type == 'asset_receivable')
        self.env['sale.order']._recheck_held_orders(receivables.partner_id)
        self.env['account.dunning.notice']._close_paid_calls(receivables.partner_id.commercial_partner_id)
        return result
