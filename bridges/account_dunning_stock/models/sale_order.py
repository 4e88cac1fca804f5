from odoo import api, fields, models


class SaleOrder(models.Model):
    _inherit = 'sale.order'

    delivery_on_hold = fields.Boolean(
        string="Delivery on hold", compute='_compute_delivery_on_hold', groups='base.group_user')

    @api.depends('picking_ids.credit_state', 'picking_ids.state')
    def _compute_delivery_on_hold(self):
        for order in self:
            order.delivery_on_hold = bool(order.sudo().picking_ids.filtered(
                lambda picking: picking.credit_state in ('hold', 'rejected')
                and picking.state not in ('done', 'cancel')))

    #=== BUSINESS METHODS - PAID FOR ===#

    def _is_delivery_paid(self, delivered):
        """Whether the customer has paid for all that has been delivered of the order, and is about to be.

        :param dict delivered: quantity of each order line after the delivery, in its own unit; of all others it is
            what they have delivered
        :rtype: bool
        """
        lines = self.order_line.filtered(lambda line: not line.display_type and not line.is_downpayment)
        as_ordered = all(
            line.product_uom_id.compare(quantity, line.product_uom_qty) <= 0 for line, quantity in delivered.items())
        if as_ordered and self._is_prepaid():
            return True
        goods = sum(delivered.get(line, line.qty_delivered) * line._get_price_per_unit() for line in lines)
        return self.currency_id.compare_amounts(self._get_amount_paid_for(), goods) >= 0

    def _get_amount_paid_for(self):
        """What the customer has paid for the order, in its currency (float): of its invoices, down payments included,
        each with the order's share of it; and online, as far as that has gone into none of these."""
        paid = 0.0
        invoices = self.invoice_ids.filtered(
            lambda move: move.state == 'posted' and move.move_type in ('out_invoice', 'out_refund')
            and not move.currency_id.is_zero(move.amount_total))
        for invoice in invoices:
            of_order = invoice.invoice_line_ids.filtered(lambda line: self in line.sale_line_ids.order_id)
            share = sum(of_order.mapped('price_total')) / invoice.amount_total
            amount = (invoice.amount_total - invoice.amount_residual) * share
            if invoice.currency_id != self.currency_id:
                rate = (self.currency_rate or 1.0) / (invoice.invoice_currency_rate or 1.0)
                amount *= rate
            paid += -amount if invoice.move_type == 'out_refund' else amount
        online = self.transaction_ids.filtered(
            lambda tx: tx.state in ('authorized', 'done')
            and tx.operation != 'validation'
            and not tx.payment_id.is_reconciled
            and not tx.child_transaction_ids.filtered(
                lambda child: child.operation != 'refund' and child.state in ('authorized', 'done')))
        return paid + sum(online.mapped('amount'))

    def _get_amount_of_extra(self, product, quantity, uom):
        """What goods that nobody has ordered add to the order that they are delivered with: Odoo charges them if the
        product is invoiced as delivered.

        :return: in company currency, taxes included
        :rtype: float
        """
        if product.invoice_policy != 'delivery':
            return 0.0
        price = self.pricelist_id._get_product_price(
            product, quantity, currency=self.currency_id, uom=uom, date=self.date_order)
        taxes = self.fiscal_position_id.map_tax(product.taxes_id._filter_taxes_by_company(self.company_id))
        total = taxes.compute_all(price, self.currency_id, quantity, product, self.partner_id)['total_included']
        return total / (self.currency_rate or 1.0)

    #=== BUSINESS METHODS - MONEY COMES IN ===#

    @api.model
    def _recheck_held_orders(self, partners):
        # EXTENDS 'account_dunning': deliveries that wait, too
        result = super()._recheck_held_orders(partners)
        self.env['stock.picking']._recheck_held_deliveries(partners)
        return result

    @api.model
    def _cron_recheck_credit(self, batch_size=100):
        # EXTENDS 'account_dunning'
        result = super()._cron_recheck_credit(batch_size)
        self.env['stock.picking']._cron_recheck_deliveries(batch_size)
        return result


class SaleOrderLine(models.Model):
    _inherit = 'sale.order.line'

    def _get_price_per_unit(self):
        """Taxes included, in the order's currency (float), as the exposure counts it."""
        if self.product_uom_qty:
            return self.price_total / self.product_uom_qty
        return self.price_unit * (1 - self.discount / 100)

    def _get_amount_added(self, before, quantity):
        """By how much a delivery raises what is to be invoiced: what is ordered counts from the confirmation on.

        :param float before: what is delivered of the line without it, in the line's unit
        :param float quantity: what is delivered with it
        :return: in the order's currency
        :rtype: float
        """
        if self.product_uom_qty < 0 or self.product_id.invoice_policy != 'delivery':
            return 0.0
        counted, will_count = (
            max(max(delivered, self.product_uom_qty) - self.qty_invoiced, 0.0)
            for delivered in (before, before + quantity))
        return (will_count - counted) * self._get_price_per_unit()
