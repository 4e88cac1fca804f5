from odoo import api, models

# What may change how much a confirmed order is worth.
LINE_WORTH_FIELDS = frozenset({
    'order_id', 'product_id', 'product_uom_id', 'product_uom_qty', 'price_unit', 'technical_price_unit', 'discount',
    'tax_ids', 'display_type', 'is_downpayment',
})
# Computed from other fields: a value that is written by hand does not stay, or else it would hide what is owed.
LINE_FIGURES = frozenset({
    'price_subtotal', 'price_tax', 'price_total', 'qty_invoiced',
})
# SQL condition: an order with such a line may be worth less or more than its total.
IS_PARTLY_DONE = 'is_downpayment OR qty_invoiced <> 0 OR qty_delivered > product_uom_qty'


class SaleOrderLine(models.Model):
    _inherit = 'sale.order.line'

    # The exposure looks at the lines of these orders, and takes the total of all others.
    _partly_done_idx = models.Index(f"(order_id) WHERE {IS_PARTLY_DONE}")

    @api.model_create_multi
    def create(self, vals_list):
        default = self.default_get(['order_id']).get('order_id')
        orders = self.env['sale.order'].browse({vals.get('order_id', default) for vals in vals_list} - {False, None})
        with orders._watch_credit():
            lines = super().create(vals_list)
            lines._recompute_figures({fname for vals in vals_list for fname in vals})
        # Whichever way a line came to an order that nobody watched
        unwatched = (lines.order_id - orders).filtered(lambda order: order.state == 'sale')
        unwatched._check_credit_of_confirmed(unwatched)
        return lines

    def write(self, vals):
        if not (LINE_WORTH_FIELDS | LINE_FIGURES).intersection(vals):
            return super().write(vals)
        orders = self.order_id
        if vals.get('order_id'):
            orders |= orders.browse(vals['order_id'])
        with orders._watch_credit():
            result = super().write(vals)
            self._recompute_figures(vals)
        return result

    def _recompute_figures(self, fnames):
        """Amounts, quantities and statuses that came in as values are computed again."""
        for fname in LINE_FIGURES.intersection(fnames):
            if not self.env.su:
                self.env.add_to_compute(self._fields[fname], self)
