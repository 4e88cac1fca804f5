from odoo import api, fields, models
from odoo.exceptions import UserError


class AccountPaymentPlanInstallment(models.Model):
    """One date and amount of a payment plan, and how much of it is paid."""

    _name = 'account.payment.plan.installment'
    _description = "Installment of a payment plan"
    _inherit = ['account.dunning.guarded']
    _order = 'plan_id, date, id'

    plan_id = fields.Many2one(
        comodel_name='account.payment.plan',
        required=True,
        index=True,
        ondelete='cascade',
    )
    company_id = fields.Many2one(related='plan_id.company_id', store=True, precompute=True, index=True)
    partner_id = fields.Many2one(related='plan_id.partner_id')
    currency_id = fields.Many2one(related='plan_id.currency_id')
    plan_state = fields.Selection(related='plan_id.state', string="Plan state")
    date = fields.Date(string="Due on", required=True)
    amount = fields.Monetary(required=True)
    is_down_payment = fields.Boolean(string="Down payment")
    # Written by the plan's follow-up, in SQL
    amount_paid = fields.Monetary(string="Paid", readonly=True, copy=False)
    amount_open = fields.Monetary(string="Open", compute='_compute_amount_open')
    state = fields.Selection(
        string="Status",
        selection=[('open', "Open"), ('paid', "Paid"), ('late', "Late")],
        required=True,
        default='open',
        readonly=True,
        copy=False,
    )
    reminder_date = fields.Date(
        string="Reminded on", readonly=True, copy=False, help="A customer is reminded once of an installment.")

    _amount_positive = models.Constraint('CHECK(amount >= 0)', "An installment can't be negative.")
    _paid_within_amount = models.Constraint(
        'CHECK(amount_paid >= 0 AND amount_paid <= amount)', "An installment can't be paid more than once.")

    #=== COMPUTE METHODS ===#

    @api.depends('date', 'amount')
    def _compute_display_name(self):
        for installment in self:
            installment.display_name = self.env._(
                "%(plan)s, %(date)s",
                plan=installment.plan_id.name or '',
                date=fields.Date.to_string(installment.date) or '',
            )

    @api.depends('amount', 'amount_paid')
    def _compute_amount_open(self):
        for installment in self:
            installment.amount_open = installment.amount - installment.amount_paid

    #=== CRUD METHODS ===#

    @api.model_create_multi
    def create(self, vals_list):
        installments = super().create(vals_list)
        installments._check_draft()
        return installments

    def write(self, vals):
        if vals.keys() & {'plan_id', 'date', 'amount', 'is_down_payment'}:
            self._check_draft()
        return super().write(vals)

    @api.ondelete(at_uninstall=False)
    def _unlink_except_agreed(self):
        if self.plan_id.filtered(lambda plan: plan.state not in ('draft', 'cancelled')):
            self._check_draft()

    def _check_draft(self):
        """What was offered stays as it was offered.

        :raise UserError: when the plan is no draft any more
        """
        if agreed := self.plan_id.filtered(lambda plan: plan.state != 'draft')[:1]:
            raise UserError(self.env._(
                "Payment plan %s is no draft any more. To agree on something else, make a new plan of it.",
                agreed.name))
