from odoo import fields, models


class ResConfigSettings(models.TransientModel):
    _inherit = 'res.config.settings'

    dunning_procedure_id = fields.Many2one(related='company_id.dunning_procedure_id', readonly=False)

    # Late charges
    late_charge_product_id = fields.Many2one(related='company_id.late_charge_product_id', readonly=False)
    late_charge_account_id = fields.Many2one(related='company_id.late_charge_account_id', readonly=False)
    late_charge_post = fields.Boolean(related='company_id.late_charge_post', readonly=False)
