from collections import namedtuple
from itertools import pairwise

from odoo import api, models
from odoo.tools import SQL, ormcache

# Reason codes, in the order in which the rules are asked. A line gets the first one that applies.
NO_FOLLOWUP = 'no_followup'
BLOCKED = 'blocked'
NO_PROCEDURE = 'no_procedure'
NOT_DELIVERED = 'not_delivered'
NOT_OVERDUE = 'not_overdue'
COVERED = 'covered'
LAST_LEVEL = 'last_level'
WAITING = 'waiting'
BELOW_MINIMUM = 'below_minimum'
PENDING = 'pending'
DUE = 'due'

# Stands for "no bound" among days overdue.
ANY_DAYS = 1_000_000

DueLine = namedtuple('DueLine', 'move_line level procedure partner days_overdue amount_due amount_due_company')


class AccountDunningEngine(models.AbstractModel):
    """Which open line is due for which level on a date, and if not, why not and what comes next.

    Reads only. The company and the date are arguments, nothing here asks what day it is. The run, the preview, the
    check before sending and the explanation on screen all read the same query, so they can't disagree.
    """

    _name = 'account.dunning.engine'
    _description = "Dunning engine"

    #=== QUESTIONS ===#

    @api.model
    def _due_lines(self, company, date):
        """What a run on that date would remind of: the lines that are due for a level.

        :param res.company company: the company whose receivables are asked about
        :param datetime.date date: the day of the run
        :return: the due lines; amounts are net of set-off and pauses, `amount_due` in the line's currency,
            `amount_due_company` in company currency
        :rtype: dict[account.move.line, DueLine]
        """
        rows = self._execute(company, date, SQL("SELECT * FROM verdict WHERE is_due ORDER BY id"))
        lines = self.env['account.move.line'].browse(row['id'] for row in rows)
        return {
            line: DueLine(
                move_line=line,
                level=self.env['account.dunning.level'].browse(row['level_id']),
                procedure=self.env['account.dunning.procedure'].browse(row['procedure_id']),
                partner=self.env['res.partner'].browse(row['partner_id']),
                days_overdue=row['days'],
                amount_due=float(row['amount_net']),
                amount_due_company=float(row['amount_net_company']),
            )
            for line, row in zip(lines, rows, strict=True)
        }

    @api.model
    def _explain(self, move_lines, date):
        """Why each line is or is not dunned on that date, and what happens next.

        :param account.move.line move_lines: any journal items; those that are no open receivable are left out
        :param datetime.date date:
        :return: for each open line the reason code, the level that comes next (empty: none) and the day on which it
            comes (False: not known)
        :rtype: dict[account.move.line, tuple[str, account.dunning.level, datetime.date | bool]]
        """
        Level = self.env['account.dunning.level']
        return {
            line: (row['reason'], Level.browse(row['level_id'] or []), row['next_date'] or False)
            for line, row in self._judge(move_lines, date).items()
        }

    @api.model
    def _judge(self, move_lines, date):
        """The engine's whole verdict on the given lines (see the columns of `_get_query`).

        :rtype: dict[account.move.line, dict]
        """
        verdicts = {}
        for company, lines in move_lines.sudo().grouped('company_id').items():
            # Set-off looks at the whole customer, so the customer is asked about, not the line alone.
            partners = lines.partner_id.commercial_partner_id
            if not partners:
                continue
            rows = self._execute(
                company, date, SQL("SELECT * FROM verdict WHERE id IN %s", tuple(lines.ids)), partners.ids)
            verdicts.update((move_lines.browse(row['id']), row) for row in rows)
        return verdicts

    @api.model
    def _execute(self, company, date, select, partner_ids=None):
        """Run `select` over the engine's query, as dictionaries."""
        return self.env.execute_query_dict(SQL("%s %s", self._get_query(company, date, partner_ids), select))

    @api.model
    def _get_amount_asked(self, row):
        """What the customer is asked for on a line, due or not: neither what is paused, nor what has come in already.
        What is only excluded from reminders is owed all the same; no credit is set off against it.

        :param dict row: the engine's verdict on the line
        :return: in the line's currency
        :rtype: float
        """
        if row['counts']:
            return float(row['amount_net'])
        is_excluded = row['no_followup'] or row['is_undelivered'] or not row['procedure_id']
        if row['is_stopped'] or not is_excluded:
            return 0.0
        return max(float(row['residual'] - row['blocked'] - row['unbooked']), 0.0)

    #=== THE QUERY ===#

    @api.model
    def _get_query(self, company, date, partner_ids=None):
        """The rules as one query: a `WITH` clause whose last table, `verdict`, has a row for each open debit line.

        Columns: id, move_id, partner_id (commercial), currency_id, date_maturity, days (overdue; negative: days to
        go), residual and residual_company, total, blocked, blocked_until, set_off, amount_net (to be asked for, line
        currency), amount_net_company, customer_amount (net overdue of the customer, company currency), min_amount,
        procedure_id, current_level_id (the furthest reached), level_id (next one), rank, delay_days, counts (may be
        listed in a notice), reason, next_date, is_due, live_notice_id, live_state.

        :param res.company company:
        :param datetime.date date:
        :param list[int] | None partner_ids: commercial partners to look at; None: all
        :rtype: SQL
        """
        engine = self.sudo().with_company(company)
        self._flush_for_query()
        tables = [
            ('transition', engine._get_transition_table(company)),
            ('line', engine._get_line_table(company, partner_ids)),
            ('credit', engine._get_credit_table(company, date, partner_ids)),
            ('unbooked', engine.env['account.dunning.ledger']._get_unbooked_table(date)),
            ('pause', engine._get_pause_table(company, date)),
            ('broken', engine._get_broken_table(company, date)),
            ('furthest', engine._get_furthest_table()),
            ('past', engine._get_past_table(company)),
            ('repeated', engine._get_repeated_table(company, date)),
            ('live', engine._get_live_table(company, partner_ids)),
        ]
        # MATERIALIZED: each is planned on its own, which takes half the time of planning one big join; for a single
        # customer, as before each sending, planning is most of what the query costs.
        return SQL(
            "WITH %(tables)s, %(verdict)s",
            tables=SQL(", ").join(
                SQL("%s AS MATERIALIZED (%s)", SQL.identifier(name), table) for name, table in tables),
            verdict=engine._get_verdict_tables(company, date),
        )

    @api.model
    def _flush_for_query(self):
        for model, fnames in {
            'account.move.line': [
                'account_id', 'amount_currency', 'amount_residual', 'amount_residual_currency', 'company_id',
                'currency_id', 'date', 'date_maturity', 'dunning_last_date', 'dunning_level_id', 'move_id',
                'no_followup', 'parent_state', 'partner_id', 'reconciled',
            ],
            'account.move': [
                'dunning_procedure_id', 'invoice_date', 'is_move_sent', 'move_type', 'name', 'payment_state',
                *({'peppol_move_state'} & self.env['account.move']._fields.keys()),
            ],
            'account.payment': [
                'amount', 'company_id', 'currency_id', 'date', 'invoice_ids', 'is_matched', 'move_id', 'partner_id',
                'state',
            ],
            'account.partial.reconcile': None,
            'account.bank.statement.line': [
                'amount_residual', 'company_id', 'currency_id', 'foreign_currency_id', 'internal_index',
                'is_reconciled', 'journal_id', 'partner_id',
            ],
            'account.dunning.block': None,
            'account.dunning.notice': None,
            'account.dunning.notice.line': None,
            'payment.transaction': [
                'amount', 'currency_id', 'invoice_ids', 'last_state_change', 'operation', 'payment_id', 'state',
            ],
            'res.partner': ['active', 'commercial_partner_id', 'dunning_procedure_id', 'dunning_user_id', 'type'],
        }.items():
            self.env[model].flush_model(fnames)

    @api.model
    def _get_query_of_each(self, company, date, partner_ids):
        """The query of `_get_query` for each customer alone. It is made once, which takes several queries, and differs
        by the customers' ids only.

        :param res.company company:
        :param datetime.date date:
        :param list[int] partner_ids: commercial partners
        :return: by id of the partner
        :rtype: dict[int, SQL]
        """
        customer = object()  # equal to nothing else, so that only its own places are filled
        query = self._get_query(company, date, [customer])
        return {
            partner_id: SQL(query.code, *([partner_id] if param == [customer] else param for param in query.params))
            for partner_id in partner_ids
        }

    @api.model
    def _get_line_table(self, company, partner_ids):
        """Open receivable lines of the company, credits too, with their customer and procedure (rules 1 and 4)."""
        accounts = tuple(self.env['account.dunning.ledger']._get_receivable_account_ids(company)) or (0,)
        return SQL(
            """
            SELECT aml.id,
                   aml.move_id,
                   aml.currency_id,
                   customer.id AS partner_id,
                   COALESCE(aml.date_maturity, aml.date) AS date_maturity,
                   aml.amount_residual_currency AS residual,
                   aml.amount_residual AS residual_company,
                   aml.amount_currency AS total,
                   aml.no_followup,
                   aml.dunning_level_id AS own_level_id,
                   aml.dunning_last_date AS current_level_date,
                   move.payment_state,
                   %(undelivered)s AS is_undelivered,
                   COALESCE(move.dunning_procedure_id, %(customer_procedure)s, %(company_procedure)s) AS procedure_id
              FROM account_move_line aml
              JOIN account_move move ON move.id = aml.move_id
              JOIN res_partner partner ON partner.id = aml.partner_id
              JOIN res_partner customer ON customer.id = partner.commercial_partner_id
             WHERE aml.account_id IN %(accounts)s
               AND aml.reconciled IS NOT TRUE
               AND aml.parent_state = 'posted'
               AND aml.company_id = %(company)s
               AND aml.amount_residual_currency != 0
               %(customers)s
            """,
            customer_procedure=self.env['res.partner']._field_to_sql('customer', 'dunning_procedure_id'),
            company_procedure=company._get_dunning_procedure().id or None,
            undelivered=self._get_undelivered_condition(company),
            accounts=accounts,
            company=company.id,
            customers=self._get_customers_condition(SQL("aml.partner_id"), partner_ids),
        )

    @api.model
    def _get_undelivered_condition(self, company):
        """Whether the customer cannot know of an invoice yet, if the company asks: nobody has sent or printed it, or
        Peppol has not delivered it. (What was imported as a mere journal entry was sent by another program.)

        :return: a condition on `move`
        :rtype: SQL
        """
        if not company.sudo().dunning_delivered_only:
            return SQL("FALSE")
        stuck = SQL("move.is_move_sent IS NOT TRUE")
        if 'peppol_move_state' in self.env['account.move']._fields:
            stuck = SQL("(%s OR move.peppol_move_state IN ('to_send', 'processing', 'error'))", stuck)
        return SQL("(move.move_type IN ('out_invoice', 'out_receipt') AND %s)", stuck)

    @api.model
    def _get_customers_condition(self, column, partner_ids):
        return self.env['account.dunning.ledger']._get_customers_condition(column, partner_ids)

    @api.model
    def _get_credit_table(self, company, date, partner_ids):
        """The customers' unmatched credits (rule 3), by customer and currency; those on account are in `line`."""
        return SQL(
            """
            SELECT partner_id, currency_id, SUM(amount) AS amount
              FROM (
                    SELECT partner_id, currency_id, -residual AS amount FROM line WHERE residual < 0
                 UNION ALL
                    SELECT partner_id, currency_id, amount FROM (%s) unmatched
                   ) credits
          GROUP BY partner_id, currency_id
            """,
            self.env['account.dunning.ledger'].sudo()._get_unmatched_query(
                company, date, partner_ids, with_items=False),
        )

    @api.model
    def _get_pause_table(self, company, date):
        """How much of each line is paused on the date (rule 2), by blocks over the line or over its customer.

        A block with an amount pauses only so much of its lines of that currency, those first due first.
        """
        return SQL(
            """
            SELECT id,
                   SUM(CASE
                       WHEN amount > 0 THEN LEAST(residual, GREATEST(amount - before, 0))
                       ELSE residual
                   END) AS amount,
                   MAX(date_until) AS date_until
              FROM (
                    SELECT paused.id,
                           paused.residual,
                           block.amount,
                           COALESCE(block.date_until, 'infinity') AS date_until,
                           SUM(paused.residual) OVER (
                               PARTITION BY block.id ORDER BY paused.date_maturity, paused.id
                           ) - paused.residual AS before
                      FROM (%(covered)s) paused
                      JOIN account_dunning_block block ON block.id = paused.block_id
                     WHERE block.company_id = %(company)s
                       AND block.state = 'active'
                       AND block.date_from <= %(date)s
                       AND (block.date_until IS NULL OR block.date_until >= %(date)s)
                       AND paused.residual > 0
                       AND (COALESCE(block.amount, 0) = 0 OR block.currency_id IS NULL
                            OR block.currency_id = paused.currency_id)
                   ) share
          GROUP BY id
            """,
            company=company.id,
            date=date,
            covered=self._get_covered_query(SQL("state = 'active'")),
        )

    @api.model
    def _get_covered_query(self, condition):
        """The lines that blocks are about: those named, or all of the block's customer. It begins with the lines: the
        pauses of bills that are long paid cost nothing.

        :param SQL condition: on the blocks of whole customers
        """
        return SQL(
            """
            SELECT line.id, line.residual, line.currency_id, line.date_maturity, rel.block_id
              FROM line
              JOIN account_dunning_block_move_line_rel rel ON rel.move_line_id = line.id
         UNION ALL
            SELECT line.id, line.residual, line.currency_id, line.date_maturity, whole.id
              FROM line
              JOIN res_partner holder ON holder.commercial_partner_id = line.partner_id
              JOIN account_dunning_block whole ON whole.partner_id = holder.id AND whole.%s
             WHERE NOT EXISTS (SELECT FROM account_dunning_block_move_line_rel rel WHERE rel.block_id = whole.id)
            """,
            condition,
        )

    @api.model
    def _get_broken_table(self, company, date):
        """Lines of agreements that the customer broke: their next step does not wait."""
        return SQL(
            """
            SELECT covered.id, MAX(block.date_ended) AS date_broken
              FROM (%(covered)s) covered
              JOIN account_dunning_block block ON block.id = covered.block_id
             WHERE block.company_id = %(company)s
               AND block.broken
               AND block.date_ended <= %(date)s
          GROUP BY covered.id
            """,
            company=company.id,
            date=date,
            covered=self._get_covered_query(SQL("broken")),
        )

    @api.model
    def _get_furthest_table(self):
        """The furthest level of lines that were reminded at other levels than the one they stand at: levels may have
        been reordered since, or a line set back by hand. What has gone out counts: nothing is said twice."""
        return SQL(
            """
            SELECT DISTINCT ON (stood.id) stood.id, stood.level_id
              FROM (
                    SELECT line.id, line.procedure_id, reminded.level_id, FALSE AS is_own
                      FROM line
                      JOIN account_dunning_notice_line reminded ON reminded.move_line_id = line.id AND reminded.live
                      JOIN account_dunning_notice notice ON notice.id = reminded.notice_id AND notice.state = 'sent'
                     WHERE line.residual > 0
                       AND reminded.level_id IS DISTINCT FROM line.own_level_id
                 UNION ALL
                    SELECT line.id, line.procedure_id, line.own_level_id, TRUE
                      FROM line
                     WHERE line.own_level_id IS NOT NULL
                       AND line.residual > 0
                   ) stood
              JOIN (SELECT DISTINCT procedure_id, current_level_id, behind FROM transition) standing
                ON standing.procedure_id = stood.procedure_id
               AND standing.current_level_id = stood.level_id
          ORDER BY stood.id, standing.behind DESC, stood.is_own DESC
            """
        )

    @api.model
    def _get_past_table(self, company):
        """When each customer was last reminded under each procedure (rule 6), and when a proposal was last dropped.

        A customer who has become the contact of another one takes their reminders along. A notice of one procedure may
        also have moved lines that follow another one: for that one the customer was reminded on that day, too.
        """
        return SQL(
            """
            SELECT partner_id, procedure_id, MAX(last_sent) AS last_sent, MAX(last_dropped) AS last_dropped
              FROM (
                    SELECT partner.commercial_partner_id AS partner_id,
                           notice.procedure_id,
                           MAX(notice.sent_date) FILTER (WHERE notice.state = 'sent') AS last_sent,
                           MAX(notice.dropped_date) FILTER (WHERE notice.state = 'cancelled') AS last_dropped
                      FROM account_dunning_notice notice
                      JOIN res_partner partner ON partner.id = notice.partner_id
                     WHERE notice.company_id = %(company)s
                       AND notice.state IN ('sent', 'cancelled')
                       AND partner.commercial_partner_id IN (SELECT partner_id FROM line)
                  GROUP BY partner.commercial_partner_id, notice.procedure_id
                 UNION ALL
                    SELECT line.partner_id, line.procedure_id, MAX(line.current_level_date), NULL
                      FROM line
                     WHERE line.current_level_date IS NOT NULL
                       AND line.residual > 0
                  GROUP BY line.partner_id, line.procedure_id
                   ) reminded
          GROUP BY partner_id, procedure_id
            """,
            company=company.id,
        )

    @api.model
    def _get_repeated_table(self, company, date):
        """When each customer last got a notice of each level that is not repeated within some days."""
        return SQL(
            """
            SELECT partner.commercial_partner_id AS partner_id, notice.level_id, MAX(notice.sent_date) AS last_sent
              FROM account_dunning_notice notice
              JOIN res_partner partner ON partner.id = notice.partner_id
              JOIN (SELECT level_id, MAX(repeat_days) AS repeat_days FROM transition GROUP BY level_id) level
                ON level.level_id = notice.level_id
             WHERE notice.company_id = %(company)s
               AND notice.state = 'sent'
               AND notice.sent_date > %(date)s::date - level.repeat_days
               AND partner.commercial_partner_id IN (SELECT partner_id FROM line)
          GROUP BY partner.commercial_partner_id, notice.level_id
            """,
            company=company.id,
            date=date,
        )

    @api.model
    def _get_live_table(self, company, partner_ids):
        """The notice that each customer has on its way: a proposal, in the queue, or failed."""
        return SQL(
            """
            SELECT notice.partner_id, notice.id AS notice_id, notice.state
              FROM account_dunning_notice notice
             WHERE notice.company_id = %(company)s
               AND notice.state IN ('draft', 'queued', 'failed')
               %(customers)s
            """,
            company=company.id,
            customers=SQL() if partner_ids is None else SQL("AND notice.partner_id = ANY(%s)", list(partner_ids)),
        )

    @api.model
    def _get_verdict_tables(self, company, date):
        """Net (3), level (5), wait (6), amount (7), and the reason: the rules over the tables above.

        A bill whose next level the customer had lately for other bills ('repeated') waits for the next notice that goes
        anyway, or until the level may be repeated.
        """
        return SQL(
            """
            debit AS (
                SELECT line.*,
                       COALESCE(furthest.level_id, line.own_level_id) AS current_level_id,
                       %(date)s::date - line.date_maturity AS days,
                       LEAST(COALESCE(pause.amount, 0), line.residual) AS blocked,
                       pause.date_until AS blocked_until,
                       line.payment_state = 'blocked' AS is_stopped,
                       COALESCE(unbooked.amount, 0) AS unbooked
                  FROM line
             LEFT JOIN pause ON pause.id = line.id
             LEFT JOIN unbooked ON unbooked.id = line.id
             LEFT JOIN furthest ON furthest.id = line.id
                 WHERE line.residual > 0
            ),
            claim AS (
                SELECT debit.*,
                       CASE WHEN debit.no_followup IS TRUE OR is_stopped OR is_undelivered OR procedure_id IS NULL
                            THEN 0
                            ELSE GREATEST(residual - blocked - unbooked, 0)
                        END AS claimed
                  FROM debit
            ),
            net AS (
                SELECT claim.*,
                       LEAST(claimed, GREATEST(
                           COALESCE(credit.amount, 0) + claimed - SUM(claimed) OVER (
                               PARTITION BY claim.partner_id, claim.currency_id ORDER BY date_maturity, id
                           ), 0)) AS set_off
                  FROM claim
             LEFT JOIN credit ON credit.partner_id = claim.partner_id AND credit.currency_id = claim.currency_id
            ),
            step AS (
                SELECT net.*,
                       claimed - set_off AS amount_net,
                       ROUND(residual_company * (claimed - set_off) / residual, %(decimals)s) AS amount_net_company,
                       NULLIF(transition.level_id, 0) AS level_id,
                       transition.rank,
                       transition.delay_days,
                       transition.min_amount,
                       date_maturity + transition.delay_days AS delay_date,
                       GREATEST(past.last_sent + transition.wait_days, past.last_dropped + 1) AS wait_date,
                       repeated.last_sent + transition.repeat_days AS repeat_date,
                       broken.date_broken IS NOT NULL AND days > 0
                           AND (past.last_sent IS NULL OR past.last_sent < broken.date_broken) AS is_broken,
                       live.notice_id AS live_notice_id,
                       live.state AS live_state
                  FROM net
             LEFT JOIN transition ON transition.procedure_id = net.procedure_id
                       AND transition.current_level_id = COALESCE(net.current_level_id, 0)
                       AND net.days >= transition.days_from
                       AND net.days < transition.days_to
             LEFT JOIN past ON past.partner_id = net.partner_id AND past.procedure_id = net.procedure_id
             LEFT JOIN repeated ON repeated.partner_id = net.partner_id AND repeated.level_id = transition.level_id
             LEFT JOIN broken ON broken.id = net.id
             LEFT JOIN live ON live.partner_id = net.partner_id
            ),
            reach AS (
                SELECT step.*,
                       level_id IS NOT NULL AND (days >= delay_days OR is_broken) AS is_reached
                  FROM step
            ),
            weighed AS (
                SELECT reach.*,
                       COALESCE(SUM(amount_net_company) FILTER (WHERE days > 0 OR is_reached)
                                OVER (PARTITION BY partner_id), 0) AS customer_amount
                  FROM reach
            ),
            judged AS (
                SELECT weighed.*,
                       CASE
                           WHEN no_followup IS TRUE THEN 'no_followup'
                           WHEN is_stopped OR blocked >= residual THEN 'blocked'
                           WHEN procedure_id IS NULL THEN 'no_procedure'
                           WHEN is_undelivered THEN 'not_delivered'
                           WHEN days <= 0 AND NOT is_reached THEN 'not_overdue'
                           WHEN amount_net <= 0 THEN 'covered'
                           WHEN level_id IS NULL THEN 'last_level'
                           WHEN NOT is_reached THEN 'waiting'
                           WHEN wait_date > %(date)s AND NOT is_broken THEN 'waiting'
                           WHEN customer_amount < min_amount THEN 'below_minimum'
                           WHEN live_state IN ('queued', 'failed') THEN 'pending'
                           WHEN repeat_date > %(date)s AND NOT is_broken THEN 'repeated'
                           ELSE 'due'
                       END AS alone
                  FROM weighed
            ),
            gathered AS (
                SELECT judged.*,
                       CASE
                           WHEN alone != 'repeated' THEN alone
                           WHEN BOOL_OR(alone = 'due') OVER (PARTITION BY partner_id) THEN 'due'
                           ELSE 'waiting'
                       END AS rule
                  FROM judged
            ),
            verdict AS (
                SELECT gathered.*,
                       amount_net > 0 AS counts,
                       rule = 'due' AS is_due,
                       CASE
                           WHEN rule = 'due' AND live_notice_id IS NOT NULL AND EXISTS (
                                SELECT FROM account_dunning_notice_line proposed
                                 WHERE proposed.notice_id = gathered.live_notice_id
                                   AND proposed.move_line_id = gathered.id
                                   AND proposed.live
                           ) THEN 'pending'
                           ELSE rule
                       END AS reason,
                       CASE
                           WHEN level_id IS NULL OR rule IN (
                               'no_followup', 'no_procedure', 'not_delivered', 'covered', 'below_minimum'
                           ) THEN NULL
                           WHEN rule IN ('due', 'pending') THEN %(date)s::date
                           WHEN rule = 'blocked' AND (is_stopped OR blocked_until = 'infinity') THEN NULL
                           WHEN rule = 'blocked' THEN GREATEST(delay_date, wait_date, repeat_date, blocked_until + 1)
                           ELSE GREATEST(delay_date, wait_date, repeat_date)
                       END AS next_date
                  FROM gathered
            )
            """,
            date=date,
            decimals=company.currency_id.decimal_places,
        )

    #=== LEVELS ===#

    @api.model
    def _get_transition_table(self, company):
        """The levels as a table: from which level, at how many days overdue, to which level."""
        return SQL(
            """
            SELECT *
              FROM unnest(%s::int[], %s::int[], %s::int[], %s::int[], %s::int[], %s::int[], %s::int[], %s::int[],
                          %s::int[], %s::int[], %s::numeric[])
                AS t (procedure_id, current_level_id, behind, days_from, days_to, level_id, delay_days, rank, wait_days,
                      repeat_days, min_amount)
            """,
            *self._get_transition_columns(company.id),
        )

    @api.model
    @ormcache('company_id')
    def _get_transition_columns(self, company_id):
        """The rows of the company's transitions, turned into columns. Procedures and levels empty the cache."""
        company = self.env['res.company'].browse(company_id)
        rows = self._get_transitions(self._get_procedures(company))
        # without any procedure, one row that matches nothing
        return [list(column) for column in zip(*(rows or [(0,) * 11]), strict=True)]

    @api.model
    def _get_procedures(self, company):
        """Procedures that an invoice of the company can have; an archived one still serves who uses it."""
        return self.env['account.dunning.procedure'].sudo().with_context(active_test=False).search([
            ('company_id', 'in', [False, *company.sudo().parent_ids.ids]),
        ])

    @api.model
    def _get_longest_courtesy(self, company):
        """Days before the due date at which the earliest level of the company may act."""
        return max([0, *(-level.delay_days for level in self._get_procedures(company).level_ids)])

    @api.model
    def _get_transitions(self, procedures):
        """Where a line goes next, for every level that it can have and any number of days overdue (rule 5).

        :return: rows (procedure, current level or 0, how many levels that leaves behind, days from, days to (excluded),
            next level or 0, its delay in days, its rank in the procedure, days to wait since the last notice, days
            within which the level is not repeated to a customer, minimum amount in company currency)
        """
        levels_by_procedure = {
            procedure: self._get_levels(procedure) for procedure in procedures
        }
        every_level = procedures.with_context(active_test=False).level_ids
        rows = []
        for procedure, levels in levels_by_procedure.items():
            for current in [self.env['account.dunning.level'], *every_level]:
                behind = self._count_levels_behind(levels, current)
                ahead = levels[behind:]
                bounds = sorted({-ANY_DAYS, 0, ANY_DAYS, *ahead.mapped('delay_days')})
                for days_from, days_to in pairwise(bounds):
                    level = self._get_next_level(procedure, ahead, days_from)
                    rows.append((
                        procedure.id, current.id or 0, behind, days_from, days_to,
                        level.id or 0, level.delay_days, list(levels).index(level) if level else 0,
                        max(procedure.min_wait_days, level.min_wait_days), level.repeat_days,
                        max(procedure.min_amount, level.min_amount),
                    ))
        return rows

    @api.model
    def _get_levels(self, procedure):
        """The procedure's levels, without the archived ones, in their order."""
        return procedure.level_ids.filtered('active').sorted(lambda level: (level.sequence, level.id))

    @api.model
    def _count_levels_behind(self, levels, current):
        """How many of a procedure's levels a line has behind it.

        A line whose level belongs to another procedure, or was archived, counts as standing at the last level whose
        delay is not longer than that level's.

        :param account.dunning.level levels: of the procedure, in their order
        :param account.dunning.level current: the line's level, may be empty
        :rtype: int
        """
        if current in levels:
            return list(levels).index(current) + 1
        return len([level for level in levels if current and level.delay_days <= current.delay_days])

    @api.model
    def _get_next_level(self, procedure, ahead, days):
        """The next of the levels ahead for a line that is so many days overdue, reached already or not.

        :param account.dunning.level ahead: the levels after the line's own, in their order
        :param int days: days since the due date; negative before it
        """
        # A courtesy before the due date is passed over once the line is due.
        ahead = ahead.filtered(lambda level: level.delay_days >= 0 or days < 0)
        if procedure.escalation == 'age':
            reached = ahead.filtered(lambda level: level.delay_days <= days)
            return reached[-1:] or ahead.sorted('delay_days')[:1]
        return ahead[:1]
