from odoo import fields, models


class AccountDunningPostConfirm(models.TransientModel):
    """On which day the letters went to the post, and the number of a registered one."""

    _name = 'account.dunning.post.confirm'
    _description = "Confirm that letters were posted"

    notice_ids = fields.Many2many(comodel_name='account.dunning.notice', string="Letters", required=True)
    notice_count = fields.Integer(compute='_compute_notice_count')
    date = fields.Date(string="Posted on", required=True, default=lambda self: self.env.company._get_dunning_today())
    mail_tracking_number = fields.Char(string="Registered mail number")

    def _compute_notice_count(self):
        for wizard in self:
            wizard.notice_count = len(wizard.notice_ids)

    def action_confirm(self):
        """Note the letters as posted; see `account.dunning.notice.action_confirm_posted`."""
        self.ensure_one()
        self.notice_ids.action_confirm_posted(self.date, self.mail_tracking_number)
