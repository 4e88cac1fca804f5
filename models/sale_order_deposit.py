from odoo import SUPERUSER_ID, Command, api, fields, models
from odoo.exceptions import UserError
from odoo.tools import formatLang

# Written by the methods below, see `CREDIT_FIELDS` of 'sale_order'
DEPOSIT_FIELDS = frozenset({
    'credit_deposit_move_id', 'credit_deposit_amount', 'credit_deposit_order_amount', 'credit_deposit_currency_id',
    'credit_deposit_partner_id',
})


class SaleOrder(models.Model):
    """A deposit that a credit manager asks for: a down payment invoice of Odoo's own, whose payment releases the
    order.

    Until it is paid in full the order waits, whatever else the customer pays: the credit manager has decided so, and
    can still release it. The paid deposit releases what a release does: this order, of this customer, up to the amount
    that it had when the deposit was asked for.
    """

    _inherit = 'sale.order'

    credit_deposit_move_id = fields.Many2one(
        comodel_name='account.move', string="Deposit invoice", readonly=True, copy=False, ondelete='set null',
        index='btree_not_null', groups='base.group_user')
    credit_deposit_amount = fields.Monetary(
        string="Deposit", readonly=True, copy=False, currency_field='credit_deposit_currency_id',
        groups='base.group_user', help="Taxes included.")
    credit_deposit_order_amount = fields.Monetary(
        string="Released by the deposit", readonly=True, copy=False, currency_field='credit_deposit_currency_id',
        groups='base.group_user', help="The amount of the order when the deposit was asked for.")
    credit_deposit_currency_id = fields.Many2one(
        comodel_name='res.currency', string="Currency of the deposit", readonly=True, copy=False,
        groups='base.group_user')
    credit_deposit_partner_id = fields.Many2one(
        comodel_name='res.partner', string="Customer of the deposit", readonly=True, copy=False,
        groups='base.group_user')
    credit_deposit_state = fields.Selection(
        selection=[('asked', "Not paid yet"), ('paid', "Paid")],
        string="Deposit asked for",
        compute='_compute_credit_deposit_state',
        compute_sudo=True,
        groups='base.group_user',
    )

    @api.depends('credit_deposit_move_id.state', 'credit_deposit_move_id.payment_state')
    def _compute_credit_deposit_state(self):
        for order in self:
            order.credit_deposit_state = (
                False if not order._is_deposit_asked() else 'paid' if order._is_deposit_paid() else 'asked')

    #=== ACTION METHODS ===#

    def action_open_credit_deposit(self):
        self.ensure_one()
        return {
            'type': 'ir.actions.act_window',
            'name': self.env._("Ask for a deposit"),
            'res_model': 'sale.order.deposit',
            'view_mode': 'form',
            'target': 'new',
            'context': {'default_order_id': self.id},
        }

    def action_view_deposit(self):
        """Open the deposit invoice, for those who may see it."""
        self.ensure_one()
        self.check_access('read')
        return self.sudo().credit_deposit_move_id.with_env(self.env)._get_records_action()

    def action_ask_deposit(self, method, amount, reason):
        """Ask for a down payment: the invoice is made as a draft, and once it is paid in full, the order is released.

        :param str method: percentage (of the order) or fixed
        :param float amount: the percentage, or the amount in the order's currency, taxes included
        :param str reason: why; goes to the chatter and to the salesperson
        :return: the draft invoice
        :rtype: account.move
        :raise AccessError: when the user is no credit manager
        :raise UserError: for an order that does not wait, a deposit that is asked for already, nothing, or more than
            the open part of the order
        """
        self.ensure_one()
        order, reason = self._prepare_credit_decision(reason)
        if order.credit_state != 'hold':
            raise UserError(self.env._("%(order)s does not wait for a release.", order=order.name))
        if order._is_deposit_asked():
            raise UserError(self.env._(
                "A deposit is asked for already: cancel its invoice before you ask for another one."))
        currency, most = order.currency_id, order._get_deposit_most()
        wanted = amount
        if method == 'percentage':
            wanted = order.amount_total * amount / 100
        elif method != 'fixed':
            raise UserError(self.env._("A deposit is a percentage or an amount."))
        if currency.compare_amounts(wanted, 0) <= 0:
            raise UserError(self.env._("A deposit must be more than zero."))
        if currency.compare_amounts(wanted, most) > 0:
            raise order._get_deposit_error(most)
        # Odoo's own wizard. Who decides about credit may neither sell nor invoice, so it is the program that does it.
        wizard = self.env['sale.advance.payment.inv'].with_user(SUPERUSER_ID).with_company(order.company_id).create({
            'sale_order_ids': [Command.set(order.ids)],
            'advance_payment_method': method,
            'amount' if method == 'percentage' else 'fixed_amount': amount,
        })
        invoice = wizard._create_invoices(wizard.sale_order_ids)
        if currency.compare_amounts(invoice.amount_total, most) > 0:
            raise order._get_deposit_error(most)
        order._write_credit({
            'credit_deposit_move_id': invoice.id,
            'credit_deposit_amount': invoice.amount_total,
            'credit_deposit_order_amount': order.amount_total,
            'credit_deposit_currency_id': currency.id,
            'credit_deposit_partner_id': order._get_credit_debtor().id,
            'credit_decision_note': reason,
        })
        sentence = self.env._(
            "A deposit of %(amount)s is asked for", amount=formatLang(
                self.env, invoice.amount_total, currency_obj=currency))
        order._log_credit_decisions(lambda order: sentence, order._decide_credit(with_exposure=True), reason)
        self.env['account.credit.event']._keep(order, 'deposit', f"{sentence} · {reason}")
        order._tell_salesperson(sentence, reason)
        return invoice.with_env(self.env)

    #=== BUSINESS METHODS ===#

    def _get_deposit_error(self, most):
        return UserError(self.env._(
            "A deposit can't be more than what of %(order)s is not invoiced yet: %(amount)s.",
            order=self.name, amount=formatLang(self.env, most, currency_obj=self.currency_id)))

    def _get_deposit_most(self):
        """What of the quotation is not invoiced yet by down payments, in its currency (float)."""
        lines = self.order_line.filtered('is_downpayment').invoice_lines.filtered(
            lambda line: line.parent_state != 'cancel')
        invoiced = sum(
            -line.price_total if line.move_id.move_type == 'out_refund' else line.price_total for line in lines)
        return self.currency_id.round(max(self.amount_total - invoiced, 0.0))

    def _get_deposit_invoice(self):
        """The invoice of a deposit that was asked for, unless it was cancelled or taken back by a credit note."""
        invoice = self.sudo().credit_deposit_move_id
        return invoice.filtered(lambda move: move.state != 'cancel' and move.payment_state != 'reversed')

    def _is_deposit_asked(self):
        return bool(self.credit_deposit_move_id) and bool(self._get_deposit_invoice())

    def _is_deposit_paid(self):
        """Whether the invoice is paid in full: what a customer has paid without saying for what, is not paid on it."""
        invoice = self._get_deposit_invoice()
        return (
            invoice.state == 'posted'
            and invoice.payment_state in ('paid', 'in_payment')
            and invoice.currency_id.is_zero(invoice.amount_residual)
            and invoice.currency_id.compare_amounts(invoice.amount_total, self.credit_deposit_amount) >= 0
        )

    def _is_covered_by_deposit(self):
        """A paid deposit covers one order of one customer, up to its amount at the time that it was asked for."""
        return (
            bool(self.credit_deposit_move_id)
            and self.credit_deposit_partner_id == self._get_credit_debtor()
            and self.credit_deposit_currency_id == self.currency_id
            and self.currency_id.compare_amounts(self.amount_total, self.credit_deposit_order_amount) <= 0
            and self._is_deposit_paid()
        )

    def _is_waiting_for_deposit(self):
        return (
            bool(self.credit_deposit_move_id)
            and self.state in ('draft', 'sent')
            and self._is_deposit_asked()
            and not self._is_deposit_paid()
        )

    def _explain_deposit(self):
        return self.env._(
            "A deposit of %(amount)s was asked for and is not paid yet.",
            amount=formatLang(self.env, self.credit_deposit_amount, currency_obj=self.credit_deposit_currency_id))

    def _get_deposit_domain(self):
        """Orders that wait for a deposit whose invoice is paid."""
        return [
            ('credit_state', '=', 'hold'),
            ('state', 'in', ('draft', 'sent')),
            ('credit_deposit_move_id.payment_state', 'in', ('paid', 'in_payment')),
        ]

    def _release_by_deposit(self):
        """The deposits are paid: release those of the orders that have not grown or changed hands since.

        :return: the orders that are released
        :rtype: sale.order
        """
        paid = self.filtered(lambda order: order.credit_state == 'hold' and order._is_covered_by_deposit())
        if not paid:
            return paid
        reason = self.env._("Deposit paid")
        for order in paid:
            order._write_credit({
                'credit_state': 'released',
                'credit_decision_note': reason,
                'credit_release_amount': order.credit_deposit_order_amount,
                'credit_release_currency_id': order.credit_deposit_currency_id.id,
                'credit_release_partner_id': order.credit_deposit_partner_id.id,
            })
        self.env['account.credit.event']._keep(paid, 'released', reason)
        sentence = self.env._("The deposit is paid: the order can be confirmed.")
        paid._message_log_batch(
            dict.fromkeys(paid.ids, sentence), author_id=self.env.ref('base.partner_root').id)
        paid._tell_salesperson(self.env._("The deposit is paid: the order can be confirmed"), '')
        return paid
