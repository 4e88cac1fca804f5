from odoo import models


class AccountPartialReconcile(models.Model):
    _inherit = 'account.partial.reconcile'

    def unlink(self):
        # EXTENDS 'account': payment plans show at once that a payment was undone
        lines = self.debit_move_id
        result = super().unlink()
        self.env['account.payment.plan']._follow_up_lines(lines.exists())
        return result
