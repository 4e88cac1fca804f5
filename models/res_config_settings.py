from odoo import api, fields, models


class ResConfigSettings(models.TransientModel):
    _inherit = 'res.config.settings'

    dunning_procedure_id = fields.Many2one(related='company_id.dunning_procedure_id', readonly=False)

    dunning_call_tries = fields.Integer(related='company_id.dunning_call_tries', readonly=False)
    dunning_statement_monthly = fields.Boolean(related='company_id.dunning_statement_monthly', readonly=False)
    dunning_statement_day = fields.Integer(related='company_id.dunning_statement_day', readonly=False)
    dunning_aging_days = fields.Integer(related='company_id.dunning_aging_days', readonly=False)
    dunning_delivered_only = fields.Boolean(related='company_id.dunning_delivered_only', readonly=False)

    # How customers pay
    payer_score_persons = fields.Boolean(related='company_id.payer_score_persons', readonly=False)
    payer_score_days_2 = fields.Float(related='company_id.payer_score_days_2', readonly=False)
    payer_score_days_3 = fields.Float(related='company_id.payer_score_days_3', readonly=False)
    payer_score_days_4 = fields.Float(related='company_id.payer_score_days_4', readonly=False)
    payer_score_days_5 = fields.Float(related='company_id.payer_score_days_5', readonly=False)
    payer_call_effect = fields.Float(related='company_id.payer_call_effect', readonly=False)
    payer_call_rate = fields.Float(related='company_id.payer_call_rate', readonly=False)
    payer_call_cost = fields.Monetary(related='company_id.payer_call_cost', readonly=False)

    # Late charges
    late_charge_product_id = fields.Many2one(related='company_id.late_charge_product_id', readonly=False)
    late_charge_account_id = fields.Many2one(related='company_id.late_charge_account_id', readonly=False)
    late_charge_post = fields.Boolean(related='company_id.late_charge_post', readonly=False)

    #=== CREDIT CONTROL ===#

    credit_control_policy = fields.Selection(related='company_id.credit_control_policy', readonly=False, required=True)
    credit_overdue_days = fields.Integer(related='company_id.credit_overdue_days', readonly=False)
    credit_overdue_amount = fields.Monetary(related='company_id.credit_overdue_amount', readonly=False)
    credit_auto_release = fields.Boolean(related='company_id.credit_auto_release', readonly=False)
    credit_cover_counts = fields.Boolean(related='company_id.credit_cover_counts', readonly=False)
    credit_cover_notice_days = fields.Integer(related='company_id.credit_cover_notice_days', readonly=False)
    credit_second_approval_amount = fields.Monetary(
        related='company_id.credit_second_approval_amount', readonly=False)
    credit_review_months = fields.Integer(related='company_id.credit_review_months', readonly=False)

    @api.onchange('account_use_credit_limit')
    def _onchange_account_use_credit_limit(self):
        # The policy stands in the block of Odoo's credit limit: without that block there is no policy to see.
        if not self.account_use_credit_limit:
            self.credit_control_policy = 'off'

    # Pauses: promises, payment plans
    promise_max_days = fields.Integer(related='company_id.promise_max_days', readonly=False)
    collection_write_off_account_id = fields.Many2one(
        related='company_id.collection_write_off_account_id', readonly=False)
    promise_grace_days = fields.Integer(related='company_id.promise_grace_days', readonly=False)
    plan_grace_days = fields.Integer(related='company_id.plan_grace_days', readonly=False)
    plan_broken_hold = fields.Boolean(related='company_id.plan_broken_hold', readonly=False)
    plan_reminder_days = fields.Integer(related='company_id.plan_reminder_days', readonly=False)
