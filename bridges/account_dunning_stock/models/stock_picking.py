from collections import defaultdict
from contextlib import contextmanager

from markupsafe import Markup

from odoo import api, fields, models
from odoo.exceptions import AccessError, UserError

from odoo.addons.account_dunning.models.res_partner_credit import CREDIT_READERS
from odoo.addons.account_dunning.models.sale_order import TERMS_FIELDS, CreditDecision

# Written by the methods below and by nothing else, whoever asks.
CREDIT_FIELDS = frozenset({
    'credit_state', 'credit_hold_date', 'credit_hold_user_id', 'credit_decision_note', 'credit_decision_user_id',
    'credit_decision_date', 'credit_release_amount', 'credit_release_partner_id',
})
# What a credit manager who has nothing to do with the warehouse sees of transfers
CREDIT_VIEWS = {
    'list': 'account_dunning_stock.stock_picking_view_list_credit',
    'form': 'account_dunning_stock.stock_picking_view_form_credit',
}
# A key of `cr.cache`: no context key can be taken for it.
CHECKED = 'account_dunning_stock.checked'


class StockPicking(models.Model):
    _inherit = 'stock.picking'

    # No default: installing would write it on every transfer there is.
    credit_state = fields.Selection(
        selection=[
            ('none', "Not checked"),
            ('ok', "Within limits"),
            ('warning', "Warning"),
            ('hold', "On hold"),
            ('released', "Released"),
            ('rejected', "Rejected"),
        ],
        string="Credit",
        readonly=True,
        copy=False,
        groups='base.group_user',
    )
    credit_hold_date = fields.Datetime(
        string="Waiting since", readonly=True, copy=False, groups='base.group_user')
    credit_hold_user_id = fields.Many2one(
        comodel_name='res.users', string="Stopped when handled by", readonly=True, copy=False,
        groups='base.group_user')
    credit_decision_note = fields.Char(
        string="Reason of the decision", readonly=True, copy=False, groups='base.group_user')
    credit_decision_user_id = fields.Many2one(
        comodel_name='res.users', string="Decided by", readonly=True, copy=False, groups='base.group_user')
    credit_decision_date = fields.Datetime(
        string="Decided on", readonly=True, copy=False, groups='base.group_user')
    # What a release covers: this delivery, to this customer, up to so much of goods.
    credit_release_amount = fields.Monetary(
        string="Released goods", readonly=True, copy=False, currency_field='credit_currency_id', groups=CREDIT_READERS)
    credit_release_partner_id = fields.Many2one(
        comodel_name='res.partner', string="Released for", readonly=True, copy=False, groups='base.group_user')

    credit_currency_id = fields.Many2one(
        related='company_id.currency_id', string="Company currency", groups='base.group_user')
    credit_exposure = fields.Monetary(
        string="Credit exposure", compute='_compute_credit_exposure', currency_field='credit_currency_id',
        groups=CREDIT_READERS)
    credit_limit = fields.Monetary(
        string="Credit limit", compute='_compute_credit_exposure', currency_field='credit_currency_id',
        groups=CREDIT_READERS)
    credit_excess = fields.Monetary(
        string="Over the limit", compute='_compute_credit_exposure', currency_field='credit_currency_id',
        groups=CREDIT_READERS)
    credit_reason = fields.Text(
        string="Why it waits", compute='_compute_credit_exposure', groups=CREDIT_READERS)
    credit_goods = fields.Monetary(
        string="Goods", compute='_compute_credit_exposure', currency_field='credit_currency_id', groups=CREDIT_READERS,
        help="What the goods are worth, as ordered, taxes included.")
    credit_partner_id = fields.Many2one(
        comodel_name='res.partner', string="Who owes it", compute='_compute_credit_exposure', groups=CREDIT_READERS)
    credit_hold_days = fields.Integer(
        string="Days waiting", compute='_compute_credit_hold_days', groups='base.group_user')

    _credit_hold_idx = models.Index("(company_id) WHERE credit_state IN ('hold', 'rejected')")

    #=== COMPUTE METHODS ===#

    @api.depends('partner_id', 'sale_id', 'move_ids.product_uom_qty', 'credit_state')
    @api.depends_context('uid', 'lang')
    def _compute_credit_exposure(self):
        decisions = self._decide_credit(with_exposure=True)
        for picking in self:
            decision, picking_sudo = decisions[picking.id], picking.sudo()
            picking.credit_exposure = decision.exposure
            picking.credit_limit = decision.limit
            picking.credit_excess = decision.excess
            picking.credit_reason = decision.message
            picking.credit_goods = picking_sudo._get_goods_amount()
            picking.credit_partner_id = picking_sudo._get_credit_debtor()

    @api.depends('credit_hold_date')
    def _compute_credit_hold_days(self):
        now = fields.Datetime.now()
        for picking in self:
            picking.credit_hold_days = (now - picking.credit_hold_date).days if picking.credit_hold_date else 0

    #=== CRUD METHODS ===#

    @api.model_create_multi
    def create(self, vals_list):
        for vals in vals_list:
            self._check_credit_fields(vals)
        # Whatever defaults the context has; that of a field which the user may not write can't be overruled by a value.
        # The caller's own dictionaries stay as they are: they may be used again.
        pickings, amount = self, 'default_credit_release_amount'
        if amount in self.env.context:
            pickings = self.with_env(self.env(
                context={key: value for key, value in self.env.context.items() if key != amount}))
        return super(StockPicking, pickings).create([
            {**vals, **dict.fromkeys(CREDIT_FIELDS - {'credit_release_amount'}, False), 'credit_state': 'none'}
            for vals in vals_list])

    def write(self, vals):
        self._check_credit_fields(vals)
        return super().write(vals)

    @api.model
    def get_view(self, view_id=None, view_type='form', **options):
        # EXTENDS 'base': a credit manager who has nothing to do with the warehouse gets the views of held deliveries,
        # whichever way they come: from an activity, a link, the chatter.
        if (not view_id and view_type in CREDIT_VIEWS and not self.browse().has_access('write')
                and self.env.user.has_group('account_dunning.group_credit_manager')):
            view_id = self.env['ir.model.data']._xmlid_to_res_id(CREDIT_VIEWS[view_type]) or None
        return super().get_view(view_id, view_type, **options)

    @api.model
    def get_empty_list_help(self, help_message):
        # EXTENDS 'stock': which tells everybody how to make a transfer
        if self.env.context.get('held_deliveries'):
            return help_message
        return super().get_empty_list_help(help_message)

    def _check_credit_fields(self, vals):
        """:raise AccessError: when the outcome of a check is written directly"""
        if CREDIT_FIELDS.intersection(vals):
            raise AccessError(self.env._(
                "The credit state of a delivery can't be written: a credit manager decides."))

    def _write_credit(self, vals):
        """The one way to write the outcome of a check; not callable from outside."""
        return super().write(vals)  # pylint: disable=super-method-mismatch

    #=== ACTION METHODS ===#

    def button_validate(self):
        # EXTENDS 'stock': what waits for a credit manager stays, the rest goes out. An error would take back that it
        # waits, and nobody would be told.
        with self._checked_for_credit() as held:
            if not held:
                return super().button_validate()
            going = self - held
            result = super(StockPicking, going).button_validate() if going else True
        return held._tell_on_hold() if result is True else result

    def action_cancel(self):
        # EXTENDS 'stock'
        result = super().action_cancel()
        self.sudo().filtered(lambda picking: picking.credit_state == 'hold')._clear_release_activities()
        return result

    def action_request_release(self):
        """Ask the credit managers to let deliveries go, once more.

        :raise UserError: for a delivery that does not wait
        """
        self.check_access('write')
        decisions = self._decide_credit()
        pickings = self.sudo()
        if pickings.filtered(lambda picking: picking.state in ('done', 'cancel')
                             or not decisions[picking.id].needs_release):
            raise UserError(self.env._("Only a delivery that is on hold needs a release."))
        # A rejection stays until a manager thinks better of it; asking again tells them, and changes nothing.
        (self - self._put_on_hold(decisions))._ask_credit_managers()
        return True

    def action_release(self, reason):
        """Let the deliveries go, each with its present goods.

        :param str reason: why; goes to the chatter
        :raise AccessError: when the user is no credit manager
        :raise UserError: without a reason, or for a transfer that is done, cancelled or no delivery
        """
        pickings, reason = self._prepare_credit_decision(reason)
        for picking in pickings:
            picking._write_credit({
                'credit_state': 'released',
                'credit_release_amount': picking._get_goods_amount(),
                'credit_release_partner_id': picking._get_credit_debtor().id,
                **self._prepare_decision_values(reason),
            })
        pickings._conclude_decision(self.env._("Released by credit control"), reason)
        pickings._reserve_freed()
        return True

    def action_reject_release(self, reason):
        """Do not let the deliveries go, until a credit manager thinks better of it.

        :param str reason: why; goes to the chatter and to the salesperson
        :raise AccessError: when the user is no credit manager
        :raise UserError: without a reason, or for a transfer that is done, cancelled or no delivery
        """
        pickings, reason = self._prepare_credit_decision(reason)
        pickings._write_credit({
            'credit_state': 'rejected',
            'credit_release_amount': 0.0,
            'credit_release_partner_id': False,
            **self._prepare_decision_values(reason),
        })
        pickings._conclude_decision(self.env._("Not released by credit control"), reason)
        return True

    def action_view_credit_exposure(self):
        """Show what the exposure of the customer is made of."""
        self.ensure_one()
        self.check_access('read')
        picking = self.sudo()
        return self.env['account.credit.exposure']._open(picking._get_credit_debtor(), picking.company_id)

    def action_open_credit_release(self):
        return self._open_credit_decision('release')

    def action_open_credit_rejection(self):
        return self._open_credit_decision('reject')

    def _open_credit_decision(self, decision):
        return {
            'type': 'ir.actions.act_window',
            'name': self.env._("Release") if decision == 'release' else self.env._("Reject"),
            'res_model': 'stock.picking.release',
            'view_mode': 'form',
            'target': 'new',
            'context': {'default_picking_ids': self.ids, 'default_decision': decision},
        }

    #=== BUSINESS METHODS - CHECK ===#

    def _decide_credit(self, validating=False, with_exposure=False, done=False):
        """Decide for each transfer whether it may leave. Terms and ledger are read once for all of them.

        What is ordered counts from the confirmation of its order on: delivering it adds nothing to what a customer
        owes. What counts is what stands against the customer now, and what is delivered beyond the order.

        :param bool validating: what is picked leaves now: the rows of customers who will owe more by it are locked, as
            those of orders are; each one that may go counts for those after it. Else: all that is asked for
        :param bool with_exposure: also compute the exposure where the policy is off
        :param bool done: they have left, and more of them is about to: the exposure has it already
        :return: the decision for each id
        :rtype: dict[int, CreditDecision]
        """
        decisions = dict.fromkeys(self._ids, CreditDecision('none'))
        deliveries = self._filter_deliveries(with_exposure, done)
        if not deliveries:
            return decisions
        roots = deliveries.company_id.root_id
        customers = {picking: picking._get_credit_customers() for picking in deliveries}
        everybody = self.env['res.partner'].sudo().union(*customers.values())
        for root in roots:
            everybody.with_company(root).fetch([*TERMS_FIELDS, 'delivery_credit_policy'])
        days = {root: root._get_dunning_today() for root in roots}
        terms = {}
        for company, pickings in deliveries.grouped('company_id').items():
            partners = everybody.browse().union(*(customers[picking] for picking in pickings))
            terms.update({
                (partner.id, company.id): agreed
                for partner, agreed in partners._get_delivery_terms(company, days[company.root_id]).items()})

        # What leaves, and by how much more the customer will owe by it; with what goes before it in the batch
        leaving, more, ahead = {}, {}, defaultdict(float)
        to_read, to_lock = (defaultdict(lambda: self.env['res.partner'].sudo()) for _each in range(2))
        for picking in deliveries:
            root = picking.company_id.root_id
            leaving[picking] = picking._get_leaving(validating)
            more[picking] = picking._get_amount_added(leaving[picking], ahead)
            for partner in customers[picking]:
                agreed = terms[partner.id, picking.company_id.id]
                if agreed.policy == 'block' and agreed.limit and (done or validating and more[picking] > 0):
                    to_lock[root] |= partner
                elif agreed.policy != 'off' or with_exposure:
                    to_read[root] |= partner
        Exposure = self.env['account.credit.exposure'].sudo()
        amounts = {}
        for root in roots:
            amounts.update(Exposure._get_amounts({root: to_lock[root]}, days[root], lock=True))
            amounts.update(Exposure._get_amounts({root: to_read[root] - to_lock[root]}, days[root]))

        ahead, added = defaultdict(float), defaultdict(float)
        for picking in deliveries:
            root, debtor = picking.company_id.root_id, picking._get_credit_debtor()
            decision = decisions[picking.id] = picking._decide_credit_one(
                customers[picking], terms, amounts, leaving[picking], more[picking], ahead, added)
            if validating and not decision.needs_release:
                for line, quantity in picking._get_quantity_by_line(leaving[picking]).items():
                    ahead[line] += quantity
                if (debtor.id, picking.company_id.id) in terms:
                    added[terms[debtor.id, picking.company_id.id].holder, root.id] += more[picking]
        return decisions

    def _decide_credit_one(self, customers, terms, amounts, leaving, more, ahead, added):
        """The decision for one delivery.

        :param res.partner customers: who it is checked for
        :param dict terms: what is agreed, by id of customer and company
        :param dict amounts: the exposure, by id of customer and root company
        :param dict leaving: quantity of each move that leaves
        :param float more: what the debtor will owe more by it, in company currency
        :param dict ahead: quantity of each order line that leaves before it
        :param dict added: what debtors will owe more by what leaves before it, by whose limit it is and root company
        :rtype: CreditDecision
        """
        company, debtor = self.company_id, self._get_credit_debtor()
        root = company.root_id
        policies, reasons = set(), []
        Exposure = self.env['account.credit.exposure']
        exposure = limit = excess = 0.0
        for partner in customers:
            agreed = terms[partner.id, company.id]
            policies.add(agreed.policy)
            owed = amounts.get((partner.id, root.id))
            if owed is None:
                continue
            growth = (more if partner == debtor else 0.0) + added[agreed.holder, root.id]
            total = company.currency_id.round(owed.total + growth)
            if partner == debtor:
                exposure, limit = total, agreed.limit
                excess = Exposure._get_excess(company, agreed, owed, total)
            found = Exposure._explain(
                company, partner, agreed, owed, total, with_document=growth > 0)
            reasons += [(reason, sentence, agreed.policy) for reason, sentence in found.items()]
        blocking = any(policy == 'block' for _reason, _sentence, policy in reasons)
        message = '\n'.join(sentence for _reason, sentence, _policy in reasons)
        reasons = [reason for reason, _sentence, _policy in reasons]

        is_rejected = 'block' in policies and self.credit_state == 'rejected'
        if 'block' in policies and self._is_covered_by_release():
            state = 'released'
        elif (blocking or is_rejected) and self._is_paid_for(leaving, ahead):
            state, reasons, message = 'ok', [], ''
        elif is_rejected:
            state = 'rejected'
            reasons.append('rejected')
            rejection = self.env._(
                "The release of this delivery was rejected: %(reason)s", reason=self.credit_decision_note or '')
            message = f'{rejection}\n{message}' if message else rejection
        elif blocking:
            state = 'released' if self._is_covered_by_release_of_order(more) else 'hold'
        elif policies <= {'off'}:
            state = 'none'
        else:
            state = 'warning' if reasons else 'ok'
        return CreditDecision(state, tuple(dict.fromkeys(reasons)), message, exposure, limit, excess)

    def _filter_deliveries(self, whatever_policy=False, done=False):
        """The transfers that are checked at all: those by which goods go to a customer. Not returns, receipts, and what
        stays in the company; nor what a till has sold, which is checked there.

        :param bool whatever_policy: also those of companies without a policy
        :param bool done: those that have left, instead of those that have not
        :return: with all rights
        :rtype: stock.picking
        """
        pickings = self.sudo()
        if not whatever_policy and not self.env['res.partner']._has_delivery_policies():
            pickings = pickings.filtered(
                lambda picking: (picking.company_id.root_id.delivery_credit_policy or 'off') != 'off')
        return pickings.filtered(lambda picking: (
            (picking.state == 'done' if done else picking.state not in ('done', 'cancel'))
            and picking.company_id
            and picking.location_dest_id._is_at_customers()
            and not picking.location_id._is_at_customers()
            and not picking._is_sold_at_till()))

    def _is_sold_at_till(self):
        """Of 'point_of_sale', which need not be there."""
        return any(fname in self._fields and self[fname] for fname in ('pos_order_id', 'pos_session_id'))

    def _get_credit_orders(self):
        return self.move_ids.sale_line_id.order_id or self.sale_id

    def _get_credit_customers(self):
        """Who the delivery is checked for: those whom its orders are checked for, else who gets the goods; commercial
        entities. What is dropped by a vendor names the vendor, and its moves the customer."""
        if orders := self._get_credit_orders():
            return self.env['res.partner'].union(*(order._get_credit_customers() for order in orders))
        return self._get_recipients().commercial_partner_id._origin

    def _get_credit_debtor(self):
        """Whose debt it becomes: of the first order's; a commercial entity."""
        if orders := self._get_credit_orders():
            return orders[0]._get_credit_debtor()
        return self._get_recipients().commercial_partner_id._origin[:1]

    def _get_recipients(self):
        if self.location_id.usage == 'supplier':
            return self.move_ids.partner_id
        return self.partner_id or self.move_ids.partner_id

    def _get_leaving(self, validating):
        """What leaves.

        :param bool validating: what is picked, else what is there; of a draft: what is asked for. Else: all of it
        :return: the quantity of each move, in its unit
        :rtype: dict[stock.move, float]
        """
        if self.state == 'done':
            return {move: 0.0 for move in self.move_ids if move.state == 'done'}
        moves = self.move_ids.filtered(lambda move: move.state not in ('done', 'cancel'))
        if not validating:
            return {move: max(move.quantity, move.product_uom_qty) for move in moves}
        moves = moves.filtered('picked') or moves
        return {
            move: move.quantity or (move.product_uom_qty if move.state == 'draft' else 0.0) for move in moves}

    def _get_quantity_by_line(self, leaving):
        """The quantity of each order line that leaves, in the line's unit. A line that is delivered in parts of another
        product, such as a kit, leaves as a whole.

        :param dict leaving: see `_get_leaving()`
        :rtype: dict[sale.order.line, float]
        """
        quantities = defaultdict(float)
        for move, quantity in leaving.items():
            line = move.sale_line_id or self.sale_id.order_line.filtered(
                lambda line, move=move: line.product_id == move.product_id)[:1]
            if line.product_id == move.product_id:
                quantities[line] += move.product_uom._compute_quantity(quantity, line.product_uom_id, round=False)
            elif line and quantity:
                quantities[line] = max(line.product_uom_qty - line.qty_delivered, 0.0)
        return quantities

    def _get_amount_added(self, leaving, ahead):
        """What the customer will owe more by what leaves beyond the order, in company currency (float). Goods that
        nobody has ordered go onto the order, if there is one; without an order nothing is to be invoiced.

        :param dict leaving: see `_get_leaving()`
        :param dict ahead: quantity of each order line that leaves before; what leaves by this one is added
        """
        amount = 0.0
        for line, quantity in self._get_quantity_by_line(leaving).items():
            before = line.qty_delivered + ahead[line]
            amount += line._get_amount_added(before, quantity) / (line.order_id.currency_rate or 1.0)
            ahead[line] += quantity
        if order := self.sale_id:
            ordered = order.order_line.product_id
            for move, quantity in leaving.items():
                product = move.product_id
                if quantity and not move.sale_line_id and product not in ordered:
                    amount += order._get_amount_of_extra(product, quantity, move.product_uom)
        return self.company_id.currency_id.round(amount)

    def _is_paid_for(self, leaving, ahead):
        """Whether the customer has paid for all that leaves.

        :param dict leaving: see `_get_leaving()`
        :param dict ahead: quantity of each order line that leaves before it
        """
        quantities = self._get_quantity_by_line(leaving)
        if not quantities or any(
                quantity and not move.sale_line_id and move.product_id not in self.sale_id.order_line.product_id
                for move, quantity in leaving.items()):
            return False
        by_order = defaultdict(dict)
        for line, quantity in quantities.items():
            by_order[line.order_id][line] = line.qty_delivered + ahead[line] + quantity
        for line, quantity in ahead.items():
            if line.order_id in by_order:
                by_order[line.order_id].setdefault(line, line.qty_delivered + quantity)
        return all(order._is_delivery_paid(delivered) for order, delivered in by_order.items())

    def _is_covered_by_release(self):
        """A release covers one delivery to one customer, up to what its goods were worth at that time."""
        return (
            self.credit_state == 'released'
            and bool(self.credit_decision_user_id)
            and self.credit_release_partner_id == self._get_credit_debtor()
            and self.company_id.currency_id.compare_amounts(
                self._get_goods_amount(), self.credit_release_amount) <= 0
        )

    def _is_covered_by_release_of_order(self, more):
        """Where the company wants it, the release of an order covers what is delivered of it, and no more.

        :param float more: what is delivered beyond the order, in company currency
        """
        orders = self._get_credit_orders()
        return bool(
            orders and self.company_id.root_id.delivery_credit_order_release
            and self.company_id.currency_id.compare_amounts(more, 0.0) <= 0
            and all(line.product_uom_id.compare(line.qty_delivered, line.product_uom_qty) <= 0
                    for line in self.move_ids.sale_line_id)
            and all(order._is_covered_by_release() for order in orders))

    def _get_goods_amount(self):
        """What all goods of the delivery are worth, in company currency (float)."""
        return self.company_id.currency_id.round(sum(
            move._get_goods_price() * (
                move.quantity if move.state == 'done' else max(move.quantity, move.product_uom_qty))
            for move in self.move_ids if move.state != 'cancel'))

    #=== BUSINESS METHODS - ON THE WAY OUT ===#

    @contextmanager
    def _checked_for_credit(self):
        """Check what is about to be validated; within, `_action_done()` knows what may leave.

        :return: what waits for a credit manager
        :rtype: stock.picking
        """
        pickings = self.filtered(lambda picking: picking.state not in ('done', 'cancel'))
        decisions = pickings._decide_credit(validating=True)
        held = pickings._conclude_check(decisions)
        checked = self.env.cr.cache.setdefault(CHECKED, {})
        passed = pickings - held
        checked.update({picking.id: picking._get_credit_key() for picking in passed})
        try:
            yield held
        finally:
            for picking in passed:
                checked.pop(picking.id, None)

    def _get_credit_key(self):
        """What a decision was made for."""
        return sorted(
            (move.id, quantity) for move, quantity in self.sudo()._get_leaving(validating=True).items() if quantity)

    def _action_done(self):
        # EXTENDS 'stock': whichever way a delivery comes here, and whatever has changed since it was checked. Goods
        # that leave are owed, whoever validates the delivery: the freight, and products that nobody had ordered, go
        # onto an order that is confirmed already, too late to ask for a release.
        checked = self.env.cr.cache.get(CHECKED, {})
        deliveries = self.browse(self._filter_deliveries().ids)
        unchecked = deliveries.filtered(lambda picking: checked.get(picking.id) != picking._get_credit_key())
        if unchecked:
            decisions = unchecked._decide_credit(validating=True)
            held = unchecked.filtered(lambda picking: decisions[picking.id].needs_release)
            if held:
                raise UserError(held._get_words_on_hold())
            unchecked._conclude_check(decisions)
        with self.env['sale.order']._let_grow():
            return super()._action_done()

    def _refuse_more_delivered(self):
        """Quantities of deliveries that are done were raised: those goods leave now.

        :raise UserError: when they may not; a credit manager who raises them lets them go
        """
        if self.env.user.has_group('account_dunning.group_credit_manager') and not self.env.user._is_superuser():
            return
        decisions = self._decide_credit(validating=True, done=True)
        held = self.filtered(lambda picking: decisions[picking.id].needs_release)
        if held:
            raise UserError(held._get_words_on_hold())

    def _create_backorder_picking(self):
        # EXTENDS 'stock': what was decided about a delivery holds for the rest of it
        backorder = super()._create_backorder_picking()
        origin = self.sudo()
        if origin.credit_state in ('hold', 'rejected') or origin._has_own_release():
            backorder.sudo()._write_credit({
                fname: origin._fields[fname].convert_to_write(origin[fname], origin) for fname in CREDIT_FIELDS})
        return backorder

    def _create_backorder(self, backorder_moves=None):
        # EXTENDS 'stock': and a release for no more than that
        backorders = super()._create_backorder(backorder_moves=backorder_moves)
        for backorder in backorders.sudo().filtered(lambda picking: picking._has_own_release()):
            backorder._write_credit({'credit_release_amount': backorder._get_goods_amount()})
        return backorders

    def _has_own_release(self):
        """Released by itself, not with its order."""
        return self.credit_state == 'released' and bool(self.credit_decision_user_id)

    def _hold_at_reservation(self):
        """Check those deliveries whose company wants it before their goods are reserved.

        :return: what waits for a credit manager
        :rtype: stock.picking
        """
        if not self:
            return self
        pickings = self.sudo().filtered(
            lambda picking: picking.company_id.root_id.delivery_credit_moment == 'reserve')
        if not pickings:
            return self.browse()
        decisions = pickings._decide_credit()
        held = pickings.filtered(lambda picking: decisions[picking.id].needs_release)
        held._put_on_hold(decisions)
        return self.browse(held.ids)

    def _conclude_check(self, decisions):
        """Keep how each of the transfers passed, or put it on hold.

        :param dict decisions: CreditDecision by id
        :return: what waits
        :rtype: stock.picking
        """
        held = self.filtered(lambda picking: decisions[picking.id].needs_release)
        if held:
            held.check_access('write')  # who may not validate changes nothing by trying
            held._put_on_hold(decisions)
        by_state = defaultdict(self.sudo().browse)
        for picking in (self - held).sudo():
            state = decisions[picking.id].state
            if (picking.credit_state or 'none') != state and not (
                    state == 'none' and picking.credit_state in ('released', 'rejected')):
                by_state[state] |= picking
        for state, pickings in by_state.items():
            pickings.filtered(lambda picking: picking.credit_state == 'hold')._clear_release_activities()
            pickings._write_credit({'credit_state': state})
            if state == 'warning':
                pickings._log_credit(self.env._("Delivered against a warning of credit control"))
            elif state == 'released':
                pickings._log_credit(self.env._("Released with its order"))
        return held

    def _get_words_on_hold(self):
        """What the warehouse may know: neither amounts nor reasons.

        :rtype: str
        """
        return self.env._("%(transfers)s: On hold: ask credit control.", transfers=", ".join(self.mapped('name')))

    def _tell_on_hold(self):
        """The refusal, without taking back that the deliveries are on hold now.

        :return: an action
        :rtype: dict
        """
        return {
            'type': 'ir.actions.client',
            'tag': 'display_notification',
            'params': {
                'type': 'warning',
                'title': self.env._("Not delivered"),
                'message': self._get_words_on_hold(),
                'sticky': True,
                'next': {'type': 'ir.actions.act_window_close'},
            },
        }

    #=== BUSINESS METHODS - HOLD AND RELEASE ===#

    def _put_on_hold(self, decisions):
        """The deliveries wait for a release; the managers get an activity.

        :param dict decisions: CreditDecision by id; those that wait already, or are rejected, stay as they are
        :return: what was put on hold
        :rtype: stock.picking
        """
        pickings = self.sudo().filtered(lambda picking: (
            decisions[picking.id].state == 'hold' and picking.credit_state != 'hold'))
        if pickings:
            pickings._write_credit({
                'credit_state': 'hold',
                'credit_hold_date': fields.Datetime.now(),
                'credit_hold_user_id': self.env.user.id if self.env.user._is_internal() else False,
                'credit_decision_note': False,
                'credit_decision_user_id': False,
                'credit_decision_date': False,
            })
            pickings._log_credit(self.env._("On hold: ask credit control."))
            pickings._ask_credit_managers()
        return self.browse(pickings.ids)

    def _ask_credit_managers(self):
        """Give the credit managers of each delivery's company something to do. Whoever reads the transfer reads it:
        amounts and reasons stand in the list of held deliveries."""
        pickings = self.sudo()
        pickings._clear_release_activities()
        managers = {company: company._get_credit_managers() for company in pickings.company_id}
        administrators = self.env.ref('account.group_account_manager').sudo().all_user_ids
        today = fields.Date.context_today(self)
        pickings._plan_activities('account_dunning_stock.mail_activity_type_credit_delivery', [
            (picking, user, {'summary': summary, 'date_deadline': today})
            for picking in pickings
            for users, summary in [
                (managers[picking.company_id],
                 self.env._("Release %(transfer)s?", transfer=picking.name))
                if managers[picking.company_id] else
                (administrators.filtered(lambda user, picking=picking: picking.company_id in user.company_ids),
                 self.env._("%(transfer)s waits, and nobody can release it", transfer=picking.name))
            ]
            for user in users
        ])

    def _plan_activities(self, type_xmlid, planned):
        """:param list planned: picking, user, and more values of each activity; who may not read it is not asked"""
        activity_type = self.env.ref(type_xmlid, raise_if_not_found=False)
        # quick: one payment may free hundreds of deliveries, and nobody wants an e-mail for each
        self.env['mail.activity'].sudo().with_context(mail_activity_quick_update=len(self) > 1).create([
            {
                'res_model_id': self.env['ir.model']._get_id(self._name),
                'res_id': picking.id,
                'activity_type_id': activity_type.id if activity_type else False,
                'user_id': user.id,
                'automated': True,
                **values,
            }
            for picking, user, values in planned
            if user.active and not user.share
            and self.env['stock.picking'].with_user(user).has_access('read')
        ])

    def _clear_release_activities(self):
        self.activity_unlink(['account_dunning_stock.mail_activity_type_credit_delivery'])

    def _tell_people(self, summary, note):
        """The answer goes to the salesperson, to who is responsible, and to whoever tried to deliver."""
        self._plan_activities('mail.mail_activity_data_todo', [
            (picking, user, {'summary': summary, 'note': note})
            for picking in self
            for user in (picking._get_credit_orders().user_id | picking.user_id | picking.credit_hold_user_id)
            - self.env.user
        ])

    def _prepare_credit_decision(self, reason):
        """What a release and a rejection have in common: who may, on what, and why.

        :return: the deliveries with all rights, and the reason
        :rtype: tuple[stock.picking, str]
        """
        if not self.env.user.has_group('account_dunning.group_credit_manager'):
            raise AccessError(self.env._("Only a credit manager can release or reject a delivery."))
        self.check_access('read')
        reason = (reason or '').strip() if isinstance(reason, str) else ''
        if not reason:
            raise UserError(self.env._("Give a reason for the decision."))
        if self.sudo() - self._filter_deliveries(whatever_policy=True):
            raise UserError(self.env._(
                "Only deliveries to customers that are still to go can be released or rejected."))
        return self.sudo(), reason

    def _prepare_decision_values(self, reason):
        return {
            'credit_decision_note': reason,
            'credit_decision_user_id': self.env.user.id,
            'credit_decision_date': fields.Datetime.now(),
        }

    def _conclude_decision(self, title, reason):
        self._clear_release_activities()
        self._log_credit(title, reason)
        self._tell_people(title, reason)

    def _log_credit(self, title, reason=''):
        """Internal notes, in one batch; without amounts, which a reader of the transfer need not know."""
        author = self.env.user.partner_id if self.env.user._is_internal() else self.env.ref('base.partner_root')
        body = Markup("<b>%s</b>") % title
        if reason:
            body += Markup("<br/>%s") % self.env._("Reason: %(reason)s", reason=reason)
        self._message_log_batch(dict.fromkeys(self.ids, body), author_id=author.id)

    #=== BUSINESS METHODS - MONEY COMES IN ===#

    @api.model
    def _get_held_domain(self):
        return [('credit_state', '=', 'hold'), ('state', 'not in', ('done', 'cancel')),
                ('company_id.credit_auto_release', '=', True)]

    @api.model
    def _recheck_held_deliveries(self, partners):
        """Customers have paid: deliveries to them that wait and would pass now are freed, where the company says so.

        :param res.partner partners: whose receivables have changed
        """
        customers = partners.commercial_partner_id
        if not customers:
            return
        self.sudo().search([
            *self._get_held_domain(),
            '|', '|',
            ('partner_id.commercial_partner_id', 'in', customers.ids),
            ('move_ids.sale_line_id.order_id.partner_id.commercial_partner_id', 'in', customers.ids),
            ('move_ids.sale_line_id.order_id.partner_invoice_id.commercial_partner_id', 'in', customers.ids),
        ])._free_held_deliveries()

    def _free_held_deliveries(self):
        """Free those of the waiting deliveries that pass now."""
        waiting = self.sorted(lambda picking: (picking.credit_hold_date or picking.create_date, picking.id))
        decisions = waiting._decide_credit()
        free = waiting.filtered(lambda picking: not decisions[picking.id].needs_release)
        if not free:
            return
        free._write_credit({'credit_state': 'ok'})
        free._clear_release_activities()
        free._log_credit(self.env._("The customer is back within what was agreed: the goods can go."))
        free._tell_people(self.env._("The goods can go"), '')
        free._reserve_freed()

    def _reserve_freed(self):
        """What was not reserved because it waited is reserved now."""
        self.filtered(
            lambda picking: picking.company_id.root_id.delivery_credit_moment == 'reserve'
            and picking.state in ('confirmed', 'waiting', 'assigned')
        ).move_ids.filtered(
            lambda move: move.state in ('confirmed', 'waiting', 'partially_available'))._action_assign()

    @api.model
    def _cron_recheck_deliveries(self, batch_size=100):
        """The safety net: free waiting deliveries that pass now."""
        commit = self.env['ir.cron']._commit_progress
        domain = self._get_held_domain()
        held = self.search(domain, order='credit_hold_date, id')
        if not held or not commit(remaining=len(held)):
            return
        for start in range(0, len(held), batch_size):
            batch = held[start:start + batch_size]
            batch.exists().filtered_domain(domain)._free_held_deliveries()
            if not commit(len(batch)):
                return
