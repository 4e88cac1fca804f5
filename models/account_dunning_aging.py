from math import ceil

from odoo import api, fields, models
from odoo.exceptions import UserError
from odoo.tools import SQL

from ..utils.days import format_day

# Buckets: not due on the day, then so many times the company's number of days late
BUCKETS = ('0', '1', '2', '3', '4')


class AccountDunningAging(models.Model):
    """Aged receivables: what was open on a day, by how late it was. Nothing is stored, the ledger is asked.

    The day stands in the context (`aging_date`), because it is what is looked at and no property of the items; without
    it the company's today. The total of a day is the balance of the trade receivable accounts on that day: what is
    matched later was still open, and what is not matched (payments, credit notes) stands as a negative item.
    """

    _name = 'account.dunning.aging'
    _description = "Aged receivables"
    _auto = False
    _order = 'date_maturity, id'
    _rec_name = 'move_id'

    company_id = fields.Many2one(comodel_name='res.company', readonly=True)
    company_currency_id = fields.Many2one(comodel_name='res.currency', string="Company currency", readonly=True)
    partner_id = fields.Many2one(comodel_name='res.partner', string="Customer", readonly=True)
    user_id = fields.Many2one(comodel_name='res.users', string="Collector", readonly=True)
    level_id = fields.Many2one(
        comodel_name='account.dunning.level', readonly=True, help="The last one reached by that day.")
    move_id = fields.Many2one(comodel_name='account.move', string="Entry", readonly=True)
    move_type = fields.Selection(selection='_selection_move_type', string="Type", readonly=True)
    date = fields.Date(readonly=True)
    date_maturity = fields.Date(string="Due date", readonly=True)
    days = fields.Integer(
        string="Days late", readonly=True, aggregator=False, help="On the day looked at; negative: not due yet.")
    bucket = fields.Selection(selection='_selection_bucket', string="Age", readonly=True)
    currency_id = fields.Many2one(comodel_name='res.currency', readonly=True)
    amount_currency = fields.Monetary(string="In its currency", readonly=True, aggregator=False)
    amount = fields.Monetary(string="Total", currency_field='company_currency_id', readonly=True)
    amount_0 = fields.Monetary(string="Not due", currency_field='company_currency_id', readonly=True)
    amount_1 = fields.Monetary(string="Late, first period", currency_field='company_currency_id', readonly=True)
    amount_2 = fields.Monetary(string="Late, second period", currency_field='company_currency_id', readonly=True)
    amount_3 = fields.Monetary(string="Late, third period", currency_field='company_currency_id', readonly=True)
    amount_4 = fields.Monetary(string="Late, older", currency_field='company_currency_id', readonly=True)

    #=== SELECTION METHODS ===#

    @api.model
    def _selection_move_type(self):
        return self.env['account.move']._fields['move_type']._description_selection(self.env)

    @api.model
    def _selection_bucket(self):
        return list(zip(BUCKETS, self._get_bucket_labels(self.env.company), strict=True))

    @api.model
    def _get_bucket_labels(self, company):
        """What the buckets of a company are called: "Not due", "1–30" …

        :rtype: list[str]
        """
        days = company.sudo().dunning_aging_days
        return [
            self.env._("Not due"), f"1–{days}", f"{days + 1}–{2 * days}", f"{2 * days + 1}–{3 * days}",
            self.env._("Over %(days)s", days=3 * days),
        ]

    @api.model
    def _get_bucket(self, days, length):
        """The number of an item's bucket, as the query has it.

        :param int days: days late; 0 or less: not due
        :param int length: days of a bucket
        :rtype: int
        """
        return min(max(ceil(days / length), 0), len(BUCKETS) - 1)

    @api.model
    def fields_get(self, allfields=None, attributes=None):
        # EXTENDS 'base': the columns are called by the company's numbers of days
        result = super().fields_get(allfields, attributes)
        for bucket, label in zip(BUCKETS, self._get_bucket_labels(self.env.company), strict=True):
            if 'string' in result.get(f'amount_{bucket}', {}):
                result[f'amount_{bucket}']['string'] = label
        return result

    #=== COMPUTE METHODS ===#

    @api.depends('move_id')
    def _compute_display_name(self):
        for item in self:
            item.display_name = item.move_id.display_name

    #=== ACTION METHODS ===#

    @api.model
    def action_open(self, date=None):
        """Open the report.

        :param datetime.date | str | None date: the day; None: today
        :rtype: dict
        """
        date = fields.Date.to_date(date) or self.env.company._get_dunning_today()
        action = self.env['ir.actions.act_window']._for_xml_id('account_dunning.account_dunning_aging_action')
        return {
            **action,
            'name': self.env._("Aged receivables, %(date)s", date=format_day(self.env, date)),
            'context': {'aging_date': fields.Date.to_string(date), 'search_default_group_by_partner': 1},
        }

    def action_open_move(self):
        """Open the invoice, credit note, payment or entry behind an item.

        :rtype: dict
        """
        self.ensure_one()
        return self.move_id._get_records_action()

    #=== BUSINESS METHODS ===#

    @api.model
    def _get_balances(self, company, date, partner_ids=None):
        """What was open on a day, item by item.

        :param res.company company:
        :param datetime.date date: the day, past or future; what is dated later is left out
        :param list[int] | None partner_ids: commercial partners; None: all
        :return: one row for each item: id (of the journal item), company_id, company_currency_id, partner_id
            (commercial), user_id (collector), level_id, move_id, move_type, date, date_maturity, days (late on that
            day), bucket ('0' to '4'), currency_id, amount_currency (in currency_id), amount (in company currency), and
            amount_0 to amount_4: the amount in its bucket
        :rtype: list[dict]
        """
        self._flush_for_query()
        return self.env.execute_query_dict(SQL(
            "%s ORDER BY partner_id, date_maturity, id",
            self._get_query(company, date, company.sudo().dunning_aging_days, partner_ids)))

    @api.model
    def _get_buckets(self, company, date, partner_ids):
        """What customers owed on a day, by age.

        :param res.company company:
        :param datetime.date date:
        :param list[int] partner_ids: commercial partners
        :return: the amounts of the five buckets, in company currency, of each customer with open items
        :rtype: dict[int, list[float]]
        """
        self._flush_for_query()
        rows = self.env.execute_query(SQL(
            "SELECT partner_id, %(sums)s FROM (%(items)s) items GROUP BY partner_id",
            sums=SQL(", ").join(SQL("SUM(%s)", SQL.identifier(f'amount_{bucket}')) for bucket in BUCKETS),
            items=self._get_query(company, date, company.sudo().dunning_aging_days, list(partner_ids))))
        return {
            partner_id: [company.currency_id.round(float(amount)) for amount in amounts]
            for partner_id, *amounts in rows
        }

    @property
    def _table_query(self):
        """All companies that the user works with, in the current one's buckets."""
        try:
            date = fields.Date.to_date(self.env.context.get('aging_date') or False)
        except (TypeError, ValueError) as error:
            raise UserError(self.env._("“%s” is no day.", self.env.context['aging_date'])) from error
        days = self.env.company.sudo().dunning_aging_days
        self._flush_for_query()
        return SQL(" UNION ALL ").join(
            SQL("(%s)", self._get_query(company, date or company._get_dunning_today(), days))
            for company in self.env.companies
        )

    @api.model
    def _flush_for_query(self):
        for model, names in {
            'account.move.line': [
                'account_id', 'amount_currency', 'amount_residual', 'amount_residual_currency', 'balance', 'company_id',
                'currency_id', 'date', 'date_maturity', 'dunning_last_date', 'dunning_level_id', 'move_id',
                'parent_state', 'partner_id', 'reconciled',
            ],
            'account.move': ['move_type'],
            'account.partial.reconcile': None,
            'account.dunning.notice': ['sent_date', 'state'],
            'account.dunning.notice.line': None,
            'res.partner': ['commercial_partner_id', 'dunning_user_id'],
        }.items():
            self.env[model].flush_model(names)

    @api.model
    def _get_query(self, company, date, days, partner_ids=None):
        """See `_get_balances`.

        An item that is open now was open then, with what has been matched since (Odoo dates a matching by the later of
        its two items); so were the items that are matched by now and were not then. Each of the two reads its items
        once, and a condition on the customer or the id reaches them.

        :param int days: length of a bucket
        :rtype: SQL
        """
        ledger = self.env['account.dunning.ledger']
        accounts = tuple(ledger._get_receivable_account_ids(company)) or (0,)
        condition = SQL(
            """
            item.account_id IN %(accounts)s AND item.parent_state = 'posted' AND item.company_id = %(company)s
            AND item.date <= %(date)s %(customers)s
            """,
            accounts=accounts, company=company.id, date=date,
            customers=ledger._get_customers_condition(SQL("item.partner_id"), partner_ids))
        late = SQL("%s::date - open.date_maturity", date)
        # whole numbers: a million times five of them are looked at
        age = SQL("LEAST(GREATEST((%s + %s - 1) / %s, 0), 4)", late, days, days)
        columns = SQL(
            """
            item.id, item.move_id, contact.commercial_partner_id AS partner_id, item.date,
            COALESCE(item.date_maturity, item.date) AS date_maturity, item.currency_id, item.dunning_level_id,
            item.dunning_last_date
            """)
        known, collector = self.env['account.dunning.collector.rule'].sudo()._get_known_collector(company, 'customer')
        return SQL(
            """
            SELECT id, company_id, company_currency_id, partner_id, user_id, level_id, move_id, move_type, date,
                   date_maturity, days, age::varchar AS bucket, currency_id, amount_currency, amount, %(amounts)s
              FROM (
                    WITH later AS (
                        SELECT id, SUM(amount) AS amount, SUM(amount_currency) AS amount_currency
                          FROM (
                                SELECT item.id, later.amount, later.debit_amount_currency AS amount_currency
                                  FROM account_partial_reconcile later
                                  JOIN account_move_line item ON item.id = later.debit_move_id
                                 WHERE later.max_date > %(date)s AND %(condition)s
                             UNION ALL
                                SELECT item.id, -later.amount, -later.credit_amount_currency
                                  FROM account_partial_reconcile later
                                  JOIN account_move_line item ON item.id = later.credit_move_id
                                 WHERE later.max_date > %(date)s AND %(condition)s
                               ) part
                      GROUP BY id
                    )
                    SELECT open.id,
                           %(company)s AS company_id,
                           %(company_currency)s AS company_currency_id,
                           open.partner_id,
                           %(collector)s AS user_id,
                           COALESCE(reminded.level_id, CASE WHEN open.dunning_last_date <= %(date)s
                                                            THEN open.dunning_level_id END) AS level_id,
                           open.move_id,
                           move.move_type,
                           open.date,
                           open.date_maturity,
                           %(late)s AS days,
                           %(age)s AS age,
                           open.currency_id,
                           open.amount_currency,
                           open.amount
                      FROM (
                            SELECT %(columns)s,
                                   item.amount_residual + COALESCE(later.amount, 0) AS amount,
                                   item.amount_residual_currency + COALESCE(later.amount_currency, 0)
                                       AS amount_currency
                              FROM account_move_line item
                         LEFT JOIN res_partner contact ON contact.id = item.partner_id
                         LEFT JOIN later ON later.id = item.id
                             WHERE item.reconciled IS NOT TRUE AND %(condition)s
                         UNION ALL
                            SELECT %(columns)s, later.amount, later.amount_currency
                              FROM later
                              JOIN account_move_line item ON item.id = later.id
                         LEFT JOIN res_partner contact ON contact.id = item.partner_id
                             WHERE item.reconciled
                           ) open
                 LEFT JOIN account_move move ON move.id = open.move_id
                 LEFT JOIN res_partner customer ON customer.id = open.partner_id
                 %(known)s
                 LEFT JOIN (
                            SELECT DISTINCT ON (line.move_line_id) line.move_line_id, line.level_id
                              FROM account_dunning_notice_line line
                              JOIN account_dunning_notice notice ON notice.id = line.notice_id
                             WHERE notice.state = 'sent' AND notice.sent_date <= %(date)s AND line.advances
                               AND notice.company_id = %(company)s %(reminded)s
                          ORDER BY line.move_line_id, notice.sent_date DESC, notice.id DESC
                           ) reminded ON reminded.move_line_id = open.id
                     WHERE open.amount != 0 OR open.amount_currency != 0
                   ) items
            """,
            amounts=SQL(", ").join(
                SQL("CASE WHEN age = %s THEN amount ELSE 0 END AS %s", int(bucket), SQL.identifier(f'amount_{bucket}'))
                for bucket in BUCKETS),
            company_currency=company.currency_id.id,
            known=known, collector=collector,
            columns=columns, late=late, age=age, condition=condition, date=date, company=company.id,
            reminded=SQL() if partner_ids is None else SQL("AND notice.partner_id = ANY(%s)", list(partner_ids)),
        )
