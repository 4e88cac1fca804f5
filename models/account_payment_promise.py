from collections import defaultdict
from datetime import timedelta

from odoo import api, fields, models
from odoo.exceptions import AccessError, UserError
from odoo.fields import Command
from odoo.tools import SQL, format_date

from .account_dunning_agreement import LOOK_BACK, Item, total


class AccountPaymentPromise(models.Model):
    """The customer says when and how much they pay: dunning waits for it, and not a day longer than promised."""

    _name = 'account.payment.promise'
    _description = "Promise to pay"
    _inherit = ['account.dunning.pausing']
    _order = 'date desc, id desc'
    _pause_reason = 'promise'

    contact_id = fields.Many2one(
        comodel_name='res.partner',
        string="Promised by",
        domain="[('commercial_partner_id', '=', partner_id)]",
        ondelete='set null',
    )
    currency_id = fields.Many2one(
        compute='_compute_currency_id', default=None, store=True, readonly=False, precompute=True)
    amount = fields.Monetary(required=True)
    date = fields.Date(string="Promised for", required=True)
    date_promised = fields.Date(
        string="Promised on", required=True, readonly=True, copy=False,
        default=lambda self: self.env.company._get_dunning_today())
    date_closed = fields.Date(string="Kept or broken on", readonly=True, copy=False)
    method = fields.Selection(
        selection=[
            ('transfer', "Bank transfer"),
            ('online', "Online payment"),
            ('card', "Card"),
            ('direct_debit', "Direct debit"),
            ('check', "Check"),
            ('cash', "Cash"),
            ('other', "Other"),
        ],
        default='transfer',
    )
    state = fields.Selection(
        string="Status",
        selection=[('open', "Open"), ('kept', "Kept"), ('broken', "Broken"), ('cancelled', "Cancelled")],
        required=True,
        default='open',
        readonly=True,
        copy=False,
        index=True,
    )
    move_line_ids = fields.Many2many(
        relation='account_payment_promise_move_line_rel',
        column1='promise_id',
        column2='move_line_id',
        string="For",
        help="Empty when entered: what the customer owes in the currency, overdue first.",
    )
    amount_start = fields.Monetary(
        string="Open when promised",
        readonly=True,
        copy=False,
        help="What was open on the lines when the promise was made: what they lose from there is what was paid.",
    )
    delay_days = fields.Integer(
        string="Days after promise",
        compute='_compute_delay_days',
        help="Days between the promised date and the day on which it was kept or given up.",
    )
    user_id = fields.Many2one(
        comodel_name='res.users', string="Noted by", default=lambda self: self.env.user, ondelete='set null')
    note = fields.Text()

    _amount_positive = models.Constraint('CHECK(amount > 0)', "The promised amount must be positive.")
    _open_idx = models.Index("(company_id) WHERE state = 'open'")

    #=== COMPUTE METHODS ===#

    @api.depends('partner_id', 'amount', 'date')
    def _compute_display_name(self):
        for promise in self:
            promise.display_name = bool(promise.date) and self.env._(
                "%(amount)s on %(date)s",
                amount=promise._format_amount(),
                date=format_date(self.env, promise.date),
            )

    @api.depends('company_id', 'move_line_ids')
    def _compute_currency_id(self):
        for promise in self:
            currencies = promise.move_line_ids.currency_id
            if not promise.currency_id or len(currencies) == 1:
                promise.currency_id = currencies if len(currencies) == 1 else promise.company_id.currency_id

    @api.depends('date', 'date_closed')
    def _compute_delay_days(self):
        for promise in self:
            closed = promise.date_closed if promise.state in ('kept', 'broken') else False
            promise.delay_days = max((closed - promise.date).days, 0) if closed and promise.date else 0

    #=== CONSTRAINT METHODS ===#

    def _check_date_allowed(self):
        """Refuse dates later than the company's longest delay, unless a manager sets them.

        :raise AccessError: the delay needs an accounting administrator
        """
        for promise in self:
            longest = promise.company_id.promise_max_days
            if (
                longest
                and promise.date > promise.date_promised + timedelta(days=longest)
                and not (self.env.su or self.env.user.has_group('account.group_account_manager'))
            ):
                raise AccessError(self.env._(
                    "A promise may be for %(date)s at the latest. Only an accounting administrator can accept a later "
                    "date; a payment plan may be the better answer.",
                    date=format_date(self.env, promise.date_promised + timedelta(days=longest)),
                ))

    #=== CRUD METHODS ===#

    @api.model_create_multi
    def create(self, vals_list):
        """A promise pauses what it is for as soon as it exists.

        :raise UserError: when the customer owes nothing in the currency
        :raise AccessError: when the date needs a manager
        """
        promises = super().create(vals_list)
        for promise in promises:
            promise._fill_lines()
        promises._check_date_allowed()
        promises._open_block()
        promises._log(lambda promise: self.env._(
            "%(who)s promised to pay %(amount)s on %(date)s.",
            who=promise.contact_id.name or promise.partner_id.name,
            amount=promise._format_amount(),
            date=format_date(self.env, promise.date),
        ))
        return promises

    def write(self, vals):
        if vals.keys() & {'partner_id', 'company_id', 'currency_id', 'move_line_ids', 'amount', 'date'}:
            if closed := self.filtered(lambda promise: promise.state != 'open')[:1]:
                raise UserError(self.env._("The promise %s is closed and can't be changed. Note a new one.",
                                           closed.display_name))
        result = super().write(vals)
        if vals.keys() & {'date', 'company_id'}:
            self._check_date_allowed()
        if vals.keys() & {'partner_id', 'currency_id', 'move_line_ids'}:
            for promise in self:
                promise._fill_lines()
        if vals.keys() & {'partner_id', 'currency_id', 'date', 'amount', 'move_line_ids'}:
            self.filtered('block_id')._open_block()
        return result

    @api.ondelete(at_uninstall=False)
    def _unlink_except_closed(self):
        if self.filtered(lambda promise: promise.state in ('kept', 'broken')):
            raise UserError(self.env._("A kept or broken promise is part of the customer's history and can't be "
                                       "deleted."))
        self.block_id._end_today()

    #=== ACTION METHODS ===#

    def action_cancel(self):
        """Give up the promise without blaming the customer: dunning goes on as before."""
        self.check_access('write')
        for company, promises in self.grouped('company_id').items():
            promises._cancel(company._get_dunning_today(), self.env._("cancelled"))

    #=== BUSINESS METHODS ===#

    def _cancel(self, date, why):
        """Cancel open promises.

        :param datetime.date date: the day from which dunning goes on
        :param str why: ends the sentence "The promise of X for Y was: "
        """
        promises = self.filtered(lambda promise: promise.state == 'open')
        promises._close(date, 'cancelled')
        promises._log(lambda promise: self.env._(
            "Promise of %(amount)s for %(date)s: %(why)s.",
            amount=promise._format_amount(), date=format_date(self.env, promise.date), why=why))

    def _fill_lines(self):
        """Without lines a promise is for what the customer owes: what is overdue, else what is open. What is paused
        already (a payment plan, a dispute) is left out, unless that is all.

        From here on it counts what the lines lose.

        :raise UserError: when that is nothing
        """
        self.ensure_one()
        lines = self.move_line_ids
        if not lines:
            lines = self.env['account.dunning.ledger']._find_open_lines(
                self.partner_id, self.company_id, self.currency_id)
            lines = self.env['account.dunning.block']._leave_out_paused(lines, self.date_promised) or lines
            overdue = lines.filtered(lambda line: (line.date_maturity or line.date) < self.date_promised)
            lines = overdue or lines
        lines = lines._filter_open_receivables()
        if not lines:
            raise UserError(self.env._(
                "%(customer)s owes nothing in %(currency)s: there is nothing to promise.",
                customer=self.partner_id.display_name, currency=self.currency_id.name))
        if lines != self.move_line_ids:
            self.move_line_ids = [Command.set(lines.ids)]
        self.sudo().amount_start = sum(lines.mapped('amount_residual_currency'))

    def _get_paused_amount(self):
        # EXTENDS 'account.dunning.pausing': only so much of the lines as is promised
        is_partial = self.currency_id.compare_amounts(self.amount, self._get_open_amount()) < 0
        return self.amount if is_partial else 0.0

    def _get_pause_period(self):
        # EXTENDS 'account.dunning.pausing': until the promised date plus grace
        return self.date_promised, self._get_last_day()

    def _prepare_items(self):
        """What the promise asks for, see `account_dunning_agreement.Item`.

        :rtype: list[Item]
        """
        self.ensure_one()
        return [Item(
            key=('promise', self.id), partner_id=self.partner_id.id, currency_id=self.currency_id.id,
            lines=frozenset(self.move_line_ids.ids), since=min(self.date_promised, self.date),
            until=self._get_last_day(), made=self.create_date, agreed_on=self.date_promised, due=self.date,
            amount=self.amount, money_only=True)]

    def _get_last_day(self):
        """The last day on which paying keeps the promise."""
        self.ensure_one()
        return self.date + timedelta(days=self.company_id.promise_grace_days)

    @api.model
    def _update_promises(self, company, date):
        """Find out which promises of the company are kept or broken, from what was really paid.

        Those that were decided before are looked at again for a year: a payment that comes back, or that is booked
        late with its true date, changes the verdict.

        :param company: res.company
        :param datetime.date date: the company's today
        """
        self.search([
            ('company_id', '=', company.id),
            '|', ('state', '=', 'open'),
            '&', ('state', 'in', ('kept', 'broken')), ('date_closed', '>=', date - LOOK_BACK),
        ])._follow_up(company, date)

    @api.model
    def _follow_up_lines(self, lines):
        """Something was matched or unmatched: the promises about the lines show it at once.

        :param lines: account.move.line
        """
        # Whoever registers the payment need not have rights on promises
        promises = self.sudo().search([
            ('move_line_ids', 'in', lines.ids), ('state', 'in', ('kept', 'broken'))]) if lines else self
        for company, company_promises in promises.grouped('company_id').items():
            company_promises._follow_up(company, company._get_dunning_today())

    def _follow_up(self, company, date):
        """Take the promises, of one company, to the state that follows from the ledger."""
        if not self:
            return
        shares, lowered = self.env['account.dunning.agreement']._find_shares(company, date, self.partner_id)
        found = defaultdict(list)
        for promise in self:
            key = ('promise', promise.id)
            state = promise._judge(date, shares.get(key, []), lowered.get(key, 0.0))
            if state != promise.state:
                found[state].append(promise.id)
        reopened, kept, broken, moot = (
            self.browse(found[state]) for state in ('open', 'kept', 'broken', 'cancelled'))
        reopened._reopen()
        kept._close(date, 'kept')
        broken._close(date, 'broken')
        moot._close(date, 'cancelled')
        reopened._log(lambda promise: self.env._(
            "Promise of %(amount)s for %(date)s is open again: a payment was undone.",
            amount=promise._format_amount(), date=format_date(self.env, promise.date)))
        kept._log(lambda promise: self.env._(
            "Promise of %(amount)s for %(date)s kept.",
            amount=promise._format_amount(), date=format_date(self.env, promise.date)))
        broken._log(lambda promise: self.env._(
            "Promise of %(amount)s for %(date)s broken; the next reminder is due at once.",
            amount=promise._format_amount(), date=format_date(self.env, promise.date)))
        moot._log(lambda promise: self.env._(
            "Promise of %(amount)s for %(date)s: settled by a credit note.",
            amount=promise._format_amount(), date=format_date(self.env, promise.date)))

    def _judge(self, date, shares, lowered):
        """What has become of the promise.

        Kept: money that came in time covers it, or what credit notes have left of it; or nothing is left to pay.
        Broken: not kept, and the date plus grace is over. Cancelled: credit notes and write-offs alone have settled
        it. Undecided, it stays what it is while an invoice is back in draft.

        :param datetime.date date: the company's today
        :param list shares: the money that counts for it
        :param float lowered: by how much the debt was lowered without money, in the promise's currency
        :rtype: str
        """
        self.ensure_one()
        lines = self.move_line_ids
        if any(line.parent_state == 'draft' for line in lines):
            return self.state
        compare = self.currency_id.compare_amounts
        asked = min(self.amount, self.amount_start - lowered)
        if compare(asked, 0.0) <= 0:
            return 'cancelled'
        is_settled = not any(
            line.parent_state == 'posted' and compare(line.amount_residual_currency, 0.0) > 0 for line in lines)
        if is_settled or compare(total(shares, is_known=True), asked) >= 0:
            return 'kept'
        # Money that may be on its way keeps no promise, and breaks none.
        return 'broken' if date > self._get_last_day() and compare(total(shares), asked) < 0 else 'open'

    def _reopen(self):
        """A payment was undone before the promised day was over: the promise is waited for again."""
        if self:
            self.sudo().write({'state': 'open', 'date_closed': False})
            self._open_block()

    def _close(self, date, state):
        """Close promises and their pauses, in one statement each.

        :param datetime.date date: the company's today
        :param str state: 'kept', 'broken' or 'cancelled'
        """
        if not self:
            return
        self.block_id._end(date, broken=state == 'broken')
        self.block_id.sudo().filtered(lambda block: block.broken and state != 'broken').broken = False
        self.env.flush_all()
        self.env.cr.execute(SQL(
            """
            UPDATE account_payment_promise
               SET state = %(state)s, date_closed = %(date)s,
                   write_uid = %(uid)s, write_date = (now() AT TIME ZONE 'UTC')
             WHERE id IN %(ids)s
            """,
            state=state, date=date, uid=self.env.uid, ids=self._ids,
        ))
        self.invalidate_recordset(['state', 'date_closed'])
