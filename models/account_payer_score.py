import logging

from odoo import api, fields, models
from odoo.exceptions import AccessError
from odoo.fields import Domain
from odoo.tools import SQL
from odoo.tools.misc import formatLang

from .account_payer_curve import ARRAY_OFFSET, BORROWED, FIRST_DAY, LAST_DAY

_logger = logging.getLogger(__name__)

# With fewer known invoices there is no score, only the curve that leans on the average.
LEAST_KNOWN = 3

# An invoice is new for so many days, in which its first prediction is kept.
FRESH_DAYS = 7

# All customers are scored anew once in so many days, for what time alone changes; in between only those about whom
# something has happened, and those with something overdue.
REBUILD_DAYS = 7


class AccountPayerScore(models.Model):
    """How late a customer is expected to pay, from 1 (on time) to 5 (worst), and why.

    From the company's own ledger only, the last 24 months of it. It helps people to decide, and decides nothing: it
    never is the cause of a hold, a refused order, shorter terms or a hand-over (GDPR art. 22; CJEU C-634/21). Natural
    persons have none unless the company says so; whoever is set to *do not score* has none.

    A customer's curve is that of their invoices, newer ones weighing more, and of `BORROWED` average ones. The score
    follows from the mean of days late by that curve, which is a weighted mean over invoices: the reasons name its
    shares.
    """

    _name = 'account.payer.score'
    _description = "Payer score"
    _order = 'expected_late_days desc, id'
    _rec_name = 'partner_id'
    _log_access = False

    company_id = fields.Many2one(comodel_name='res.company', required=True, readonly=True, ondelete='cascade')
    partner_id = fields.Many2one(
        comodel_name='res.partner', string="Customer", required=True, readonly=True, index=True, ondelete='cascade')
    date = fields.Date(required=True, readonly=True, help="What had happened before this day is known.")
    score = fields.Integer(
        readonly=True, aggregator='avg',
        help="1: pays on time, 5: very late. 0: fewer than three invoices are known, so there is none.")
    expected_late_days = fields.Float(
        string="Expected days late", digits=(16, 1), readonly=True, aggregator='avg',
        help="Mean over the invoices; those paid before they were due count as 0.")
    probability_late = fields.Float(string="Late with a probability of", readonly=True, aggregator='avg')
    invoices_known = fields.Integer(
        string="Known invoices", readonly=True, help="Of the last 24 months, paid, or open and overdue.")
    invoices_late = fields.Integer(string="Late invoices", readonly=True, help="Of those, paid late or overdue.")
    invoices_open = fields.Integer(string="Overdue invoices", readonly=True)
    oldest_days = fields.Integer(
        string="Oldest overdue, in days", readonly=True, aggregator='max')
    average_days = fields.Float(
        string="Mean days to payment", digits=(16, 1), readonly=True, aggregator='avg',
        help="From the due date, of paid invoices; negative: before it.")
    company_average_days = fields.Float(digits=(16, 1), readonly=True, aggregator=False)
    days_paid = fields.Float(string="Share of paid invoices", digits=(16, 1), readonly=True, aggregator=False)
    days_open = fields.Float(string="Share of overdue invoices", digits=(16, 1), readonly=True, aggregator=False)
    days_borrowed = fields.Float(
        string="Share of the average customer", digits=(16, 1), readonly=True, aggregator=False)
    reasons = fields.Text(compute='_compute_reasons')

    _payer_uniq = models.UniqueIndex('(company_id, partner_id)')

    def init(self):
        # EXTENDS 'base': see `account.payer.curve`
        self.env.cr.execute(
            "ALTER TABLE account_payer_score"
            " ADD COLUMN IF NOT EXISTS unpaid float8[], ADD COLUMN IF NOT EXISTS days_left float8[]")

    #=== COMPUTE METHODS ===#

    @api.depends_context('lang')
    @api.depends('score', 'expected_late_days', 'days_paid', 'days_open', 'days_borrowed')
    def _compute_reasons(self):
        for payer in self:
            payer.reasons = "\n".join(payer._get_reasons())

    def _get_reasons(self):
        """Why the score is what it is, in sentences for those who use it and for the customer who asks (GDPR art. 15).

        :rtype: list[str]
        """
        self.ensure_one()
        known = self.invoices_known

        def in_days(number):
            return formatLang(self.env, number, digits=1)

        reasons = []
        if known < LEAST_KNOWN:
            reasons.append(self.env._("Only %(known)s invoices known: no score, leans on the average.", known=known))
        if known:
            reasons.append(self.env._("Late: %(late)s of %(known)s invoices.", late=self.invoices_late, known=known))
        if known > self.invoices_open:
            reasons.append(self.env._(
                "Pays on average %(days)s days after the due date; all customers: %(average)s.",
                days=in_days(self.average_days), average=in_days(self.company_average_days)))
        if self.invoices_open:
            reasons.append(self.env._(
                "Overdue and open: %(count)s, the oldest for %(days)s days.",
                count=self.invoices_open, days=self.oldest_days))
        paid, still_open, borrowed = self._get_shares()
        reasons.append(self.env._(
            "Expected: %(total)s days late = %(paid)s for what was paid + %(open)s for what is overdue + %(borrowed)s"
            " for the average customer.",
            total=in_days(self.expected_late_days), paid=in_days(paid), open=in_days(still_open),
            borrowed=in_days(borrowed)))
        return reasons

    def _get_shares(self):
        """The shares of the expected days late, rounded so that they add up to it as it is shown.

        :return: of paid invoices, of overdue ones, and of the average customer, in days
        :rtype: tuple[float, float, float]
        """
        shares = [round(days, 1) for days in (self.days_paid, self.days_open, self.days_borrowed)]
        largest = shares.index(max(shares))
        shares[largest] += round(self.expected_late_days, 1) - sum(shares)
        return tuple(shares)

    #=== ACTION METHODS ===#

    def action_update(self):
        """Make the score anew now, from what had happened until yesterday.

        :raise AccessError: for whoever may not write invoices
        """
        if not self.env.user.has_group('account.group_account_invoice'):
            raise AccessError(self.env._("Only invoicing users make scores anew."))
        self.check_access('read')
        for company, payers in self.grouped('company_id').items():
            today = company._get_dunning_today()
            partner_ids = payers.partner_id.ids
            self.env['account.payer.settlement'].sudo()._update(company, today, partner_ids)
            if self.env['account.payer.curve'].sudo()._get(company):
                self.sudo()._update(company, today, partner_ids)
            self.sudo()._show_in_followup(company)

    #=== CRON ===#

    @api.model
    def _cron_score(self):
        """Each company's curve, scores and predictions of today."""
        commit = self.env['ir.cron']._commit_progress
        companies = self.env['res.company'].sudo().search(Domain('chart_template', '!=', False))
        commit(remaining=len(companies))
        failure = None
        for company in companies:
            try:
                self.sudo().with_company(company)._update_company(company, company._get_dunning_today())
                if not commit(1):
                    break
            except Exception as error:
                self.env.cr.rollback()
                _logger.warning("Payers of company %s can't be scored now", company.id, exc_info=True)
                failure = error
        if failure:
            raise failure

    @api.model
    def _update_company(self, company, date):
        """Bring the company's settlements, curve, scores and predictions up to date.

        :param res.company company:
        :param datetime.date date: what happened before this day is known
        """
        settlements, curves = self.env['account.payer.settlement'], self.env['account.payer.curve']
        curve = curves._get(company)
        is_full = not curve.date_rebuilt or (date - curve.date_rebuilt).days >= REBUILD_DAYS
        partner_ids = None
        changed = self.env['account.payer.change']._take(company)
        if not is_full:
            partner_ids = {*changed, *self._find_overdue(company, date)}
        settlements._update(company, date, None if is_full else changed)
        curve = curves._update(company, date)
        if not curve:
            self.search(Domain('company_id', '=', company.id)).unlink()
            self._show_in_followup(company)
            return
        self._update(company, date, partner_ids)
        self._show_in_followup(company)
        if is_full:
            curve.date_rebuilt = date
        self._keep_first_predictions(company, date)
        self.env['account.dunning.effect']._keep_expected_shares(company, date)

    @api.model
    def _show_in_followup(self, company):
        """The work list is sorted by scores: it has a copy of them."""
        self.env['account.dunning.followup'].flush_model(['score', 'expected_late_days'])
        self.env.cr.execute(SQL(
            """
            UPDATE account_dunning_followup followup
               SET score = COALESCE(payer.score, 0), expected_late_days = COALESCE(payer.expected_late_days, 0)
              FROM account_dunning_followup known
         LEFT JOIN account_payer_score payer
                ON payer.company_id = known.company_id AND payer.partner_id = known.partner_id
             WHERE followup.id = known.id AND known.company_id = %s
               AND (known.score, known.expected_late_days)
                   IS DISTINCT FROM (COALESCE(payer.score, 0), COALESCE(payer.expected_late_days, 0))
            """,
            company.id))
        self.env['account.dunning.followup'].invalidate_model(['score', 'expected_late_days'], flush=False)

    @api.model
    def _find_overdue(self, company, date):
        return [partner_id for (partner_id,) in self.env.execute_query(SQL(
            """
            SELECT DISTINCT partner_id
              FROM account_payer_settlement
             WHERE company_id = %s AND date_settled IS NULL AND date_due < %s
            """,
            company.id, date))]

    #=== SCORES ===#

    @api.model
    def _update(self, company, date, partner_ids=None):
        """Score customers anew, in one statement.

        :param res.company company: it has a curve
        :param datetime.date date: what happened before this day is known
        :param partner_ids: commercial partners; None: all
        """
        self.env['account.payer.settlement'].flush_model()
        self.env['res.partner'].flush_model(['is_company', 'payer_is_excluded'])
        self.flush_model()
        curve = self.env['account.payer.curve']._get(company)
        [(average,)] = self.env.execute_query(SQL("SELECT unpaid FROM account_payer_curve WHERE id = %s", curve.id))
        of_partners = SQL() if partner_ids is None else SQL("AND payer.partner_id = ANY(%s)", list(partner_ids))
        self.env.cr.execute(SQL(
            """
            WITH known AS MATERIALIZED (
                SELECT known.*
                  FROM (%(known)s) known
                  JOIN res_partner customer ON customer.id = known.partner_id
                 WHERE customer.payer_is_excluded IS NOT TRUE AND (customer.is_company OR %(with_persons)s)
            ),
            payer AS MATERIALIZED (
                SELECT partner_id,
                       COUNT(*) AS known,
                       COUNT(*) FILTER (WHERE days > 0 OR open_days IS NOT NULL) AS late,
                       COUNT(open_days) AS open,
                       COALESCE(MAX(%(date)s::date - due) FILTER (WHERE open_days IS NOT NULL), 0) AS oldest,
                       COALESCE(SUM(weight * days) / SUM(weight) FILTER (WHERE days IS NOT NULL), 0) AS average_days,
                       SUM(weight) + %(borrowed)s AS weight,
                       COALESCE(SUM(weight) FILTER (WHERE days > 0 OR open_days IS NOT NULL), 0) AS late_weight,
                       COALESCE(SUM(weight * GREATEST(days, 0)), 0) AS paid_days,
                       COALESCE(SUM(weight * (%(later)s::float8[])[open_days + 1]), 0) AS open_days
                  FROM known
              GROUP BY partner_id
            ),
            -- of each customer and day: the weight of invoices paid on it, and the share of open ones not yet paid
            paid_day AS (
                SELECT partner_id, days AS day, SUM(weight) AS weight
                  FROM known
                 WHERE days IS NOT NULL
              GROUP BY partner_id, days
            ),
            open_day AS (
                SELECT partner_id, day,
                       SUM(weight * CASE WHEN day <= open_days OR average[open_days + %(offset)s] = 0 THEN 1
                                         ELSE average[day + %(offset)s] / average[open_days + %(offset)s]
                                     END) AS weight
                  FROM (
                        SELECT partner_id, open_days, SUM(weight) AS weight, %(average)s::float8[] AS average
                          FROM known
                         WHERE open_days IS NOT NULL
                      GROUP BY partner_id, open_days
                       ) still_open,
                       generate_series(%(before)s, %(last)s - 1) day
              GROUP BY partner_id, day
            ),
            unpaid AS (
                SELECT partner_id, array_agg(share ORDER BY day) AS unpaid,
                       array_agg((later + %(last)s * last_share) / NULLIF(share, 0) ORDER BY day)
                           FILTER (WHERE day BETWEEN 0 AND %(last)s - 1) AS days_left
                  FROM (
                        SELECT *,
                               SUM(share) OVER (PARTITION BY partner_id ORDER BY day DESC
                                                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS later,
                               MIN(share) FILTER (WHERE day = %(last)s - 1) OVER (PARTITION BY partner_id) AS last_share
                          FROM (
                        SELECT payer.partner_id, day,
                               (COALESCE(SUM(paid_day.weight) OVER (
                                    PARTITION BY payer.partner_id ORDER BY day DESC
                                    ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0)
                                + COALESCE(open_day.weight, 0)
                                + %(borrowed)s * (%(average)s::float8[])[day + %(offset)s]
                               ) / payer.weight AS share
                          FROM payer
                    CROSS JOIN generate_series(%(before)s, %(last)s) day
                     LEFT JOIN paid_day USING (partner_id, day)
                     LEFT JOIN open_day USING (partner_id, day)
                               ) day
                       ) day
              GROUP BY partner_id
            ),
            gone AS (
                DELETE FROM account_payer_score payer
                 WHERE payer.company_id = %(company)s
                   %(of_partners)s
                   AND NOT EXISTS (SELECT FROM payer known WHERE known.partner_id = payer.partner_id)
            )
            INSERT INTO account_payer_score AS score (
                company_id, partner_id, date, score, expected_late_days, probability_late, invoices_known,
                invoices_late, invoices_open, oldest_days, average_days, company_average_days, days_paid, days_open,
                days_borrowed, unpaid, days_left
            )
            SELECT %(company)s, partner_id, %(date)s,
                   CASE WHEN known < %(least_known)s THEN 0
                        ELSE 1 + (SELECT COUNT(*) FROM unnest(%(bounds)s::float8[]) bound
                                   WHERE paid_share + open_share + borrowed_share >= bound)
                    END,
                   paid_share + open_share + borrowed_share,
                   probability_late, known, late, open, oldest, average_days, %(average_days)s,
                   paid_share, open_share, borrowed_share, unpaid, days_left
              FROM (
                    SELECT payer.*, unpaid.unpaid, unpaid.days_left,
                           payer.paid_days / payer.weight AS paid_share,
                           payer.open_days / payer.weight AS open_share,
                           %(borrowed)s * %(average_late)s / payer.weight AS borrowed_share,
                           (late_weight + %(borrowed)s * (%(average)s::float8[])[%(offset)s]) / payer.weight
                               AS probability_late
                      FROM payer
                      JOIN unpaid USING (partner_id)
                   ) payer
       ON CONFLICT (company_id, partner_id) DO UPDATE
               SET date = EXCLUDED.date,
                   score = EXCLUDED.score,
                   expected_late_days = EXCLUDED.expected_late_days,
                   probability_late = EXCLUDED.probability_late,
                   invoices_known = EXCLUDED.invoices_known,
                   invoices_late = EXCLUDED.invoices_late,
                   invoices_open = EXCLUDED.invoices_open,
                   oldest_days = EXCLUDED.oldest_days,
                   average_days = EXCLUDED.average_days,
                   company_average_days = EXCLUDED.company_average_days,
                   days_paid = EXCLUDED.days_paid,
                   days_open = EXCLUDED.days_open,
                   days_borrowed = EXCLUDED.days_borrowed,
                   unpaid = EXCLUDED.unpaid,
                   days_left = EXCLUDED.days_left
            """,
            known=self.env['account.payer.settlement']._get_known_query(
                company, date, curve.is_weekend_paid, FIRST_DAY, LAST_DAY, partner_ids),
            with_persons=company.payer_score_persons,
            date=date,
            company=company.id,
            borrowed=BORROWED,
            average=average,
            average_days=curve.average_days,
            average_late=curve.expected_late_days,
            later=self._get_mean_days_later(average),
            before=FIRST_DAY - 1,
            last=LAST_DAY,
            offset=ARRAY_OFFSET,
            least_known=LEAST_KNOWN,
            bounds=company._get_payer_score_bounds(),
            of_partners=of_partners,
        ))
        self.invalidate_model(flush=False)

    @api.model
    def _get_mean_days_later(self, average):
        """:param list[float] average: the company's curve
        :return: for an invoice that is more than 0, 1, 2 … days late: with how many it is paid on average
        :rtype: list[float]
        """
        unpaid = dict(zip(range(FIRST_DAY - 1, LAST_DAY + 1), average, strict=True))
        return [
            day + 1 + sum(unpaid[later] for later in range(day + 1, LAST_DAY)) / unpaid[day] if unpaid[day]
            else LAST_DAY
            for day in range(LAST_DAY)
        ]

    @api.model
    def _forget_unscored(self, partners=None):
        """Delete the scores of customers who must have none.

        :param res.partner | None partners: commercial partners; None: all
        """
        domain = Domain('partner_id.payer_is_excluded', '=', True) | Domain([
            ('partner_id.is_company', '=', False), ('company_id.payer_score_persons', '=', False)])
        if partners is not None:
            domain &= Domain('partner_id', 'in', partners.ids)
        scores = self.with_context(active_test=False).search(domain)
        companies = scores.company_id
        scores.unlink()
        for company in companies:
            self._show_in_followup(company)

    #=== PREDICTIONS ===#

    @api.model
    def _predict(self, move_lines, date):
        """See `account.payment.forecast`."""
        return self.env['account.payment.forecast']._predict(move_lines, date)

    @api.model
    def _forecast(self, company, date, weeks):
        """See `account.payment.forecast`."""
        return self.env['account.payment.forecast']._forecast(company, date, weeks)

    @api.model
    def _keep_first_predictions(self, company, date):
        """Keep what is foretold of an invoice when it is new: the trend is how far that was off. (What is foretold of
        one that has been open for long knows that it was not paid meanwhile, and is off by less.)"""
        self.env.cr.execute(SQL(
            """
            UPDATE account_payer_settlement settlement
               SET date_predicted = prediction.first_prediction
              FROM (%s) prediction
             WHERE settlement.id = prediction.id AND prediction.first_prediction IS NOT NULL
            """,
            self.env['account.payer.curve']._get_prediction_query(company, date, SQL(
                """
                SELECT id, partner_id, date_due, is_disputed
                  FROM account_payer_settlement
                 WHERE company_id = %s AND date_predicted IS NULL
                   AND date_issued BETWEEN %s AND %s AND (date_settled IS NULL OR date_settled >= %s)
                """, company.id, fields.Date.subtract(date, days=FRESH_DAYS), date, date))))
        self.env['account.payer.settlement'].invalidate_model(['date_predicted'], flush=False)
