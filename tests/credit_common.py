from odoo import Command, fields

from odoo.addons.sale.tests.common import TestSaleCommon

TODAY = fields.Date.to_date('2024-06-10')


class CreditCommon(TestSaleCommon):
    """A company that blocks, a customer, a salesperson without any right on the ledger, and a credit manager."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.company = cls.env.company
        cls.company.sudo().partner_id.tz = 'UTC'
        cls.company.sudo().account_use_credit_limit = True
        cls.company.credit_control_policy = 'block'
        cls.env.ref('base.user_admin').group_ids -= cls.env.ref('account_dunning.group_credit_manager')
        cls.customer = cls.env['res.partner'].create({
            'name': "Miller Ltd", 'is_company': True, 'email': 'm@example.com'})
        cls.contact = cls.env['res.partner'].create({'name': "Ann Miller", 'parent_id': cls.customer.id})
        cls.product = cls.company_data['product_order_no']
        cls.delivered_product = cls.company_data['product_delivery_no']
        cls.salesperson = cls.company_data['default_user_salesman']
        cls.credit_manager = cls.env['res.users'].create({
            'name': "Carla Credit",
            'login': 'carla.credit',
            'email': 'carla@example.com',
            'group_ids': [Command.set([
                cls.env.ref('base.group_user').id, cls.env.ref('account_dunning.group_credit_manager').id,
            ])],
            'company_ids': [Command.set(cls.company.ids)],
            'company_id': cls.company.id,
        })

    @classmethod
    def _order(cls, amount, partner=None, confirm=False, product=None, **values):
        """A quotation over an amount without taxes, of the salesperson."""
        order = cls.env['sale.order'].create({
            'partner_id': (partner or cls.customer).id,
            'user_id': cls.salesperson.id,
            'order_line': [Command.create({
                'product_id': (product or cls.product).id,
                'product_uom_qty': 1,
                'price_unit': amount,
                'tax_ids': False,
            })],
            **values,
        })
        if confirm:
            order.action_confirm()
        return order

    @classmethod
    def _invoice(cls, amount, partner=None, post=True, date='2024-06-01', move_type='out_invoice', **values):
        invoice = cls.env['account.move'].create({
            'move_type': move_type,
            'partner_id': (partner or cls.customer).id,
            'invoice_date': date,
            'invoice_date_due': date,
            'invoice_line_ids': [Command.create({'name': "Goods", 'price_unit': amount, 'tax_ids': False})],
            **values,
        })
        if post:
            invoice.action_post()
        return invoice

    @classmethod
    def _exposure(cls, partner=None, company=None):
        partner = (partner or cls.customer).with_company(company or cls.company)
        partner.invalidate_recordset(['credit_exposure'])
        return partner.credit_exposure
