from odoo import fields, models


class AccountDunningNoticeLine(models.Model):
    """One open line as the notice saw it. It outlives the invoice: what was claimed stays written."""

    _name = 'account.dunning.notice.line'
    _description = "Dunning notice line"
    _order = 'notice_id, is_coming_due, date_maturity, id'

    notice_id = fields.Many2one(
        comodel_name='account.dunning.notice', required=True, readonly=True, index=True, ondelete='cascade')
    company_id = fields.Many2one(related='notice_id.company_id')
    partner_id = fields.Many2one(related='notice_id.partner_id')
    move_line_id = fields.Many2one(
        comodel_name='account.move.line', readonly=True, index='btree_not_null', ondelete='set null')
    move_id = fields.Many2one(
        comodel_name='account.move', string="Invoice", readonly=True, index='btree_not_null', ondelete='set null')
    move_name = fields.Char(string="Number", readonly=True)
    invoice_date = fields.Date(readonly=True)
    level_id = fields.Many2one(
        comodel_name='account.dunning.level', readonly=True, ondelete='restrict',
        help="The level that the line reaches with this notice; the one it has, when it does not move.")
    previous_level_id = fields.Many2one(comodel_name='account.dunning.level', readonly=True, ondelete='restrict')
    advances = fields.Boolean(readonly=True, help="The line moves up to the level once the notice has gone out.")
    live = fields.Boolean(readonly=True, help="Counts for: one reminder per line and level.")
    is_coming_due = fields.Boolean(readonly=True)
    date_maturity = fields.Date(string="Due date", readonly=True)
    days_overdue = fields.Integer(readonly=True)
    currency_id = fields.Many2one(comodel_name='res.currency', readonly=True)
    company_currency_id = fields.Many2one(related='notice_id.company_id.currency_id', string="Company currency")
    amount_total = fields.Monetary(readonly=True, help="The amount of the installment, in its own currency.")
    amount_residual = fields.Monetary(string="Open amount", readonly=True)
    amount_set_off = fields.Monetary(
        string="Set off", readonly=True, help="Covered by unmatched payments and credit notes of the customer.")
    amount_blocked = fields.Monetary(
        string="Paused", readonly=True, help="Disputed, promised or otherwise paused.")
    amount_due = fields.Monetary(
        readonly=True, help="What the notice asks for on this line; 0 when it is only coming due.")
    amount_due_company = fields.Monetary(
        string="Due, company currency", readonly=True, currency_field='company_currency_id')
