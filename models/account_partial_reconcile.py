from odoo import models


class AccountPartialReconcile(models.Model):
    _inherit = 'account.partial.reconcile'

    def unlink(self):
        # EXTENDS 'account': agreements show at once that a payment was undone
        lines = self.debit_move_id
        result = super().unlink()
        lines = lines.exists()
        self.env['account.payment.plan']._follow_up_lines(lines)
        self.env['account.payment.promise']._follow_up_lines(lines)
        return result
