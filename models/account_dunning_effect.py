from odoo import api, fields, models
from odoo.tools import SQL

from .account_payer_curve import ARRAY_OFFSET, FIRST_DAY, LAST_DAY

# Days after a reminder within which what comes in is measured
WITHIN = (7, 14, 30)


class AccountDunningEffect(models.Model):
    """What reminders bring in: of each invoice that a notice has taken to a level, how much was paid within 7, 14 and
    30 days, beside how much was expected anyway.

    What was expected is what the customer's payment curve said on the day after the sending. Many would have paid
    without a reminder; what comes in above the expected is nearer to its effect than all that comes in. (The curve
    knows how customers have paid so far, reminded as they were: it is no trial with and without reminders.)

    Only what is over counts: an invoice reminded ten days ago is in the figures of 7 days and in none of 14 and 30.
    """

    _name = 'account.dunning.effect'
    _description = "Effect of reminders"
    _auto = False
    _order = 'date desc, id'
    _rec_name = 'notice_id'

    company_id = fields.Many2one(comodel_name='res.company', readonly=True)
    company_currency_id = fields.Many2one(comodel_name='res.currency', string="Company currency", readonly=True)
    notice_id = fields.Many2one(comodel_name='account.dunning.notice', readonly=True)
    partner_id = fields.Many2one(comodel_name='res.partner', string="Customer", readonly=True)
    move_id = fields.Many2one(comodel_name='account.move', string="Invoice", readonly=True)
    user_id = fields.Many2one(comodel_name='res.users', string="Collector", readonly=True)
    procedure_id = fields.Many2one(comodel_name='account.dunning.procedure', readonly=True)
    level_id = fields.Many2one(comodel_name='account.dunning.level', readonly=True)
    channel = fields.Selection(
        selection=[('email', "E-mail"), ('letter', "Letter"), ('call', "Call"), ('other', "Other")], readonly=True)
    date = fields.Date(string="Sent on", readonly=True)
    amount = fields.Monetary(string="Asked for", currency_field='company_currency_id', readonly=True)
    amount_7 = fields.Monetary(
        string="Asked for, 7 days over", currency_field='company_currency_id', readonly=True)
    recovered_7 = fields.Monetary(
        string="Paid within 7 days", currency_field='company_currency_id', readonly=True)
    expected_7 = fields.Monetary(
        string="Expected within 7 days anyway", currency_field='company_currency_id', readonly=True)
    amount_14 = fields.Monetary(
        string="Asked for, 14 days over", currency_field='company_currency_id', readonly=True)
    recovered_14 = fields.Monetary(
        string="Paid within 14 days", currency_field='company_currency_id', readonly=True)
    expected_14 = fields.Monetary(
        string="Expected within 14 days anyway", currency_field='company_currency_id', readonly=True)
    amount_30 = fields.Monetary(
        string="Asked for, 30 days over", currency_field='company_currency_id', readonly=True)
    recovered_30 = fields.Monetary(
        string="Paid within 30 days", currency_field='company_currency_id', readonly=True)
    expected_30 = fields.Monetary(
        string="Expected within 30 days anyway", currency_field='company_currency_id', readonly=True)

    def action_open_notice(self):
        """Open the notice.

        :rtype: dict
        """
        self.ensure_one()
        return self.notice_id._get_records_action()

    @property
    def _table_query(self):
        self.env['account.dunning.notice'].flush_model()
        self.env['account.dunning.notice.line'].flush_model()
        self.env['account.partial.reconcile'].flush_model()
        return SQL(" UNION ALL ").join(
            SQL("(%s)", self._get_query(company, company._get_dunning_today())) for company in self.env.companies)

    @api.model
    def _get_query(self, company, date):
        """:param res.company company:
        :param datetime.date date: the company's today
        :return: query of the model's columns
        :rtype: SQL
        """
        def get_columns(days):
            is_over = SQL("notice.sent_date + %s <= %s", days, date)
            return SQL(
                """
                CASE WHEN %(is_over)s THEN line.amount_due_company END AS %(amount)s,
                CASE WHEN %(is_over)s THEN LEAST(COALESCE(paid.%(within)s, 0), line.amount_due_company)
                    END AS %(recovered)s,
                CASE WHEN %(is_over)s THEN line.amount_due_company * line.%(share)s END AS %(expected)s
                """,
                is_over=is_over,
                within=SQL.identifier(f'within_{days}'),
                share=SQL.identifier(f'expected_share_{days}'),
                amount=SQL.identifier(f'amount_{days}'),
                recovered=SQL.identifier(f'recovered_{days}'),
                expected=SQL.identifier(f'expected_{days}'),
            )

        return SQL(
            """
            SELECT line.id,
                   notice.company_id,
                   %(currency)s AS company_currency_id,
                   notice.id AS notice_id,
                   notice.partner_id,
                   line.move_id,
                   notice.user_id,
                   notice.procedure_id,
                   line.level_id,
                   CASE WHEN notice.email_to IS NOT NULL THEN 'email'
                        WHEN level.print_letter THEN 'letter'
                        WHEN level.create_activity THEN 'call'
                        ELSE 'other' END AS channel,
                   notice.sent_date AS date,
                   line.amount_due_company AS amount,
                   %(columns)s
              FROM account_dunning_notice_line line
              JOIN account_dunning_notice notice ON notice.id = line.notice_id
              JOIN account_dunning_level level ON level.id = line.level_id
         LEFT JOIN LATERAL (
                    SELECT %(within)s
                      FROM account_partial_reconcile part
                      JOIN account_move_line credit ON credit.id = part.credit_move_id
                      JOIN account_move credit_move ON credit_move.id = credit.move_id
                      JOIN account_journal journal ON journal.id = credit_move.journal_id
                     WHERE part.debit_move_id = line.move_line_id
                       AND part.max_date > notice.sent_date
                       AND credit_move.move_type != 'out_refund'
                       AND journal.type IN ('bank', 'cash', 'credit')
                   ) paid ON TRUE
             WHERE notice.company_id = %(company)s
               AND notice.state = 'sent'
               AND line.advances
               AND line.amount_due_company > 0
            """,
            currency=company.currency_id.id,
            company=company.id,
            columns=SQL(", ").join(get_columns(days) for days in WITHIN),
            within=SQL(", ").join(
                SQL("SUM(part.amount) FILTER (WHERE part.max_date <= notice.sent_date + %s) AS %s",
                    days, SQL.identifier(f'within_{days}'))
                for days in WITHIN),
        )

    @api.model
    def _keep_expected_shares(self, company, date):
        """Keep of each invoice that was reminded in the last week what part of it was expected to be paid anyway, as
        long as the curve is that of these days.

        :param res.company company: it has a curve
        :param datetime.date date: the company's today
        """
        self.env['account.dunning.notice'].flush_model()
        self.env['account.dunning.notice.line'].flush_model()
        since = SQL("LEAST(GREATEST(notice.sent_date - line.date_maturity - 1, %s), %s)", FIRST_DAY - 1, LAST_DAY - 1)
        self.env.cr.execute(SQL(
            """
            UPDATE account_dunning_notice_line kept
               SET %(shares)s
              FROM (
                    SELECT line.id, %(since)s AS since, COALESCE(payer.unpaid, curve.unpaid) AS unpaid
                      FROM account_dunning_notice_line line
                      JOIN account_dunning_notice notice ON notice.id = line.notice_id
                      JOIN account_payer_curve curve ON curve.company_id = notice.company_id
                 LEFT JOIN account_payer_score payer
                        ON payer.company_id = notice.company_id AND payer.partner_id = notice.partner_id
                     WHERE notice.company_id = %(company)s
                       AND notice.state = 'sent'
                       AND notice.sent_date BETWEEN %(date)s::date - 7 AND %(date)s::date
                       AND line.advances
                       AND line.expected_share_30 IS NULL
                   ) line
             WHERE kept.id = line.id AND line.unpaid[line.since + %(offset)s] > 0
            """,
            shares=SQL(", ").join(
                SQL("%(name)s = 1 - line.unpaid[LEAST(line.since + %(days)s, %(last)s) + %(offset)s]"
                    " / line.unpaid[line.since + %(offset)s]",
                    name=SQL.identifier(f'expected_share_{days}'), days=days, last=LAST_DAY, offset=ARRAY_OFFSET)
                for days in WITHIN),
            since=since,
            company=company.id,
            date=date,
            offset=ARRAY_OFFSET,
        ))
        self.env['account.dunning.notice.line'].invalidate_model(
            [f'expected_share_{days}' for days in WITHIN], flush=False)
