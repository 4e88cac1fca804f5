from collections import namedtuple

from odoo import api, models
from odoo.fields import Domain
from odoo.tools import SQL

# An online payment that is still pending counts as on its way for so many days, the time in which Odoo itself
# keeps trying to finish it.
PENDING_PAYMENT_DAYS = 4

# Money on a bank statement that nobody has matched yet counts for so many days; later it is no oversight any more.
UNMATCHED_STATEMENT_DAYS = 14

# What came in, or took away from the debt: on which day, how much (in its currency, positive), since when it is known
# (a datetime; None for an online payment that is on its way), and what for: a journal item, or None while nobody has
# told. `is_matched`: in the books. `is_money`: no credit note, no write-off.
Receipt = namedtuple('Receipt', 'partner_id currency_id line_id date booked amount is_matched is_money')


class AccountDunningLedger(models.AbstractModel):
    """What is open, and what has come in: the one place that says so. All others ask here.

    Reads only. The company and the date are arguments. Amounts are in the currency of the item or payment.
    """

    _name = 'account.dunning.ledger'
    _description = "What is open and what has come in"

    #=== OPEN ===#

    @api.model
    def _get_receivable_account_ids(self, company):
        """The company's trade receivable accounts. Named one by one, they let Odoo's own index of open lines serve."""
        return self.env['account.account'].sudo().with_context(active_test=False)._search([
            ('account_type', '=', 'asset_receivable'),
            ('non_trade', '=', False),
            ('company_ids', 'parent_of', company.id),
        ])

    @api.model
    def _get_open_domain(self, partner, company):
        """Open items of a customer, debts and credits; those of subsidiaries, which are customers of their own, among
        them.

        :param res.partner partner: its commercial partner's are meant
        :param res.company company:
        :rtype: Domain
        """
        return Domain([
            ('partner_id', 'child_of', partner.commercial_partner_id.id),
            ('company_id', '=', company.id),
            ('parent_state', '=', 'posted'),
            ('account_id', 'in', self._get_receivable_account_ids(company)),
            ('reconciled', '=', False),
        ])

    @api.model
    def _find_open_lines(self, partner, company, currency=None):
        """What a customer owes: open receivable lines, oldest due first.

        :param res.partner partner: its commercial partner's are meant
        :param res.company company:
        :param res.currency | None currency: None: all
        :rtype: account.move.line
        """
        domain = self._get_open_domain(partner, company) & Domain('balance', '>', 0)
        if currency:
            domain &= Domain('currency_id', '=', currency.id)
        return self.env['account.move.line'].search(domain, order='date_maturity, date, id').filtered(
            lambda line: line.partner_id.commercial_partner_id == partner.commercial_partner_id
            and line.amount_residual_currency > 0
        )

    @api.model
    def _get_unbooked_table(self, date):
        """What has been paid on single invoices and is in no journal item yet: online payments that are in or on their
        way, and payments in process without an entry that name their invoices. By amount: a part of a bill that is
        paid does not silence the rest. An invoice's installments are filled oldest first; a payment of several
        invoices likewise.

        :param datetime.date date: a pending online payment counts for some days
        :return: query of (id, amount, date, booked): a journal item of the table `line`, which the caller provides with
            id, move_id, currency_id, date_maturity and residual, how much of it is paid, and since when
        :rtype: SQL
        """
        return SQL(
            """
            SELECT id, SUM(amount) AS amount, MIN(date) AS date,
                   CASE WHEN BOOL_AND(booked IS NOT NULL) THEN MIN(booked) END AS booked
              FROM (
                    SELECT line.id, source.date, source.booked,
                           LEAST(line.residual, GREATEST(0, source.amount + line.residual - SUM(line.residual) OVER (
                               PARTITION BY source.kind, source.id ORDER BY line.date_maturity, line.id))) AS amount
                      FROM (
                            SELECT 'online' AS kind, tx.id, rel.invoice_id AS move_id, tx.amount, tx.currency_id,
                                   tx.last_state_change::date AS date, NULL::timestamp AS booked
                              FROM account_invoice_transaction_rel rel
                              JOIN payment_transaction tx ON tx.id = rel.transaction_id
                             WHERE tx.payment_id IS NULL
                               AND tx.operation NOT IN ('refund', 'validation')
                               AND (tx.state IN ('authorized', 'done')
                                    OR tx.state = 'pending' AND tx.last_state_change >= %(date)s::date - %(days)s)
                         UNION ALL
                            SELECT 'payment', payment.id, rel.invoice_id, payment.amount, payment.currency_id,
                                   payment.date, payment.create_date
                              FROM account_move__account_payment rel
                              JOIN account_payment payment ON payment.id = rel.payment_id
                             WHERE payment.move_id IS NULL
                               AND payment.payment_type = 'inbound'
                               -- paid, said a person; what was matched since then is its money
                               AND (payment.state = 'in_process' OR payment.state = 'paid' AND NOT EXISTS (
                                    SELECT
                                      FROM account_move_line paid
                                      JOIN account_partial_reconcile partial ON partial.debit_move_id = paid.id
                                     WHERE paid.move_id = rel.invoice_id))
                           ) source
                      JOIN line ON line.move_id = source.move_id
                               AND line.currency_id = source.currency_id
                               AND line.residual > 0
                   ) share
          GROUP BY id
            """,
            date=date,
            days=PENDING_PAYMENT_DAYS,
        )

    #=== COME IN ===#

    @api.model
    def _get_unmatched_query(self, company, date, partner_ids=None, with_items=True):
        """Money that has come in without being told for what, each piece of it once: payments and credit notes on the
        customers' account (`no_followup` or not), payments in process that Odoo has not booked and that name no
        invoice, and what came in on a bank statement of the last days and is not matched yet, unless it is the money
        of a payment that was registered before.

        :param res.company company:
        :param datetime.date date: bank statements count for some days
        :param list[int] | None partner_ids: commercial partners; None: all
        :param bool with_items: False leaves out the journal items, for a caller who has read them already
        :return: query of (partner_id, currency_id, date, booked, amount, is_money)
        :rtype: SQL
        """
        items = SQL(
            """
            SELECT partner.commercial_partner_id AS partner_id, aml.currency_id, aml.date, aml.create_date AS booked,
                   -aml.amount_residual_currency AS amount, move.move_type != 'out_refund' AS is_money
              FROM account_move_line aml
              JOIN account_move move ON move.id = aml.move_id
              JOIN res_partner partner ON partner.id = aml.partner_id
             WHERE aml.account_id IN %(accounts)s
               AND aml.reconciled IS NOT TRUE
               AND aml.parent_state = 'posted'
               AND aml.company_id = %(company)s
               AND aml.amount_residual_currency < 0
               %(holders)s
         UNION ALL
            """,
            accounts=tuple(self._get_receivable_account_ids(company)) or (0,),
            company=company.id,
            holders=self._get_customers_condition(SQL("aml.partner_id"), partner_ids),
        )
        return SQL(
            """
            %(items)s
            SELECT partner.commercial_partner_id AS partner_id, payment.currency_id, payment.date,
                   payment.create_date AS booked, payment.amount, TRUE AS is_money
              FROM account_payment payment
              JOIN res_partner partner ON partner.id = payment.partner_id
             WHERE payment.company_id = %(company)s
               AND payment.is_matched IS NOT TRUE
               AND payment.move_id IS NULL
               AND payment.state = 'in_process'
               AND payment.payment_type = 'inbound'
               AND payment.partner_type = 'customer'
               AND NOT EXISTS (
                    SELECT FROM account_move__account_payment rel WHERE rel.payment_id = payment.id
               )
               %(customers)s
         UNION ALL
            SELECT partner.commercial_partner_id,
                   COALESCE(received.foreign_currency_id, received.currency_id),
                   move.date,
                   received.create_date,
                   -received.amount_residual::numeric,
                   TRUE
              FROM account_bank_statement_line received
              JOIN account_move move ON move.id = received.move_id AND move.state = 'posted'
              JOIN res_partner partner ON partner.id = received.partner_id
             WHERE received.is_reconciled IS NOT TRUE
               AND received.company_id = %(company)s
               AND received.journal_id IN (
                    SELECT id FROM account_journal WHERE type IN ('bank', 'cash', 'credit')
               )
               -- begins with the day: Odoo's index of unmatched statement lines serves
               AND received.internal_index >= to_char(%(date)s::date - %(days)s, 'YYYYMMDD')
               AND received.amount_residual < 0
               AND NOT EXISTS (
                    SELECT
                      FROM account_payment payment
                      JOIN res_partner payer ON payer.id = payment.partner_id
                     WHERE payer.commercial_partner_id = partner.commercial_partner_id
                       AND payment.company_id = received.company_id
                       AND payment.state IN ('in_process', 'paid')
                       AND payment.is_matched IS NOT TRUE
                       AND payment.date >= %(date)s::date - %(days)s
                       AND payment.payment_type = 'inbound'
                       AND payment.currency_id = COALESCE(received.foreign_currency_id, received.currency_id)
                       AND payment.amount = -received.amount_residual::numeric
               )
               %(receivers)s
            """,
            items=items if with_items else SQL(),
            company=company.id,
            date=date,
            days=UNMATCHED_STATEMENT_DAYS,
            receivers=self._get_customers_condition(SQL("received.partner_id"), partner_ids),
            customers=self._get_customers_condition(SQL("payment.partner_id"), partner_ids),
        )

    @api.model
    def _get_customers_condition(self, column, partner_ids):
        if partner_ids is None:
            return SQL()
        return SQL(
            "AND %s IN (SELECT id FROM res_partner WHERE commercial_partner_id = ANY(%s))", column, list(partner_ids))

    @api.model
    def _find_receipts(self, company, date, partner_ids, line_ids):
        """All that has come in from customers, each euro once: matched with the given lines, or not matched yet, in
        the order of its dates. A payment counts from its own date, whenever it was entered.

        :param res.company company:
        :param datetime.date date: the company's today
        :param list[int] partner_ids: commercial partners
        :param list[int] line_ids: journal items of theirs whose payments are asked for
        :rtype: list[Receipt]
        """
        if not partner_ids:
            return []
        self.env.flush_all()
        ledger = self.sudo()
        rows = self.env.execute_query(SQL(
            """
            SELECT partner.commercial_partner_id, aml.currency_id, aml.id AS line_id, credit.date,
                   partial.create_date AS booked, partial.debit_amount_currency AS amount, TRUE AS is_matched,
                   move.move_type != 'out_refund' AND journal.type IN ('bank', 'cash', 'credit') AS is_money
              FROM account_move_line aml
              JOIN res_partner partner ON partner.id = aml.partner_id
              JOIN account_partial_reconcile partial ON partial.debit_move_id = aml.id
              JOIN account_move_line credit ON credit.id = partial.credit_move_id
              JOIN account_move move ON move.id = credit.move_id
              JOIN account_journal journal ON journal.id = move.journal_id
             WHERE aml.id = ANY(%(lines)s)
               AND partial.debit_amount_currency > 0
         UNION ALL
            SELECT partner.commercial_partner_id, aml.currency_id, aml.id, aml.date, aml.write_date,
                   aml.amount_currency, TRUE, FALSE
              FROM account_move_line aml
              JOIN res_partner partner ON partner.id = aml.partner_id
             WHERE aml.id = ANY(%(lines)s)
               AND aml.parent_state = 'cancel'
               AND aml.amount_currency > 0
         UNION ALL
            SELECT partner.commercial_partner_id, line.currency_id, line.id, unbooked.date, unbooked.booked,
                   unbooked.amount, FALSE, TRUE
              FROM (%(named)s) unbooked
              JOIN account_move_line line ON line.id = unbooked.id
              JOIN res_partner partner ON partner.id = line.partner_id
         UNION ALL
            SELECT partner_id, currency_id, NULL, date, booked, amount, FALSE, is_money
              FROM (%(unmatched)s) unmatched
          ORDER BY date, booked, line_id
            """,
            lines=list(line_ids),
            named=SQL(
                "WITH line AS (SELECT aml.id, aml.move_id, aml.currency_id, aml.amount_residual_currency AS residual, "
                "COALESCE(aml.date_maturity, aml.date) AS date_maturity FROM account_move_line aml "
                "WHERE aml.id = ANY(%s) AND aml.parent_state = 'posted' AND aml.reconciled IS NOT TRUE) %s",
                list(line_ids), ledger._get_unbooked_table(date)),
            unmatched=ledger._get_unmatched_query(company, date, partner_ids),
        ))
        return [Receipt(*row) for row in rows]
