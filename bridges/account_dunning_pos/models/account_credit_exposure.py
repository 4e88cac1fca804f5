from odoo import api, fields, models
from odoo.tools import SQL

# What the till's part of the exposure is computed from, see `EXPOSURE_SOURCES` of 'account_dunning'.
TILL_SOURCES = {
    'pos.order': ['account_move', 'company_id', 'currency_rate', 'partner_id', 'session_id', 'state'],
    'pos.order.line': ['order_id', 'price_subtotal_incl', 'sale_order_line_id'],
    'pos.payment': ['amount', 'payment_method_id', 'pos_order_id'],
    'pos.session': ['move_id', 'state'],
}


class AccountCreditExposure(models.Model):
    _inherit = 'account.credit.exposure'

    amount_till = fields.Monetary(
        string="On account at a till",
        compute='_compute_amount_till',
        help="Sold on the customer's account at a till that has not been closed yet: from then on it is an open item.",
    )

    @api.depends('partner_id', 'company_id')
    def _compute_amount_till(self):
        for company, exposures in self.grouped('company_id').items():
            amounts = self._get_till_amounts(company, exposures.partner_id)
            for exposure in exposures:
                exposure.amount_till = amounts.get(exposure.partner_id.id, 0.0)

    @api.model
    def _get_amounts(self, customers, date, lock=False):
        # EXTENDS 'account_dunning'
        self._flush_till_sources()
        return super()._get_amounts(customers, date, lock)

    @api.model
    def _get_amounts_of_company(self, company, customers, date, lock):
        # EXTENDS 'account_dunning'
        amounts = super()._get_amounts_of_company(company, customers, date, lock)
        for partner_id, amount in self._get_till_amounts(company, customers).items():
            figures = amounts[partner_id, company.id]
            amounts[partner_id, company.id] = figures._replace(
                elsewhere=company.currency_id.round(figures.elsewhere + amount))
        return amounts

    @api.model
    def _get_counted_parts(self, owed):
        # EXTENDS 'account_dunning'
        parts = super()._get_counted_parts(owed)
        return [*parts, self.env._("sales at the till")] if owed.elsewhere > 0 else parts

    @api.model
    def _flush_till_sources(self):
        for model, fnames in TILL_SOURCES.items():
            self.env[model].flush_model(fnames)

    @api.model
    def _get_till_amounts(self, company, customers):
        """What customers bought on account at tills that are not closed, and paid back there. An order that has an
        invoice is in the ledger already, and all others of a till are from the moment on that its closing entry is
        posted.

        :param res.company company: a root company
        :param res.partner customers: commercial entities
        :return: amounts in company currency, by id of those customers who have any
        :rtype: dict[int, float]
        """
        methods = self.env['pos.payment.method'].sudo().with_context(active_test=False).search(
            ['|', ('journal_id', '=', False), ('journal_id.type', 'not in', ('cash', 'bank'))]
        ).filtered(lambda method: method.type == 'pay_later')
        if not methods or not customers:
            return {}
        self._flush_till_sources()
        return dict(self.env.execute_query(SQL("""
            SELECT partner_id, SUM(amount)
              FROM (
                SELECT partner.commercial_partner_id AS partner_id,
                       ROUND((SUM(payment.amount) / COALESCE(NULLIF(till_order.currency_rate, 0), 1))::numeric,
                             %(digits)s) AS amount
                  FROM pos_session session
                  JOIN pos_order till_order ON till_order.session_id = session.id
                  JOIN res_partner partner ON partner.id = till_order.partner_id
                  JOIN pos_payment payment ON payment.pos_order_id = till_order.id
             LEFT JOIN account_move closing ON closing.id = session.move_id
                 WHERE session.state != 'closed'
                   AND closing.state IS DISTINCT FROM 'posted'
                   AND till_order.state IN ('paid', 'done')
                   AND till_order.account_move IS NULL
                   AND till_order.company_id IN %(branch_ids)s
                   AND partner.commercial_partner_id = ANY(%(partner_ids)s)
                   AND payment.payment_method_id IN %(method_ids)s
              GROUP BY till_order.id, partner.commercial_partner_id
              ) AS sold
          GROUP BY partner_id
            """,
            digits=company.currency_id.decimal_places,
            branch_ids=self._get_branch_ids(company),
            partner_ids=customers.ids,
            method_ids=methods._ids,
        )))

    @api.model
    def _get_downpayments_query(self):
        # EXTENDS 'account_dunning': those taken at a till. None of them has an invoice that knows of the order, and the
        # till sells orders of its own currency only.
        return SQL("""
            %s
             UNION ALL
                SELECT line.order_id, till_line.price_subtotal_incl
                  FROM sale_line line
                  JOIN pos_order_line till_line ON till_line.sale_order_line_id = line.id
                  JOIN pos_order till_order ON till_order.id = till_line.order_id
                 WHERE line.is_downpayment
                   AND till_order.state IN ('paid', 'done')
            """, super()._get_downpayments_query())
