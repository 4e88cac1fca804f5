from odoo import fields, models


class AccountDunningAgingOpen(models.TransientModel):
    """Asks for the day of the aged receivables."""

    _name = 'account.dunning.aging.open'
    _description = "Aged receivables of a day"

    date = fields.Date(string="On", required=True, default=lambda self: self.env.company._get_dunning_today())

    def action_open(self):
        """:rtype: dict"""
        self.ensure_one()
        return self.env['account.dunning.aging'].action_open(self.date)
