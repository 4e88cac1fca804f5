from odoo import api, fields, models
from odoo.exceptions import UserError
from odoo.tools import SQL

# Records of so many models share one table: the id of a row is that of its record times this, plus the row's own kind
ID_STEP = 16
# Of what an event is a record, by the number of its kind; 0: an entry, whose id is that of its first line
EVENT_MODELS = {
    1: 'account.dunning.notice',
    2: 'account.dunning.contact',
    **dict.fromkeys((3, 4, 5), 'account.payment.promise'),
    **dict.fromkeys((6, 7, 8), 'account.payment.plan'),
    **dict.fromkeys((9, 10), 'account.dispute'),
    11: 'account.dunning.block',
    12: 'sale.order',
    **dict.fromkeys((13, 14), 'account.collection.case'),
}


class AccountDunningHistory(models.Model):
    """The life of a customer's account as one list: invoices, credit notes, payments with the running balance of the
    ledger, and in between what was written, said, promised, agreed, disputed and held.

    Nothing is stored. The query is for some customers at a time: the condition on the customer reaches each of its
    parts, so that the life of one among a hundred thousand is read by indexes alone.
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
            ('plan', "Payment plan signed"),
            ('plan_done', "Payment plan done"),
            ('plan_broken', "Payment plan broken"),
            ('dispute', "Dispute"),
            ('dispute_resolved', "Dispute resolved"),
            ('pause', "Pause"),
            ('order_held', "Order held"),
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
        for model, rows in self.grouped('res_model').items():
            records = self.env[model].browse(rows.mapped('res_id')).exists()
            texts = {record.id: self._describe(record) for record in records}
            for row in rows:
                row.description = texts.get(row.res_id)

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
        return record.display_name

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
        if not record:
            raise UserError(self.env._("This is no longer there. Please open the account again."))
        return (record if number else record.move_id)._get_records_action()

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
        for model in (
            'account.move', 'account.move.line', 'account.payment', 'account.dunning.notice', 'account.dunning.contact',
            'account.payment.promise', 'account.payment.plan', 'account.dispute', 'account.dunning.block', 'sale.order',
            'account.collection.case',
            'res.partner',
        ):
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
        def events(number, kind, model, day, condition):
            table = SQL.identifier(self.env[model]._table)
            return SQL(
                """
                SELECT event.id::bigint * %(step)s + %(number)s, event.company_id, partner.commercial_partner_id,
                       %(day)s, %(number)s, %(kind)s, 0::numeric, %(model)s, event.id
                  FROM %(table)s event
                  JOIN res_partner partner ON partner.id = event.%(customer)s
                 WHERE %(condition)s
                """,
                step=ID_STEP, number=number, day=day, kind=kind, model=model, table=table, condition=condition,
                customer=SQL.identifier('partner_invoice_id' if model == 'sale.order' else 'partner_id'))

        return [
            events(1, 'notice', 'account.dunning.notice', SQL("event.sent_date"), SQL("event.state = 'sent'")),
            events(2, 'contact', 'account.dunning.contact', SQL("event.date"), SQL("TRUE")),
            events(3, 'promise', 'account.payment.promise', SQL("event.date_promised"), SQL("TRUE")),
            events(4, 'promise_kept', 'account.payment.promise', SQL("event.date_closed"), SQL("event.state = 'kept'")),
            events(5, 'promise_broken', 'account.payment.promise', SQL("event.date_closed"),
                   SQL("event.state = 'broken'")),
            events(6, 'plan', 'account.payment.plan', SQL("event.signed_on::date"), SQL("event.signed_on IS NOT NULL")),
            events(7, 'plan_done', 'account.payment.plan', SQL("event.date_closed"), SQL("event.state = 'done'")),
            events(8, 'plan_broken', 'account.payment.plan', SQL("event.date_closed"), SQL("event.state = 'broken'")),
            events(9, 'dispute', 'account.dispute', SQL("event.date_opened"), SQL("TRUE")),
            events(10, 'dispute_resolved', 'account.dispute', SQL("event.date_resolved"),
                   SQL("event.date_resolved IS NOT NULL")),
            events(11, 'pause', 'account.dunning.block', SQL("event.date_from"), SQL("event.reason = 'manual'")),
            events(12, 'order_held', 'sale.order', SQL("event.credit_hold_date::date"),
                   SQL("event.credit_hold_date IS NOT NULL")),
            events(13, 'case', 'account.collection.case', SQL("event.date"), SQL("event.state <> 'draft'")),
            events(14, 'case_closed', 'account.collection.case', SQL("event.date_closed"),
                   SQL("event.date_closed IS NOT NULL")),
        ]
