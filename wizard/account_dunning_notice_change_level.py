from odoo import api, fields, models
from odoo.exceptions import UserError


class AccountDunningNoticeChangeLevel(models.TransientModel):
    _name = 'account.dunning.notice.change.level'
    _description = "Change the level of proposals"

    notice_ids = fields.Many2many(
        comodel_name='account.dunning.notice',
        relation='account_dunning_notice_change_level_rel',
        string="Proposals",
        required=True,
        readonly=True,
        default=lambda self: self._default_notice_ids(),
    )
    procedure_id = fields.Many2one(comodel_name='account.dunning.procedure', compute='_compute_procedure_id')
    level_id = fields.Many2one(
        comodel_name='account.dunning.level',
        string="New level",
        required=True,
        domain="[('procedure_id', '=', procedure_id)]",
    )
    summary = fields.Char(related='level_id.summary')

    @api.model
    def _default_notice_ids(self):
        notices = self.env['account.dunning.notice'].browse(self.env.context.get('active_ids', []))
        if any(notice.state not in ('draft', 'failed') for notice in notices):
            raise UserError(self.env._(
                "Only proposals can change their level: what is on its way or sent stays as it is."))
        if len(notices.procedure_id) > 1:
            raise UserError(self.env._("Choose proposals of one dunning procedure: each has levels of its own."))
        return notices

    @api.depends('notice_ids')
    def _compute_procedure_id(self):
        for wizard in self:
            wizard.procedure_id = wizard.notice_ids.procedure_id[:1]

    def action_apply(self):
        """Give the proposals the chosen level."""
        self.ensure_one()
        self.notice_ids.action_set_level(self.level_id)
        return {'type': 'ir.actions.act_window_close'}
