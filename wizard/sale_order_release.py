from odoo import api, fields, models


class SaleOrderRelease(models.TransientModel):
    """Asks the credit manager for the reason of a release or a rejection."""

    _name = 'sale.order.release'
    _description = "Release held orders"

    order_ids = fields.Many2many(comodel_name='sale.order', string="Orders", required=True, readonly=True)
    decision = fields.Selection(
        selection=[('release', "Release"), ('reject', "Reject")],
        required=True,
        default='release',
        readonly=True,
    )
    reason = fields.Char(required=True)
    order_count = fields.Integer(compute='_compute_order_count')
    credit_reason = fields.Text(string="Why it waits", compute='_compute_order_count')

    @api.depends('order_ids')
    def _compute_order_count(self):
        for wizard in self:
            wizard.order_count = len(wizard.order_ids)
            wizard.credit_reason = '\n'.join(dict.fromkeys(
                reason for reason in wizard.order_ids.mapped('credit_reason') if reason))

    def action_apply(self):
        """Release or reject the orders; the orders check who may."""
        self.ensure_one()
        if self.decision == 'release':
            self.order_ids.action_release(self.reason)
        else:
            self.order_ids.action_reject_release(self.reason)
        return {'type': 'ir.actions.act_window_close'}
