from odoo import api, fields, models
from odoo.exceptions import ValidationError


class ResCompany(models.Model):
    _inherit = 'res.company'

    dunning_procedure_id = fields.Many2one(
        comodel_name='account.dunning.procedure',
        string="Dunning procedure",
        ondelete='restrict',
        help="For customers and invoices that have no procedure of their own; empty: they are not dunned.",
    )
    dunning_followup_date = fields.Date(
        string="Follow-up as of",
        readonly=True,
        copy=False,
        help="The day that the figures of the follow-up were brought up to.",
    )

    @api.constrains('dunning_procedure_id')
    def _check_dunning_procedure(self):
        for company in self:
            owner = company.dunning_procedure_id.company_id
            if owner and owner not in company.sudo().parent_ids:
                raise ValidationError(self.env._(
                    "The dunning procedure “%(procedure)s” belongs to %(company)s.",
                    procedure=company.dunning_procedure_id.name, company=owner.name))

    def _get_dunning_today(self):
        """The company's own today: a server in another time zone must not remind a day too early.

        :rtype: datetime.date
        """
        self.ensure_one()
        return fields.Date.context_today(self.with_context(tz=self.partner_id.tz or self.env.user.tz or 'UTC'))

    #=== CREDIT CONTROL ===#

    credit_control_policy = fields.Selection(
        string="Credit policy",
        selection=[
            ('off', "No credit control"),
            ('warn', "Warn"),
            ('block', "Block: orders wait for a release"),
        ],
        default='off',
        help="What happens when an order exceeds the customer's credit limit, or the customer is on credit hold.\n"
             "A customer may have a policy of their own.",
    )
    credit_overdue_days = fields.Integer(
        string="Old debts after (days)",
        help="Orders of a customer with debts that are overdue for more than this number of days need a release; "
             "0: old debts are not looked at.",
    )
    credit_overdue_amount = fields.Monetary(
        string="Old debts above",
        help="Old debts up to this amount are accepted, in company currency.",
    )
    credit_auto_release = fields.Boolean(
        string="Free held orders when the customer pays",
        help="An order that waits for a release goes on by itself once payments have brought the customer back within "
             "the credit limit.",
    )

    _credit_overdue_days_positive = models.Constraint(
        'CHECK(credit_overdue_days >= 0)',
        "The number of days of old debts can't be negative.",
    )
    _credit_overdue_amount_positive = models.Constraint(
        'CHECK(credit_overdue_amount >= 0)',
        "The amount of old debts can't be negative.",
    )

    def _get_company_root_delegated_field_names(self):
        # EXTENDS 'base': a branch and its main company are one creditor
        return super()._get_company_root_delegated_field_names() + [
            'credit_control_policy',
            'credit_overdue_days',
            'credit_overdue_amount',
            'credit_auto_release',
        ]

    #=== PAUSES: promises, payment plans ===#

    promise_max_days = fields.Integer(
        string="Longest promise (days)",
        default=30,
        help="A promise to pay later than this needs an accounting administrator; 0: no limit.",
    )
    promise_grace_days = fields.Integer(
        string="Grace after a promise (days)",
        default=3,
        help="A promise is broken when so many days have gone by since the promised date.",
    )
    plan_grace_days = fields.Integer(
        string="Grace after an installment (days)",
        default=5,
        help="An installment that is late by more days breaks the payment plan.",
    )
    plan_broken_hold = fields.Boolean(
        string="Credit hold when a plan is broken",
        help="A customer who breaks a payment plan comes under credit hold.",
    )
    plan_reminder_days = fields.Integer(
        string="Remind before an installment (days)",
        default=5,
        help="So many days before each installment of a payment plan the customer is reminded; 0: no reminder.",
    )

    _pause_days_positive = models.Constraint(
        'CHECK(promise_max_days >= 0 AND promise_grace_days >= 0 AND plan_grace_days >= 0 AND plan_reminder_days >= 0)',
        "The days of promises and payment plans can't be negative.",
    )

    #=== End of pauses ===#
