from odoo import fields, models


class ResPartner(models.Model):
    _inherit = 'res.partner'

    late_charge_rule_id = fields.Many2one(
        comodel_name='account.late.charge.rule',
        string="Agreed late charges",
        company_dependent=True,
        check_company=True,
        groups='account.group_account_invoice,account.group_account_readonly',
        help="What was agreed with this customer for a delay. Empty: the rule of the country.",
    )
