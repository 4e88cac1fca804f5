from odoo import fields, models


class ResCompany(models.Model):
    _inherit = 'res.company'

    dunning_procedure_id = fields.Many2one(
        comodel_name='account.dunning.procedure',
        string="Dunning procedure",
        ondelete='restrict',
        help="For customers and invoices that have no procedure of their own; empty: they are not dunned.",
    )
