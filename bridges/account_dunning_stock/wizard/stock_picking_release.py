from odoo import api, fields, models


class StockPickingRelease(models.TransientModel):
    """Asks the credit manager for the reason of a release or a rejection."""

    _name = 'stock.picking.release'
    _description = "Release held deliveries"

    picking_ids = fields.Many2many(comodel_name='stock.picking', string="Deliveries", required=True, readonly=True)
    decision = fields.Selection(
        selection=[('release', "Release"), ('reject', "Reject")],
        required=True,
        default='release',
        readonly=True,
    )
    reason = fields.Char(required=True)
    picking_count = fields.Integer(string="Number of deliveries", compute='_compute_picking_count')
    credit_reason = fields.Text(string="Why it waits", compute='_compute_picking_count')

    @api.depends('picking_ids')
    def _compute_picking_count(self):
        for wizard in self:
            wizard.picking_count = len(wizard.picking_ids)
            wizard.credit_reason = '\n'.join(dict.fromkeys(
                reason for reason in wizard.picking_ids.mapped('credit_reason') if reason))

    def action_apply(self):
        """Release or reject the deliveries; these check who may."""
        self.ensure_one()
        if self.decision == 'release':
            self.picking_ids.action_release(self.reason)
        else:
            self.picking_ids.action_reject_release(self.reason)
        return {'type': 'ir.actions.act_window_close'}
