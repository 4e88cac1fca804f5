from datetime import timedelta

from odoo import api, fields, models
from odoo.tools import SQL

# How far the screen looks ahead; what is expected later is one sum.
WEEKS = 13

LATER, UNKNOWN = 'later', 'unknown'


class AccountPaymentForecast(models.Model):
    """What is going to be paid in which week: the open amount of each invoice, spread over the weeks as its customer
    pays. Nothing is stored; what is open, set off or paid already is asked of the engine at this moment, how the
    customer pays is what was known in the morning.

    What was promised or agreed as installments counts on its day. Neither invoices that are not issued yet nor orders
    are in it.
    """

    _name = 'account.payment.forecast'
    _description = "Expected payments"
    _auto = False
    _order = 'date, id'
    _rec_name = 'move_id'

    company_id = fields.Many2one(comodel_name='res.company', readonly=True)
    company_currency_id = fields.Many2one(comodel_name='res.currency', string="Company currency", readonly=True)
    partner_id = fields.Many2one(comodel_name='res.partner', string="Customer", readonly=True)
    user_id = fields.Many2one(comodel_name='res.users', string="Collector", readonly=True)
    move_id = fields.Many2one(comodel_name='account.move', string="Invoice", readonly=True)
    move_line_id = fields.Many2one(comodel_name='account.move.line', string="Journal item", readonly=True)
    date_maturity = fields.Date(string="Due date", readonly=True)
    date = fields.Date(string="Week", readonly=True, help="Its Monday; of the current week, today.")
    kind = fields.Selection(
        selection=[
            ('week', "By habit"),
            ('agreed', "Promised or agreed"),
            (LATER, "Later"),
            (UNKNOWN, "Not foreseeable"),
        ],
        string="Expected",
        readonly=True,
        help="Not foreseeable: so late already, or so little known, that nothing can be said.",
    )
    currency_id = fields.Many2one(comodel_name='res.currency', readonly=True)
    amount_currency = fields.Monetary(string="In its currency", readonly=True, aggregator=False)
    amount = fields.Monetary(currency_field='company_currency_id', readonly=True)

    @api.depends('move_id')
    def _compute_display_name(self):
        for item in self:
            item.display_name = item.move_id.display_name

    #=== ACTION METHODS ===#

    def action_open_move(self):
        """Open the invoice.

        :rtype: dict
        """
        self.ensure_one()
        return self.move_id._get_records_action()

    #=== QUERY ===#

    @property
    def _table_query(self):
        """All companies that the user works with, each on its own today."""
        return SQL(" UNION ALL ").join(
            SQL("(%s)", self._get_query(company, company._get_dunning_today(), WEEKS))
            for company in self.env.companies
        )

    @api.model
    def _get_tables(self, company, date, partner_ids=None):
        """What is open and when it was agreed to be paid.

        :param res.company company:
        :param datetime.date date: the company's today
        :param list[int] | None partner_ids: commercial partners; None: all
        :return: a `WITH` clause with the tables `item` (id, move_id, partner_id, currency_id, date_due, is_disputed,
            amount in its currency, rate to company currency) and `agreed` (id, date, amount)
        :rtype: SQL
        """
        for model in ('account.payment.promise', 'account.payment.plan', 'account.payment.plan.installment',
                      'account.dispute'):
            self.env[model].flush_model()
        return SQL(
            """
            %(engine)s,
            item AS MATERIALIZED (
                SELECT id, move_id, partner_id, currency_id, date_maturity AS date_due,
                       residual - unbooked - set_off AS amount,
                       residual_company / residual AS rate,
                       EXISTS (
                           SELECT FROM account_dispute dispute
                            WHERE dispute.move_id = verdict.move_id AND dispute.state = 'open'
                       ) AS is_disputed
                  FROM verdict
                 WHERE residual - unbooked - set_off > 0
            ),
            -- Each agreement's dates and invoices are laid beside one another, oldest first: where they overlap, that
            -- much of the invoice is to be paid on that date.
            agreed_line AS (
                SELECT kind, agreement_id, item.id, item.amount,
                       SUM(item.amount) OVER (PARTITION BY kind, agreement_id ORDER BY date_due, item.id) AS upto
                  FROM (
                        SELECT 'promise' AS kind, promise_id AS agreement_id, move_line_id
                          FROM account_payment_promise_move_line_rel rel
                          JOIN account_payment_promise promise ON promise.id = rel.promise_id
                         WHERE promise.state = 'open'
                     UNION ALL
                        SELECT 'plan', plan_id, move_line_id
                          FROM account_payment_plan_move_line_rel rel
                          JOIN account_payment_plan plan ON plan.id = rel.plan_id
                         WHERE plan.state IN ('signed', 'active')
                       ) rel
                  JOIN item ON item.id = rel.move_line_id
            ),
            agreed_date AS (
                SELECT kind, agreement_id, date, amount,
                       SUM(amount) OVER (PARTITION BY kind, agreement_id ORDER BY date, id) AS upto
                  FROM (
                        SELECT 'promise' AS kind, promise.id AS agreement_id, promise.id, promise.date,
                               promise.amount - GREATEST(promise.amount_start - line.still_open, 0) AS amount
                          FROM account_payment_promise promise
                          JOIN (
                                SELECT agreement_id, MAX(upto) AS still_open
                                  FROM agreed_line
                                 WHERE kind = 'promise'
                              GROUP BY agreement_id
                               ) line ON line.agreement_id = promise.id
                     UNION ALL
                        SELECT 'plan', installment.plan_id, installment.id, installment.date,
                               installment.amount - COALESCE(installment.amount_paid, 0)
                          FROM account_payment_plan_installment installment
                          JOIN account_payment_plan plan ON plan.id = installment.plan_id
                         WHERE plan.state IN ('signed', 'active')
                       ) part
                 WHERE amount > 0
            ),
            agreed AS MATERIALIZED (
                SELECT id, GREATEST(date, %(date)s::date) AS date, SUM(amount) AS amount
                  FROM (
                        SELECT line.id, day.date,
                               LEAST(line.upto, day.upto) - GREATEST(line.upto - line.amount, day.upto - day.amount)
                                   AS amount
                          FROM agreed_line line
                          JOIN agreed_date day USING (kind, agreement_id)
                       ) part
                 WHERE amount > 0
              GROUP BY id, GREATEST(date, %(date)s::date)
            )
            """,
            engine=self.env['account.dunning.engine']._get_query(company, date, partner_ids),
            date=date,
        )

    @api.model
    def _get_query(self, company, date, weeks):
        """:param res.company company:
        :param datetime.date date: the company's today
        :param int weeks: how many, this week among them
        :return: query of the model's columns
        :rtype: SQL
        """
        monday = date - timedelta(days=date.weekday())
        curves = self.env['account.payer.curve']
        habit = SQL("SELECT id, -1 AS week, 1.0 AS share FROM item")  # too little is known
        if curves._get(company):
            curves.flush_model()
            habit = curves._get_forecast_query(
                company, date, 7 - date.weekday(), SQL("SELECT id, partner_id, date_due, is_disputed FROM item"), weeks)
        known, collector = self.env['account.dunning.collector.rule'].sudo()._get_known_collector(company, 'customer')
        return SQL(
            """
            %(tables)s
            SELECT ROW_NUMBER() OVER (ORDER BY item.id, part.week, part.kind) AS id,
                   %(company)s AS company_id,
                   %(company_currency)s AS company_currency_id,
                   item.partner_id,
                   %(collector)s AS user_id,
                   item.move_id,
                   item.id AS move_line_id,
                   item.date_due AS date_maturity,
                   CASE WHEN part.week >= 0 AND part.week < %(weeks)s
                        THEN GREATEST(%(monday)s::date + part.week * 7, %(date)s::date) END AS date,
                   part.kind,
                   item.currency_id,
                   part.amount AS amount_currency,
                   part.amount * item.rate AS amount
              FROM item
              JOIN (
                    SELECT id, 'agreed' AS kind, (date - %(monday)s::date) / 7 AS week, amount
                      FROM agreed
                 UNION ALL
                    SELECT item.id,
                           CASE habit.week WHEN -1 THEN %(unknown)s WHEN %(weeks)s THEN %(later)s ELSE 'week' END,
                           habit.week,
                           (item.amount - COALESCE(agreed.amount, 0)) * habit.share::numeric
                      FROM item
                      JOIN (%(habit)s) habit ON habit.id = item.id
                 LEFT JOIN (SELECT id, SUM(amount) AS amount FROM agreed GROUP BY id) agreed ON agreed.id = item.id
                   ) part ON part.id = item.id AND part.amount * item.rate >= %(least)s
              JOIN res_partner customer ON customer.id = item.partner_id
              %(known)s
            """,
            tables=self._get_tables(company, date),
            habit=habit,
            company=company.id,
            company_currency=company.currency_id.id,
            monday=monday,
            date=date,
            weeks=weeks,
            later=LATER,
            unknown=UNKNOWN,
            least=0.005,
            known=known, collector=collector,
        )

    #=== BUSINESS METHODS ===#

    @api.model
    def _predict(self, move_lines, date):
        """When open receivable lines are going to be paid.

        :param account.move.line move_lines: lines without a customer, or that are paid, are left out
        :param datetime.date date: the day on which this is asked
        :return: the expected day (None: not foreseeable) and the probability that it comes after the due date (None:
            too little is known), by line. A promise's or installment's day goes before what the customer's habit says.
        :rtype: dict[account.move.line, tuple[datetime.date | None, float | None]]
        """
        predictions = {}
        curves = self.env['account.payer.curve']
        for company, lines in move_lines.grouped('company_id').items():
            habit = SQL("SELECT id, NULL::date AS expected_date, NULL::float8 AS probability_late FROM item")
            if curves._get(company):
                curves.flush_model()
                habit = curves._get_prediction_query(company, date, SQL(
                    "SELECT id, partner_id, date_due, is_disputed FROM item WHERE id = ANY(%s)", lines.ids))
            rows = self.env.execute_query(SQL(
                """
                %(tables)s
                SELECT habit.id, habit.expected_date, habit.probability_late::float8, agreed.date,
                       COALESCE(agreed.amount >= item.amount, FALSE) AS is_agreed, item.date_due
                  FROM (%(habit)s) habit
                  JOIN item ON item.id = habit.id
             LEFT JOIN (
                        SELECT id, MAX(date) AS date, SUM(amount) AS amount
                          FROM agreed
                      GROUP BY id
                       ) agreed ON agreed.id = habit.id
                 WHERE habit.id = ANY(%(lines)s)
                """,
                tables=self._get_tables(company, date, lines.partner_id.commercial_partner_id.ids),
                habit=habit, lines=lines.ids))
            for line_id, expected_date, probability_late, agreed_date, is_agreed, date_due in rows:
                if is_agreed:
                    expected_date, probability_late = agreed_date, float(agreed_date > date_due)
                elif agreed_date and expected_date:
                    expected_date = max(expected_date, agreed_date)
                predictions[move_lines.browse(line_id)] = (expected_date, probability_late)
        return predictions

    @api.model
    def _forecast(self, company, date, weeks):
        """What is going to be paid, by week.

        :param res.company company:
        :param datetime.date date: the company's today
        :param int weeks: how many, this week among them
        :return: amounts in company currency by first day of the week; by 'later' and 'unknown', what is expected
            afterwards or can't be foretold
        :rtype: dict[datetime.date | str, float]
        """
        rows = self.env.execute_query(SQL(
            """
            SELECT COALESCE(date::varchar, CASE kind WHEN %(unknown)s THEN kind ELSE %(later)s END), SUM(amount)
              FROM (%(query)s) part
          GROUP BY 1
          ORDER BY 1
            """,
            query=self._get_query(company, date, weeks), unknown=UNKNOWN, later=LATER))
        return {
            key if key in (LATER, UNKNOWN) else fields.Date.to_date(key): company.currency_id.round(float(amount))
            for key, amount in rows
        }
