from odoo import api, fields, models
from odoo.exceptions import UserError, ValidationError
from odoo.tools import SQL, formatLang


class AccountDispute(models.Model):
    """The customer contests an invoice, or a part of it: that part is not dunned until somebody has decided."""

    _name = 'account.dispute'
    _description = "Dispute"
    _inherit = ['account.dunning.pausing', 'mail.thread', 'mail.activity.mixin']
    _order = 'date_opened desc, id desc'
    _pause_reason = 'dispute'

    move_id = fields.Many2one(
        comodel_name='account.move',
        string="Invoice",
        required=True,
        index=True,
        ondelete='cascade',
        domain=[('move_type', 'in', ('out_invoice', 'out_receipt')), ('state', '=', 'posted')],
    )
    move_line_ids = fields.Many2many(
        relation='account_dispute_move_line_rel',
        column1='dispute_id',
        column2='move_line_id',
        string="Installments",
        domain="[('move_id', '=', move_id), ('account_type', '=', 'asset_receivable')]",
        help="Empty: the whole invoice.",
    )
    # What comes from the invoice
    company_id = fields.Many2one(related='move_id.company_id', default=None, store=True, precompute=True)
    partner_id = fields.Many2one(related='move_id.commercial_partner_id', store=True, precompute=True)
    currency_id = fields.Many2one(related='move_id.currency_id', default=None, store=True, precompute=True)
    amount = fields.Monetary(
        string="Disputed amount",
        compute='_compute_amount',
        store=True,
        readonly=False,
        tracking=True,
        help="Tax included, in the invoice's currency. The rest of the invoice is dunned.",
    )
    reason = fields.Selection(
        selection=[
            ('not_received', "Goods or service not received"),
            ('wrong_goods', "Wrong or damaged goods"),
            ('quality', "Quality of the service"),
            ('quantity', "Quantity"),
            ('price', "Price or discount"),
            ('tax', "Tax"),
            ('document', "Wrong or missing details on the invoice"),
            ('invoice_missing', "Invoice not received"),
            ('duplicate', "Invoiced twice"),
            ('already_paid', "Already paid"),
            ('credit_expected', "Credit note expected"),
            ('terms', "Payment terms"),
            ('not_ordered', "Not ordered"),
            ('other', "Other"),
        ],
        required=True,
        default='other',
        tracking=True,
    )
    note = fields.Text(string="What the customer says")
    user_id = fields.Many2one(
        comodel_name='res.users',
        string="Owner",
        default=lambda self: self.env.user,
        tracking=True,
        index=True,
    )
    date_opened = fields.Date(
        string="Opened", required=True, default=lambda self: self.env.company._get_dunning_today())
    date_resolved = fields.Date(string="Resolved", readonly=True, copy=False)
    age_days = fields.Integer(string="Days open", compute='_compute_age_days')
    state = fields.Selection(
        string="Status",
        selection=[('open', "Open"), ('accepted', "Accepted"), ('rejected', "Rejected")],
        required=True,
        default='open',
        readonly=True,
        copy=False,
        index=True,
        tracking=True,
    )
    resolution = fields.Text()
    credit_note_id = fields.Many2one(
        comodel_name='account.move',
        string="Credit note",
        readonly=True,
        copy=False,
        index='btree_not_null',
        ondelete='set null',
    )

    _amount_positive = models.Constraint('CHECK(amount > 0)', "The disputed amount must be positive.")

    #=== COMPUTE METHODS ===#

    @api.depends('move_id', 'reason')
    def _compute_display_name(self):
        reasons = dict(self._fields['reason']._description_selection(self.env))
        for dispute in self:
            dispute.display_name = bool(dispute.move_id) and self.env._(
                "%(invoice)s: %(reason)s",
                invoice=dispute.move_id.name or '',
                reason=reasons.get(dispute.reason, ''),
            )

    @api.depends('move_id', 'move_line_ids')
    def _compute_amount(self):
        for dispute in self:
            if not dispute.amount:
                dispute.amount = dispute._get_open_amount()

    @api.depends('date_opened', 'date_resolved')
    def _compute_age_days(self):
        for dispute in self:
            today = (dispute.company_id or self.env.company)._get_dunning_today()
            opened = dispute.date_opened or today
            dispute.age_days = ((dispute.date_resolved or today) - opened).days

    #=== CONSTRAINT METHODS ===#

    @api.constrains('amount', 'move_id')
    def _check_amount(self):
        for dispute in self:
            if dispute.currency_id.compare_amounts(dispute.amount, abs(dispute.move_id.amount_total)) > 0:
                raise ValidationError(self.env._(
                    "The disputed amount can't be more than the total of %(invoice)s, which is %(total)s.",
                    invoice=dispute.move_id.name,
                    total=formatLang(self.env, dispute.move_id.amount_total, currency_obj=dispute.currency_id),
                ))

    @api.constrains('move_line_ids', 'move_id')
    def _check_installments(self):
        for dispute in self:
            if dispute.move_line_ids.move_id - dispute.move_id:
                raise ValidationError(self.env._(
                    "The disputed installments must belong to %(invoice)s.", invoice=dispute.move_id.name))

    #=== CRUD METHODS ===#

    @api.model_create_multi
    def create(self, vals_list):
        """A dispute pauses what it contests as soon as it exists.

        :raise UserError: when the invoice is not an open, posted customer invoice
        """
        for move in self.env['account.move'].browse([vals['move_id'] for vals in vals_list if vals.get('move_id')]):
            if move.state != 'posted' or not move.is_sale_document(include_receipts=True):
                raise UserError(self.env._("Only a posted customer invoice can be disputed."))
        disputes = super().create(vals_list)
        for dispute in disputes:
            if not dispute._get_open_lines():
                raise UserError(self.env._(
                    "Nothing is open on %s: there is nothing to dispute.", dispute.move_id.name))
            dispute._open_block()
        disputes._log(lambda dispute: self.env._(
            "Dispute opened for %(amount)s: %(reason)s. It is not dunned meanwhile.",
            amount=dispute._format_amount(),
            reason=dispute._get_reason_label(),
        ))
        return disputes

    def write(self, vals):
        result = super().write(vals)
        if vals.keys() & {'amount', 'move_line_ids', 'move_id'}:
            self.filtered(lambda dispute: dispute.state == 'open')._renew_blocks()
        return result

    @api.ondelete(at_uninstall=False)
    def _unlink_except_resolved(self):
        if self.filtered(lambda dispute: dispute.state != 'open'):
            raise UserError(self.env._("A resolved dispute is part of the invoice's history and can't be deleted."))
        # Opened by mistake: what it paused goes on
        self.block_id._end_today()

    def _check_guarded_fields(self, vals):
        # EXTENDS 'account_dunning': what comes from the invoice may be named, it is not taken from there
        return super()._check_guarded_fields({
            fname: value for fname, value in vals.items()
            if fname not in ('company_id', 'partner_id', 'currency_id')
        })

    #=== ACTION METHODS ===#

    def action_accept(self):
        """Accept the customer's view: prepare the credit note. What is disputed stays paused until it is posted.

        :return: the action that opens the credit note
        :raise UserError: when the dispute is already resolved
        """
        self.check_access('write')
        self._check_open()
        for dispute in self:
            today = dispute.company_id._get_dunning_today()
            credit_note = dispute._create_credit_note(today)
            dispute.sudo().write({'state': 'accepted', 'date_resolved': today, 'credit_note_id': credit_note.id})
        self._log(lambda dispute: self.env._(
            "Dispute of %(amount)s accepted; a credit note is prepared.", amount=dispute._format_amount()))
        return self.action_view_credit_note()

    def action_reject(self):
        """Reject the customer's view: what was disputed is dunned again.

        :raise UserError: when the dispute is already resolved
        """
        self.check_access('write')
        self._check_open()
        for company, disputes in self.grouped('company_id').items():
            disputes.sudo().write({'state': 'rejected', 'date_resolved': company._get_dunning_today()})
        self.block_id._end_today()
        self._log(lambda dispute: self.env._(
            "Dispute of %(amount)s rejected; dunning goes on.", amount=dispute._format_amount()))

    def action_view_credit_note(self):
        """Open the credit notes of the disputes."""
        action = {
            'type': 'ir.actions.act_window',
            'res_model': 'account.move',
            'name': self.env._("Credit note"),
        }
        if len(self.credit_note_id) == 1:
            return dict(action, view_mode='form', res_id=self.credit_note_id.id)
        return dict(action, view_mode='list,form', domain=[('id', 'in', self.credit_note_id.ids)])

    #=== BUSINESS METHODS ===#

    def _check_open(self):
        if resolved := self.filtered(lambda dispute: dispute.state != 'open')[:1]:
            raise UserError(self.env._("The dispute %s is already resolved.", resolved.display_name))

    def _get_open_lines(self):
        # EXTENDS 'account.dunning.pausing': without installments, the whole invoice
        lines = self.move_id.line_ids._filter_open_receivables()
        return lines & self.move_line_ids if self.move_line_ids else lines

    def _get_paused_lines(self):
        # EXTENDS 'account.dunning.pausing'
        return self._get_open_lines()

    def _get_paused_amount(self):
        # EXTENDS 'account.dunning.pausing': the rest of the lines is dunned
        is_partial = self.currency_id.compare_amounts(self.amount, self._get_open_amount()) < 0
        return self.amount if is_partial else 0.0

    def _get_pause_period(self):
        # EXTENDS 'account.dunning.pausing': until somebody decides
        return self.date_opened, False

    def _renew_blocks(self):
        """Pause what is disputed now, also where the pause ended with the installments that it named."""
        for dispute in self:
            if not dispute._get_open_lines():
                continue  # paid meanwhile: a pause without lines would be one of the whole customer
            if dispute.block_id.state == 'active':
                dispute.block_id.sudo().write(dispute._prepare_block_values())
            elif not dispute.block_id.move_line_ids:
                dispute._open_block()

    def _create_credit_note(self, date):
        """Prepare the credit note of the disputed amount, for somebody to check and post.

        Whole invoice: Odoo's own reversal. A part of it: the reversal with each line scaled down; where rounding
        leaves a cent, the biggest line takes it.

        :param datetime.date date: date of the credit note
        :return: a draft account.move
        """
        self.ensure_one()
        credit_note = self.move_id._reverse_moves([{
            'ref': self.env._("Reversal of: %(invoice)s, dispute: %(reason)s",
                              invoice=self.move_id.name, reason=self._get_reason_label()),
            'date': date,
            'invoice_date': date,
            'invoice_user_id': self.move_id.invoice_user_id.id,
        }])
        total = self.move_id.amount_total
        if self.currency_id.compare_amounts(self.amount, total) < 0:
            ratio = self.amount / total
            lines = credit_note.invoice_line_ids.filtered(lambda line: line.display_type == 'product')
            for line in lines:
                included = any(line.tax_ids.flatten_taxes_hierarchy().mapped('price_include'))
                line.write({
                    'price_unit': (line.price_total if included else line.price_subtotal) * ratio,
                    'quantity': 1.0,
                    'discount': 0.0,
                })
            biggest = max(lines, key=lambda line: abs(line.price_total))
            if not self.currency_id.is_zero(self.amount - credit_note.amount_total):
                biggest.price_unit += self.currency_id.round(self.amount - credit_note.amount_total)
        return credit_note

    @api.model
    def _close_credited(self, company, date):
        """End the pauses of accepted disputes whose credit note is posted, or given up.

        :param company: res.company
        :param datetime.date date: the company's today
        """
        self.env.flush_all()
        self.env.cr.execute(SQL(
            """
            SELECT block.id
              FROM account_dispute dispute
              JOIN account_dunning_block block ON block.id = dispute.block_id AND block.state = 'active'
         LEFT JOIN account_move credit_note ON credit_note.id = dispute.credit_note_id
             WHERE dispute.company_id = %s
               AND dispute.state = 'accepted'
               AND COALESCE(credit_note.state, 'cancel') != 'draft'
            """,
            company.id,
        ))
        self.env['account.dunning.block'].browse(row[0] for row in self.env.cr.fetchall())._end(date)

    @api.model
    def _follow_posted(self, moves):
        """Keep the pauses in step with invoices that were corrected, and end those whose credit note is posted.

        :param account.move moves: posted just now
        """
        # Whoever posts need not have rights on disputes.
        disputes = self.sudo()
        disputes.search([('move_id', 'in', moves.ids), ('state', '=', 'open')])._renew_blocks()
        if credit_notes := moves.filtered(lambda move: move.move_type == 'out_refund' and move.state == 'posted'):
            disputes.search([
                ('credit_note_id', 'in', credit_notes.ids), ('block_id.state', '=', 'active'),
            ]).block_id._end_today()

    #=== TOOLING ===#

    def _get_reason_label(self):
        return dict(self._fields['reason']._description_selection(self.env))[self.reason]

    def _prepare_log_entries(self, sentence):
        # EXTENDS 'account.dunning.pausing'
        return [(self.move_id, sentence), (self.partner_id, f"{self.move_id.name}: {sentence}")]
