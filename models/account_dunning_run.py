from odoo import api, fields, models


class AccountDunningRun(models.Model):
    _name = 'account.dunning.run'
    _description = "Dunning run"
    _inherit = ['mail.thread']
    _order = 'date desc, id desc'

    name = fields.Char(compute='_compute_name', store=True)
    company_id = fields.Many2one(
        comodel_name='res.company',
        required=True,
        default=lambda self: self.env.company,
        index=True,
    )
    currency_id = fields.Many2one(related='company_id.currency_id')
    date = fields.Date(required=True, default=fields.Date.context_today)
    state = fields.Selection(
        selection=[
            ('draft', "Draft"),
            ('running', "In progress"),
            ('prepared', "Prepared"),
            ('done', "Done"),
        ],
        required=True,
        default='draft',
        readonly=True,
        copy=False,
        tracking=True,
    )
    notice_ids = fields.One2many(comodel_name='account.dunning.notice', inverse_name='run_id')

    @api.depends('date', 'company_id')
    def _compute_name(self):
        for run in self:
            run.name = self.env._("Dunning run %(date)s", date=run.date)

    def action_prepare(self):
        pass

    def action_send(self):
        pass

    @api.model
    def _cron_run(self):
        pass
