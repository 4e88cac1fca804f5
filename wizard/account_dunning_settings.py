from odoo import api, fields, models
from odoo.exceptions import AccessError

# What the dialog shows of the company; the general settings have the same
COMPANY_FIELDS = (
    'dunning_procedure_id', 'dunning_delivered_only', 'dunning_call_tries', 'dunning_aging_days',
    'dunning_statement_monthly',
    'dunning_statement_day',
    'dunning_needs_address', 'dunning_needs_email', 'dunning_needs_vat',
    'dunning_needs_registry',
    'account_use_credit_limit', 'credit_control_policy', 'credit_overdue_days', 'credit_overdue_amount',
    'credit_auto_release', 'credit_cover_counts', 'credit_cover_notice_days', 'credit_second_approval_amount',
    'credit_review_months',
    'promise_max_days', 'promise_grace_days', 'plan_grace_days', 'plan_broken_hold', 'plan_reminder_days',
    'collection_write_off_account_id',
    'payer_score_persons', 'payer_score_days_2', 'payer_score_days_3', 'payer_score_days_4', 'payer_score_days_5',
    'payer_call_effect', 'payer_call_rate', 'payer_call_cost',
    'late_charge_product_id', 'late_charge_account_id', 'late_charge_post',
)


class AccountDunningSettings(models.TransientModel):
    """The company's settings of dunning and credit, for who manages accounting: Odoo's general settings are open to
    those alone who may change everything."""

    _name = 'account.dunning.settings'
    _description = "Dunning settings"

    company_id = fields.Many2one(
        comodel_name='res.company', required=True, readonly=True, default=lambda self: self.env.company)
    currency_id = fields.Many2one(related='company_id.currency_id')
    is_branch = fields.Boolean(compute='_compute_is_branch')
    dunning_procedure_id = fields.Many2one(
        comodel_name='account.dunning.procedure',
        domain="['|', ('company_id', '=', False), ('company_id', 'parent_of', company_id)]")
    dunning_delivered_only = fields.Boolean(
        string="Only delivered invoices",
        help="An invoice that nobody has sent or printed in Odoo, or that Peppol has not delivered, is not dunned "
             "until it is.")
    dunning_needs_address = fields.Boolean(string="Postal address")
    dunning_needs_email = fields.Boolean(string="E-mail")
    dunning_needs_vat = fields.Boolean(string="VAT number", help="Of companies.")
    dunning_needs_registry = fields.Boolean(string="Registration number", help="Of companies.")
    dunning_call_tries = fields.Integer(
        string="Tries of a call",
        help="A call without an answer is tried again on the next working day, so many times in all.")
    dunning_aging_days = fields.Integer(
        string="Days of an age bucket",
        help="Aged receivables and statements: 30 makes 1–30, 31–60, 61–90 and over 90 days late.")
    dunning_statement_monthly = fields.Boolean(
        string="Monthly statements", help="E-mail each customer who owes something a statement of account every month.")
    dunning_statement_day = fields.Integer(
        string="Day of the month", help="From 1 to 28; when it is missed, the next day.")
    account_use_credit_limit = fields.Boolean(string="Sales credit limit")
    credit_control_policy = fields.Selection(
        selection='_selection_credit_control_policy', string="Over the limit", required=True)
    credit_overdue_days = fields.Integer(string="Old debts after (days)")
    credit_overdue_amount = fields.Monetary(string="Old debts above")
    credit_auto_release = fields.Boolean(string="Free held orders when the customer pays")
    credit_cover_counts = fields.Boolean(
        string="Compare the own risk with the limit",
        help="What is insured, guaranteed or deposited does not count against a customer's credit limit. Else it is "
             "shown only.")
    credit_cover_notice_days = fields.Integer(string="Announce the end of cover (days)")
    credit_second_approval_amount = fields.Monetary(
        string="Second approval above",
        help="A credit limit above this amount, in company currency, is requested and needs the approval of two credit "
             "managers; 0: of one.")
    credit_review_months = fields.Integer(
        string="Review limits after (months)",
        help="So many months after a customer's credit limit was changed the credit managers get an activity to look "
             "at it again; 0: no review.")
    promise_max_days = fields.Integer(string="Longest promise (days)")
    promise_grace_days = fields.Integer(string="Grace after a promise (days)")
    plan_grace_days = fields.Integer(string="Grace after an installment (days)")
    plan_broken_hold = fields.Boolean(string="Credit hold when a plan is broken")
    plan_reminder_days = fields.Integer(string="Remind before an installment (days)")
    collection_write_off_account_id = fields.Many2one(
        comodel_name='account.account', string="Bad debts account",
        domain="[('account_type', 'in', ('expense', 'expense_other', 'expense_direct_cost'))]",
        help="What an agency gives back as uncollectible is written off here; its tax is left to your accountant.")
    payer_score_persons = fields.Boolean(
        string="Score natural persons",
        help="Also customers who are persons, not companies, get a payer score. It is profiling (GDPR art. 4 and 22): "
             "tell them, and let nothing be decided by it alone.")
    payer_score_days_2 = fields.Float(string="Score 2 from", digits=(16, 1))
    payer_score_days_3 = fields.Float(string="Score 3 from", digits=(16, 1))
    payer_score_days_4 = fields.Float(string="Score 4 from", digits=(16, 1))
    payer_score_days_5 = fields.Float(string="Score 5 from", digits=(16, 1))
    payer_call_effect = fields.Float(
        string="Effect of a call",
        help="By what part of the days until payment a call shortens them, as an estimate: 0.5 is half of them.")
    payer_call_rate = fields.Float(
        string="Yearly cost of money (%)", help="What a year of waiting for 100 costs the company.")
    payer_call_cost = fields.Monetary(
        string="Cost of a call", help="What a call costs the company, in working time. Calls worth less come last.")
    late_charge_product_id = fields.Many2one(comodel_name='product.product', string="Charge product")
    late_charge_account_id = fields.Many2one(comodel_name='account.account', string="Charge account")
    late_charge_post = fields.Boolean(string="Post charge invoices")

    @api.model
    def _selection_credit_control_policy(self):
        return self.env['res.company']._fields['credit_control_policy']._description_selection(self.env)

    #=== COMPUTE METHODS ===#

    @api.depends('company_id')
    def _compute_is_branch(self):
        for settings in self:
            settings.is_branch = bool(settings.company_id.sudo().parent_id)

    #=== CRUD METHODS ===#

    @api.model
    def default_get(self, fields):
        # EXTENDS 'base': what the company has now
        values = super().default_get(fields)
        company = self._get_company()
        values.update({
            name: company._fields[name].convert_to_write(company[name], company)
            for name in COMPANY_FIELDS if name in fields
        })
        return values

    #=== ACTION METHODS ===#

    def action_save(self):
        """Write the settings to the company.

        :raise AccessError: to who does not manage accounting
        """
        self.ensure_one()
        company = self._get_company()
        names = [
            name for name in COMPANY_FIELDS
            # a branch is one creditor with its main company, which says so for both
            if not (self.is_branch and name in company._get_company_root_delegated_field_names())
        ]
        changes = {
            name: self._fields[name].convert_to_write(self[name], self)
            for name in names if self[name] != company[name]
        }
        if changes:
            company.write(changes)
        return {'type': 'ir.actions.client', 'tag': 'soft_reload'}

    def _get_company(self):
        """The company whose settings these are, with the rights to change them."""
        company = self.company_id or self.env.company
        if not self.env.user.has_group('account.group_account_manager') or company not in self.env.user.company_ids:
            raise AccessError(self.env._("Only an accounting administrator of the company can see and change this."))
        # Checked just above: who manages accounting may choose how the company reminds, and nothing else of it.
        return company.sudo()
