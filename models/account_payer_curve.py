from odoo import api, fields, models
from odoo.fields import Domain
from odoo.tools import SQL

# Days late are cut to this range: who pays earlier or later than that is not told apart.
FIRST_DAY, LAST_DAY = -30, 90
DAYS = range(FIRST_DAY, LAST_DAY + 1)

# A curve's array begins with the day before the first, and PostgreSQL counts from one.
ARRAY_OFFSET = 2 - FIRST_DAY

# The company's average is made of the invoices due in the last year, and no customer's habits make up all of it.
AVERAGE_DAYS = 365
AVERAGE_PER_CUSTOMER = 10

# With fewer paid invoices than this the average says nothing, and nothing is foretold.
LEAST_SETTLED = 10

# Invoices of the average customer that are lent to each customer, so that one payment is no habit.
BORROWED = 2

# The trend: by how many days payments have come later than foretold of late; not below so many invoices and days.
TREND_DAYS = 90
TREND_LEAST_INVOICES = 30
TREND_LEAST_DAYS = 1.5

# So many disputed invoices are needed until half of their delay is believed.
DISPUTE_SHRINKAGE = 10


class AccountPayerCurve(models.Model):
    """How the average customer of a company pays: the share of invoices that is still unpaid so many days after the due
    date. Each customer's own curve borrows from it, and who is not known yet is taken for average.

    An open invoice says only that it will be paid later than today; it counts as spread over the later days as the
    others are (the Kaplan–Meier estimate of survival times).

    Curves are arrays of a probability for each day from the one before `FIRST_DAY` to `LAST_DAY`: that the payment
    comes later than on that day (`unpaid`); `days_left` has the mean of days until payment for each day late from 0 on.
    The ORM has no such field; they are columns of the table all the same.
    """

    _name = 'account.payer.curve'
    _description = "Payment curve of a company"
    _log_access = False

    company_id = fields.Many2one(comodel_name='res.company', required=True, ondelete='cascade')
    date = fields.Date(required=True)
    date_rebuilt = fields.Date(help="When the scores of all customers were made last.")
    invoices_known = fields.Integer()
    is_weekend_paid = fields.Boolean(help="Payments come in on Saturdays and Sundays, too.")
    average_days = fields.Float(help="Mean of days between due date and payment.")
    expected_late_days = fields.Float()
    trend = fields.Float(help="Days by which payments come later than foretold of late.")
    dispute_delay = fields.Float(help="Days by which disputed invoices are paid later than others.")

    _company_uniq = models.UniqueIndex('(company_id)')

    def init(self):
        # EXTENDS 'base'
        self.env.cr.execute(
            "ALTER TABLE account_payer_curve"
            " ADD COLUMN IF NOT EXISTS unpaid float8[], ADD COLUMN IF NOT EXISTS days_left float8[]")

    @api.model
    def _get(self, company):
        """The company's curve.

        :rtype: account.payer.curve
        """
        return self.sudo().search(Domain('company_id', '=', company.id))

    @api.model
    def _update(self, company, date):
        """Make the company's curve anew from the settlements.

        :param res.company company:
        :param datetime.date date: what happened before this day is known
        :return: the curve; empty if too little is known
        :rtype: account.payer.curve
        """
        settlements = self.env['account.payer.settlement']
        settlements.flush_model()
        curve = self._get(company)
        is_weekend_paid = settlements._is_weekend_paid(company, date)
        known = settlements._get_known_query(company, date, is_weekend_paid, FIRST_DAY, LAST_DAY)
        rows = self.env.execute_query(SQL(
            """
            SELECT days, open_days, COUNT(*)
              FROM (
                    SELECT days, open_days,
                           ROW_NUMBER() OVER (PARTITION BY partner_id ORDER BY due DESC, id) AS number
                      FROM (%s) known
                     WHERE due >= %s
                   ) recent
             WHERE number <= %s
          GROUP BY days, open_days
            """,
            known, fields.Date.subtract(date, days=AVERAGE_DAYS), AVERAGE_PER_CUSTOMER))
        settled = {days: count for days, _open_days, count in rows if days is not None}
        still_open = {open_days: count for _days, open_days, count in rows if open_days is not None}
        if sum(settled.values()) < LEAST_SETTLED:
            curve.unlink()
            return self.browse()
        unpaid = self._estimate(settled, still_open)
        trend, dispute_delay = self._get_trend(company, date, is_weekend_paid), self._get_dispute_delay(known)
        vals = {
            'date': date,
            'invoices_known': sum(settled.values()) + sum(still_open.values()),
            'is_weekend_paid': is_weekend_paid,
            'average_days': FIRST_DAY + sum(unpaid[1:]),
            'expected_late_days': sum(unpaid[1 - FIRST_DAY:]),
            'trend': trend,
            'dispute_delay': dispute_delay,
        }
        if curve:
            curve.write(vals)
        else:
            curve = self.sudo().create({**vals, 'company_id': company.id})
        curve.flush_recordset()
        self.env.cr.execute(SQL(
            "UPDATE account_payer_curve SET unpaid = %s, days_left = %s WHERE id = %s",
            unpaid, self._get_days_left(unpaid), curve.id))
        return curve

    @api.model
    def _estimate(self, settled, still_open):
        """:param dict[int, int] settled: number of invoices by days late
        :param dict[int, int] still_open: number of invoices by the days late that they are at least
        :return: share of unpaid invoices after each day, beginning with the one before the first
        :rtype: list[float]
        """
        left = sum(settled.values()) + sum(still_open.values())
        unpaid = [1.0]
        for day in DAYS:
            paid = settled.get(day, 0)
            unpaid.append(unpaid[-1] * (1 - paid / left) if left else unpaid[-1])
            left -= paid + still_open.get(day, 0)
        unpaid[-1] = 0.0  # later is not told apart from the last day
        return unpaid

    @api.model
    def _get_days_left(self, unpaid):
        """:param list[float] unpaid: a curve
        :return: for an invoice that is more than 0, 1, 2 … days late: in how many days it is paid, on average. Who has
            not paid by the last day is taken to need as many days again.
        :rtype: list[float]
        """
        share = dict(zip(range(FIRST_DAY - 1, LAST_DAY + 1), unpaid, strict=True))
        return [
            (sum(share[later] for later in range(day + 1, LAST_DAY)) + LAST_DAY * share[LAST_DAY - 1]) / share[day]
            if share[day] else 0.0
            for day in range(LAST_DAY)
        ]

    @api.model
    def _get_trend(self, company, date, is_weekend_paid):
        """:return: days by which payments have come later than foretold, in whole days
        :rtype: float
        """
        [(count, trend)] = self.env.execute_query(SQL(
            """
            SELECT COUNT(*), AVG(date_settled - date_predicted)::float8
              FROM account_payer_settlement
             WHERE company_id = %(company)s
               AND date_issued < %(date)s
               AND date_settled < %(date)s
               AND date_predicted IS NOT NULL
               AND %(due)s BETWEEN %(date)s::date - %(days)s AND %(date)s
            """,
            company=company.id, date=date, days=TREND_DAYS,
            due=self.env['account.payer.settlement']._get_due(SQL("date_due"), is_weekend_paid)))
        return round(trend) if count >= TREND_LEAST_INVOICES and abs(trend) >= TREND_LEAST_DAYS else 0.0

    @api.model
    def _get_dispute_delay(self, known):
        """:param SQL known: see `_get_known_query`
        :return: in whole days
        :rtype: float
        """
        [(count, disputed, others)] = self.env.execute_query(SQL(
            """
            SELECT COUNT(*) FILTER (WHERE is_disputed),
                   AVG(days) FILTER (WHERE is_disputed)::float8,
                   AVG(days) FILTER (WHERE NOT is_disputed)::float8
              FROM (%s) known
             WHERE days IS NOT NULL
            """, known))
        if not count or others is None:
            return 0.0
        return round(max(disputed - others, 0.0) * count / (count + DISPUTE_SHRINKAGE))

    #=== FORETELLING ===#

    @api.model
    def _get_prediction_query(self, company, date, items):
        """When open items are going to be paid.

        :param res.company company: it has a curve
        :param datetime.date date: the day on which this is asked
        :param SQL items: query of (id, partner_id, date_due, is_disputed)
        :return: query of (id, first_prediction, expected_date, probability_late, days_left, shifted_due, since,
            unpaid). `expected_date` is NULL for what is so late already that nothing can be foretold;
            `first_prediction` leaves trend and disputes out. `days_left` (mean) is for what is overdue. `unpaid` is the
            customer's curve, or the company's; `since` the day, counted from `shifted_due`, until which nothing has
            been paid.
        :rtype: SQL
        """
        curve = self._get(company)
        settlements = self.env['account.payer.settlement']

        def get_middle(since):
            """The day until which half of what is unpaid after another is paid."""
            return SQL(
                "(SELECT MIN(day) FROM generate_series(%(since)s + 1, %(last)s) day"
                " WHERE unpaid[day + %(offset)s] <= unpaid[%(since)s + %(offset)s] / 2 + 1e-12)",
                since=since, last=LAST_DAY, offset=ARRAY_OFFSET)

        return SQL(
            """
            SELECT id, shifted_due, since, unpaid, days_left[GREATEST(since, 0) + 1] AS days_left,
                   CASE WHEN first_is_foreseeable THEN %(first_day)s END AS first_prediction,
                   CASE WHEN is_foreseeable THEN GREATEST(%(date)s::date, %(expected_day)s) END AS expected_date,
                   CASE WHEN first_since >= 0 THEN 1.0
                        ELSE unpaid[%(offset)s] / NULLIF(unpaid[first_since + %(offset)s], 0) END AS probability_late
              FROM (
                    SELECT *, %(first_middle)s AS first_middle, %(middle)s AS middle,
                           first_since < %(last)s - 1 AND unpaid[first_since + %(offset)s] > 0 AS first_is_foreseeable,
                           since < %(last)s - 1 AND unpaid[since + %(offset)s] > 0 AS is_foreseeable
                      FROM (
                            SELECT *,
                                   LEAST(GREATEST(%(date)s::date - due - 1, %(before)s), %(last)s - 1) AS first_since,
                                   LEAST(GREATEST(%(date)s::date - shifted_due - 1, %(before)s), %(last)s - 1) AS since
                              FROM (
                                    SELECT item.id, %(due)s AS due,
                                           %(due)s + %(trend)s + CASE WHEN item.is_disputed THEN %(dispute_delay)s
                                                                      ELSE 0 END AS shifted_due,
                                           COALESCE(score.unpaid, curve.unpaid) AS unpaid,
                                           COALESCE(score.days_left, curve.days_left) AS days_left
                                      FROM (%(items)s) item
                                      JOIN account_payer_curve curve ON curve.id = %(curve)s
                                 LEFT JOIN account_payer_score score
                                        ON score.company_id = curve.company_id AND score.partner_id = item.partner_id
                                   ) item
                           ) item
                   ) item
            """,
            items=items,
            curve=curve.id,
            date=date,
            due=settlements._get_due(SQL("item.date_due"), curve.is_weekend_paid),
            trend=int(curve.trend),
            dispute_delay=int(curve.dispute_delay),
            before=FIRST_DAY - 1,
            last=LAST_DAY,
            offset=ARRAY_OFFSET,
            first_middle=get_middle(SQL("first_since")),
            middle=get_middle(SQL("since")),
            first_day=settlements._get_due(SQL("(due + first_middle)"), curve.is_weekend_paid),
            expected_day=settlements._get_due(SQL("(shifted_due + middle)"), curve.is_weekend_paid),
        )

    @api.model
    def _get_forecast_query(self, company, date, first_days, items, weeks):
        """In which week open items are going to be paid, with which probability.

        :param res.company company: it has a curve
        :param datetime.date date: the day on which this is asked; the first week begins with it …
        :param int first_days: … and has so many days
        :param SQL items: query of (id, partner_id, date_due, is_disputed)
        :param int weeks: how many
        :return: query of (id, week, share): `week` from 0; `weeks` stands for later, -1 for not foreseeable
        :rtype: SQL
        """
        def get_unpaid(day):
            return SQL("unpaid[LEAST(GREATEST(%s, since), %s) + %s]", day, LAST_DAY, ARRAY_OFFSET)

        return SQL(
            """
            SELECT id, week,
                   CASE WHEN week = %(weeks)s THEN %(at_start)s
                        WHEN week = 0 THEN unpaid[since + %(offset)s] - %(at_end)s
                        ELSE %(at_start)s - %(at_end)s
                    END / unpaid[since + %(offset)s] AS share
              FROM (%(prediction)s) prediction, generate_series(0, %(weeks)s) week
             WHERE expected_date IS NOT NULL
         UNION ALL
            SELECT id, -1, 1.0 FROM (%(prediction)s) prediction WHERE expected_date IS NULL
            """,
            prediction=self._get_prediction_query(company, date, items),
            weeks=weeks,
            offset=ARRAY_OFFSET,
            at_start=get_unpaid(SQL("%s::date - shifted_due + week * 7 + %s", date, first_days - 8)),
            at_end=get_unpaid(SQL("%s::date - shifted_due + week * 7 + %s", date, first_days - 1)),
        )
