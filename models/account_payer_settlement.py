from odoo import api, fields, models
from odoo.tools import SQL

# What a customer did longer ago is neither used nor kept.
MEMORY_DAYS = 730

# Fewer payments than this share arrive on Saturdays and Sundays: the company's customers pay on working days.
WEEKEND_SHARE = 0.03


class AccountPayerSettlement(models.Model):
    """When each invoice was due and when it was paid: what payers are known by. One narrow row for each receivable
    item of an invoice, made from the ledger and made anew whenever something happens to its customer.

    An invoice is paid on the day of its last payment, once nothing of it is open. One that was not paid but credited,
    or mostly written off, says nothing about its payer and has no row.
    """

    _name = 'account.payer.settlement'
    _description = "Settlement of an invoice"
    _log_access = False

    company_id = fields.Many2one(comodel_name='res.company', required=True, ondelete='cascade')
    partner_id = fields.Many2one(
        comodel_name='res.partner', string="Customer", required=True, index=True, ondelete='cascade')
    move_line_id = fields.Many2one(comodel_name='account.move.line', string="Journal item", ondelete='cascade')
    date_issued = fields.Date(required=True)
    date_due = fields.Date(required=True)
    date_settled = fields.Date()
    amount = fields.Float(required=True, help="In company currency.")
    is_disputed = fields.Boolean()
    date_predicted = fields.Date(
        string="First prediction", help="The day on which it was expected to be paid when that was first asked.")

    _move_line_uniq = models.UniqueIndex('(move_line_id)')
    _payer_idx = models.Index('(company_id, partner_id)')

    #=== FROM THE LEDGER ===#

    @api.model
    def _update(self, company, date, partner_ids=None):
        """Make the rows anew from the ledger.

        :param res.company company:
        :param datetime.date date: the company's today; what was due more than 24 months before is forgotten
        :param list[int] | None partner_ids: commercial partners; None: all
        """
        self.env.flush_all()
        accounts = tuple(self.env['account.dunning.ledger']._get_receivable_account_ids(company)) or (0,)
        only, of_customers = SQL(), SQL()
        if partner_ids is not None:
            only = SQL(
                "AND aml.partner_id IN (SELECT id FROM res_partner WHERE commercial_partner_id = ANY(%s))",
                list(partner_ids))
            of_customers = SQL("AND settlement.partner_id = ANY(%s)", list(partner_ids))
        self.env.cr.execute(SQL(
            """
            WITH item AS MATERIALIZED (
                SELECT aml.id, aml.move_id, aml.reconciled, aml.balance AS amount,
                       customer.commercial_partner_id AS partner_id,
                       COALESCE(move.invoice_date, aml.date) AS date_issued,
                       COALESCE(aml.date_maturity, aml.date) AS date_due
                  FROM account_move_line aml
                  JOIN account_move move ON move.id = aml.move_id
                  JOIN res_partner customer ON customer.id = aml.partner_id
                 WHERE aml.account_id IN %(accounts)s
                   AND aml.company_id = %(company)s
                   AND aml.parent_state = 'posted'
                   AND aml.balance > 0
                   AND move.move_type IN ('out_invoice', 'out_receipt')
                   AND COALESCE(aml.date_maturity, aml.date) >= %(oldest)s
                   %(only)s
            ),
            -- by money, and not by credit notes or entries that write off
            paid AS (
                SELECT item.id,
                       SUM(partial.amount) FILTER (WHERE %(is_money)s) AS amount,
                       MAX(partial.max_date) FILTER (WHERE %(is_money)s) AS date
                  FROM item
                  JOIN account_partial_reconcile partial ON partial.debit_move_id = item.id
                  JOIN account_move_line credit ON credit.id = partial.credit_move_id
                  JOIN account_move credit_move ON credit_move.id = credit.move_id
                  JOIN account_journal journal ON journal.id = credit_move.journal_id
                 WHERE item.reconciled
              GROUP BY item.id
            ),
            outcome AS MATERIALIZED (
                SELECT item.id, item.partner_id, item.date_issued, item.date_due, item.amount,
                       paid.date AS date_settled,
                       EXISTS (SELECT FROM account_dispute dispute WHERE dispute.move_id = item.move_id) AS is_disputed
                  FROM item
             LEFT JOIN paid ON paid.id = item.id
                 WHERE item.reconciled IS NOT TRUE OR paid.amount * 2 >= item.amount
            ),
            gone AS (
                DELETE FROM account_payer_settlement settlement
                 WHERE settlement.company_id = %(company)s
                   AND settlement.move_line_id IS NOT NULL
                   %(of_customers)s
                   AND NOT EXISTS (SELECT FROM outcome WHERE outcome.id = settlement.move_line_id)
            )
            INSERT INTO account_payer_settlement AS known (
                company_id, partner_id, move_line_id, date_issued, date_due, date_settled, amount, is_disputed
            )
            SELECT %(company)s, partner_id, id, date_issued, date_due, date_settled, amount, is_disputed
              FROM outcome
       ON CONFLICT (move_line_id) DO UPDATE
               SET partner_id = EXCLUDED.partner_id,
                   date_issued = EXCLUDED.date_issued,
                   date_due = EXCLUDED.date_due,
                   date_settled = EXCLUDED.date_settled,
                   amount = EXCLUDED.amount,
                   is_disputed = EXCLUDED.is_disputed
             WHERE (known.partner_id, known.date_issued, known.date_due, known.date_settled, known.amount,
                    known.is_disputed)
                   IS DISTINCT FROM (EXCLUDED.partner_id, EXCLUDED.date_issued, EXCLUDED.date_due,
                                     EXCLUDED.date_settled, EXCLUDED.amount, EXCLUDED.is_disputed)
            """,
            accounts=accounts,
            company=company.id,
            oldest=fields.Date.subtract(date, days=MEMORY_DAYS),
            only=only,
            of_customers=of_customers,
            is_money=SQL("credit_move.move_type != 'out_refund' AND journal.type IN ('bank', 'cash', 'credit')"),
        ))
        self.invalidate_model(flush=False)

    #=== WHAT IS KNOWN ON A DAY ===#

    @api.model
    def _is_weekend_paid(self, company, date):
        """Whether payments come in on Saturdays and Sundays, too. If not, what is due on one of them is due on Monday
        (Regulation (EEC, Euratom) 1182/71, art. 3(4); § 193 BGB).

        :param res.company company:
        :param datetime.date date: what came in before counts
        :rtype: bool
        """
        [(settled, on_weekends)] = self.env.execute_query(SQL(
            """
            SELECT COUNT(*), COUNT(*) FILTER (WHERE EXTRACT(isodow FROM date_settled) > 5)
              FROM account_payer_settlement
             WHERE company_id = %s AND date_issued < %s AND date_settled < %s AND date_due >= %s
            """,
            company.id, date, date, fields.Date.subtract(date, days=MEMORY_DAYS)))
        return on_weekends >= WEEKEND_SHARE * settled

    @api.model
    def _get_due(self, column, is_weekend_paid):
        """The day on which something is due indeed.

        :param SQL column: a date
        :param bool is_weekend_paid: see `_is_weekend_paid`
        :rtype: SQL
        """
        if is_weekend_paid:
            return column
        return SQL(
            "(%(day)s + CASE EXTRACT(isodow FROM %(day)s) WHEN 6 THEN 2 WHEN 7 THEN 1 ELSE 0 END)", day=column)

    @api.model
    def _get_known_query(self, company, date, is_weekend_paid, first_day, last_day, partner_ids=None):
        """The invoices whose outcome shows on a day: paid, or overdue and open. Only what has happened before the day
        is known on it.

        :param res.company company:
        :param datetime.date date:
        :param bool is_weekend_paid: see `_is_weekend_paid`
        :param int first_day: days late are cut to between this …
        :param int last_day: … and this
        :param list[int] | None partner_ids: commercial partners; None: all
        :return: query of (id, partner_id, due, days, open_days, weight, is_disputed): `days` from the due day to the
            payment, or for an open one `open_days`, more than which it is late; one a year old weighs half
        :rtype: SQL
        """
        return SQL(
            """
            SELECT id, partner_id, due, is_disputed,
                   CASE WHEN settled THEN LEAST(GREATEST(date_settled - due, %(first_day)s), %(last_day)s) END AS days,
                   CASE WHEN NOT settled THEN LEAST(%(date)s::date - due - 1, %(last_day)s - 1) END AS open_days,
                   POWER(0.5, GREATEST(%(date)s::date - due, 0) / 365.0)::float8 AS weight
              FROM (
                    SELECT id, partner_id, date_settled, is_disputed, %(due)s AS due,
                           COALESCE(date_settled < %(date)s, FALSE) AS settled
                      FROM account_payer_settlement
                     WHERE company_id = %(company)s
                       AND date_issued < %(date)s
                       AND date_due >= %(oldest)s
                       %(only)s
                   ) settlement
             WHERE settled OR due < %(date)s
            """,
            date=date,
            company=company.id,
            oldest=fields.Date.subtract(date, days=MEMORY_DAYS),
            due=self._get_due(SQL("date_due"), is_weekend_paid),
            first_day=first_day,
            last_day=last_day,
            only=SQL() if partner_ids is None else SQL("AND partner_id = ANY(%s)", list(partner_ids)),
        )
