from odoo import api, models


class StockMoveLine(models.Model):
    _inherit = 'stock.move.line'

    # Lines of a transfer that is done move goods at once.

    @api.model_create_multi
    def create(self, vals_list):
        # EXTENDS 'stock'
        lines = super().create(vals_list)
        lines._refuse_more_delivered({})
        return lines

    def write(self, vals):
        # EXTENDS 'stock'
        if 'quantity' not in vals:
            return super().write(vals)
        before = {line: line.quantity for line in self if line.state == 'done'}
        result = super().write(vals)
        if before:
            self._refuse_more_delivered(before)
        return result

    def _refuse_more_delivered(self, before):
        """:param dict before: quantity of each line that was there before"""
        done = self.filtered(lambda line: line.state == 'done' and line.picking_id.state == 'done')
        grown = done.filtered(
            lambda line: line.product_uom_id.compare(line.quantity, before.get(line, 0.0)) > 0)
        if grown:
            grown.picking_id._refuse_more_delivered()
