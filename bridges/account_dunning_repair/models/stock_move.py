from odoo import models


class StockMove(models.Model):
    _inherit = 'stock.move'

    def _create_repair_sale_order_line(self):
        # EXTENDS 'repair': a part that the workshop needs is found out when the order is confirmed already
        with self.env['sale.order']._let_grow():
            return super()._create_repair_sale_order_line()

    def _update_repair_sale_order_line(self):
        # EXTENDS 'repair': and so is how much of it
        with self.env['sale.order']._let_grow():
            return super()._update_repair_sale_order_line()
