from odoo import models


class PaymentTransaction(models.Model):
    _inherit = 'payment.transaction'

    def _post_process(self):
        # EXTENDS 'sale': an online payment frees credit before it reaches the ledger
        result = super()._post_process()
        paid = self.filtered(lambda tx: tx.state in ('authorized', 'done') and tx.operation != 'validation')
        self.env['sale.order']._recheck_held_orders(
            paid.partner_id | paid.sale_order_ids.partner_invoice_id | paid.invoice_ids.partner_id)
        return result

    def _check_amount_and_confirm_order(self):
        # EXTENDS 'sale': the payment is kept, and the order waits where it needs a release. Raising would leave a
        # customer charged, and the post-processing of the payment tried again and again.
        quotations = self.env['sale.order']
        for tx in self.filtered(lambda tx: len(tx.sale_order_ids) == 1):
            quotations |= tx.sale_order_ids.filtered(
                lambda order: order.state in ('draft', 'sent') and order._is_confirmation_amount_reached())
        held = quotations._hold_for_review()
        return super(
            PaymentTransaction, self.filtered(lambda tx: not tx.sale_order_ids & held)
        )._check_amount_and_confirm_order()
