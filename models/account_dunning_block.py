from odoo import api, fields, models


class AccountDunningBlock(models.Model):
    """A pause of dunning. The engine asks nothing but blocks: disputes, promises and plans pause through them."""

    _name = 'account.dunning.block'
    _description = "Dunning block"
    _order = 'date_from desc, id desc'
    _check_company_auto = True

    company_id = fields.Many2one(
        comodel_name='res.company',
        required=True,
        default=lambda self: self.env.company,
        index=True,
    )
    partner_id = fields.Many2one(
        comodel_name='res.partner',
        string="Customer",
        required=True,
        index=True,
        ondelete='cascade',
    )
    move_line_ids = fields.Many2many(
        comodel_name='account.move.line',
        relation='account_dunning_block_move_line_rel',
        column1='block_id',
        column2='move_line_id',
        string="Paused lines",
        help="Empty: everything the customer owes.",
    )
    reason = fields.Selection(
        selection=[
            ('dispute', "Dispute"),
            ('promise', "Promise to pay"),
            ('plan', "Payment plan"),
            ('manual', "Other"),
        ],
        required=True,
        default='manual',
    )
    currency_id = fields.Many2one(comodel_name='res.currency')
    amount = fields.Monetary(
        help="0: all of it is paused; else only so much of the lines, the rest is dunned.",
    )
    date_from = fields.Date(required=True, default=fields.Date.context_today)
    date_until = fields.Date(help="The last day of the pause; empty: until it is ended by hand.")
    state = fields.Selection(
        selection=[('active', "Active"), ('ended', "Ended")],
        required=True,
        default='active',
    )
    broken = fields.Boolean(
        readonly=True,
        help="The customer did not do what was agreed: the next step for what it covered is due at once.",
    )
    date_ended = fields.Date(readonly=True)
    note = fields.Text()
    user_id = fields.Many2one(comodel_name='res.users', default=lambda self: self.env.user)

    _amount_positive = models.Constraint('CHECK(amount >= 0)', "The paused amount can't be negative.")
    _dates_ordered = models.Constraint(
        'CHECK(date_until IS NULL OR date_until >= date_from)',
        "A pause can't end before it begins.",
    )

    #=== ACTION METHODS ===#

    def action_end(self):
        """End the pause today: dunning of what it covered goes on."""
        self.write({'state': 'ended', 'date_ended': fields.Date.context_today(self)})

    #=== BUSINESS METHODS ===#

    @api.model
    def _update_pauses(self, company, date):
        """Bring the company's pauses up to the date, before a run looks at them."""
