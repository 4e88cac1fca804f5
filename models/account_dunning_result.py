from datetime import timedelta

from odoo import api, fields, models
from odoo.tools import SQL
from odoo.tools.date_utils import end_of, start_of, subtract

# How many months the screen shows
MONTHS = 24

# Days of sales that the days sales outstanding are measured by
PERIOD = 90


class AccountDunningResult(models.Model):
    """What collecting achieves, month by month: how many days of sales are outstanding, how many of them are overdue,
    and what part of what could be collected was. Nothing is stored, the ledger is asked.

    With `open` what is owed at the month's end, `current` what of it is not overdue, and `sales` what was invoiced, tax
    included, less credit notes:

    * simple DSO: open ÷ sales of the last 90 days × 90
    * count-back DSO: the sales of the last months are taken off what is open, latest first; each counts its days
    * best possible DSO: current ÷ sales of the last 90 days × 90; what is over it, are average days delinquent (ADD)
    * collection effectiveness index (CEI) of the month: (opening + sales − closing) ÷ (opening + sales − current)
    """

    _name = 'account.dunning.result'
    _description = "Days sales outstanding by month"
    _auto = False
    _order = 'date desc, id'
    _rec_name = 'date'

    company_id = fields.Many2one(comodel_name='res.company', readonly=True)
    company_currency_id = fields.Many2one(comodel_name='res.currency', string="Company currency", readonly=True)
    date = fields.Date(string="Month", readonly=True, help="Its last day; of the current month, today.")
    amount_open = fields.Monetary(
        string="Open", currency_field='company_currency_id', readonly=True, aggregator='max')
    amount_overdue = fields.Monetary(
        string="Overdue", currency_field='company_currency_id', readonly=True, aggregator='max')
    amount_sales = fields.Monetary(
        string="Sales", currency_field='company_currency_id', readonly=True, help="Of the month, tax included.")
    dso = fields.Float(
        string="DSO", digits=(16, 2), readonly=True, aggregator='avg',
        help="Days sales outstanding: what is open ÷ the sales of the last 90 days × 90.")
    dso_count_back = fields.Float(
        string="DSO, count-back", digits=(16, 2), readonly=True, aggregator='avg',
        help="The months' sales are taken off what is open, latest first; each counts its days.")
    dso_best = fields.Float(
        string="DSO, best possible", digits=(16, 2), readonly=True, aggregator='avg',
        help="If nothing were overdue.")
    days_delinquent = fields.Float(
        string="Average days delinquent", digits=(16, 2), readonly=True, aggregator='avg',
        help="DSO less the best possible one: the days that late payers cost.")
    effectiveness = fields.Float(
        string="Collection effectiveness", digits=(16, 4), readonly=True, aggregator='avg',
        help="What was collected in the month ÷ what could have been. 100 %: nothing is overdue at its end.")

    @property
    def _table_query(self):
        """All companies that the user works with."""
        rows = []
        for company in self.env.companies:
            daily = self._get_daily(self._get_ledger_movements(company))
            ends = [end for end in self._get_month_ends(company) if daily and end >= min(daily)]
            rows += [
                (company.id, company.currency_id.id, *month.values()) for month in self._get_months(daily, ends)]
        columns = [list(column) for column in zip(*rows, strict=True)] or [[] for _number in range(11)]
        return SQL(
            """
            SELECT ROW_NUMBER() OVER () AS id, month.*
              FROM unnest(%s::int[], %s::int[], %s::date[], %s::float8[], %s::float8[], %s::float8[], %s::float8[],
                          %s::float8[], %s::float8[], %s::float8[], %s::float8[])
                AS month (company_id, company_currency_id, date, amount_open, amount_overdue, amount_sales, dso,
                          dso_count_back, dso_best, days_delinquent, effectiveness)
            """,
            *columns)

    @api.model
    def _get_month_ends(self, company):
        today = company._get_dunning_today()
        return [
            min(end_of(subtract(start_of(today, 'month'), months=number), 'month'), today)
            for number in reversed(range(MONTHS))
        ]

    @api.model
    def _get_ledger_movements(self, company):
        """What has changed the receivables: items, and their parts that were matched.

        :param res.company company:
        :return: query of (date, due, amount in company currency, is_sale); the amounts up to a day add up to the
            balance of the trade receivable accounts
        :rtype: SQL
        """
        accounts = tuple(self.env['account.dunning.ledger']._get_receivable_account_ids(company)) or (0,)
        self.env['account.move.line'].flush_model([
            'account_id', 'balance', 'company_id', 'date', 'date_maturity', 'move_id', 'parent_state'])
        self.env['account.move'].flush_model(['move_type'])
        self.env['account.partial.reconcile'].flush_model()
        items = SQL(
            "item.account_id IN %s AND item.company_id = %s AND item.parent_state = 'posted'", accounts, company.id)
        return SQL(
            """
            SELECT item.date, COALESCE(item.date_maturity, item.date) AS due, item.balance AS amount,
                   move.move_type IN ('out_invoice', 'out_receipt', 'out_refund') AS is_sale
              FROM account_move_line item
              JOIN account_move move ON move.id = item.move_id
             WHERE %(items)s
         UNION ALL
            SELECT part.max_date, COALESCE(item.date_maturity, item.date), -part.amount, FALSE
              FROM account_partial_reconcile part
              JOIN account_move_line item ON item.id = part.debit_move_id
             WHERE %(items)s
         UNION ALL
            SELECT part.max_date, COALESCE(item.date_maturity, item.date), part.amount, FALSE
              FROM account_partial_reconcile part
              JOIN account_move_line item ON item.id = part.credit_move_id
             WHERE %(items)s
            """,
            items=items)

    @api.model
    def _get_daily(self, movements):
        """By day: by how much what is open and what is overdue has changed, and the sales. What becomes overdue does so
        on the day after it was due.

        :param SQL movements: query of (date, due, amount, is_sale)
        :rtype: dict[datetime.date, tuple[float, float, float]]
        """
        return {
            day: changes for day, *changes in self.env.execute_query(SQL(
                """
                WITH movement AS MATERIALIZED (%(movements)s)
                SELECT day, SUM(amount_open)::float8, SUM(amount_overdue)::float8, SUM(sales)::float8
                  FROM (
                        SELECT date AS day, amount AS amount_open, 0 AS amount_overdue,
                               CASE WHEN is_sale THEN amount ELSE 0 END AS sales
                          FROM movement
                     UNION ALL
                        SELECT GREATEST(date, due + 1), 0, amount, 0 FROM movement
                       ) change
              GROUP BY day
              ORDER BY day
                """,
                movements=movements))
        }

    @api.model
    def _get_months(self, daily, ends):
        """The figures of months.

        :param dict daily: see `_get_daily`
        :param list[datetime.date] ends: last days, one for each month, in order
        :return: for each: date, amount_open, amount_overdue, amount_sales, dso, dso_count_back, dso_best,
            days_delinquent (days; None without sales), effectiveness (None if there was nothing to collect)
        :rtype: list[dict]
        """
        def total(kind, after, upto):
            return sum(changes[kind] for day, changes in daily.items() if after < day <= upto)

        months, opening_day = [], None
        beginning = min(daily, default=None)
        for end in ends:
            month_start = start_of(end, 'month')
            is_known = beginning is not None and end >= beginning
            opening_day = month_start - timedelta(days=1)
            amount_open, overdue, opening = (
                total(kind, fields.Date.to_date('1900-01-01'), day)
                for kind, day in ((0, end), (1, end), (0, opening_day)))
            month_sales = total(2, opening_day, end)
            sales = total(2, end - timedelta(days=PERIOD), end)
            dso = best = None
            if sales > 0:
                dso, best = amount_open / sales * PERIOD, (amount_open - overdue) / sales * PERIOD
            collectable = opening + month_sales - (amount_open - overdue)
            months.append({
                'date': end,
                'amount_open': amount_open,
                'amount_overdue': overdue,
                'amount_sales': month_sales,
                'dso': dso,
                'dso_count_back': self._count_back(daily, end, amount_open, beginning) if is_known else None,
                'dso_best': best,
                'days_delinquent': dso - best if sales > 0 else None,
                'effectiveness': (opening + month_sales - amount_open) / collectable if collectable > 0 else None,
            })
        return months

    @api.model
    def _count_back(self, daily, end, amount_open, beginning):
        """Of how many days the sales are still open, if the latest are.

        :rtype: float | None
        """
        days, left, month_end = 0.0, amount_open, end
        while left > 0 and month_end >= beginning:
            month_start = start_of(month_end, 'month')
            sales = sum(changes[2] for day, changes in daily.items() if month_start <= day <= month_end)
            length = (month_end - month_start).days + 1
            if 0 < sales and left < sales:
                return days + left / sales * length
            left -= max(sales, 0.0)
            days += length
            month_end = month_start - timedelta(days=1)
        return days
