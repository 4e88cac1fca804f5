from odoo import models


class AccountPayment(models.Model):
    _inherit = 'account.payment'

    def write(self, vals):
        # EXTENDS 'account': a payment that is not booked yet counts in the follow-up, too
        result = super().write(vals)
        if 'state' in vals:
            self.env['account.dunning.followup']._note_changed(self.partner_id)
        return result
