from odoo import api, models


class MailActivity(models.Model):
    """A call that was planned, put off or done changes what is to be done about the customer."""

    _inherit = 'mail.activity'

    @api.model_create_multi
    def create(self, vals_list):
        # EXTENDS 'mail'
        activities = super().create(vals_list)
        activities._note_dunning_change()
        return activities

    def write(self, vals):
        # EXTENDS 'mail'
        result = super().write(vals)
        self._note_dunning_change()
        return result

    def unlink(self):
        # EXTENDS 'mail'
        self._note_dunning_change()
        return super().unlink()

    def _note_dunning_change(self):
        notice_ids = [
            activity.res_id for activity in self.sudo() if activity.res_model == 'account.dunning.notice']
        if notice_ids:
            notices = self.env['account.dunning.notice'].sudo().browse(notice_ids).exists()
            notices.invalidate_recordset(['call_state'], flush=False)
            self.env['account.dunning.followup']._note_changed(notices.partner_id)
