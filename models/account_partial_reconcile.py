from odoo import api, models


class AccountPartialReconcile(models.Model):
    _inherit = 'account.partial.reconcile'

    @api.model_create_multi
    def create(self, vals_list):
        # EXTENDS 'account': the follow-up shows at once what was paid
        partials = super().create(vals_list)
        partials._note_dunning_change()
        return partials

    def unlink(self):
        # EXTENDS 'account': agreements and follow-up show at once that a payment was undone
        self._note_dunning_change()
        lines = self.debit_move_id
        result = super().unlink()
        lines = lines.exists()
        self.env['account.payment.plan']._follow_up_lines(lines)
        self.env['account.payment.promise']._follow_up_lines(lines)
        return result

    def _note_dunning_change(self):
        self.env['account.dunning.followup']._note_changed(self.debit_move_id | self.credit_move_id)
