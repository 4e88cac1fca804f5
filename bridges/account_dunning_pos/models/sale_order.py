from contextlib import contextmanager

from odoo import models

# A key of `cr.cache`: no context key can be taken for it.
SENT_BY_TILL = 'account_dunning_pos.sent_by_till'


class SaleOrder(models.Model):
    _inherit = 'sale.order'

    @contextmanager
    def _sent_by_till(self):
        """Within, the server takes in what a till has sold: it can be checked, but what is sold already stays sold."""
        cache = self.env.cr.cache
        depth = cache.get(SENT_BY_TILL, 0)
        cache[SENT_BY_TILL] = depth + 1
        try:
            yield
        finally:
            cache[SENT_BY_TILL] = depth

    def _is_sent_by_till(self):
        return bool(self.env.cr.cache.get(SENT_BY_TILL))

    def _get_credit_order_paid(self):
        # EXTENDS 'account_dunning': what a till has sold of the quotation is paid, or counts as sold on account
        paid = super()._get_credit_order_paid()
        if self.state not in ('draft', 'sent') or not self._get_lines_at_till():
            return paid
        at_till = self.amount_total - self._get_amount_left_by_till()
        currency = self.company_id.currency_id
        return min(paid + currency.round(at_till / (self.currency_rate or 1.0)), self._get_credit_order_amount())

    def _is_prepaid(self):
        # EXTENDS 'account_dunning': the till has sold it in whole. It took money for it, whatever the price was there;
        # or put it onto the customer's account, which was checked then.
        return super()._is_prepaid() or bool(self._get_lines_at_till()) and (
            self.currency_id.compare_amounts(self._get_amount_left_by_till(), 0) <= 0)

    def _hold_of_payments(self):
        # EXTENDS 'account_dunning': a till that has sold a part of a quotation confirms it. If it needs a release it
        # waits for that; an error would give back an order that is paid.
        held = super()._hold_of_payments()
        if not self._is_sent_by_till():
            return held
        return held + (self - held).filtered(lambda order: order.state in ('draft', 'sent'))._hold_for_review()

    def _get_lines_at_till(self):
        """The lines that tills have sold.

        :rtype: pos.order.line
        """
        return self.sudo().pos_order_line_ids.filtered(lambda line: line.order_id.state in ('paid', 'done'))

    def _get_amount_left_by_till(self):
        """What is left to sell of the order, down payments taken off, in its currency (float)."""
        advances = 0.0
        for line in self.sudo().order_line.filtered('is_downpayment'):
            for invoiced in line.invoice_lines.filtered(lambda invoiced: invoiced.parent_state != 'cancel'):
                sign = -1 if invoiced.move_id.move_type == 'out_refund' else 1
                advances += sign * invoiced.price_total
            advances += sum((line.pos_order_line_ids & self._get_lines_at_till()).mapped('price_subtotal_incl'))
        return max(self.sudo()._get_amount_to_invoice() - max(advances, 0.0), 0.0)
