from odoo import api, fields, models


class SaleOrderDeposit(models.TransientModel):
    """Asks the credit manager how much the customer is to pay in advance."""

    _name = 'sale.order.deposit'
    _description = "Ask for a deposit"

    order_id = fields.Many2one(comodel_name='sale.order', required=True, readonly=True, ondelete='cascade')
    currency_id = fields.Many2one(related='order_id.currency_id')
    method = fields.Selection(
        selection=[('percentage', "Percentage of the order"), ('fixed', "Amount")],
        required=True,
        default='percentage',
    )
    percentage = fields.Float(default=30.0, digits=(16, 2))
    amount = fields.Monetary(help="Taxes included.")
    amount_most = fields.Monetary(string="Not invoiced yet", compute='_compute_amounts')
    amount_asked = fields.Monetary(string="Deposit", compute='_compute_amounts')
    reason = fields.Char(required=True)

    @api.depends('order_id', 'method', 'percentage', 'amount')
    def _compute_amounts(self):
        for wizard in self:
            order = wizard.order_id.sudo()
            wizard.amount_most = order._get_deposit_most() if order else 0.0
            wizard.amount_asked = (
                order.amount_total * wizard.percentage / 100 if wizard.method == 'percentage' else wizard.amount)

    def action_apply(self):
        """Ask for the deposit; the order checks who may."""
        self.ensure_one()
        self.order_id.action_ask_deposit(
            self.method, self.percentage if self.method == 'percentage' else self.amount, self.reason)
        return {'type': 'ir.actions.act_window_close'}
