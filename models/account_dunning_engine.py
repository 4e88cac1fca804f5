from odoo import api, models


class AccountDunningEngine(models.AbstractModel):
    """Which open line is due for which level on a date, and why not. Reads only."""

    _name = 'account.dunning.engine'
    _description = "Dunning engine"

    @api.model
    def _due_lines(self, company, date):
        return {}

    @api.model
    def _explain(self, move_lines, date):
        return {}
