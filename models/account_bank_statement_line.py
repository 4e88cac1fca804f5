from odoo import api, models


class AccountBankStatementLine(models.Model):
    """What has come in and is not matched yet counts in the follow-up."""

    _inherit = 'account.bank.statement.line'

    @api.model_create_multi
    def create(self, vals_list):
        # EXTENDS 'account'
        lines = super().create(vals_list)
        self.env['account.dunning.followup']._note_changed(lines.partner_id)
        return lines

    def write(self, vals):
        # EXTENDS 'account'
        result = super().write(vals)
        if not vals.keys().isdisjoint(('amount', 'partner_id')):
            self.env['account.dunning.followup']._note_changed(self.partner_id)
        return result

    def unlink(self):
        # EXTENDS 'account'
        self.env['account.dunning.followup']._note_changed(self.partner_id)
        return super().unlink()
