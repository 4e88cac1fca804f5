from odoo import api, fields, models
from odoo.fields import Domain
from odoo.tools import SQL


class ResCompany(models.Model):
    _inherit = 'res.company'

    # What a customer's file needs before it is invoiced and dunned
    dunning_needs_address = fields.Boolean(string="Postal address", default=True)
    dunning_needs_email = fields.Boolean(string="E-mail", default=True)
    dunning_needs_vat = fields.Boolean(string="VAT number", help="Of companies.")
    dunning_needs_registry = fields.Boolean(string="Registration number", help="Of companies.")


class ResPartner(models.Model):
    """Customers whose file lacks what an invoice, a reminder or a court will need. Seen before it matters."""

    _inherit = 'res.partner'

    dunning_missing = fields.Char(
        string="To complete",
        compute='_compute_dunning_missing',
        search='_search_dunning_missing',
        compute_sudo=False,
        groups='account.group_account_invoice,account.group_account_readonly,sales_team.group_sale_salesman',
        help="What the company asks for and the customer's file does not have.",
    )

    @api.depends('street', 'zip', 'city', 'email', 'vat', 'company_registry', 'is_company')
    @api.depends_context('company', 'lang')
    def _compute_dunning_missing(self):
        company = self.env.company
        for partner in self:
            has_address = partner.street or partner.zip or partner.city
            missing = [
                label for name, label, is_lacking in (
                    ('dunning_needs_address', self.env._("address"), not has_address),
                    ('dunning_needs_email', self.env._("e-mail"), not partner.email_normalized),
                    ('dunning_needs_vat', self.env._("VAT number"), partner.is_company and not partner.vat),
                    ('dunning_needs_registry', self.env._("registration number"),
                     partner.is_company and not partner.company_registry),
                ) if company[name] and is_lacking
            ]
            partner.dunning_missing = ", ".join(missing) or False

    @api.model
    def _search_dunning_missing(self, operator, value):
        """Customers whom the company has invoiced, or is about to, and whose file lacks something."""
        if operator != 'in' or set(value) != {False}:
            return NotImplemented  # `!= False` is asked as the contrary of this
        company = self.env.company
        lacking = Domain.OR([
            condition for name, condition in (
                ('dunning_needs_address',
                 Domain('street', '=', False) & Domain('zip', '=', False) & Domain('city', '=', False)),
                ('dunning_needs_email', Domain('email_normalized', '=', False)),
                ('dunning_needs_vat', Domain('is_company', '=', True) & Domain('vat', '=', False)),
                ('dunning_needs_registry', Domain('is_company', '=', True) & Domain('company_registry', '=', False)),
            ) if company[name]
        ])
        return ~(lacking & Domain('id', 'in', self._get_query_of_customers_at_work(company)))

    @api.model
    def _get_query_of_customers_at_work(self, company):
        """Customers with open items or with confirmed orders that are not invoiced yet.

        :return: a query of ids of commercial partners
        :rtype: SQL
        """
        self.env['account.move.line'].flush_model(
            ['account_id', 'company_id', 'parent_state', 'partner_id', 'reconciled'])
        self.env['sale.order'].flush_model(['company_id', 'invoice_status', 'partner_invoice_id', 'state'])
        self.flush_model(['commercial_partner_id'])
        accounts = tuple(self.env['account.dunning.ledger']._get_receivable_account_ids(company)) or (0,)
        return SQL(
            """(
            SELECT customer.commercial_partner_id
              FROM account_move_line line
              JOIN res_partner customer ON customer.id = line.partner_id
             WHERE line.account_id IN %(accounts)s AND line.company_id = %(company)s
               AND line.reconciled IS NOT TRUE AND line.parent_state = 'posted'
             UNION
            SELECT customer.commercial_partner_id
              FROM sale_order ordered
              JOIN res_partner customer ON customer.id = ordered.partner_invoice_id
             WHERE ordered.company_id = %(company)s AND ordered.state = 'sale' AND ordered.invoice_status = 'to invoice'
            )""",
            accounts=accounts, company=company.id)
