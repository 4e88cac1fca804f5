from odoo import fields, models


class AccountDunningAssign(models.TransientModel):
    """Gives customers of the work list to a collector."""

    _name = 'account.dunning.assign'
    _description = "Assign a collector"

    followup_ids = fields.Many2many(comodel_name='account.dunning.followup', string="Customers", required=True)
    user_id = fields.Many2one(
        comodel_name='res.users', string="Collector", domain=[('share', '=', False)],
        help="Empty: nobody in particular.")

    def action_assign(self):
        """:raise AccessError: when the user may not see the customers or their dunning"""
        self.ensure_one()
        self.followup_ids.check_access('read')
        for company, followups in self.followup_ids.grouped('company_id').items():
            # Who works in the list may hand customers on, without being allowed to change a customer's record.
            followups.partner_id.sudo().with_company(company).dunning_user_id = self.user_id
