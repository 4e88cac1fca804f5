from odoo import models


class StockMove(models.Model):
    _inherit = 'stock.move'

    def _action_assign(self, force_qty=False):
        # EXTENDS 'stock': where the company wants it, nothing is reserved for a delivery that waits
        held = self.picking_id._hold_at_reservation()
        moves = self.filtered(lambda move: move.picking_id not in held) if held else self
        return super(StockMove, moves)._action_assign(force_qty=force_qty)

    def _get_goods_price(self):
        """What one of the product is worth on this move, taxes included: as ordered, else as it is sold.

        :return: in company currency, per unit of the move
        :rtype: float
        """
        line, uom, company = self.sale_line_id, self.product_uom, self.company_id
        if line and line.product_id == self.product_id:
            price = line._get_price_per_unit() / (line.order_id.currency_rate or 1.0)
            return line.product_uom_id._compute_price(price, uom)
        product = self.product_id.with_company(company)
        return product.uom_id._compute_price(product.lst_price, uom)
