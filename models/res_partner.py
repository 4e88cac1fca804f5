from odoo import fields, models


class ResPartner(models.Model):
    _inherit = 'res.partner'

    type = fields.Selection(
        selection_add=[('dunning', "Follow-up address")],
        ondelete={'dunning': 'set default'},
    )
    dunning_procedure_id = fields.Many2one(
        comodel_name='account.dunning.procedure',
        string="Dunning procedure",
        company_dependent=True,
        check_company=True,
        groups='account.group_account_invoice,account.group_account_readonly',
        help="Empty: the company's procedure.",
    )
    dunning_user_id = fields.Many2one(
        comodel_name='res.users',
        string="Collector",
        company_dependent=True,
        help="Who looks after this customer's overdue bills.",
    )
