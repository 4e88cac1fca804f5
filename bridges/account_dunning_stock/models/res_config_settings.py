from odoo import api, fields, models


class ResConfigSettings(models.TransientModel):
    _inherit = 'res.config.settings'

    delivery_credit_policy = fields.Selection(
        related='company_id.delivery_credit_policy', readonly=False, required=True)
    delivery_credit_moment = fields.Selection(
        related='company_id.delivery_credit_moment', readonly=False, required=True)
    delivery_credit_order_release = fields.Boolean(
        related='company_id.delivery_credit_order_release', readonly=False)

    @api.onchange('account_use_credit_limit')
    def _onchange_account_use_credit_limit(self):
        # EXTENDS 'account_dunning'
        result = super()._onchange_account_use_credit_limit()
        if not self.account_use_credit_limit:
            self.delivery_credit_policy = 'off'
        return result
