from collections import defaultdict
from collections.abc import Collection

from odoo import api, fields, models
from odoo.exceptions import UserError
from odoo.fields import Domain
from odoo.tools import SQL, formatLang

# Records of so many models share one table: the id of a row is that of its record times this, plus the row's own number
ID_STEP = 32
# What happened without money, by the number of its kind, which is also the order of what happens on one day. 0: an
# entry, whose id is that of its first line
EVENT_MODELS = {
    1: 'account.dunning.notice',
    2: 'account.dunning.contact',
    **dict.fromkeys((3, 4, 5, 6), 'account.payment.promise'),
    **dict.fromkeys((7, 8, 9, 10, 11), 'account.payment.plan'),
    **dict.fromkeys((12, 13), 'account.dispute'),
    **dict.fromkeys((14, 15), 'account.dunning.block'),
    16: 'account.credit.event',
    **dict.fromkeys((17, 18), 'account.collection.case'),
}
# A condition on the customer's name or town may mean so many of them; a life of more is no life of an account.
MAX_CUSTOMERS = 1000


class AccountDunningHistory(models.Model):
    """The life of a customer's account as one list: invoices, credit notes, payments with the running balance of the
    ledger, and in between what was written, said, promised, agreed, disputed and held.

    Nothing is stored. The query is for some customers at a time: the condition on the customer reaches each of its
    parts, so that the life of one among a hundred thousand is read by indexes alone. Rows that are asked for by their
    ids tell whose they are; a question about nobody is refused.
    """

    _name = 'account.dunning.history'
    _description = "Life of a customer's account"
    _auto = False
    _order = 'date desc, sequence desc, id desc'
    _rec_name = 'description'

    company_id = fields.Many2one(comodel_name='res.company', readonly=True)
    currency_id = fields.Many2one(related='company_id.currency_id')
    partner_id = fields.Many2one(comodel_name='res.partner', string="Customer", readonly=True)
    date = fields.Date(readonly=True)
    sequence = fields.Integer(readonly=True, help="Of what happens on one day: first the money, then the words.")
    kind = fields.Selection(
        selection=[
            ('invoice', "Invoice"),
            ('refund', "Credit note"),
            ('payment', "Payment"),
            ('entry', "Entry"),
            ('notice', "Reminder"),
            ('contact', "Contact"),
            ('promise', "Promise"),
            ('promise_kept', "Promise kept"),
            ('promise_broken', "Promise broken"),
            ('promise_cancelled', "Promise cancelled"),
            ('plan_offered', "Payment plan offered"),
            ('plan', "Payment plan signed"),
            ('plan_done', "Payment plan done"),
            ('plan_broken', "Payment plan broken"),
            ('plan_cancelled', "Payment plan cancelled"),
            ('dispute', "Dispute"),
            ('dispute_resolved', "Dispute resolved"),
            ('pause', "Pause"),
            ('pause_ended', "Pause ended"),
            ('order_held', "Order held"),
            ('order_released', "Order released"),
            ('order_rejected', "Order rejected"),
            ('order_cancelled', "Order cancelled"),
            ('order_deposit', "Deposit asked for"),
            ('credit_limit', "Credit limit changed"),
            ('case', "Handed over to an agency"),
            ('case_closed', "Collection case closed"),
        ],
        readonly=True,
    )
    amount = fields.Monetary(readonly=True, help="What it adds to the customer's debt or takes from it.")
    balance = fields.Monetary(readonly=True, help="What the customer owed after it, by the ledger.", aggregator=False)
    res_model = fields.Char(readonly=True)
    res_id = fields.Integer(readonly=True, aggregator=False)
    description = fields.Char(compute='_compute_description')

    #=== COMPUTE METHODS ===#

    @api.depends('res_model', 'res_id')
    @api.depends_context('lang')
    def _compute_description(self):
        for number, rows in self.grouped(lambda row: row._origin.id % ID_STEP).items():
            records = {row: row._origin.id // ID_STEP if number else row.res_id for row in rows}
            model = EVENT_MODELS[number] if number else 'account.move'
            texts = {
                record.id: self._describe(record)
                for record in self.env[model].browse(records.values()).exists()
            }
            for row, record_id in records.items():
                row.description = texts.get(record_id)

    @api.model
    def _describe(self, record):
        """What happened, in a few words.

        :param record: of one of the models that the rows come from
        :rtype: str
        """
        if record._name == 'account.move':
            reference = record.ref or record.payment_reference
            return " · ".join(filter(None, [record.name, reference if reference != record.name else False]))
        if record._name == 'account.dunning.notice':
            return f"{record.level_id.name} {record.name}"
        if record._name == 'account.dunning.contact':
            outcome = dict(record._selection_outcome())[record.outcome]
            return ": ".join(filter(None, [outcome, record.note]))
        if record._name == 'account.collection.case':
            return " · ".join(filter(None, [record.name, record.agency_id.display_name, record.reference]))
        if record._name == 'account.dunning.block':
            return record.note or record.display_name
        if record._name == 'account.credit.event':
            # The order itself is not for everybody who looks after debts.
            amount = formatLang(self.env, record.amount, currency_obj=record.currency_id)
            name = record.name if record.kind != 'limit' else False
            return " · ".join(filter(None, [name, amount, record.note]))
        return record.display_name

    #=== CRUD METHODS ===#

    @api.model
    def _search(self, domain, *args, active_test=True, bypass_access=False, **kwargs):
        # EXTENDS 'base': whoever asks, by ids too, asks about some customers, else the whole ledger would be added up
        if not (self.env.su or bypass_access):
            self.browse().check_access('read')  # who may not read learns that first
        domain = Domain(domain).optimize_full(self)
        return super()._search(
            domain & self._get_customers_domain(domain), *args, active_test=active_test, bypass_access=bypass_access,
            **kwargs)

    @api.private
    def exists(self):
        # OVERRIDE of 'base', which looks for the ids in the whole table
        ids = {record_id for record_id in self._ids if record_id}
        found = set(self.sudo()._search([('id', 'in', list(ids))])) if ids else set()
        return self.browse(record_id for record_id in self._ids if not record_id or record_id in found)

    @api.model
    def _get_customers_domain(self, domain):
        """Whose lives are asked for, as a condition that reaches each part of the query.

        :param Domain domain: optimized
        :rtype: Domain
        :raises UserError: when the domain is about everybody, or nobody in particular
        """
        customers = self._get_named_ids(domain, 'partner_id')
        if customers is None:
            ids = self._get_named_ids(domain, 'id')
            if ids is None:
                raise UserError(self.env._(
                    "The life of an account is told of some customers at a time: open it from the follow-up, or name "
                    "the customers."))
            customers = self._find_customers(ids)
        return Domain('partner_id', 'in', list(customers))

    @api.model
    def _get_named_ids(self, domain, fname):
        """The ids that a column must have one of, by the domain.

        :param Domain domain: optimized
        :param str fname: 'id' or 'partner_id'
        :return: None when any can be meant
        :rtype: set[int] | None
        """
        def keep(condition):
            if condition.field_expr == fname and condition.operator == 'in' and isinstance(condition.value, Collection):
                return condition
            if condition.field_expr == fname == 'partner_id' and condition.operator in ('any', 'any!'):
                found = self.env['res.partner'].sudo().with_context(active_test=False).search(
                    condition.value, limit=MAX_CUSTOMERS + 1)
                if len(found) <= MAX_CUSTOMERS:
                    return Domain('partner_id', 'in', found.ids)
            return Domain.TRUE

        # Anything else is taken for true: what is left over is what the domain says of the column at least.
        rest = domain.map_conditions(keep).optimize(self)
        if rest.is_false():
            return set()
        conditions = list(rest.iter_conditions())
        if len(conditions) != 1 or rest != conditions[0]:
            return None
        return {value for value in conditions[0].value if value}

    @api.model
    def _find_customers(self, ids):
        """Whose rows they are, told by the records that the rows come from.

        :param ids: of rows
        :rtype: set[int]
        """
        records = defaultdict(list)
        for row_id in ids:
            record_id, number = divmod(row_id, ID_STEP)
            model = EVENT_MODELS.get(number) if number else 'account.move.line'
            if model:
                records[model].append(record_id)
        if not records:
            return set()
        for model in records:
            self.env[model].flush_model(['partner_id'])
        self.env['res.partner'].flush_model(['commercial_partner_id'])
        rows = self.env.execute_query(SQL(" UNION ").join(
            SQL(
                """
                SELECT partner.commercial_partner_id
                  FROM %s record
                  JOIN res_partner partner ON partner.id = record.partner_id
                 WHERE record.id = ANY(%s)
                """, SQL.identifier(self.env[model]._table), record_ids)
            for model, record_ids in records.items()))
        return {partner_id for [partner_id] in rows}

    #=== ACTION METHODS ===#

    def action_open(self):
        """Open what a row is about.

        :rtype: dict
        :raises UserError: if it is no longer there
        """
        self.ensure_one()
        # From the row's id alone: to read a row without its customer would mean to read everybody's.
        record_id, number = divmod(self.id, ID_STEP)
        model = EVENT_MODELS.get(number) if number else 'account.move.line'
        record = self.env[model].browse(record_id).exists() if model else self.env['account.move.line']
        if number == 16:
            record = record.partner_id if record.kind == 'limit' else record.order_id
        elif not number:
            record = record.move_id
        if not record:
            raise UserError(self.env._("This is no longer there. Please open the account again."))
        return record._get_records_action()

    #=== BUSINESS METHODS ===#

    @api.model
    def _get_history(self, company, partners):
        """The whole life of customers' accounts, newest first, read in one query.

        :param res.company company:
        :param res.partner partners: commercial partners
        :rtype: account.dunning.history
        """
        return self.search_fetch(
            [('company_id', '=', company.id), ('partner_id', 'in', partners.ids)],
            ['company_id', 'partner_id', 'date', 'sequence', 'kind', 'amount', 'balance', 'res_model', 'res_id'])

    @property
    def _table_query(self):
        for model in {
            'account.move', 'account.move.line', 'account.payment', 'res.partner', *EVENT_MODELS.values(),
        }:
            self.env[model].flush_model()
        return SQL(
            """
            SELECT event.*,
                   SUM(amount) OVER (
                       PARTITION BY company_id, partner_id ORDER BY date, sequence, id ROWS UNBOUNDED PRECEDING
                   ) AS balance
              FROM (%s) event
            """,
            SQL(" UNION ALL ").join([self._get_entries_query(), *self._get_events_queries()]))

    @api.model
    def _get_entries_query(self):
        """The entries on trade receivable accounts, one row for each customer of each entry."""
        return SQL(
            """
            SELECT MIN(line.id)::bigint * %(step)s AS id,
                   line.company_id,
                   partner.commercial_partner_id AS partner_id,
                   line.date,
                   0 AS sequence,
                   CASE
                       WHEN move.move_type IN ('out_invoice', 'out_receipt') THEN 'invoice'
                       WHEN move.move_type = 'out_refund' THEN 'refund'
                       WHEN move.origin_payment_id IS NOT NULL OR move.statement_line_id IS NOT NULL THEN 'payment'
                       ELSE 'entry'
                   END AS kind,
                   SUM(line.balance) AS amount,
                   'account.move' AS res_model,
                   line.move_id AS res_id
              FROM account_move_line line
              JOIN account_account account ON account.id = line.account_id
              JOIN account_move move ON move.id = line.move_id
              JOIN res_partner partner ON partner.id = line.partner_id
             WHERE account.account_type = 'asset_receivable'
               AND account.non_trade IS NOT TRUE
               AND line.parent_state = 'posted'
          GROUP BY line.company_id, partner.commercial_partner_id, line.date, line.move_id, move.id
            """,
            step=ID_STEP)

    @api.model
    def _get_events_queries(self):
        """What happened without money, one query for each kind.

        :rtype: list[SQL]
        """
        def events(number, kind, day, condition, record="event.id"):
            """:param kind: a str, or the SQL that tells it"""
            model = EVENT_MODELS[number]
            return SQL(
                """
                SELECT event.id::bigint * %(step)s + %(number)s, event.company_id, partner.commercial_partner_id,
                       %(day)s, %(number)s, %(kind)s, 0::numeric, %(model)s, %(record)s
                  FROM %(table)s event
                  JOIN res_partner partner ON partner.id = event.partner_id
                 WHERE %(condition)s
                """,
                step=ID_STEP, number=number, day=SQL.identifier('event', day), kind=kind,
                model='sale.order' if model == 'account.credit.event' else model, record=SQL(record),
                table=SQL.identifier(self.env[model]._table), condition=SQL(condition))

        return [
            events(1, 'notice', 'sent_date', "event.state = 'sent'"),
            events(2, 'contact', 'date', "TRUE"),
            events(3, 'promise', 'date_promised', "TRUE"),
            events(4, 'promise_kept', 'date_closed', "event.state = 'kept'"),
            events(5, 'promise_broken', 'date_closed', "event.state = 'broken'"),
            events(6, 'promise_cancelled', 'date_closed', "event.state = 'cancelled'"),
            events(7, 'plan_offered', 'date_offered', "event.date_offered IS NOT NULL"),
            events(8, 'plan', 'date_signed', "event.date_signed IS NOT NULL"),
            events(9, 'plan_done', 'date_closed', "event.state = 'done'"),
            events(10, 'plan_broken', 'date_closed', "event.state = 'broken'"),
            # a draft that is dropped was never said to anybody
            events(11, 'plan_cancelled', 'date_closed', "event.state = 'cancelled' AND event.date_offered IS NOT NULL"),
            events(12, 'dispute', 'date_opened', "TRUE"),
            events(13, 'dispute_resolved', 'date_resolved', "event.date_resolved IS NOT NULL"),
            # those of disputes, promises, plans and cases are told by them
            events(14, 'pause', 'date_from', "event.reason = 'manual'"),
            events(15, 'pause_ended', 'date_ended', "event.reason = 'manual' AND event.date_ended IS NOT NULL"),
            events(
                16, SQL("CASE event.kind WHEN 'limit' THEN 'credit_limit' ELSE 'order_' || event.kind END"),
                'date', "TRUE", record="event.order_id"),
            events(17, 'case', 'date', "event.state <> 'draft'"),
            events(18, 'case_closed', 'date_closed', "event.date_closed IS NOT NULL"),
        ]
