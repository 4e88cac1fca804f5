from contextlib import contextmanager
from datetime import timedelta

from markupsafe import Markup

from odoo import SUPERUSER_ID, api, fields, models
from odoo.exceptions import UserError
from odoo.tools import formatLang

PAID = ('paid', 'done')
# What may put more onto a customer's account, or onto another customer's
ON_ACCOUNT_FIELDS = frozenset({'account_move', 'partner_id', 'payment_ids', 'state'})
# A till says so when it sells without a connection. If it had no chance to, then the time tells: the order reaches the
# server that long after it was paid.
OFFLINE_AFTER = timedelta(minutes=10)
# A key of `cr.cache`: no context key can be taken for it.
WATCH = 'account_dunning_pos.watch'


class OnAccountWatch:
    """The orders of a till that are about to change, and what their customers owe before that."""

    def __init__(self, by_program):
        self.by_program = by_program  # nobody is there who could take another payment
        self.orders = {}  # by id: whether it was paid, and what was on whose account
        self.owed = {}  # by ids of the customer and the root company: in company currency


class PosOrder(models.Model):
    _inherit = 'pos.order'

    sold_offline = fields.Boolean(
        string="Sold without connection",
        readonly=True,
        copy=False,
        help="The till had no connection to the server: nobody could check whether the customer may buy on account.",
    )

    #=== CRUD METHODS ===#

    @api.model_create_multi
    def create(self, vals_list):
        # EXTENDS 'point_of_sale'
        with self._watch_on_account(vals_list) as watch:
            orders = super().create(vals_list)
            # Its payments have found the order paid already: it was not, before.
            watch.orders.update(dict.fromkeys(orders.ids, (False, {})))
        return orders

    def write(self, vals):
        # EXTENDS 'point_of_sale': whichever way an order is paid, `action_pos_order_paid()` or not
        if not ON_ACCOUNT_FIELDS.intersection(vals):
            return super().write(vals)
        with self._watch_on_account([vals]):
            return super().write(vals)

    #=== BUSINESS METHODS ===#

    @api.model
    def sync_from_ui(self, orders):
        # EXTENDS 'point_of_sale'
        with self.env['sale.order']._sent_by_till():
            return super().sync_from_ui(orders)

    @contextmanager
    def _watch_on_account(self, vals_list):
        """Within, orders change: what goes onto a customer's account by it is checked at the end, as soon as an order
        is paid and before it gets its invoice. Nested changes (an order and its payments) are checked once.

        :param list vals_list: what is written on the orders, or on those that are created
        :raise UserError: when a customer may not buy that much on account
        """
        cache = self.env.cr.cache
        outer = cache.get(WATCH)
        watch = cache[WATCH] = outer or OnAccountWatch(self._is_completed_by_program())
        try:
            self.sudo()._note_on_account(watch, vals_list)
            yield watch
        finally:
            if not outer:
                del cache[WATCH]
        if not outer:
            self.sudo().browse(watch.orders).exists()._check_on_account(watch)

    def _note_on_account(self, watch, vals_list):
        """Keep what orders and their customers were before a change."""
        for order in self:
            watch.orders.setdefault(order.id, (order.state in PAID, order._get_on_account()))
        methods = self.payment_ids.payment_method_id.browse({
            command[2].get('payment_method_id')
            for vals in vals_list
            for command in vals.get('payment_ids') or ()
            if len(command) > 2 and isinstance(command[2], dict)
        } - {None, False})
        if not any(method.type == 'pay_later' for method in (methods | self.payment_ids.payment_method_id).exists()):
            return
        partners = self.partner_id.browse({vals.get('partner_id') for vals in vals_list} - {None, False}).exists()
        sessions = self.session_id.browse({vals.get('session_id') for vals in vals_list} - {None, False}).exists()
        # The invoice may be another customer's: of the quotation that is settled. Those are measured if they are known.
        customers = (self.partner_id | partners).commercial_partner_id | self._get_account_debtors()
        for root in (self.company_id | sessions.company_id).root_id:
            missing = customers.filtered(lambda customer, root=root: (customer.id, root.id) not in watch.owed)
            amounts = self.env['account.credit.exposure']._get_amounts({root: missing}, root._get_dunning_today())
            watch.owed.update({key: owed.total for key, owed in amounts.items()})

    def _get_account_debtors(self):
        """Whose debt it becomes that an order is sold on account: an invoice is made out to the invoice address of the
        quotation that is settled; commercial entities."""
        debtors = self.env['res.partner']
        for order in self:
            invoiced = order.lines.sale_order_origin_id[:1].partner_invoice_id if order.to_invoice else debtors.browse()
            debtors |= (invoiced or order.partner_id).commercial_partner_id
        return debtors

    def _get_on_account(self):
        """What is on a customer's account by a paid order that is in no invoice.

        :return: the amount in the order's currency, by id of the commercial entity
        :rtype: dict[int, float]
        """
        self.ensure_one()
        debtor = self._get_account_debtors()
        if self.state not in PAID or self.account_move or not debtor:
            return {}
        on_account = self.payment_ids.filtered(lambda payment: payment.payment_method_id.type == 'pay_later')
        return {debtor.id: sum(on_account.mapped('amount'))}

    def _check_on_account(self, watch):
        """Check the orders by which a customer's account has grown.

        :raise UserError: when the customer's limit, hold or overdue debt blocks it, in the words that a cashier may
            know: the till gives the order back, to be paid otherwise
        """
        for order in self:
            was_paid, before = watch.orders[order.id]
            for customer_id, amount in order._get_on_account().items():
                grown = amount - before.get(customer_id, 0.0)
                if order.currency_id.compare_amounts(grown, 0) > 0:
                    order._check_credit_on_account(
                        self.env['res.partner'].browse(customer_id), grown,
                        watch.owed.get((customer_id, order.company_id.root_id.id)),
                        may_refuse=was_paid or not (watch.by_program or order._is_sold_offline()))

    def _check_credit_on_account(self, customer, grown, owed_before, may_refuse):
        """Goods sold on account need what a sales order needs. Those of an order that is confirmed or released need
        nothing more: it was checked, and the customer owes no more by it.

        :param res.partner customer: who owes it, a commercial entity
        :param float grown: by how much there is more on the account, in the order's currency
        :param owed_before: the customer's exposure before, in company currency; None: not known
        :param bool may_refuse: somebody is there who can take another payment; else the credit managers are told
        :raise UserError: see `_check_on_account()`
        """
        company = self.company_id
        root, currency, rate = company.root_id, company.currency_id, self.currency_rate or 1.0
        date = root._get_dunning_today()
        terms = customer._get_credit_terms(company, date)[customer]
        if terms.policy == 'off':
            return
        Exposure = self.env['account.credit.exposure']
        lock = terms.policy == 'block' and bool(terms.limit)
        owed = Exposure._get_amounts({root: customer}, date, lock=lock)[customer.id, root.id]
        total = owed.total - self._get_advances(customer) / rate
        if customer != self.partner_id.commercial_partner_id:
            total += grown / rate  # the invoice that brings it there is yet to be made
        growth = grown / rate if owed_before is None else total - owed_before
        if currency.compare_amounts(growth - self._get_amount_released(customer) / rate, 0) <= 0:
            return
        total = currency.round(total)
        reasons = Exposure._explain(company, customer, terms, owed, total, with_document=False)
        if not reasons:
            return
        if terms.policy != 'block':
            self._log_on_account(self.env._("Sold on account against a warning"), reasons)
        elif may_refuse:
            raise UserError(self.env._(
                "%(customer)s can't buy on account now: please take another payment, or ask a credit manager.",
                customer=customer.name))
        else:
            self._tell_sold_unasked(customer, grown, reasons)

    def _is_completed_by_program(self):
        """Whether the processing of an online payment completes the order: an error would have it processed again and
        again, and the money would hang in the air."""
        return self.env.su and not self.env['sale.order']._is_sent_by_till() and (
            self.env.uid == SUPERUSER_ID or not self.env.user._is_internal())

    def _is_sold_offline(self):
        """Whether the goods had left before the server could be asked, by what the till says of it: refusing the order
        then would lose what the customer owes. Not for orders that somebody pays in the back office."""
        return self.env['sale.order']._is_sent_by_till() and (
            self.sold_offline or self.date_order <= fields.Datetime.now() - OFFLINE_AFTER)

    def _get_advances(self, customer):
        """Down payments for confirmed orders of the customer, in the currency of this one (float): those orders
        will be worth less by it, once the till's order is taken in."""
        lines = self.lines.filtered(
            lambda line: line.sale_order_origin_id.state == 'sale' and not line.sale_order_line_id
            and line.product_id == self.config_id.down_payment_product_id)
        return sum(
            max(min(sum(taken.mapped('price_subtotal_incl')), order._get_amount_left_by_till()), 0.0)
            for order, taken in lines.grouped('sale_order_origin_id').items()
            if order._get_credit_debtor() == customer and order.currency_id == self.currency_id)

    def _get_amount_released(self, customer):
        """What of the order is in quotations of the customer that are released, in the order's currency (float)."""
        lines = self.lines.filtered(lambda line: line.sale_order_origin_id.state in ('draft', 'sent'))
        return sum(
            min(sum(sold.mapped('price_subtotal_incl')), order.amount_total)
            for order, sold in lines.grouped('sale_order_origin_id').items()
            if order._is_covered_by_release() and order._get_credit_debtor() == customer
            and order.currency_id == self.currency_id)

    def _log_on_account(self, title, reasons):
        """An internal note.

        :param str title: what has happened
        :param dict reasons: sentences of `account.credit.exposure._explain()`
        """
        self._message_log(body=Markup("<b>%s</b><br/>%s") % (title, self._list_reasons(reasons)))

    def _list_reasons(self, reasons):
        return Markup("<br/>").join(line for sentence in reasons.values() for line in sentence.splitlines())

    def _tell_sold_unasked(self, customer, amount, reasons):
        """The goods are gone: who decides on credit gets to know, or else who can name somebody."""
        order = self.pos_reference or self.name
        amount = formatLang(self.env, amount, currency_obj=self.currency_id)
        if self._is_sold_offline():
            title = self.env._("%(amount)s sold on account without a connection, past what was agreed (%(order)s)",
                               order=order, amount=amount)
        else:
            title = self.env._("%(amount)s sold on account, past what was agreed, with an online payment (%(order)s)",
                               order=order, amount=amount)
        self._log_on_account(title, reasons)
        users = self.company_id._get_credit_managers() or self.env.ref(
            'account.group_account_manager').all_user_ids.filtered(
                lambda user: user.active and not user.share and self.company_id in user.company_ids)
        for user in users:
            customer.activity_schedule(
                'mail.mail_activity_data_todo', summary=title, note=self._list_reasons(reasons), user_id=user.id)
