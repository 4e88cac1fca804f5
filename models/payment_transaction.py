from odoo import fields, models


class PaymentTransaction(models.Model):
    _inherit = 'payment.transaction'

    payment_plan_id = fields.Many2one(
        comodel_name='account.payment.plan', readonly=True, ondelete='set null', index='btree_not_null',
        help="Paid on the page of this payment plan: the money goes to what the plan covers.")

    def _create_payment(self, **extra_create_values):
        # EXTENDS 'account_payment', which matches the payment with the oldest line of each invoice. A plan may cover
        # later ones only.
        payment = super()._create_payment(**extra_create_values)
        if self.payment_plan_id and payment.move_id:
            received = payment.move_id.line_ids.filtered(
                lambda line: line.account_id == payment.destination_account_id)
            received.matched_debit_ids.filtered(
                lambda partial: partial.debit_move_id not in self.payment_plan_id.move_line_ids).unlink()
            for line in self.payment_plan_id._get_open_lines().sorted(
                    lambda line: (line.date_maturity or line.date, line.id)):
                if not received.reconciled:
                    (received + line).reconcile()
        return payment

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
