from odoo import api, models
from odoo.exceptions import UserError


class IrAttachment(models.Model):
    _inherit = 'ir.attachment'

    def write(self, vals):
        # EXTENDS 'base'
        if not vals.keys().isdisjoint(('raw', 'datas', 'db_datas', 'store_fname', 'res_model', 'res_id', 'mimetype')):
            self._check_dunning_evidence()
        return super().write(vals)

    @api.ondelete(at_uninstall=False)
    def _unlink_except_dunning_evidence(self):
        self._check_dunning_evidence()

    def _check_dunning_evidence(self):
        """:raise UserError: when a user touches the letter of a notice that has gone out, or a signed agreement"""
        agreements = self.filtered(lambda attachment: attachment.res_model == 'account.payment.plan')
        if agreements and not self.env.su and self.env['account.payment.plan'].sudo().search_count(
                [('agreement_id', 'in', agreements.ids)], limit=1):
            raise UserError(self.env._("The agreement that a customer has signed is evidence and can't be changed."))
        letters = self.filtered(lambda attachment: attachment.res_model == 'account.dunning.notice')
        if self.env.su or not letters:
            return
        if self.env['account.dunning.notice'].sudo().search_count(
                ['|', ('attachment_id', 'in', letters.ids), ('mail_source_id', 'in', letters.ids),
                 ('state', '=', 'sent')], limit=1):
            raise UserError(self.env._("The letter of a notice that has gone out is evidence and can't be changed."))
