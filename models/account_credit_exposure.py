from typing import NamedTuple

from odoo import api, fields, models
from odoo.tools import SQL, format_date, format_list, formatLang, ormcache

from .sale_order_line import IS_PARTLY_DONE

# The columns that the exposure is computed from: they are written to the database before it is read.
EXPOSURE_SOURCES = {
    'account.account': ['account_type'],
    'account.credit.cover': ['amount', 'company_id', 'currency_id', 'date_from', 'date_until', 'partner_id'],
    'account.move': [
        'amount_total_signed', 'company_id', 'currency_id', 'invoice_currency_rate', 'move_type', 'partner_id',
        'payment_state', 'state',
    ],
    'account.move.line': [
        'account_id', 'amount_residual', 'company_id', 'date', 'date_maturity', 'dunning_level_id',
        'move_id', 'parent_state', 'partner_id', 'price_total', 'reconciled',
    ],
    'account.payment': ['move_id', 'state'],
    'account.dunning.level': ['credit_hold'],
    'payment.transaction': ['amount', 'operation', 'payment_id', 'source_transaction_id', 'state'],
    'product.product': ['product_tmpl_id'],
    'product.template': ['invoice_policy'],
    'res.company': ['parent_path'],
    'res.partner': ['commercial_partner_id'],
    'sale.order': [
        'amount_total', 'company_id', 'currency_id', 'currency_rate', 'invoice_status', 'partner_id',
        'partner_invoice_id', 'state',
    ],
    'sale.order.line': [
        'discount', 'display_type', 'is_downpayment', 'order_id', 'price_total', 'price_unit', 'product_id',
        'product_uom_qty', 'qty_delivered', 'qty_invoiced',
    ],
}


class CreditAmounts(NamedTuple):
    """What one customer owes and is about to owe to one company and its branches, in company currency."""

    receivable: float = 0.0  # posted and open, payments and credit notes set off
    overdue: float = 0.0  # the part of it that is past its due date, before set-off
    old_debt: float = 0.0  # past its due date for longer than the company accepts, after set-off
    draft: float = 0.0  # draft invoices
    orders: float = 0.0  # confirmed orders, the part not invoiced yet
    paid_online: float = 0.0  # paid online for any of these, not in the ledger yet
    level_id: int = False  # a dunning level of an open bill that asks for a credit hold
    elsewhere: float = 0.0  # owed, and known to another addon only, such as on account at a till
    covered: float = 0.0  # insured, guaranteed or deposited
    uncounted_cover: bool = False  # there is more cover, in a currency without a rate
    others: float = 0.0  # owed by the others that share the customer's limit
    others_risk: float = 0.0  # of it, what is not covered

    @property
    def total(self):
        return self.receivable + self.draft + self.orders + self.elsewhere - self.paid_online

    def get_risk(self, total):
        """What of the customer's exposure is not covered; a credit balance stays one."""
        return min(total, max(total - self.covered, 0.0))


class AccountCreditExposure(models.Model):
    """What a customer owes and is about to owe to a company.

    The amounts are always computed afresh. What is stored is the row itself: every credit check writes it, so that of
    two orders of one customer that are confirmed at the same moment the second fails to serialise and Odoo tries it
    again, this time seeing the first. Waiting for a lock would not do: at REPEATABLE READ one keeps the old snapshot.
    """

    _name = 'account.credit.exposure'
    _description = "Credit exposure"
    _rec_name = 'partner_id'
    _order = 'company_id, partner_id'

    partner_id = fields.Many2one(
        comodel_name='res.partner', string="Customer", required=True, readonly=True, ondelete='cascade')
    company_id = fields.Many2one(
        comodel_name='res.company', required=True, readonly=True, index=True, ondelete='cascade',
        help="Branches count for their main company: it is one creditor.")
    currency_id = fields.Many2one(related='company_id.currency_id')
    check_count = fields.Integer(string="Checks", readonly=True)
    date_checked = fields.Datetime(string="Last check", readonly=True)

    order_id = fields.Many2one(comodel_name='sale.order', compute='_compute_amounts')
    amount_receivable = fields.Monetary(
        string="Open items", compute='_compute_amounts',
        help="Posted invoices not paid yet, less payments and credit notes not matched yet.")
    amount_overdue = fields.Monetary(
        string="of which overdue", compute='_compute_amounts')
    amount_draft = fields.Monetary(
        string="Draft invoices", compute='_compute_amounts')
    amount_orders = fields.Monetary(
        string="Orders not invoiced", compute='_compute_amounts',
        help="Confirmed orders, delivered or not, taxes included, for the part that has no invoice yet.")
    amount_order = fields.Monetary(
        string="This order", compute='_compute_amounts')
    amount_paid_online = fields.Monetary(
        string="Paid online", compute='_compute_amounts',
        help="Paid or authorized online, not in the ledger yet.")
    amount_total = fields.Monetary(
        string="Exposure", compute='_compute_amounts')
    amount_covered = fields.Monetary(
        string="Covered", compute='_compute_amounts',
        help="Insured, guaranteed or deposited, as of today, in company currency.")
    own_risk = fields.Monetary(
        string="Own risk", compute='_compute_amounts', help="The exposure without what is covered.")
    amount_others = fields.Monetary(
        string="The others owe", compute='_compute_amounts',
        help="What the other customers that share the limit owe and are about to owe.")
    amount_compared = fields.Monetary(
        string="Counts against the limit", compute='_compute_amounts')
    group_name = fields.Char(string="Limit shared as", compute='_compute_amounts')
    limit_note = fields.Char(string="Note about the limit", compute='_compute_amounts')
    credit_limit = fields.Monetary(
        string="Credit limit",
        compute='_compute_amounts',
        help="The limit and the temporary extra, as of today; 0: no limit.",
    )
    amount_available = fields.Monetary(
        string="Still available", compute='_compute_amounts')

    _partner_company_unique = models.Constraint(
        'UNIQUE(partner_id, company_id)',
        "A customer has one credit exposure per company.",
    )

    #=== COMPUTE METHODS ===#

    @api.depends('partner_id', 'company_id')
    @api.depends_context('uid', 'lang', 'credit_order_id')
    def _compute_amounts(self):
        # Salespeople see the sums of a ledger and of orders that they may not read.
        order = self._get_order_at_hand()
        for company, exposures in self.grouped('company_id').items():
            date = company.sudo()._get_dunning_today()
            terms = exposures.partner_id._get_credit_terms(company, date)
            amounts = self._get_amounts({company: exposures.partner_id}, date)
            for exposure in exposures:
                partner = exposure.partner_id
                values = amounts[partner.id, company.id]
                exposure.order_id = order if partner in order._get_credit_customers() else False
                order_amount, order_paid = (
                    (order._get_credit_order_amount(), order._get_credit_order_paid())
                    if exposure.order_id else (0.0, 0.0))
                exposure.amount_receivable = values.receivable
                exposure.amount_overdue = values.overdue
                exposure.amount_draft = values.draft
                exposure.amount_orders = values.orders
                exposure.amount_order = order_amount
                exposure.amount_paid_online = values.paid_online + order_paid
                exposure.amount_total = company.currency_id.round(values.total + order_amount - order_paid)
                exposure.amount_covered = values.covered
                exposure.own_risk = max(values.get_risk(exposure.amount_total), 0.0)
                exposure.amount_others = values.others
                exposure.amount_compared = self._get_amount_compared(company, values, exposure.amount_total)
                exposure.group_name = terms[partner].group_name
                exposure.limit_note = self._get_limit_note(company, partner, terms[partner], values, date)
                exposure.credit_limit = terms[partner].limit
                exposure.amount_available = (
                    max(exposure.credit_limit - exposure.amount_compared, 0.0) if exposure.credit_limit else 0.0)

    def _get_limit_note(self, company, partner, terms, owed, date):
        """What is to be said about the limit beside the figures, in the words of an internal user."""
        notes = []
        if terms.in_doubt:
            notes.append(self._explain_doubt(company, partner, terms))
        elif terms.stated_currency_id and terms.stated_currency_id != company.currency_id.id:
            notes.append(self.env._("The limit is %(limit)s.", limit=self._format_limit(company, terms)))
        if owed.uncounted_cover:
            notes.append(self.env._(
                "Cover in a currency that has no exchange rate on %(date)s is not counted.",
                date=format_date(self.env, date)))
        return ' '.join(notes)

    def _get_order_at_hand(self):
        """The quotation that the breakdown was opened from, if the user may read it; for display only."""
        order_id = self.env.context.get('credit_order_id')
        order = self.env['sale.order'].browse(order_id if isinstance(order_id, int) else []).exists()
        return order._filtered_access('read').sudo()

    #=== ACTION METHODS ===#

    def action_view_open_items(self):
        self.ensure_one()
        return {
            'type': 'ir.actions.act_window',
            'name': self.env._("Open items"),
            'res_model': 'account.move.line',
            'view_mode': 'list,form',
            'domain': [
                ('partner_id', 'child_of', self.partner_id.id),
                ('company_id', 'child_of', self.company_id.id),
                ('account_type', '=', 'asset_receivable'),
                ('parent_state', '=', 'posted'),
                ('reconciled', '=', False),
            ],
            'context': {'create': False},
        }

    def action_view_drafts(self):
        self.ensure_one()
        return {
            'type': 'ir.actions.act_window',
            'name': self.env._("Draft invoices"),
            'res_model': 'account.move',
            'view_mode': 'list,form',
            'domain': [
                ('commercial_partner_id', '=', self.partner_id.id),
                ('company_id', 'child_of', self.company_id.id),
                ('move_type', 'in', ('out_invoice', 'out_refund', 'out_receipt')),
                ('state', '=', 'draft'),
            ],
            'context': {'create': False},
        }

    def action_view_orders(self):
        self.ensure_one()
        return {
            'type': 'ir.actions.act_window',
            'name': self.env._("Orders not invoiced"),
            'res_model': 'sale.order',
            'view_mode': 'list,form',
            'domain': [
                ('partner_invoice_id.commercial_partner_id', '=', self.partner_id.id),
                ('company_id', 'child_of', self.company_id.id),
                ('state', '=', 'sale'),
                ('invoice_status', 'not in', ('invoiced', 'upselling')),
            ],
            'context': {'create': False},
        }

    #=== BUSINESS METHODS ===#

    @api.model
    def _open(self, partner, company, order=None):
        """Show what the exposure is made of.

        :param res.partner partner: any contact of the customer
        :param res.company company: the company, or one of its branches
        :param sale.order order: the quotation at hand, whose amount comes on top
        :return: an action
        :rtype: dict
        """
        partner, root = partner.commercial_partner_id, company.root_id
        domain = [('partner_id', '=', partner.id), ('company_id', '=', root.id)]
        exposure = self.sudo().search(domain) or self.sudo().create({'partner_id': partner.id, 'company_id': root.id})
        return {
            'type': 'ir.actions.act_window',
            'name': self.env._("Credit exposure"),
            'res_model': self._name,
            'res_id': exposure.id,
            'view_mode': 'form',
            'target': 'new',
            'context': {'credit_order_id': order.id if order else False},
        }

    @api.model
    def _get_amounts(self, customers, date, lock=False):
        """What customers owe and are about to owe, in one or two queries for each root company however many they are.

        Customers that share a limit also learn what the others of their group owe.

        :param dict customers: the customers (`res.partner`, commercial entities) of each root company
        :param date date: "today": what is overdue on that day, and which cover counts
        :param bool lock: write the customers' rows, and those of their groups, so that no other transaction can check
            the same customers now
        :return: the amounts, in company currency, by id of customer and id of root company
        :rtype: dict[tuple[int, int], CreditAmounts]
        """
        amounts = {
            (partner.id, company.id): CreditAmounts() for company, partners in customers.items() for partner in partners
        }
        if not amounts:
            return amounts
        for model, fnames in EXPOSURE_SOURCES.items():
            self.env[model].flush_model(fnames)
        for company in sorted(customers, key=lambda company: company.id):  # one order of locking for everybody
            if customers[company]:
                members = self._get_group_members(company, customers[company], lock)
                figures = self._get_amounts_of_company(
                    company, customers[company].union(*members.values()), date, lock)
                self._add_others(company, figures, members)
                amounts.update({key: figures[key] for key in amounts if key in figures})
        return amounts

    @api.model
    def _get_group_members(self, company, customers, lock):
        """Who shares a limit with the customers.

        :param bool lock: write the groups' rows: one group is checked by one transaction at a time
        :return: all customers of each group that one of the customers is in
        :rtype: dict[account.credit.group, res.partner]
        """
        groups = customers.sudo().with_company(company).credit_group_id
        if not groups:
            return {}
        if lock:
            groups._lock()
        return groups._get_members()

    @api.model
    def _add_others(self, company, figures, members):
        """Tell each customer of a group what the others owe.

        :param dict figures: CreditAmounts by id of customer and root company; completed
        :param dict members: see `_get_group_members()`
        """
        for partners in members.values():
            keys = [(partner.id, company.id) for partner in partners]
            total = sum(figures[key].total for key in keys)
            risk = sum(figures[key].get_risk(figures[key].total) for key in keys)
            for key in keys:
                own = figures[key]
                figures[key] = own._replace(
                    others=company.currency_id.round(total - own.total),
                    others_risk=company.currency_id.round(risk - own.get_risk(own.total)))

    @api.model
    def _get_amount_compared(self, company, owed, total):
        """What is compared with the limit: what the customer owes and those that share the limit; without what is
        covered, where the company says so.

        :param CreditAmounts owed: of the customer
        :param float total: what they owe, with the document at hand
        :return: in company currency
        :rtype: float
        """
        if company.sudo().root_id.credit_cover_counts:
            return company.currency_id.round(owed.get_risk(total) + owed.others_risk)
        return company.currency_id.round(total + owed.others)

    @api.model
    def _get_excess(self, company, terms, owed, total):
        """By how much what counts is over the limit, in company currency; 0 within it (float)."""
        if not terms.limit:
            return 0.0
        return max(company.currency_id.round(self._get_amount_compared(company, owed, total) - terms.limit), 0.0)

    @api.model
    def _get_rates_of_day(self, currencies, company, date):
        """What one unit of each currency is worth in company currency. Nothing is guessed: Odoo itself would take the
        first rate that was entered later, or 1.

        :param res.currency currencies: any
        :param res.company company: whose rates count, may be a branch
        :param date date: the last rate until that day counts
        :return: the factor; None: there is no rate
        :rtype: dict[res.currency, float | None]
        """
        own = company.sudo().currency_id
        foreign = currencies.sudo() - own
        known = {
            currency.id for [currency] in self.env['res.currency.rate'].sudo()._read_group(
                [('currency_id', 'in', foreign.ids), ('name', '<=', date),
                 ('company_id', 'in', (False, company.sudo().root_id.id))], ['currency_id'])
        } if foreign else set()
        return {
            currency: 1.0 if currency == own else currency._get_conversion_rate(currency, own, company, date)
            if currency.id in known else None
            for currency in own | foreign
        }

    @api.model
    def _get_amounts_of_company(self, company, customers, date, lock):
        rows = self.env.execute_query(self._get_amounts_query(company, customers, date, lock))
        rest_ids = [partner_id for partner_id, *_figures, has_rest in rows if has_rest]
        currency_ids = {int(currency_id) for *_figures, covers, _has_rest in rows for currency_id in covers or ()}
        rates = self._get_rates_of_day(self.env['res.currency'].browse(currency_ids), company, date)
        rates = {currency.id: rate for currency, rate in rates.items()}
        rest = {
            partner_id: figures
            for partner_id, *figures in self.env.execute_query(self._get_rest_query(company, rest_ids))
        } if rest_ids else {}
        amounts = {}
        for partner_id, level_id, receivable, overdue, old_debt, draft, orders, covers, _has_rest in rows:
            orders_rest, paid_online = rest.get(partner_id, (0, 0))
            figures = (receivable, overdue, old_debt, draft, orders + orders_rest, paid_online)
            factors = [(amount, rates[int(currency_id)]) for currency_id, amount in (covers or {}).items()]
            amounts[partner_id, company.id] = CreditAmounts(
                *map(company.currency_id.round, figures),
                level_id=level_id or False,
                covered=company.currency_id.round(sum(amount * rate for amount, rate in factors if rate)),
                uncounted_cover=any(rate is None for _amount, rate in factors),
            )
        return amounts

    @api.model
    def _explain(self, company, partner, terms, owed, total, with_document=True):
        """Why a document of the customer needs a look.

        :param res.company company: the company of the document
        :param res.partner partner: the customer, a commercial entity
        :param CreditTerms terms: what is agreed with them
        :param CreditAmounts owed: what they owe, without the document
        :param float total: what they owe, with the document, in company currency
        :param bool with_document: the document adds to what they owe
        :return: a sentence for internal users per reason: limit, rate, hold, level, overdue
        :rtype: dict[str, str]
        """
        currency = company.currency_id
        reasons = {}
        # Without a policy, Odoo's own setting still asks for its banner about the limit; a customer's "off" does not.
        without_policy = terms.policy == 'off'
        if without_policy and (terms.own_policy or not company.account_use_credit_limit):
            return reasons
        compared = self._get_amount_compared(company, owed, total)
        if terms.limit and currency.compare_amounts(compared, terms.limit) > 0:
            reasons['limit'] = self._explain_limit(company, partner, terms, total, owed, with_document)
        elif terms.in_doubt:
            reasons['rate'] = self._explain_doubt(company, partner, terms)
        if without_policy:
            return reasons
        if terms.hold:
            reasons['hold'] = (
                self.env._("%(customer)s is on credit hold: %(reason)s",
                           customer=partner.name, reason=terms.hold_reason)
                if terms.hold_reason else self.env._("%(customer)s is on credit hold.", customer=partner.name))
        if owed.level_id:
            reasons['level'] = self.env._(
                "%(customer)s is on credit hold: an unpaid invoice has reached the reminder level “%(level)s”.",
                customer=partner.name, level=self.env['account.dunning.level'].sudo().browse(owed.level_id).name)
        root = company.root_id
        if root.credit_overdue_days and currency.compare_amounts(owed.old_debt, root.credit_overdue_amount) > 0:
            amount = formatLang(self.env, owed.old_debt, currency_obj=currency)
            reasons['overdue'] = self.env._(
                "%(customer)s owes %(amount)s that is overdue for more than one day.",
                customer=partner.name, amount=amount,
            ) if root.credit_overdue_days == 1 else self.env._(
                "%(customer)s owes %(amount)s that is overdue for more than %(days)s days.",
                customer=partner.name, amount=amount, days=root.credit_overdue_days)
        return reasons

    @api.model
    def _explain_limit(self, company, partner, terms, total, owed, with_document):
        """Odoo's own words, and what is counted."""
        currency = company.currency_id
        limit = self._format_limit(company, terms)
        message = self.env._(
            "%(partner_name)s has reached its credit limit of: %(credit_limit)s",
            partner_name=partner.name, credit_limit=limit,
        ) if not terms.group_id else self.env._(
            "%(partner_name)s has reached the credit limit that it shares with others (%(group)s): %(credit_limit)s",
            partner_name=partner.name, group=terms.group_name, credit_limit=limit)
        lines = [message, self._explain_total(company, total, owed, with_document)]
        own_risk_counts = company.sudo().root_id.credit_cover_counts
        if own_risk_counts and owed.covered:
            lines.append(self.env._(
                "Of this, %(covered)s is covered: own risk %(risk)s",
                covered=formatLang(self.env, min(owed.covered, max(total, 0.0)), currency_obj=currency),
                risk=formatLang(self.env, max(owed.get_risk(total), 0.0), currency_obj=currency)))
        if terms.group_id:
            lines.append(self.env._(
                "The others that share the limit owe %(others)s: %(total)s in all",
                others=formatLang(
                    self.env, owed.others_risk if own_risk_counts else owed.others, currency_obj=currency),
                total=formatLang(
                    self.env, self._get_amount_compared(company, owed, total), currency_obj=currency)))
        return '\n'.join(lines)

    @api.model
    def _format_limit(self, company, terms):
        """The limit as it counts, and as it is stated where that is in another currency."""
        limit = formatLang(self.env, terms.limit, currency_obj=company.currency_id)
        if not terms.stated_currency_id or terms.stated_currency_id == company.currency_id.id:
            return limit
        stated = formatLang(
            self.env, terms.stated_amount, currency_obj=self.env['res.currency'].browse(terms.stated_currency_id))
        return self.env._("%(stated)s (%(limit)s at today's rate)", stated=stated, limit=limit)

    @api.model
    def _explain_doubt(self, company, partner, terms):
        """The limit is stated in a currency without a rate: nobody can say whether it is reached."""
        currency = self.env['res.currency'].browse(terms.stated_currency_id)
        return self.env._(
            "The credit limit of %(customer)s is %(limit)s, and there is no exchange rate for %(currency)s: nobody can "
            "say whether it is reached.",
            customer=partner.name, limit=formatLang(self.env, terms.stated_amount, currency_obj=currency),
            currency=currency.name)

    @api.model
    def _explain_total(self, company, total, owed, with_document):
        counted = self._get_counted_parts(owed)
        if with_document:
            counted.append(self.env._("this document"))
        amount = formatLang(self.env, total, currency_obj=company.currency_id)
        if counted:
            return self.env._(
                "Total amount due (including %(parts)s): %(total_credit)s",
                parts=format_list(self.env, counted), total_credit=amount)
        return self.env._("Total amount due: %(total_credit)s", total_credit=amount)

    @api.model
    def _get_counted_parts(self, owed):
        """What is counted beside open items, in words.

        :param CreditAmounts owed:
        :rtype: list[str]
        """
        return [
            part for part, amount in (
                (self.env._("draft invoices"), owed.draft),
                (self.env._("sales orders"), owed.orders),
            ) if amount > 0
        ]

    @api.model
    def _get_old_debt_date(self, company, date):
        """Debts due before that day are old debts; none: the company does not look at them."""
        days = company.sudo().credit_overdue_days
        return fields.Date.subtract(date, days=days) if days > 0 else None

    @api.model
    def _get_lock_query(self, company):
        """Write the row of each customer; REPEATABLE READ refuses it when another transaction wrote it meanwhile."""
        return SQL("""
            INSERT INTO account_credit_exposure AS exposure
                        (partner_id, company_id, check_count, date_checked, create_uid, create_date)
                 SELECT partner_id, %(company_id)s, 1, NOW() AT TIME ZONE 'UTC', %(uid)s, NOW() AT TIME ZONE 'UTC'
                   FROM target
                  ORDER BY partner_id  -- always in one order: no deadlock between two batches
            ON CONFLICT (partner_id, company_id)
          DO UPDATE SET check_count = exposure.check_count + 1, date_checked = NOW() AT TIME ZONE 'UTC'
              RETURNING id
            """,
            company_id=company.id,
            uid=self.env.uid,
        )

    @api.model
    @ormcache('company.id')
    def _get_branch_ids(self, company):
        """The ids of a root company and all its branches; a company's parent never changes."""
        return tuple(company.sudo().with_context(active_test=False).search([('id', 'child_of', company.id)]).ids)

    @api.model
    def _get_amounts_query(self, company, customers, date, lock):
        """The query behind `_get_amounts()`: its last column says whose amounts `_get_rest_query()` completes.

        Nothing counts twice on its way order -> draft invoice -> posted invoice -> paid:

        - an order counts for what has no invoice yet, drafts included, at the order's own rate: its total, or line by
          line once something of it is invoiced (the rest);
        - a draft credit note of an order counts, because the order rises by as much; any other one does not: it frees
          nothing before it is posted;
        - an online payment counts until it is in the ledger or matched by the bank (the rest).
        """
        return SQL("""
            WITH target AS (
                SELECT unnest(%(partner_ids)s::int[]) AS partner_id
            ), locked AS (
                %(lock)s
            ), contact AS MATERIALIZED (
                %(contacts)s
            ), ledger AS (
                SELECT contact.partner_id,
                       SUM(line.amount_residual) AS receivable,
                       SUM(line.amount_residual) FILTER (
                           WHERE line.amount_residual > 0
                             AND COALESCE(line.date_maturity, line.date) < %(date)s) AS overdue,
                       SUM(line.amount_residual) FILTER (
                           WHERE line.amount_residual < 0
                              OR COALESCE(line.date_maturity, line.date) < %(old_date)s::date) AS old_debt,
                       MIN(line.dunning_level_id) FILTER (
                           WHERE line.amount_residual > 0
                             AND line.dunning_level_id IN (SELECT id FROM account_dunning_level WHERE credit_hold)
                       ) AS level_id
                  FROM contact
                  JOIN account_move_line line ON line.partner_id = contact.contact_id
                 WHERE line.company_id IN %(branch_ids)s
                   AND line.reconciled IS NOT TRUE
                   AND line.parent_state = 'posted'
                   AND line.account_id IN (SELECT id FROM account_account WHERE account_type = 'asset_receivable')
              GROUP BY contact.partner_id
            ), draft AS (
                SELECT contact.partner_id, SUM(move.amount_total_signed) AS draft
                  FROM contact
                  JOIN account_move move ON move.partner_id = contact.contact_id
                 WHERE move.company_id IN %(branch_ids)s
                   AND move.state = 'draft'
                   AND (move.move_type IN ('out_invoice', 'out_receipt')
                        OR move.move_type = 'out_refund'
                        AND EXISTS (SELECT FROM account_move_line refund_line
                                      JOIN sale_order_line_invoice_rel rel ON rel.invoice_line_id = refund_line.id
                                     WHERE refund_line.move_id = move.id))
              GROUP BY contact.partner_id
            ), sale AS MATERIALIZED (
                %(open_orders)s
            ), orders AS (
                SELECT partner_id,
                       SUM(%(order_amount)s) FILTER (WHERE is_whole) AS orders,
                       BOOL_AND(is_whole) AS are_whole
                  FROM sale
              GROUP BY partner_id
            ), online AS (
                SELECT contact.partner_id
                  FROM contact
                  JOIN sale_order sale ON sale.partner_invoice_id = contact.contact_id
                  JOIN sale_order_transaction_rel rel ON rel.sale_order_id = sale.id
                 WHERE sale.state = 'sale'
             UNION ALL
                SELECT contact.partner_id
                  FROM contact
                  JOIN account_move move ON move.partner_id = contact.contact_id
                  JOIN account_invoice_transaction_rel rel ON rel.invoice_id = move.id
                 WHERE move.payment_state NOT IN ('paid', 'reversed')
            ), cover AS (
                -- by currency: rates are not looked up here
                SELECT partner_id, jsonb_object_agg(currency_id, amount) AS covers
                  FROM (
                    SELECT contact.partner_id, cover.currency_id, SUM(cover.amount) AS amount
                      FROM contact
                      JOIN account_credit_cover cover ON cover.partner_id = contact.contact_id
                     WHERE cover.company_id IN %(branch_ids)s
                       AND cover.date_from <= %(date)s
                       AND (cover.date_until IS NULL OR cover.date_until >= %(date)s)
                  GROUP BY contact.partner_id, cover.currency_id
                  ) AS by_currency
              GROUP BY partner_id
            )
            SELECT target.partner_id,
                   ledger.level_id,
                   COALESCE(ledger.receivable, 0),
                   COALESCE(ledger.overdue, 0),
                   CASE WHEN %(old_date)s::date IS NULL THEN 0 ELSE GREATEST(ledger.old_debt, 0) END,
                   COALESCE(draft.draft, 0),
                   COALESCE(orders.orders, 0),
                   cover.covers,
                   COALESCE(NOT orders.are_whole, FALSE) OR target.partner_id IN (SELECT partner_id FROM online)
              FROM target
         LEFT JOIN ledger USING (partner_id)
         LEFT JOIN draft USING (partner_id)
         LEFT JOIN orders USING (partner_id)
         LEFT JOIN cover USING (partner_id)
            """,
            date=date,
            old_date=self._get_old_debt_date(company, date),
            lock=self._get_lock_query(company) if lock else SQL("SELECT"),
            order_amount=SQL(
                "CASE WHEN rate = 1 THEN amount ELSE ROUND(amount / rate, %s) END", company.currency_id.decimal_places),
            **self._prepare_query_parts(company, customers.ids),
        )

    @api.model
    def _prepare_query_parts(self, company, partner_ids):
        """What both queries are made of."""
        branch_ids = self._get_branch_ids(company)
        return {
            'partner_ids': partner_ids,
            'branch_ids': branch_ids,
            # the customers and their contacts
            'contacts': SQL(
                "SELECT id AS contact_id, commercial_partner_id AS partner_id FROM res_partner "
                "WHERE commercial_partner_id = ANY(%s)", partner_ids),
            # `is_whole`: of its lines nothing is invoiced or over-delivered; what it is worth is its own total
            'open_orders': SQL("""
                SELECT contact.partner_id,
                       sale.id, sale.amount_total AS amount,
                       COALESCE(NULLIF(sale.currency_rate, 0), 1) AS rate,
                       NOT EXISTS (SELECT FROM sale_order_line WHERE order_id = sale.id AND (%s)) AS is_whole
                  FROM contact
                  JOIN sale_order sale ON sale.partner_invoice_id = contact.contact_id
                 WHERE sale.company_id IN %s
                   AND sale.state = 'sale'
                   AND sale.invoice_status NOT IN ('invoiced', 'upselling')
                """, SQL(IS_PARTLY_DONE), branch_ids),
        }

    @api.model
    def _get_rest_query(self, company, partner_ids):
        """What few customers have: orders that are invoiced in part, and online payments on their way.

        A down payment invoice lowers its order by what it invoices, until the final invoice takes it back.

        :param res.company company: a root company
        :param list partner_ids: ids of commercial entities
        :return: query of (partner id, amount of the orders, amount paid online), in company currency
        :rtype: SQL
        """
        return SQL("""
            WITH target AS (
                SELECT unnest(%(partner_ids)s::int[]) AS partner_id
            ), contact AS MATERIALIZED (
                %(contacts)s
            ), sale AS MATERIALIZED (
                SELECT * FROM (%(open_orders)s) AS open_order WHERE NOT is_whole
            ), sale_line AS MATERIALIZED (
                -- in the order's currency
                SELECT sale.partner_id, sale.rate,
                       line.id, line.order_id, line.currency_id,
                       line.is_downpayment AND line.product_uom_qty = 0 AS is_downpayment,
                       CASE WHEN line.is_downpayment AND line.product_uom_qty = 0 THEN 0
                            ELSE CASE
                               -- ordered, or more than that was delivered
                               WHEN line.product_uom_qty >= 0 THEN GREATEST(
                                   CASE WHEN line.qty_delivered > line.product_uom_qty AND (
                                            SELECT template.invoice_policy
                                              FROM product_product product
                                              JOIN product_template template ON template.id = product.product_tmpl_id
                                             WHERE product.id = line.product_id) = 'delivery'
                                        THEN line.qty_delivered
                                        ELSE line.product_uom_qty
                                   END - COALESCE(line.qty_invoiced, 0), 0)
                               ELSE LEAST(line.product_uom_qty - COALESCE(line.qty_invoiced, 0), 0)
                           END * COALESCE(
                               line.price_total / NULLIF(line.product_uom_qty, 0),
                               line.price_unit * (1 - COALESCE(line.discount, 0) / 100)
                           )
                       END AS amount
                  FROM sale
                  JOIN sale_order_line line ON line.order_id = sale.id
                 WHERE line.display_type IS NULL
            ), downpayment AS (
                -- in the order's currency; given back by the final invoice
                SELECT order_id, SUM(amount) AS amount
                  FROM (%(downpayments)s) AS invoiced
              GROUP BY order_id
            ), downpaid AS (
                -- by how much down payments lower their orders: not below zero, and they never raise one
                SELECT line.partner_id,
                       ROUND(LEAST(GREATEST(downpayment.amount, 0), SUM(line.amount)) / line.rate, %(digits)s) AS amount
                  FROM downpayment
                  JOIN sale_line line ON line.order_id = downpayment.order_id
              GROUP BY line.order_id, line.partner_id, line.rate, downpayment.amount
            ), orders AS (
                -- each order at its own rate
                SELECT partner_id, SUM(amount) AS orders
                  FROM (
                    SELECT partner_id, ROUND(SUM(amount) / rate, %(digits)s) AS amount
                      FROM sale_line
                  GROUP BY partner_id, rate, order_id
                     UNION ALL
                    SELECT partner_id, -amount FROM downpaid
                  ) AS part
              GROUP BY partner_id
            ), linked AS MATERIALIZED (
                -- online transactions of confirmed orders and open invoices, and the rate of the document
                SELECT contact.partner_id, rel.transaction_id,
                       COALESCE(NULLIF(sale.currency_rate, 0), 1) AS rate
                  FROM contact
                  JOIN sale_order sale ON sale.partner_invoice_id = contact.contact_id
                  JOIN sale_order_transaction_rel rel ON rel.sale_order_id = sale.id
                 WHERE sale.company_id IN %(branch_ids)s
                   AND sale.state = 'sale'
                 UNION
                SELECT contact.partner_id, rel.transaction_id,
                       COALESCE(NULLIF(move.invoice_currency_rate, 0), 1)
                  FROM contact
                  JOIN account_move_line line ON line.partner_id = contact.contact_id
                  JOIN account_invoice_transaction_rel rel ON rel.invoice_id = line.move_id
                  JOIN account_move move ON move.id = line.move_id
                 WHERE line.company_id IN %(branch_ids)s
                   AND line.reconciled IS NOT TRUE
                   AND line.parent_state IN ('draft', 'posted')
                   AND line.account_id IN (SELECT id FROM account_account WHERE account_type = 'asset_receivable')
            ), paid AS (
                -- Paid online, in neither the ledger nor the bank yet. A transaction whose captures are transactions of
                -- their own counts through these; one that is linked to its order and its invoice counts once.
                SELECT partner_id, SUM(amount) AS paid_online
                  FROM (
                    SELECT linked.partner_id,
                           MAX(ROUND(tx.amount / linked.rate, %(digits)s)) AS amount
                      FROM linked
                      JOIN payment_transaction tx ON tx.id = linked.transaction_id
                 LEFT JOIN account_payment payment ON payment.id = tx.payment_id
                     WHERE tx.state IN ('authorized', 'done')
                       AND tx.operation != 'validation'
                       AND (payment.id IS NULL
                            OR payment.move_id IS NULL AND payment.state IN ('draft', 'in_process'))
                       AND NOT EXISTS (SELECT FROM payment_transaction child
                                        WHERE child.source_transaction_id = tx.id
                                          AND child.operation != 'refund'
                                          AND child.state IN ('authorized', 'done'))
                  GROUP BY linked.partner_id, tx.id
                  ) AS pending
              GROUP BY partner_id
            )
            SELECT target.partner_id, COALESCE(orders.orders, 0), COALESCE(paid.paid_online, 0)
              FROM target
         LEFT JOIN orders USING (partner_id)
         LEFT JOIN paid USING (partner_id)
            """,
            digits=company.currency_id.decimal_places,
            downpayments=self._get_downpayments_query(),
            **self._prepare_query_parts(company, partner_ids),
        )

    @api.model
    def _get_downpayments_query(self):
        """Part of `_get_rest_query()`: what has been asked for in advance, on the lines of `sale_line`. For addons that
        know of down payments without an invoice.

        :return: query of (order id, amount in the order's currency), any number of rows per order
        :rtype: SQL
        """
        return SQL("""
                SELECT line.order_id,
                       CASE WHEN move.move_type = 'out_refund' THEN -1 ELSE 1 END * invoiced.price_total
                       * CASE WHEN move.currency_id = line.currency_id THEN 1
                              ELSE line.rate / COALESCE(NULLIF(move.invoice_currency_rate, 0), 1) END AS amount
                  FROM sale_line line
                  JOIN sale_order_line_invoice_rel rel ON rel.order_line_id = line.id
                  JOIN account_move_line invoiced ON invoiced.id = rel.invoice_line_id
                  JOIN account_move move ON move.id = invoiced.move_id
                 WHERE line.is_downpayment
                   AND (move.state != 'cancel' OR move.payment_state = 'invoicing_legacy')
            """)
