from odoo import models


class SaleOrder(models.Model):
    _inherit = 'sale.order'

    def _get_credit_order_paid(self):
        # EXTENDS 'account_dunning': the till has taken money for it, or has put it onto the customer's account, where
        # it is counted already
        paid = super()._get_credit_order_paid()
        if self.state not in ('draft', 'sent'):
            return paid
        return paid + self.company_id.currency_id.round(self._get_amount_at_till() / (self.currency_rate or 1.0))

    def _is_prepaid(self):
        # EXTENDS 'account_dunning': what the till has sold in whole was checked there
        at_till = self._get_amount_at_till()
        return super()._is_prepaid() or (
            self.currency_id.compare_amounts(at_till, 0) > 0
            and self.currency_id.compare_amounts(at_till, self.amount_total) >= 0)

    def _hold_of_payments(self):
        # EXTENDS 'account_dunning': a till that has taken a part of the money confirms the order; what needs a release
        # waits for it, for an error would give back an order that is paid
        held = super()._hold_of_payments()
        at_till = (self - held).filtered(lambda order: order.state in ('draft', 'sent') and order._get_amount_at_till())
        return held + at_till._hold_for_review()

    def _get_amount_at_till(self):
        """What tills have sold of the order, taxes included, in its currency (float); 0 in another one."""
        self.ensure_one()
        lines = self.sudo().pos_order_line_ids.filtered(
            lambda line: line.order_id.state in ('paid', 'done') and line.order_id.currency_id == self.currency_id)
        return sum(lines.mapped('price_subtotal_incl'))
