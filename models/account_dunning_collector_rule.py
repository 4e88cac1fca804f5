from odoo import api, fields, models
from odoo.tools import SQL


class AccountDunningCollectorRule(models.Model):
    """Who looks after which customers: the first rule that fits, unless a customer has been given to somebody by hand.

    Nothing is written on customers: the follow-up works it out with its other figures, and shows another collector as
    soon as a rule, the customer's country, salesperson or debt says so.
    """

    _name = 'account.dunning.collector.rule'
    _description = "Collector rule"
    _inherit = ['account.dunning.cached']
    _order = 'sequence, id'
    _check_company_auto = True

    sequence = fields.Integer(default=10)
    active = fields.Boolean(default=True)
    company_id = fields.Many2one(
        comodel_name='res.company', default=lambda self: self.env.company, index=True,
        help="Empty: in all companies.")
    currency_id = fields.Many2one(comodel_name='res.currency', compute='_compute_currency_id')
    country_ids = fields.Many2many(
        comodel_name='res.country', string="Countries", help="Of the customers; empty: all of them.")
    salesperson_ids = fields.Many2many(
        comodel_name='res.users', relation='account_dunning_collector_rule_salesperson_rel', column1='rule_id',
        column2='user_id', string="Salespeople", help="Of the customers; empty: all of them.")
    amount_from = fields.Monetary(
        string="Overdue from", help="What the customer owes that is overdue, in company currency; 0: any amount.")
    user_id = fields.Many2one(
        comodel_name='res.users', string="Collector", required=True, ondelete='cascade',
        domain=[('share', '=', False)])

    _amount_positive = models.Constraint('CHECK(amount_from >= 0)', "The overdue amount can't be negative.")

    @api.depends('company_id')
    @api.depends_context('company')
    def _compute_currency_id(self):
        for rule in self:
            rule.currency_id = (rule.company_id or self.env.company).currency_id

    @api.depends('user_id')
    def _compute_display_name(self):
        for rule in self:
            rule.display_name = rule.user_id.display_name

    @api.model
    def _get_collector_expression(self, company, customer, amount):
        """Who looks after a customer: who was chosen by hand, else whom the first rule that fits names; NULL: nobody.

        :param res.company company:
        :param str customer: alias of `res_partner` in the query
        :param SQL amount: what is overdue, in company currency
        :return: an expression, the id of an active user
        :rtype: SQL
        """
        self.flush_model()
        by_hand = self.env['res.partner'].with_company(company)._field_to_sql(customer, 'dunning_user_id')
        alias = SQL.identifier(customer)
        return SQL(
            """
            COALESCE(
                (SELECT chosen.id FROM res_users chosen WHERE chosen.id = %(by_hand)s),
                (SELECT rule.user_id
                   FROM account_dunning_collector_rule rule
                   JOIN res_users collector ON collector.id = rule.user_id AND collector.active
                  WHERE rule.active
                    AND (rule.company_id IS NULL OR rule.company_id = %(company)s)
                    AND COALESCE(rule.amount_from, 0) <= COALESCE(%(amount)s, 0)
                    AND (NOT EXISTS (SELECT FROM account_dunning_collector_rule_res_country_rel
                                      WHERE account_dunning_collector_rule_id = rule.id)
                         OR EXISTS (SELECT FROM account_dunning_collector_rule_res_country_rel
                                     WHERE account_dunning_collector_rule_id = rule.id
                                       AND res_country_id = %(customer)s.country_id))
                    AND (NOT EXISTS (SELECT FROM account_dunning_collector_rule_salesperson_rel
                                      WHERE rule_id = rule.id)
                         OR EXISTS (SELECT FROM account_dunning_collector_rule_salesperson_rel
                                     WHERE rule_id = rule.id AND user_id = %(customer)s.user_id))
               ORDER BY rule.sequence, rule.id
                  LIMIT 1)
            )
            """,
            by_hand=by_hand, company=company.id, amount=amount, customer=alias)

    @api.model
    def _get_known_collector(self, company, customer):
        """The collector as the follow-up knows them, for queries that do not work out what is overdue.

        :param res.company company:
        :param str customer: alias of `res_partner` in the query
        :return: a join, and an expression: the id of a user or NULL
        :rtype: tuple[SQL, SQL]
        """
        by_hand = self.env['res.partner'].sudo().with_company(company)._field_to_sql(customer, 'dunning_user_id')
        join = SQL(
            "LEFT JOIN account_dunning_followup known ON known.company_id = %s AND known.partner_id = %s.id",
            company.id, SQL.identifier(customer))
        return join, SQL("COALESCE(%s, known.user_id)", by_hand)
