from collections import defaultdict
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

from markupsafe import Markup

from odoo import SUPERUSER_ID, api, fields, models
from odoo.exceptions import AccessError, UserError
from odoo.tools import formatLang

from .sale_order_deposit import DEPOSIT_FIELDS

# Written by the methods below and by nothing else, whoever asks.
CREDIT_FIELDS = frozenset({
    'credit_state', 'credit_hold_date', 'credit_hold_user_id', 'credit_decision_note', 'credit_release_amount',
    'credit_release_currency_id', 'credit_release_partner_id', *DEPOSIT_FIELDS,
})
# Computed from other fields: a value that is written by hand does not stay, or else it would hide what is owed.
ORDER_FIGURES = ('amount_untaxed', 'amount_tax', 'amount_total', 'currency_rate', 'invoice_status')
# What may change how much a confirmed order is worth, or whose debt it is.
ORDER_WORTH_FIELDS = frozenset({
    'order_line', 'partner_id', 'partner_invoice_id', 'company_id', 'currency_id', 'pricelist_id', 'date_order',
    'payment_term_id', 'state', *ORDER_FIGURES,
})
# What a customer's terms are read from, see `res.partner._get_credit_terms()`.
TERMS_FIELDS = (
    'credit_control_policy', 'credit_limit', 'credit_limit_extra', 'credit_limit_extra_until', 'credit_hold',
    'credit_hold_reason', 'credit_limit_currency_id', 'credit_limit_in_currency', 'credit_group_id',
)
# What a credit manager sees of orders
CREDIT_VIEWS = {
    'list': 'account_dunning.sale_order_view_list_credit',
    'kanban': 'account_dunning.sale_order_view_kanban_credit',
    'form': 'account_dunning.sale_order_view_form_credit',
}
# Keys of `cr.cache`: no context key can be taken for them.
CHECKED_ORDERS = 'account_dunning.checked_orders'
WATCHED_ORDERS = 'account_dunning.watched_orders'
GROWN_BY_PROGRAM = 'account_dunning.grown_by_program'


class CreditDecision(NamedTuple):
    """Whether an order may be confirmed, and why not."""

    state: str  # the credit state that the order has, or gets when it is confirmed
    reasons: tuple = ()  # limit, rate, hold, level, overdue, rejected, deposit
    message: str = ''  # the reasons in words, for internal users
    exposure: float = 0.0  # with this order, in company currency
    limit: float = 0.0  # in company currency, 0: no limit
    excess: float = 0.0  # by how much what counts is over the limit, in company currency

    @property
    def needs_release(self):
        return self.state in ('hold', 'rejected')


class BatchAhead:
    """The quotations of a batch that pass, and what they add up to: each is looked at once, and only where another one
    of the same customer follows."""

    def __init__(self):
        self.orders = []  # not one recordset: each order is read together with all of the batch
        self.amount = 0.0  # of those looked at, in company currency

    def add_up(self):
        for order in self.orders:
            self.amount += order._get_credit_order_amount() - order._get_credit_order_paid()
        self.orders = []
        return self.amount


class SaleOrder(models.Model):
    _inherit = 'sale.order'

    dunning_level_id = fields.Many2one(
        comodel_name='account.dunning.level',
        string="Dunning level",
        compute='_compute_dunning_level_id',
        groups='base.group_user',
        help="The highest level that one of the customer's open bills has reached.",
    )
    payer_score = fields.Integer(
        compute='_compute_payer_score',
        groups='account.group_account_invoice,account.group_account_readonly',
        help="How late the customer is expected to pay: 1 (on time) to 5 (very late).",
    )
    # Neither this nor the company's policy is required in the database: Odoo creates orders and companies while the
    # addon is installed and not loaded yet, at updates and in its own tests.
    credit_state = fields.Selection(
        selection=[
            ('none', "Not checked"),
            ('ok', "Within limits"),
            ('warning', "Warning"),
            ('hold', "Waiting for release"),
            ('released', "Released"),
            ('rejected', "Rejected"),
        ],
        string="Credit",
        readonly=True,
        copy=False,
        default='none',
        groups='base.group_user',
    )
    credit_exposure = fields.Monetary(
        string="Credit exposure",
        compute='_compute_credit_exposure',
        currency_field='credit_currency_id',
        groups='base.group_user',
        help="What the customer owes and is about to owe, with this order, in company currency.",
    )
    credit_limit = fields.Monetary(
        string="Credit limit",
        compute='_compute_credit_exposure',
        currency_field='credit_currency_id',
        groups='base.group_user',
        help="The customer's limit as of today, in company currency; 0: no limit.",
    )
    credit_excess = fields.Monetary(
        string="Over the limit",
        compute='_compute_credit_exposure',
        currency_field='credit_currency_id',
        groups='base.group_user',
    )
    credit_needs_release = fields.Boolean(
        string="Needs a release",
        compute='_compute_credit_exposure',
        groups='base.group_user',
    )
    credit_reason = fields.Text(
        string="Why it waits",
        compute='_compute_credit_exposure',
        groups='base.group_user',
    )
    credit_currency_id = fields.Many2one(
        related='company_id.currency_id', string="Company currency", groups='base.group_user')
    credit_hold_date = fields.Datetime(
        string="Waiting since", readonly=True, copy=False, groups='base.group_user')
    credit_hold_days = fields.Integer(
        string="Days waiting", compute='_compute_credit_hold_days', groups='base.group_user')
    credit_hold_user_id = fields.Many2one(
        comodel_name='res.users', string="Release requested by", readonly=True, copy=False, groups='base.group_user')
    credit_decision_note = fields.Char(
        string="Reason of the decision", readonly=True, copy=False, groups='base.group_user')
    # What a release covers: this order, of this customer, up to this amount.
    credit_release_amount = fields.Monetary(
        string="Released amount", readonly=True, copy=False, currency_field='credit_release_currency_id',
        groups='base.group_user')
    credit_release_currency_id = fields.Many2one(
        comodel_name='res.currency', readonly=True, copy=False, groups='base.group_user')
    credit_release_partner_id = fields.Many2one(
        comodel_name='res.partner', readonly=True, copy=False, groups='base.group_user')

    _credit_hold_idx = models.Index("(company_id) WHERE credit_state = 'hold'")

    #=== COMPUTE METHODS ===#

    @api.depends('partner_id', 'company_id')
    def _compute_dunning_level_id(self):
        for company, orders in self.grouped('company_id').items():
            # Salespeople know the level of a customer, and the ledger's figures are not in it.
            for order in orders.sudo().with_company(company):
                order.dunning_level_id = order.partner_id.dunning_level_id

    @api.depends('partner_id', 'company_id')
    def _compute_payer_score(self):
        for company, orders in self.grouped('company_id').items():
            for order in orders.with_company(company):
                order.payer_score = order.partner_id.payer_score

    @api.depends('partner_id', 'partner_invoice_id', 'company_id', 'currency_id', 'amount_total', 'state',
                 'credit_state')
    @api.depends_context('uid', 'lang')
    def _compute_credit_exposure(self):
        decisions = self.sudo()._decide_credit(with_exposure=True)
        for order in self:
            decision = decisions[order.id]
            order.credit_exposure = decision.exposure
            order.credit_limit = decision.limit
            order.credit_excess = decision.excess
            order.credit_needs_release = order.state in ('draft', 'sent') and decision.needs_release
            order.credit_reason = decision.message

    @api.depends('credit_hold_date')
    def _compute_credit_hold_days(self):
        now = fields.Datetime.now()
        for order in self:
            order.credit_hold_days = (now - order.credit_hold_date).days if order.credit_hold_date else 0

    @api.depends('partner_invoice_id', 'currency_id', 'state', 'credit_state')
    @api.depends_context('uid', 'lang')
    def _compute_partner_credit_warning(self):
        # OVERRIDE of 'sale': the banner counts what the check counts, in the company of the order. A customer who
        # reads the order on the portal learns nothing of it.
        self.partner_credit_warning = ''
        if not self.env.user._is_internal():
            return
        quotations = self.filtered(lambda order: order.state in ('draft', 'sent') and order.partner_id)
        decisions = quotations.sudo()._decide_credit()
        for order in quotations:
            order.partner_credit_warning = decisions[order.id].message

    #=== CRUD METHODS ===#

    @api.model_create_multi
    def create(self, vals_list):
        for vals in vals_list:
            self._check_credit_fields(vals)
        # Whatever defaults the context has. The caller's own dictionaries stay as they are: they may be used again.
        orders = super().create([
            {**vals, **dict.fromkeys(CREDIT_FIELDS, False), 'credit_state': 'none'} for vals in vals_list])
        orders._recompute_figures({fname for vals in vals_list for fname in vals})
        orders.filtered(lambda order: order.state == 'sale')._check_credit_of_confirmed()
        return orders

    def write(self, vals):
        self._check_credit_fields(vals)
        if not ORDER_WORTH_FIELDS.intersection(vals):
            return super().write(vals)
        cancelled = self.filtered(lambda order: order.state != 'cancel' and vals.get('state') == 'cancel')
        with self._watch_credit():
            result = super().write(vals)
            self._recompute_figures(vals)
        if cancelled:
            cancelled.filtered(lambda order: order.credit_state == 'hold').sudo()._clear_release_activities()
            self.env['account.credit.event']._keep_cancelled(cancelled)
        return result

    @api.model
    def get_view(self, view_id=None, view_type='form', **options):
        # EXTENDS 'base': Odoo's own form reads what only salespeople may, such as gift cards. A credit manager who is
        # none gets that of the held orders, whichever way they come: from an activity, a link, the chatter.
        if (not view_id and view_type in CREDIT_VIEWS and not self.browse().has_access('write')
                and self.env.user.has_group('account_dunning.group_credit_manager')):
            view_id = self.env['ir.model.data']._xmlid_to_res_id(CREDIT_VIEWS[view_type]) or None
        return super().get_view(view_id, view_type, **options)

    def _check_credit_fields(self, vals):
        """:raise AccessError: when the outcome of a check is written directly"""
        if CREDIT_FIELDS.intersection(vals):
            raise AccessError(self.env._(
                "The credit state of an order can't be written: request a release, and a credit manager decides."))

    def _write_credit(self, vals):
        """The one way to write the outcome of a check; not callable from outside."""
        return super().write(vals)  # pylint: disable=super-method-mismatch

    def _get_under_validation_exceptions(self):
        # EXTENDS OCA's 'base_tier_validation', where it is installed: credit is decided while an order is validated
        return [*getattr(super(), '_get_under_validation_exceptions', list)(), *CREDIT_FIELDS]

    def _get_after_validation_exceptions(self):
        # EXTENDS OCA's 'base_tier_validation', where it is installed: and after it
        return [*getattr(super(), '_get_after_validation_exceptions', list)(), *CREDIT_FIELDS]

    def _recompute_figures(self, fnames):
        """Amounts, rates and statuses that came in as values are computed again."""
        for fname in ORDER_FIGURES:
            if fname in fnames and not self.env.su:
                self.env.add_to_compute(self._fields[fname], self)

    #=== ACTION METHODS ===#

    def action_confirm(self):
        # EXTENDS 'sale': one look at the ledger for the whole batch, see `_confirmation_error_message()`
        self.check_access('write')  # who may not confirm learns nothing from the check
        orders = self - self._hold_of_payments()
        if not orders:
            return True
        with orders._checked_for_credit() as decisions:
            refused = orders.filtered(
                lambda order: decisions and order.id in decisions and decisions[order.id].needs_release)
            if len(refused) > 1:
                raise UserError("\n\n".join(order._get_refusal(decisions[order.id]) for order in refused))
            return super(SaleOrder, orders).action_confirm()

    def action_request_release(self):
        """Ask the credit managers to let the quotations through.

        :raise UserError: for an order that is confirmed or cancelled, or that needs no release
        """
        self.check_access('write')
        if self.filtered(lambda order: order.state not in ('draft', 'sent')):
            raise UserError(self.env._("A release can only be requested for a quotation."))
        decisions = self.sudo()._decide_credit()
        for order in self:
            if not decisions[order.id].needs_release:
                if order.credit_state == 'rejected':
                    order.sudo()._write_credit({'credit_state': 'ok'})
                    self.env['account.credit.event']._keep(order, 'released', self.env._("Within the credit limit"))
                else:
                    raise UserError(self.env._("%(order)s needs no release: it can be confirmed.", order=order.name))
        # A rejection stays until a manager thinks better of it; asking again tells them, and changes nothing.
        rejected = self.filtered(lambda order: order.credit_state == 'rejected')
        rejected.sudo()._clear_release_activities()
        rejected.sudo()._ask_credit_managers(decisions)
        waiting = self.filtered(
            lambda order: decisions[order.id].needs_release and order not in rejected
            and (order.credit_state != 'hold' or not order.credit_hold_date))
        waiting.sudo()._put_on_hold(decisions)
        return True

    def action_release(self, reason):
        """Let the quotations through, each at its present amount.

        :param str reason: why; goes to the chatter
        :raise AccessError: when the user is no credit manager
        :raise UserError: without a reason, or for an order that is confirmed or cancelled
        """
        orders, reason = self._prepare_credit_decision(reason)
        decisions = orders._decide_credit(with_exposure=True)
        for order in orders:
            order._write_credit({
                'credit_state': 'released',
                'credit_decision_note': reason,
                **order._prepare_release_values(),
            })
        orders._log_credit_decisions(
            lambda order: self.env._("Released at %(amount)s", amount=order._format_amount(order.amount_total)),
            decisions, reason)
        self.env['account.credit.event']._keep(orders, 'released', reason)
        orders._tell_salesperson(self.env._("Released: the order can be confirmed"), reason)
        orders._confirm_accepted_later()
        return True

    def action_reject_release(self, reason):
        """Do not let the quotations through.

        :param str reason: why; goes to the chatter and to the salesperson
        :raise AccessError: when the user is no credit manager
        :raise UserError: without a reason, or for an order that is confirmed or cancelled
        """
        orders, reason = self._prepare_credit_decision(reason)
        decisions = orders._decide_credit(with_exposure=True)
        orders._write_credit({
            'credit_state': 'rejected',
            'credit_decision_note': reason,
            'credit_release_amount': 0.0,
            'credit_release_partner_id': False,
        })
        orders._log_credit_decisions(lambda order: self.env._("Release rejected"), decisions, reason)
        self.env['account.credit.event']._keep(orders, 'rejected', reason)
        orders._tell_salesperson(self.env._("Release rejected"), reason)
        return True

    def action_view_credit_exposure(self):
        """Show what the exposure of the customer is made of."""
        self.ensure_one()
        self.check_access('read')
        order = self if self.state in ('draft', 'sent') else None
        return self.env['account.credit.exposure']._open(
            self.sudo()._get_credit_debtor(), self.sudo().company_id, order)

    def action_request_limit(self):
        """Ask the credit managers for another limit of the customer."""
        self.ensure_one()
        self.check_access('read')
        return self._get_credit_debtor()._open_limit_request(self.company_id)

    def action_open_credit_release(self):
        return self._open_credit_decision('release')

    def action_open_credit_rejection(self):
        return self._open_credit_decision('reject')

    def _open_credit_decision(self, decision):
        return {
            'type': 'ir.actions.act_window',
            'name': self.env._("Release") if decision == 'release' else self.env._("Reject"),
            'res_model': 'sale.order.release',
            'view_mode': 'form',
            'target': 'new',
            'context': {'default_order_ids': self.ids, 'default_decision': decision},
        }

    #=== BUSINESS METHODS - CHECK ===#

    def _decide_credit(self, lock=False, together=False, with_exposure=False):
        """Decide for each order whether it may be confirmed.

        Reads the terms and the ledger once for all orders. Orders that are confirmed already are part of the
        exposure; quotations come on top of it.

        :param bool lock: write the row of each customer with a limit that blocks, so that no two transactions can let
            orders of one customer pass at the same time
        :param bool together: all of them are about to be confirmed: each one that may counts for those after it
        :param bool with_exposure: also compute the exposure where the policy is off
        :return: the decision for each order id
        :rtype: dict[int, CreditDecision]
        """
        roots = self.company_id.sudo().root_id
        partners = self.sudo().partner_id.union(
            self.sudo().partner_invoice_id, roots.partner_id, self.env.user.sudo().partner_id)
        for root in roots:  # all that is asked of them, in one go
            partners._origin.with_company(root).fetch(['commercial_partner_id', 'tz', *TERMS_FIELDS])
        # The company's day: what counts does not depend on where the user sits.
        days = {root: root._get_dunning_today() for root in roots}
        use_limit = {company: company.account_use_credit_limit for company in self.company_id.sudo()}
        terms = {}
        for company, orders in self.sudo().grouped('company_id').items():
            if company:
                customers = self.env['res.partner'].sudo().union(
                    *(order._get_credit_customers() for order in orders))
                terms.update({
                    (partner.id, company.id): partner_terms
                    for partner, partner_terms in customers._get_credit_terms(
                        company, days[company.root_id]).items()
                })

        customers = defaultdict(lambda: self.env['res.partner'].sudo())
        lock_customers = defaultdict(lambda: self.env['res.partner'].sudo())
        for order in self.sudo():
            company = order.company_id
            for partner in order._get_credit_customers() if company else ():
                partner_terms = terms[partner.id, company.id]
                if lock and partner_terms.policy == 'block' and partner_terms.limit:
                    lock_customers[company.root_id] |= partner
                elif with_exposure or partner_terms.policy != 'off' or use_limit[company] and not lock:
                    customers[company.root_id] |= partner
        Exposure = self.env['account.credit.exposure'].sudo()
        amounts = {}
        for date in sorted(set(days.values())):  # one, unless companies on either side of midnight are asked about
            same_day = [root for root, day in days.items() if day == date]
            amounts.update(Exposure._get_amounts({root: lock_customers[root] for root in same_day}, date, lock=True))
            amounts.update(Exposure._get_amounts(
                {root: customers[root] - lock_customers[root] for root in same_day}, date))

        decisions = {}
        confirming = defaultdict(BatchAhead)  # by whose limit it is, and main company
        for order in self.sudo():
            decision = decisions[order.id] = order._decide_credit_one(terms, amounts, confirming, with_exposure)
            if together and not decision.needs_release:
                for holder in {
                    terms[partner.id, order.company_id.id].holder
                    for partner in order._get_credit_customers() if order.company_id
                }:
                    confirming[holder, order.company_id.root_id.id].orders.append(order)
        return decisions

    def _decide_credit_one(self, terms, amounts, confirming, with_exposure=False):
        """The decision for one order.

        :param dict terms: what is agreed, by id of customer and company
        :param dict amounts: the exposure, by id of customer and main company
        :param dict confirming: the quotations before this one in the batch, which add to it
        :param bool with_exposure: the exact exposure is asked for, also when nothing speaks against the order
        :rtype: CreditDecision
        """
        company, debtor = self.company_id, self._get_credit_debtor()
        if not company or not debtor:
            return CreditDecision('none')
        weigh = partial(self._weigh_credit, company, debtor, terms, amounts, confirming)
        policies, reasons, exposure, limit, excess = weigh(self._get_credit_order_amount())
        # What is paid online makes the exposure smaller: it is looked up only where that matters.
        if (reasons or with_exposure) and (paid := self._get_credit_order_paid()):
            policies, reasons, exposure, limit, excess = weigh(self._get_credit_order_amount() - paid)
        blocking = any(policy == 'block' for _reason, _sentence, policy in reasons)
        message = '\n'.join(sentence for _reason, sentence, _policy in reasons)
        reasons = [reason for reason, _sentence, _policy in reasons]

        is_decided = self.credit_state in ('released', 'rejected')
        if 'block' in policies and (reasons or is_decided) and self._is_prepaid():
            state, reasons, message = 'ok', [], ''
        elif 'block' in policies and self._is_covered_by_release():
            state = 'released'
        elif 'block' in policies and self.credit_state == 'rejected' and self.state in ('draft', 'sent'):
            state = 'rejected'
            reasons.append('rejected')
            rejection = self.env._("The release of this order was rejected: %(reason)s",
                                   reason=self.credit_decision_note or '')
            message = f'{rejection}\n{message}' if message else rejection
        elif 'block' in policies and self.credit_state == 'hold' and self._is_covered_by_deposit():
            state = 'released'
        elif 'block' in policies and self._is_waiting_for_deposit():
            state = 'hold'
            reasons.append('deposit')
            message = '\n'.join(filter(None, (message, self._explain_deposit())))
        elif blocking:
            state = 'hold'
        elif policies <= {'off'}:
            state = 'none'
        else:
            state = 'warning' if reasons else 'ok'
        return CreditDecision(state, tuple(dict.fromkeys(reasons)), message, exposure, limit, excess)

    def _weigh_credit(self, company, debtor, terms, amounts, confirming, order_amount):
        """What speaks against the order if it adds that much to what its customers owe.

        :param float order_amount: in company currency
        :return: the policies of the customers; (reason, sentence, policy) for each reason; the debtor's exposure with
            the order, their limit, and by how much it is exceeded, in company currency
        :rtype: tuple[set, list, float, float, float]
        """
        root = company.root_id
        policies, reasons = set(), []
        Exposure = self.env['account.credit.exposure']
        exposure = limit = excess = 0.0
        for partner in self._get_credit_customers():
            agreed = terms[partner.id, company.id]
            owed = amounts.get((partner.id, root.id))
            if owed is None:
                continue
            total = company.currency_id.round(owed.total + confirming[agreed.holder, root.id].add_up() + order_amount)
            if partner == debtor:
                exposure, limit = total, agreed.limit
                excess = Exposure._get_excess(company, agreed, owed, total)
            policies.add(agreed.policy)
            found = Exposure._explain(
                company, partner, agreed, owed, total,
                with_document=self.state in ('draft', 'sent') and self.amount_total > 0)
            reasons += [(reason, sentence, agreed.policy) for reason, sentence in found.items()]
        return policies, reasons, exposure, limit, excess

    def _get_credit_customers(self):
        """Who the order is checked for: the customer, and who gets the invoice; commercial entities."""
        return (self.partner_id | self.partner_invoice_id).commercial_partner_id._origin

    def _get_credit_debtor(self):
        """Whose debt the order becomes: who gets the invoice; a commercial entity."""
        return (self.partner_invoice_id or self.partner_id).commercial_partner_id._origin

    def _get_credit_order_amount(self):
        """The amount of the quotation in company currency (float); 0 once it is confirmed: it is counted already."""
        if self.state not in ('draft', 'sent'):
            return 0.0
        amount = self.amount_total
        if self.credit_deposit_move_id:
            # what is invoiced of it is counted as any invoice is, until it is paid
            amount = max(amount - self._get_deposit_invoice().amount_total, min(amount, 0.0))
        return self.company_id.currency_id.round(amount / (self.currency_rate or 1.0))

    def _get_credit_order_paid(self):
        """What is paid online for the quotation and not in the ledger yet, in company currency (float)."""
        if self.state not in ('draft', 'sent'):
            return 0.0
        pending = self.transaction_ids.filtered(
            lambda tx: tx.state in ('authorized', 'done')
            and tx.operation != 'validation'
            and (not tx.payment_id or not tx.payment_id.move_id and tx.payment_id.state in ('draft', 'in_process'))
            and not tx.child_transaction_ids.filtered(
                lambda child: child.operation != 'refund' and child.state in ('authorized', 'done')))
        amount = sum(pending.mapped('amount'))
        return self.company_id.currency_id.round(amount / (self.currency_rate or 1.0))

    def _is_prepaid(self):
        """Whether the customer has paid the whole order online, or there is nothing to pay."""
        return bool(self.transaction_ids or self.amount_total <= 0) and self._is_paid()

    def _is_covered_by_release(self):
        """A release covers one order of one customer, up to its amount at that time."""
        return (
            self.credit_state == 'released'
            and self.credit_release_partner_id == self._get_credit_debtor()
            and self.credit_release_currency_id == self.currency_id
            and self.currency_id.compare_amounts(self.amount_total, self.credit_release_amount) <= 0
        )

    def _prepare_release_values(self):
        return {
            'credit_release_amount': self.amount_total,
            'credit_release_currency_id': self.currency_id.id,
            'credit_release_partner_id': self._get_credit_debtor().id,
        }

    #=== BUSINESS METHODS - CONFIRMATION ===#

    def _confirmation_error_message(self):
        # EXTENDS 'sale'
        if message := super()._confirmation_error_message():
            return message
        decision = self._get_checked_decision() or self.sudo()._decide_credit(lock=True)[self.id]
        return self._get_refusal(decision) if decision.needs_release else False

    def _get_refusal(self, decision):
        """The refusal in words; customers learn neither amounts nor reasons."""
        if not self.env.user._is_internal():
            return self.env._("Your order is being reviewed. We will come back to you shortly.")
        if self.state == 'sale':
            return self.env._(
                "%(order)s needs a release by a credit manager:\n%(reasons)s\n\n"
                "Ask a credit manager to make this change, or put what is added on a new quotation.",
                order=self.name, reasons=decision.message)
        return self.env._(
            "%(order)s needs a release by a credit manager before it can be confirmed:\n%(reasons)s\n\n"
            "Request a release on the quotation.",
            order=self.name, reasons=decision.message)

    @contextmanager
    def _checked_for_credit(self):
        """Within, `_confirmation_error_message()` finds the decision for each of the orders made already."""
        quotations = self.filtered(lambda order: order.state in ('draft', 'sent'))
        decisions = quotations.sudo()._decide_credit(lock=True, together=True)
        checked = self.env.cr.cache.setdefault(CHECKED_ORDERS, {})
        checked.update({order.id: (order._get_credit_key(), decisions[order.id]) for order in quotations})
        try:
            yield decisions
        finally:
            for order in quotations:
                checked.pop(order.id, None)

    def _get_checked_decision(self):
        """The decision made for the order in this call, if the order is still the same."""
        key, decision = self.env.cr.cache.get(CHECKED_ORDERS, {}).get(self.id, (None, None))
        return decision if decision and key == self._get_credit_key() else None

    def _get_credit_key(self):
        """What a decision was made for."""
        order = self.sudo()
        return (
            order.company_id.id, order._get_credit_debtor().id, order._get_credit_customers().ids,
            order.currency_id.id, order.amount_total, order.credit_state,
        )

    @contextmanager
    def _watch_credit(self):
        """Within, orders change: those that are confirmed by it, or are confirmed and grow, are checked at the end.

        Whatever the way, `write()` of the state included. Nested changes (an order and its lines) are checked once.
        """
        watched = self.env.cr.cache.setdefault(WATCHED_ORDERS, set())
        orders = self.filtered(lambda order: order.id and order.id not in watched)
        before = {
            order: (order.state, order._get_growth_key() if order.state == 'sale' else None) for order in orders
        }
        watched.update(orders.ids)
        try:
            yield
        finally:
            watched.difference_update(orders.ids)
        entered = orders.filtered(lambda order: order.state == 'sale' and before[order][0] != 'sale')
        unchecked = orders.browse()
        for order in entered:
            if decision := order._get_checked_decision():
                # Checked before it was confirmed, see `action_confirm()`.
                order._conclude_credit(decision)
            else:
                unchecked |= order
        confirmed = (orders - entered).filtered(lambda order: order.state == 'sale' and before[order][1])
        for order in confirmed:
            order._check_debtor_stays(before[order][1])
        grown = confirmed.filtered(lambda order: order._has_grown_since(before[order][1]))
        (unchecked | grown)._check_credit_of_confirmed(grown)

    def _has_grown_since(self, key):
        *whose, open_amount = key
        *whose_now, open_now = self._get_growth_key()
        return whose != whose_now or self.currency_id.compare_amounts(open_now, open_amount) > 0

    def _get_growth_key(self):
        """Whose debt the confirmed order becomes, and how much of it is still to be invoiced."""
        order = self.sudo()
        return (
            order.company_id.id, order._get_credit_debtor().id, order._get_credit_customers().ids,
            order.currency_id.id, order._get_amount_to_invoice(),
        )

    def _get_amount_to_invoice(self):
        """What of the order is not invoiced yet, ordered or delivered, taxes included, in its currency (float)."""
        amount = 0.0
        for line in self.order_line.filtered(lambda line: not line.display_type and not line.is_downpayment):
            quantity = max(line.product_uom_qty, line.qty_delivered) - line.qty_invoiced
            if line.product_uom_qty:
                price = line.price_total / line.product_uom_qty
            else:
                price = line.price_unit * (1 - line.discount / 100)
            amount += max(quantity, 0.0) * price if line.product_uom_qty >= 0 else min(quantity, 0.0) * price
        return self.currency_id.round(amount)

    def _check_debtor_stays(self, key):
        """Nobody but a credit manager takes a confirmed order off a customer's account: it would make room for more.

        :param tuple key: of `_get_growth_key()`, before the change
        :raise UserError: when a customer whose limit blocks would owe less by it
        """
        self.ensure_one()
        company_id, debtor_id, *_rest = key
        if debtor_id == self.sudo()._get_credit_debtor().id:
            return
        if self.env.user.has_group('account_dunning.group_credit_manager'):
            return
        company = self.env['res.company'].sudo().browse(company_id)
        debtor = self.env['res.partner'].sudo().browse(debtor_id)
        terms = debtor._get_credit_terms(company, company.root_id._get_dunning_today())[debtor]
        if terms.policy == 'block' and terms.has_limit:
            raise UserError(self.env._(
                "%(order)s is confirmed on the account of %(customer)s: only a credit manager can move it to another "
                "customer's.", order=self.name, customer=debtor.display_name))

    @contextmanager
    def _let_grow(self):
        """Within, a program makes confirmed orders grow, and nobody is there who could ask for a release: it passes,
        is noted, and the credit managers are told. For the flows that do such a thing, and not reachable from outside.
        """
        cache = self.env.cr.cache
        depth = cache.get(GROWN_BY_PROGRAM, 0)
        cache[GROWN_BY_PROGRAM] = depth + 1
        try:
            yield
        finally:
            cache[GROWN_BY_PROGRAM] = depth

    def _is_grown_by_program(self):
        """Whether the change is a consequence of something else, such as the freight of a delivery: a program makes it
        with rights that the user does not have."""
        user = self.env.user
        return bool(self.env.cr.cache.get(GROWN_BY_PROGRAM)) or self.env.su and (
            self.env.uid == SUPERUSER_ID
            or user._is_internal() and not user.has_group('sales_team.group_sale_salesman'))

    def _conclude_credit(self, decision):
        """The order is confirmed: keep how it passed."""
        order = self.sudo()
        if order.credit_state == 'hold' and decision.state == 'released' and order._release_by_deposit():
            order._clear_release_activities()
        elif order.credit_state == 'hold':
            order._clear_release_activities()
            self.env['account.credit.event']._keep(order, 'released', self.env._("Within the credit limit"))
        if order.credit_state != decision.state:
            order._write_credit({'credit_state': decision.state})

    def _check_credit_of_confirmed(self, grown=()):
        """Check orders that are confirmed already: they grew, or were confirmed without `action_confirm()`.

        :param sale.order grown: those that a credit manager lets pass by making the change
        :raise UserError: when one of them needs a release
        """
        if not self:
            return
        decisions = self.sudo()._decide_credit(lock=True)
        is_manager = self.env.user.has_group('account_dunning.group_credit_manager')
        for order in self:
            decision = decisions[order.id]
            if not decision.needs_release:
                order._conclude_credit(decision)
            elif is_manager and order in grown:
                order_sudo = order.sudo()
                order_sudo._write_credit({'credit_state': 'released', **order_sudo._prepare_release_values()})
                order_sudo._log_credit_decisions(
                    lambda order: self.env._("Changed by a credit manager, now %(amount)s",
                                             amount=order._format_amount(order.amount_total)),
                    decisions)
            elif order in grown and order._is_grown_by_program():
                order_sudo = order.sudo()
                order_sudo._log_credit_decisions(
                    lambda order: self.env._("Grown to %(amount)s by a later step, such as a delivery or a bill",
                                             amount=order._format_amount(order.amount_total)),
                    decisions)
                order_sudo._clear_release_activities()  # one, however many times a delivery or a bill adds to it
                order_sudo._ask_credit_managers(
                    decisions, lambda order: self.env._("%(order)s has grown past the limit", order=order.name))
            else:
                raise UserError(order._get_refusal(decision))

    #=== BUSINESS METHODS - PORTAL ===#

    def _hold_of_payments(self):
        """Quotations that the processing of a customer's payment confirms, such as cash on delivery: those that need a
        release wait for it. An error would have the payment processed again and again, and nobody told.

        :return: the orders that wait
        :rtype: sale.order
        """
        if not self.env.su or self.env.user._is_internal() and self.env.uid != SUPERUSER_ID:
            return self.browse()
        return self.filtered(lambda order: (
            order.state in ('draft', 'sent')
            and order.transaction_ids.filtered(lambda tx: tx.state in ('pending', 'authorized', 'done'))
        ))._hold_for_review()

    def _validate_order(self):
        # EXTENDS 'sale': the customer has signed, or has nothing to pay; what needs a release waits without an error
        held = self._hold_for_review()
        return super(SaleOrder, self - held)._validate_order() if self != held else None

    def _hold_for_review(self):
        """The customer has accepted the quotations: those that need a release wait for it.

        :return: the orders that wait
        :rtype: sale.order
        """
        quotations = self.sudo().filtered(lambda order: order.state in ('draft', 'sent'))
        decisions = quotations._decide_credit(together=True)
        held = quotations.filtered(lambda order: decisions[order.id].needs_release)
        held._put_on_hold(decisions)
        return self.browse(held.ids)

    def _is_under_review(self):
        """What the portal page says: the customer has done their part, we have not decided yet."""
        return (
            self.state in ('draft', 'sent')
            and self.credit_state in ('hold', 'rejected', 'ok', 'released')
            and bool(self.credit_hold_date)
            and self._is_accepted_by_customer()
        )

    def _is_accepted_by_customer(self):
        """Whether the customer has done everything on the portal that confirms the order."""
        order = self.sudo()
        return bool(
            (order.signature or order.transaction_ids.filtered(lambda tx: tx.state in ('authorized', 'done')))
            and not order._has_to_be_signed()
            and not order._has_to_be_paid()
        )

    #=== BUSINESS METHODS - HOLD AND RELEASE ===#

    def _put_on_hold(self, decisions):
        """The orders wait for a release; the managers get an activity."""
        if not self:
            return
        self._write_credit({
            'credit_state': 'hold',
            'credit_hold_date': fields.Datetime.now(),
            'credit_hold_user_id': self.env.user.id if self.env.user._is_internal() else False,
            'credit_decision_note': False,
        })
        self._log_credit_decisions(lambda order: self.env._("Waits for a release"), decisions)
        self.env['account.credit.event']._keep(self, 'held')
        self._clear_release_activities()
        self._ask_credit_managers(decisions)

    def _ask_credit_managers(self, decisions, get_summary=None):
        """Give the credit managers of each order's company something to do.

        :param dict decisions: CreditDecision by order id
        :param get_summary: function of an order, returning what the activity says; None: that it waits for a release
        """
        activity_type = self.env.ref('account_dunning.mail_activity_type_credit_release', raise_if_not_found=False)
        if not activity_type:
            return
        today = fields.Date.context_today(self)
        managers_by_company = {company: company._get_credit_managers() for company in self.company_id}
        self._tell_nobody_can_release(managers_by_company, activity_type)
        self.env['mail.activity'].sudo().with_context(mail_activity_quick_update=len(self) > 1).create([
            {
                'res_model_id': self.env['ir.model']._get_id(self._name),
                'res_id': order.id,
                'activity_type_id': activity_type.id,
                'summary': get_summary(order) if get_summary else self.env._("Release %(order)s?", order=order.name),
                'note': Markup('<br/>').join(decisions[order.id].message.splitlines()),
                'date_deadline': today,
                'user_id': manager.id,
                'automated': True,
            }
            for order in self
            for manager in managers_by_company.get(order.company_id, ())
        ])

    def _tell_nobody_can_release(self, managers_by_company, activity_type):
        """Orders of a company that no credit manager has access to would wait for ever: who may change that is told,
        the administrators of its accounting, else the salesperson."""
        orders = self.filtered(lambda order: not managers_by_company.get(order.company_id))
        if not orders:
            return
        administrators = self.env.ref('account.group_account_manager').sudo().all_user_ids
        self.env['mail.activity'].sudo().create([
            {
                'res_model_id': self.env['ir.model']._get_id(self._name),
                'res_id': order.id,
                'activity_type_id': activity_type.id,
                'summary': self.env._("%(order)s waits, and nobody can release it", order=order.name),
                'note': self.env._(
                    "No credit manager has access to %(company)s: name one.", company=order.company_id.name),
                'user_id': user.id,
                'automated': True,
            }
            for order in orders
            for user in (administrators.filtered(
                lambda user, company=order.company_id: not user.share and company in user.company_ids)
                or order.user_id)
        ])

    def _clear_release_activities(self):
        self.activity_unlink(['account_dunning.mail_activity_type_credit_release'])

    def _tell_salesperson(self, summary, note):
        """The answer goes to the salesperson and to whoever asked."""
        self._clear_release_activities()
        todo = self.env.ref('mail.mail_activity_data_todo', raise_if_not_found=False)
        # quick: one payment may free hundreds of orders, and nobody wants an e-mail for each
        self.env['mail.activity'].sudo().with_context(mail_activity_quick_update=len(self) > 1).create([
            {
                'res_model_id': self.env['ir.model']._get_id(self._name),
                'res_id': order.id,
                'activity_type_id': todo.id if todo else False,
                'summary': summary,
                'note': note,
                'user_id': user.id,
                'automated': True,
            }
            for order in self
            for user in (order.user_id | order.credit_hold_user_id) - self.env.user
            if user.active and not user.share
        ])

    def _prepare_credit_decision(self, reason):
        """What a release and a rejection have in common: who may, on what, and why.

        :return: the orders with all rights, and the reason
        :rtype: tuple[sale.order, str]
        """
        if not self.env.user.has_group('account_dunning.group_credit_manager'):
            raise AccessError(self.env._("Only a credit manager can release or reject an order."))
        self.check_access('read')
        reason = (reason or '').strip() if isinstance(reason, str) else ''
        if not reason:
            raise UserError(self.env._("Give a reason for the decision."))
        if self.filtered(lambda order: order.state not in ('draft', 'sent')):
            raise UserError(self.env._("Only quotations can be released or rejected."))
        return self.sudo(), reason

    def _log_credit_decisions(self, title, decisions, reason=''):
        """Internal notes: who, when, why, exposure and limit of that moment; in one batch.

        :param title: function of an order, returning a str
        :param dict decisions: CreditDecision by order id
        :param str reason: the manager's, if they have decided
        """
        author = self.env.user.partner_id if self.env.user._is_internal() else self.env.ref('base.partner_root')
        self._message_log_batch({
            order.id: order._describe_credit_decision(title(order), decisions[order.id], reason) for order in self
        }, author_id=author.id)

    def _describe_credit_decision(self, title, decision, reason):
        """:rtype: Markup"""
        currency = self.company_id.currency_id
        rows = [
            (self.env._("Reason"), reason),
            (self.env._("Why it waits"), decision.message),
            (self.env._("Exposure with this order"), formatLang(self.env, decision.exposure, currency_obj=currency)),
            (self.env._("Credit limit"),
             formatLang(self.env, decision.limit, currency_obj=currency) if decision.limit else self.env._("none")),
        ]
        return Markup("<b>%s</b><ul>%s</ul>") % (title, Markup().join(
            Markup("<li>%s: %s</li>") % (label, Markup('<br/>').join(text.splitlines()))
            for label, text in rows if text
        ))

    def _format_amount(self, amount):
        return formatLang(self.env, amount, currency_obj=self.currency_id)

    #=== BUSINESS METHODS - MONEY COMES IN ===#

    @api.model
    def _recheck_held_orders(self, partners):
        """Customers have paid: orders of theirs that wait and would pass now are freed, where the company says so.

        An order that the customer has accepted on the portal is confirmed by the scheduled action, not within the
        transaction that books the payment.

        :param res.partner partners: whose receivables have changed
        """
        customers = partners.commercial_partner_id._with_limit_sharers()
        if not customers:
            return
        orders = self.sudo().search([
            ('credit_state', '=', 'hold'),
            ('state', 'in', ('draft', 'sent')),
            '|',
            ('company_id.credit_auto_release', '=', True),
            ('credit_deposit_move_id', '!=', False),
            '|',
            ('partner_id.commercial_partner_id', 'in', customers.ids),
            ('partner_invoice_id.commercial_partner_id', 'in', customers.ids),
        ])
        # A credit manager has asked for the deposit: it releases whatever the company says of other payments.
        released = orders._release_by_deposit()
        free = (orders - released).filtered('company_id.credit_auto_release')._free_held_orders()
        (released | free)._confirm_accepted_later()

    def _confirm_accepted_later(self):
        """What the customer has accepted is confirmed by the scheduled action, right after this transaction."""
        if self.filtered(lambda order: order._is_accepted_by_customer()):
            self.env.ref('account_dunning.ir_cron_credit_recheck').sudo()._trigger()

    def _free_held_orders(self):
        """Free those of the waiting orders that pass now, the oldest request first.

        What was freed before and is not confirmed yet counts: one payment frees no more than it covers.

        :return: the orders that are free
        :rtype: sale.order
        """
        if not self:
            return self
        customers = self.partner_id.commercial_partner_id | self.partner_invoice_id.commercial_partner_id
        customers = customers._with_limit_sharers()
        freed_before = self.search([
            ('credit_state', '=', 'ok'),
            ('credit_hold_date', '!=', False),
            ('state', 'in', ('draft', 'sent')),
            ('partner_invoice_id.commercial_partner_id', 'in', customers.ids),
        ])
        waiting = self.sorted(lambda order: (order.credit_hold_date or order.create_date, order.id))
        decisions = (freed_before + waiting)._decide_credit(together=True)
        free = waiting.filtered(lambda order: not decisions[order.id].needs_release)
        free._write_credit({'credit_state': 'ok'})
        self.env['account.credit.event']._keep(free, 'released', self.env._("Within the credit limit"))
        sentence = self.env._("The customer is back within the credit limit: the order can be confirmed.")
        free._message_log_batch(
            dict.fromkeys(free.ids, sentence), author_id=self.env.ref('base.partner_root').id)
        free._tell_salesperson(self.env._("The order can be confirmed: the customer is back within the limit"), '')
        return free

    def _get_accepted_domain(self):
        """Quotations that waited for a release, have it, and were accepted by their customers meanwhile."""
        return [
            ('state', 'in', ('draft', 'sent')),
            ('credit_state', 'in', ('ok', 'released')),
            ('credit_hold_date', '!=', False),
            '|', ('signed_by', '!=', False), ('transaction_ids.state', 'in', ('authorized', 'done')),
        ]

    @api.model
    def _cron_recheck_credit(self, batch_size=100):
        """The safety net: free waiting orders that pass now, and confirm those that their customers have accepted."""
        commit = self.env['ir.cron']._commit_progress
        self.env['account.credit.cover']._remind_of_ends()
        self.env['res.partner']._ask_for_limit_reviews()
        domain = [('credit_state', '=', 'hold'), ('state', 'in', ('draft', 'sent')),
                  ('company_id.credit_auto_release', '=', True)]
        self.search(self._get_deposit_domain())._release_by_deposit()
        held = self.search(domain, order='credit_hold_date, id')
        accepted = self.search(self._get_accepted_domain())
        commit(remaining=len(held) + len(accepted))
        for start in range(0, len(held), batch_size):
            batch = held[start:start + batch_size]
            batch.exists().filtered_domain(domain)._free_held_orders()
            if not commit(len(batch)):
                return
        accepted = self.search(self._get_accepted_domain())
        for order in accepted:
            order = order[0]  # no prefetching after each commit
            if order._is_accepted_by_customer():
                order.with_company(order.company_id)._confirm_accepted()
            if not commit(1, remaining=len(accepted)):
                return

    def _confirm_accepted(self):
        """Confirm the order as the customer's signature or payment would have; failing that, tell the salesperson."""
        try:
            with self.env.cr.savepoint():
                self._validate_order()
        except UserError as error:
            self._write_credit({'credit_hold_date': False})  # not tried again
            self._tell_salesperson(
                self.env._("The customer has accepted, but the order can't be confirmed"), str(error))
