from odoo import Command
from odoo.tests import new_test_user, tagged

from .common import DunningCommon


@tagged('post_install', '-at_install')
class TestPartnerComplete(DunningCommon):
    """Customers whose file lacks something, before it matters."""

    def setUp(self):
        super().setUp()
        self.user = new_test_user(
            self.env, 'collector', groups='account.group_account_invoice', company_id=self.company.id,
            company_ids=[Command.set(self.company.ids)])
        self.bare = self.env['res.partner'].create({'name': "Bare", 'is_company': True})

    def _find(self):
        return self.env['res.partner'].with_user(self.user).with_company(self.company).search(
            [('dunning_missing', '!=', False), ('id', 'in', (self.bare + self.partner_a).ids)])

    def test_customers_with_open_items_and_what_they_lack(self):
        self.assertFalse(self._find(), "nothing is open")
        self._create_due_invoice('2024-03-01', partner=self.bare)
        self._create_due_invoice('2024-03-01')
        found = self._find()
        self.assertEqual(found, self.bare)
        self.assertEqual(found.dunning_missing, "address, e-mail")
        self.bare.write({'city': "Ghent", 'email': "bare@example.com"})
        self.assertFalse(self._find())

    def test_company_says_what_it_needs(self):
        self._create_due_invoice('2024-03-01', partner=self.bare)
        self.company.sudo().write({
            'dunning_needs_address': False, 'dunning_needs_email': False, 'dunning_needs_registry': True})
        self.assertEqual(self._find().dunning_missing, "registration number")
        self.company.sudo().dunning_needs_registry = False
        self.assertFalse(self._find())

    def test_customers_about_to_be_invoiced(self):
        order = self.env['sale.order'].sudo().create({
            'partner_id': self.bare.id, 'company_id': self.company.id,
            'order_line': [Command.create({'product_id': self.product_a.id, 'price_unit': 10.0, 'tax_ids': []})]})
        self.assertFalse(self._find())
        order.action_confirm()
        order.order_line.qty_delivered = 1.0
        order.flush_recordset()
        self.assertEqual(order.invoice_status, 'to invoice')
        self.assertEqual(self._find(), self.bare)
