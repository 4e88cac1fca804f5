import pytz

from odoo import api, fields, models
from odoo.exceptions import UserError, ValidationError
from odoo.tools import formatLang

from .account_dunning_notice import LIVE_STATES


class ResCompany(models.Model):
    _inherit = 'res.company'

    dunning_procedure_id = fields.Many2one(
        comodel_name='account.dunning.procedure',
        string="Dunning procedure",
        ondelete='restrict',
        help="For customers and invoices that have no procedure of their own. Empty: the main company's; if that has "
             "none either, they are not dunned.",
    )
    dunning_delivered_only = fields.Boolean(
        string="Remind only of delivered invoices",
        help="An invoice that nobody has sent or printed in Odoo, or that Peppol has not delivered, is not dunned "
             "until it is.",
    )
    dunning_call_tries = fields.Integer(
        string="Tries of a call",
        required=True,
        default=3,
        help="A call without an answer is tried again on the next working day, so many times in all.",
    )
    dunning_aging_days = fields.Integer(
        string="Days of an age bucket",
        required=True,
        default=30,
        help="Aged receivables and statements: 30 makes 1–30, 31–60, 61–90 and over 90 days late.",
    )
    dunning_timezone = fields.Char(
        compute='_compute_dunning_timezone',
        compute_sudo=True,
        store=True,
        help="The company's day begins at midnight of this time zone.",
    )
    dunning_followup_date = fields.Date(
        string="Follow-up as of",
        readonly=True,
        copy=False,
        help="The day that the figures of the follow-up were brought up to.",
    )

    _dunning_call_tries_positive = models.Constraint(
        'CHECK (dunning_call_tries > 0)',
        "A call is tried at least once.",
    )
    _dunning_aging_days_positive = models.Constraint(
        'CHECK (dunning_aging_days > 0)',
        "An age bucket needs at least one day.",
    )

    @api.constrains('dunning_procedure_id')
    def _check_dunning_procedure(self):
        for company in self:
            owner = company.dunning_procedure_id.company_id
            if owner and owner not in company.sudo().parent_ids:
                raise ValidationError(self.env._(
                    "The dunning procedure “%(procedure)s” belongs to %(company)s.",
                    procedure=company.dunning_procedure_id.name, company=owner.name))

    @api.depends('partner_id.tz', 'partner_id.country_id')
    def _compute_dunning_timezone(self):
        now = fields.Datetime.now()
        for company in self:
            contact = company.partner_id
            zones = [contact.tz] if contact.tz else pytz.country_timezones.get(contact.country_id.code or '', ['UTC'])
            company.dunning_timezone = min(zones, key=lambda zone: pytz.timezone(zone).utcoffset(now))

    def write(self, vals):
        # EXTENDS 'base'
        result = super().write(vals)
        if not vals.keys().isdisjoint(('dunning_procedure_id', 'dunning_delivered_only')):
            self.env['account.dunning.followup']._note_configuration_changed()
        return result

    def _get_dunning_today(self):
        """The company's own today, whoever looks and wherever the server stands: in the time zone of the company's
        contact, else in the westernmost one of its country (a day late at most, never early), else UTC.

        :rtype: datetime.date
        """
        self.ensure_one()
        now = pytz.utc.localize(fields.Datetime.now())
        return now.astimezone(pytz.timezone(self.sudo().dunning_timezone or 'UTC')).date()

    def _get_credit_managers(self):
        """Who decides on the credit of the company's customers.

        :return: with all rights
        :rtype: res.users
        """
        self.ensure_one()
        return self.env.ref('account_dunning.group_credit_manager').sudo().all_user_ids.filtered(
            lambda user: user.active and not user.share and self in user.company_ids)

    def _get_dunning_procedure(self):
        """The procedure of the company's customers, unless they have their own: the company's, else that of the nearest
        company above it.

        :return: account.dunning.procedure, may be empty
        """
        self.ensure_one()
        above = reversed(self.sudo().parent_ids)  # from the root company to this one
        return next(
            (company.dunning_procedure_id for company in above if company.dunning_procedure_id),
            self.env['account.dunning.procedure'].sudo())

    def _is_credit_hold_effective(self):
        """Whether a customer's hold, by hand or by a dunning level, makes new orders wait.

        :rtype: bool
        """
        self.ensure_one()
        root = self.sudo().root_id
        return bool(root.account_use_credit_limit and root.credit_control_policy == 'block')

    def _has_dunning(self):
        """Whether anything of the company can be dunned: it, one of its customers or invoices has a procedure, or a
        notice is on its way."""
        self.ensure_one()
        return bool(
            self._get_dunning_procedure()
            or self.env['account.dunning.notice'].sudo().search_count(
                [('company_id', '=', self.id), ('state', 'in', LIVE_STATES)], limit=1)
            or self.env['account.move'].sudo().search_count(
                [('company_id', '=', self.id), ('dunning_procedure_id', '!=', False)], limit=1)
            or self.env['res.partner'].sudo().with_company(self).with_context(active_test=False).search_count(
                [('dunning_procedure_id', '!=', False)], limit=1)
        )

    def _get_dunning_bank_account(self, currency, moves=None):
        """The account that our documents ask to pay into: the one that the invoices name when they all name the same;
        else the company's own, as Odoo picks it for an invoice: a trusted one, and one in the currency or without one,
        come first.

        :param res.currency currency: of the payment
        :param account.move moves: the invoices to be paid, if the document is about certain ones
        :return: res.partner.bank, empty when the company has none
        """
        self.ensure_one()
        # Which account a customer is asked to pay into is no secret, whoever prints the document.
        if moves and len(banks := moves.sudo().partner_bank_id) == 1:
            return banks
        company = self.sudo()
        return company.partner_id.bank_ids.filtered(
            lambda bank: not bank.company_id or bank.company_id == company
        ).sorted(lambda bank: (bank.currency_id not in (currency, currency.browse()), not bank.allow_out_payment))[:1]

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

    credit_cover_counts = fields.Boolean(
        string="Compare the own risk with the limit",
        help="What is insured, guaranteed or deposited does not count against a customer's credit limit. Else it is "
             "shown only.",
    )
    credit_cover_notice_days = fields.Integer(
        string="Announce the end of cover (days)",
        default=30,
        help="So many days before the cover of a customer's credit ends the credit managers get an activity.",
    )

    credit_second_approval_amount = fields.Monetary(
        string="Second approval above",
        help="A credit limit above this amount, in company currency, is requested and needs the approval of two credit "
             "managers; 0: of one.",
    )
    credit_review_months = fields.Integer(
        string="Review limits after (months)",
        help="So many months after a customer's credit limit was changed the credit managers get an activity to look "
             "at it again; 0: no review.",
    )

    _credit_second_approval_amount_positive = models.Constraint(
        'CHECK(credit_second_approval_amount >= 0)',
        "The amount above which a limit needs a second approval can't be negative.",
    )
    _credit_review_months_positive = models.Constraint(
        'CHECK(credit_review_months >= 0)',
        "The number of months between reviews can't be negative.",
    )
    _credit_cover_notice_days_positive = models.Constraint(
        'CHECK(credit_cover_notice_days >= 0)',
        "The number of days before the end of cover can't be negative.",
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
            'credit_cover_counts',
            'credit_cover_notice_days',
            'credit_second_approval_amount',
            'credit_review_months',
        ]

    def _check_limit_approved(self, name, before, after):
        """Above the company's amount no single person raises a limit.

        :param str name: whose limit it is
        :param float before: the limit in company currency; 0: there is none, so that anything may be ordered
        :param float after: the limit that it becomes
        :raise UserError: when that needs a request and two approvals
        """
        root = self.sudo().root_id
        most = root.credit_second_approval_amount
        if not most:
            return
        before, after = before or float('inf'), after or float('inf')
        if after > most and after > before:
            raise UserError(self.env._(
                "A credit limit above %(amount)s needs two credit managers: request it for %(customer)s, and another "
                "one approves it.",
                amount=formatLang(self.env, most, currency_obj=root.currency_id), customer=name))

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

    #=== COLLECTION CASES ===#

    collection_write_off_account_id = fields.Many2one(
        comodel_name='account.account',
        string="Bad debts account",
        check_company=True,
        domain="[('account_type', 'in', ('expense', 'expense_other', 'expense_direct_cost'))]",
        help="What an agency gives back as uncollectible is written off here. Its tax stays as it was invoiced: taking "
             "it back is an entry of your accountant's.",
    )

    _pause_days_positive = models.Constraint(
        'CHECK(promise_max_days >= 0 AND promise_grace_days >= 0 AND plan_grace_days >= 0 AND plan_reminder_days >= 0)',
        "The days of promises and payment plans can't be negative.",
    )

    #=== End of pauses ===#
