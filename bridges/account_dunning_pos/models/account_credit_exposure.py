from collections import defaultdict

from odoo import api, fields, models


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
                exposure.amount_till = amounts[exposure.partner_id.id]

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
    def _get_till_amounts(self, company, customers):
        """What customers bought on account at tills that are not closed. An order that got an invoice is in the ledger
        already, and so are all orders of a closed till.

        :param res.company company: a root company
        :param res.partner customers: commercial entities
        :return: amounts in company currency, by id of the customer; 0 for all others
        :rtype: dict[int, float]
        """
        amounts = defaultdict(float)
        methods = self.env['pos.payment.method'].sudo().with_context(active_test=False).search(
            [('journal_id', '=', False)]).filtered(lambda method: method.type == 'pay_later')
        if not methods:
            return amounts
        payments = self.env['pos.payment'].sudo().search([
            ('payment_method_id', 'in', methods.ids),
            ('pos_order_id.state', '=', 'paid'),
            ('pos_order_id.account_move', '=', False),
            ('pos_order_id.company_id', 'child_of', company.id),
            ('pos_order_id.partner_id.commercial_partner_id', 'in', customers.ids),
        ])
        for payment in payments:
            order = payment.pos_order_id
            amounts[order.partner_id.commercial_partner_id.id] += payment.amount / (order.currency_rate or 1.0)
        return amounts
