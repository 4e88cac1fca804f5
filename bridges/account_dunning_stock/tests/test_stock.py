from odoo import Command
from odoo.exceptions import UserError
from odoo.tests import TransactionCase, new_test_user, tagged


@tagged('post_install', '-at_install')
class TestGrownByDelivery(TransactionCase):
    """A salesperson with a customer at the limit delivers more than was confirmed."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        company = cls.env.company
        company.write({'account_use_credit_limit': True, 'credit_control_policy': 'block'})
        if not cls.env['account.journal'].search_count([('company_id', '=', company.id)], limit=1):
            cls.env['account.chart.template'].try_loading('generic_coa', company, install_demo=False)
        cls.user = new_test_user(
            cls.env, login='sells and delivers', groups='sales_team.group_sale_salesman,stock.group_stock_user')
        cls.manager = new_test_user(
            cls.env, login='credit manager', groups='base.group_user,account_dunning.group_credit_manager')
        cls.customer = cls.env['res.partner'].create({'name': "Customer", 'credit_limit': 100.0})
        cls.product, cls.extra = cls.env['product.product'].create([
            {'name': name, 'type': 'consu', 'list_price': 95.0, 'taxes_id': False, 'invoice_policy': 'delivery'}
            for name in ("Goods", "Nobody ordered it")])
        freight = cls.env['product.product'].create({'name': "Freight", 'type': 'service', 'taxes_id': False})
        cls.carrier = cls.env['delivery.carrier'].create({
            'name': "Carrier", 'product_id': freight.id, 'delivery_type': 'fixed', 'fixed_price': 30.0,
            'invoice_policy': 'real'})
        cls.order = cls.env['sale.order'].with_user(cls.user).create({
            'partner_id': cls.customer.id,
            'order_line': [Command.create({'product_id': cls.product.id, 'product_uom_qty': 1})],
        })
        cls.order.action_confirm()
        cls.picking = cls.order.picking_ids
        cls.picking.move_ids.write({'quantity': 1, 'picked': True})

    def _told(self):
        return self.order.sudo().activity_ids.filtered(lambda activity: activity.user_id == self.manager)

    def test_salesperson_can_not_add_it_by_hand(self):
        with self.assertRaises(UserError):
            self.order.with_user(self.user).order_line = [
                Command.create({'product_id': self.extra.id, 'product_uom_qty': 1})]

    def test_freight_of_the_delivery_passes_and_is_told(self):
        self.picking.carrier_id = self.carrier
        self.picking.with_user(self.user).button_validate()
        self.assertEqual(self.picking.state, 'done')
        self.assertEqual(self.order.amount_total, 125.0)
        self.assertIn("grown past the limit", self._told().summary)

    def test_product_that_nobody_ordered_passes_and_is_told(self):
        self.env['stock.move'].create({
            'picking_id': self.picking.id, 'product_id': self.extra.id, 'product_uom_qty': 1, 'quantity': 1,
            'picked': True, 'location_id': self.picking.location_id.id,
            'location_dest_id': self.picking.location_dest_id.id})
        self.picking.with_user(self.user).button_validate()
        self.assertEqual(len(self.order.order_line), 2)
        self.assertIn("grown past the limit", self._told().summary)

    def test_delivery_as_ordered_tells_nobody(self):
        self.picking.with_user(self.user).button_validate()
        self.assertFalse(self._told())

    def test_the_door_is_shut_after_a_delivery(self):
        self.picking.with_user(self.user).button_validate()
        with self.assertRaises(UserError):
            self.order.with_user(self.user).order_line = [
                Command.create({'product_id': self.extra.id, 'product_uom_qty': 1})]
