from odoo import api, fields, models


class AccountDunningNotice(models.Model):
    """One reminder to one customer: the evidence of what was claimed, when, and how it went out."""

    _name = 'account.dunning.notice'
    _description = "Dunning notice"
    _inherit = ['mail.thread', 'mail.activity.mixin']
    _order = 'date desc, id desc'
    _check_company_auto = True
    _mail_post_access = 'read'

    name = fields.Char(string="Number", default='/', required=True, readonly=True, copy=False)
    run_id = fields.Many2one(
        comodel_name='account.dunning.run', readonly=True, index='btree_not_null', ondelete='set null')
    company_id = fields.Many2one(comodel_name='res.company', required=True, readonly=True, index=True)
    currency_id = fields.Many2one(related='company_id.currency_id')
    partner_id = fields.Many2one(
        comodel_name='res.partner', string="Customer", required=True, readonly=True, index=True, ondelete='restrict')
    contact_id = fields.Many2one(
        comodel_name='res.partner', string="Recipient", index='btree_not_null', ondelete='restrict')
    user_id = fields.Many2one(comodel_name='res.users', string="Collector")
    procedure_id = fields.Many2one(
        comodel_name='account.dunning.procedure', required=True, readonly=True, ondelete='restrict')
    level_id = fields.Many2one(
        comodel_name='account.dunning.level', required=True, ondelete='restrict', index=True)
    date = fields.Date(required=True, readonly=True)
    deadline = fields.Date(help="The day until which the letter asks for payment.")
    state = fields.Selection(
        selection=[
            ('draft', "Proposal"),
            ('queued', "Queued"),
            ('sent', "Sent"),
            ('failed', "Failed"),
            ('cancelled', "Cancelled"),
        ],
        required=True,
        default='draft',
        readonly=True,
        copy=False,
        index=True,
        tracking=True,
    )
    failure_reason = fields.Text(readonly=True, copy=False)
    line_ids = fields.One2many(comodel_name='account.dunning.notice.line', inverse_name='notice_id', readonly=True)
    amount_due = fields.Monetary(
        readonly=True,
        help="What the notice asks for: overdue, after set-off and pauses, in company currency.",
    )
    sent_date = fields.Date(readonly=True, copy=False)

    def action_send(self):
        pass

    def action_cancel(self):
        pass
