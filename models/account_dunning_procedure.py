from odoo import api, fields, models


class AccountDunningProcedure(models.Model):
    _name = 'account.dunning.procedure'
    _description = "Dunning procedure"
    _inherit = ['account.dunning.cached', 'mail.thread']
    _order = 'sequence, id'
    _check_company_domain = models.check_company_domain_parent_of

    name = fields.Char(required=True, translate=True)
    active = fields.Boolean(default=True)
    sequence = fields.Integer(default=10)
    company_id = fields.Many2one(
        comodel_name='res.company',
        default=lambda self: self.env.company,
        help="Leave empty to share the procedure between all companies.",
    )
    currency_id = fields.Many2one(
        comodel_name='res.currency',
        compute='_compute_currency_id',
    )
    escalation = fields.Selection(
        selection=[
            ('step', "One level after the other"),
            ('age', "The level that the age of the debt calls for"),
        ],
        required=True,
        default='step',
        tracking=True,
        help="One level after the other: nothing is skipped, a bill that is 200 days late still starts with the first "
             "reminder.\nBy age: the highest level whose delay has passed.",
    )
    mode = fields.Selection(
        selection=[
            ('automatic', "Send automatically"),
            ('review', "Propose, and send after review"),
        ],
        required=True,
        default='review',
        tracking=True,
    )
    min_wait_days = fields.Integer(
        string="Days between reminders",
        default=7,
        tracking=True,
        help="The least number of days between two reminders sent to one customer.",
    )
    min_amount = fields.Monetary(
        string="Minimum amount",
        tracking=True,
        help="No reminder while the customer's net overdue amount is below this sum, in company currency.",
    )
    user_id = fields.Many2one(
        comodel_name='res.users',
        string="Default collector",
        domain=[('share', '=', False)],
        help="Looks after the customers that have no collector of their own.",
    )
    level_ids = fields.One2many(
        comodel_name='account.dunning.level',
        inverse_name='procedure_id',
        copy=True,
    )
    level_warning = fields.Char(string="Order of the levels", compute='_compute_level_warning')

    _min_wait_days_positive = models.Constraint(
        'CHECK(min_wait_days BETWEEN 0 AND 9999)',
        "The days between reminders can't be negative, nor more than 9999.",
    )
    _min_amount_positive = models.Constraint(
        'CHECK(min_amount >= 0)',
        "The minimum amount can't be negative.",
    )

    #=== COMPUTE METHODS ===#

    @api.depends('company_id')
    @api.depends_context('company')
    def _compute_currency_id(self):
        for procedure in self:
            procedure.currency_id = (procedure.company_id or self.env.company).currency_id

    @api.depends('level_ids.sequence', 'level_ids.delay_days', 'level_ids.name')
    @api.depends_context('lang')
    def _compute_level_warning(self):
        """Name the first level that can't come in its place: its delay is not longer than the one before it."""
        for procedure in self:
            procedure.level_warning = False
            levels = procedure.level_ids.sorted(lambda level: level.sequence)
            for previous, level in zip(levels, levels[1:], strict=False):
                if level.delay_days <= previous.delay_days:
                    procedure.level_warning = self.env._(
                        "The delays don't rise: “%(level)s” (%(days)s days) stands after “%(previous)s” "
                        "(%(previous_days)s days). Drag the levels into their order, or change their days.",
                        level=level.name or self.env._("New"),
                        days=level.delay_days,
                        previous=previous.name or self.env._("New"),
                        previous_days=previous.delay_days,
                    )
                    break
