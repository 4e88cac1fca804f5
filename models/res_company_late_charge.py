from odoo import fields, models
from odoo.exceptions import UserError


class ResCompany(models.Model):
    _inherit = 'res.company'

    late_charge_product_id = fields.Many2one(
        comodel_name='product.product',
        string="Charge product",
        check_company=True,
        ondelete='restrict',
        help="On the lines of charge invoices; its taxes apply. Empty: the product Late payment charges, without tax.",
    )
    late_charge_account_id = fields.Many2one(
        comodel_name='account.account',
        string="Charge account",
        check_company=True,
        ondelete='restrict',
        help="Income account of late charges. Empty: that of the product, else that of the sales journal.",
    )
    late_charge_post = fields.Boolean(
        string="Post charge invoices",
        help="Charge invoices are posted at once; otherwise they wait as drafts.",
    )

    def _get_late_charge_product(self):
        """Return the product of the lines of charge invoices.

        :rtype: product.product
        """
        self.ensure_one()
        return self.late_charge_product_id or self.env.ref(
            'account_dunning.product_late_charge', raise_if_not_found=False) or self.env['product.product']

    def _get_late_charge_journal(self):
        """Return the journal of charge invoices: the company's first sales journal.

        :rtype: account.journal
        :raise UserError: if there is none
        """
        self.ensure_one()
        Journal = self.env['account.journal'].sudo()
        journal = Journal.search(
            [*Journal._check_company_domain(self), ('type', '=', 'sale')], limit=1)
        if not journal:
            raise UserError(self.env._(
                "%(company)s has no sales journal: late charges can't be invoiced.", company=self.display_name))
        return journal

    def _get_late_charge_account(self):
        """Return the income account of charge invoices.

        :rtype: account.account
        :raise UserError: if none is set anywhere
        """
        self.ensure_one()
        company = self.sudo().with_company(self)
        account = (
            company.late_charge_account_id
            or company._get_late_charge_product().product_tmpl_id.get_product_accounts()['income']
            or company._get_late_charge_journal().default_account_id
        )
        if not account:
            raise UserError(self.env._(
                "Choose an account for late charges in the settings of %(company)s.", company=self.display_name))
        return account

    def _check_late_charge_settings(self):
        """Refuse before a letter goes out when the charges that it announces could not be invoiced.

        :raise UserError: if a company has no journal or account for them
        """
        for company in self:
            company._get_late_charge_journal()
            company._get_late_charge_account()
