from odoo import fields, models


class ResConfigSettings(models.TransientModel):
    _inherit = 'res.config.settings'

    dunning_procedure_id = fields.Many2one(related='company_id.dunning_procedure_id', readonly=False)
