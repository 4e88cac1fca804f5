from odoo import Command
from odoo.tests import tagged

from .common import DeliveryCommon


@tagged('post_install', '-at_install')
class TestBatch(DeliveryCommon):
    """Ways in which a delivery goes out with others, or from elsewhere than the own warehouse."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.env.user.group_ids |= cls.env.ref('stock.group_stock_manager')
        cls._owe(100.0)
        cls.other = cls.env['res.partner'].create({'name': "Pays at once", 'is_company': True})
        cls.customer.credit_limit = 150.0

    def _batch(self, pickings, **values):
        return self.env['stock.picking.batch'].with_user(self.packer).create({
            'picking_ids': [Command.set(pickings.ids)], 'picking_type_id': self.warehouse.out_type_id.id, **values})

    def test_batch_holds_one_delivery_and_lets_the_others_go(self):
        held, going = self._deliver(2), self._deliver(2, partner=self.other)
        batch = self._batch(held | going)
        batch.action_confirm()
        result = batch.action_done()
        self.assertEqual((held.state, held.credit_state), ('assigned', 'hold'))
        self.assertEqual((going.state, going.credit_state), ('done', 'ok'))
        self.assertEqual(result['params']['message'], f"{held.name}: On hold: ask credit control.")
        self.assertEqual(self._told(held), [f"Release {held.name}?"])
        self.assertNotEqual(held.batch_id.state, 'done', "what is on hold is still to be delivered")
        held.with_user(self.manager).action_release("Paid on Friday")
        self.assertIs(held.with_user(self.packer).button_validate(), True)
        self.assertEqual(held.state, 'done')

    def test_batch_of_deliveries_on_hold_changes_nothing_else(self):
        pickings = self._deliver(2) | self._deliver(3)
        batch = self._batch(pickings)
        batch.action_confirm()
        result = batch.action_done()
        self.assertEqual(pickings.mapped('credit_state'), ['hold', 'hold'])
        self.assertEqual(pickings.mapped('state'), ['assigned', 'assigned'])
        for picking in pickings:
            self.assertIn(picking.name, result['params']['message'])
        self.assertEqual((batch.state, batch.picking_ids), ('in_progress', pickings))

    def test_wave_holds_one_delivery_and_lets_the_others_go(self):
        held, going = self._deliver(2), self._deliver(2, partner=self.other)
        wizard = self.env['stock.add.to.wave'].with_context(
            active_ids=(held | going).move_line_ids.ids, active_model='stock.move.line').create({'mode': 'new'})
        wizard.attach_pickings()
        wave = (held | going).move_line_ids.batch_id
        self.assertEqual((len(wave), wave.is_wave), (1, True))
        wave.with_user(self.packer).action_done()
        self.assertEqual((held.state, held.credit_state), ('assigned', 'hold'))
        self.assertEqual((going.state, going.credit_state), ('done', 'ok'))

    def _drop_ship(self, quantity=2):
        """What a vendor is to send to the customer of an order."""
        product = self.env['product.product'].create({
            'name': "Sent by the vendor", 'type': 'consu', 'is_storable': True, 'list_price': 50.0, 'taxes_id': False,
            'invoice_policy': 'delivery',
            'route_ids': [Command.set(self.env.ref('stock_dropshipping.route_drop_shipping').ids)],
            'seller_ids': [Command.create({'partner_id': self.vendor.id, 'price': 10.0})],
        })
        order = self.env['sale.order'].create({
            'partner_id': self.customer.id,
            'user_id': self.salesperson.id,
            'order_line': [Command.create({
                'product_id': product.id, 'product_uom_qty': quantity, 'price_unit': 50.0, 'tax_ids': False})],
        })
        order.action_confirm()
        purchase = order._get_purchase_orders()
        purchase.button_confirm()
        return purchase.picking_ids

    def test_what_a_vendor_drops_at_the_customers_is_a_delivery(self):
        picking = self._drop_ship()
        self.assertEqual(picking.location_id.usage, 'supplier')
        self.assertEqual(picking.location_dest_id.usage, 'customer')
        self._validate(picking)
        self.assertEqual((picking.credit_state, picking.state), ('hold', 'assigned'))
        self.assertEqual(picking.with_user(self.manager).credit_partner_id, self.customer)
        picking.with_user(self.manager).action_release("Paid on Friday")
        self.assertIs(self._validate(picking), True)
        self.assertEqual(picking.state, 'done')

    def test_returns_receipts_and_moves_inside_never_wait(self):
        self.customer.credit_limit = 0.0
        delivery = self._deliver(2, product=self.stored)
        self._validate(delivery)
        self.customer.write({'credit_limit': 1.0, 'credit_hold': True})
        wizard = self.env['stock.return.picking'].with_context(
            active_ids=delivery.ids, active_id=delivery.id, active_model='stock.picking').create({})
        wizard.product_return_moves.quantity = 2
        returned = self.env['stock.picking'].browse(wizard.action_create_returns()['res_id'])
        receipt, inside = self.env['stock.picking'].create([
            {
                'picking_type_id': picking_type.id, 'partner_id': self.customer.id,
                'location_id': source.id, 'location_dest_id': target.id,
                'move_ids': [Command.create({
                    'product_id': self.stored.id, 'product_uom_qty': 1,
                    'location_id': source.id, 'location_dest_id': target.id})],
            }
            for picking_type, source, target in (
                (self.warehouse.in_type_id, self.env.ref('stock.stock_location_suppliers'),
                 self.warehouse.lot_stock_id),
                (self.warehouse.int_type_id, self.warehouse.lot_stock_id,
                 self.env['stock.location'].create({
                     'name': "Shelf", 'usage': 'internal', 'location_id': self.warehouse.lot_stock_id.id})),
            )
        ])
        (receipt | inside).action_confirm()
        for picking in (returned, receipt, inside):
            with self.subTest(picking=picking.picking_type_id.name):
                picking.move_ids.quantity = picking.move_ids.product_uom_qty
                self._validate(picking)
                self.assertEqual((picking.state, picking.credit_state), ('done', 'none'))

    def test_kit_waits_and_goes_out_as_a_whole(self):
        kit, part = self.env['product.product'].create([
            {'name': name, 'type': 'consu', 'list_price': 50.0, 'taxes_id': False, 'invoice_policy': 'delivery'}
            for name in ("Kit", "Part")])
        self.env['mrp.bom'].create({
            'product_tmpl_id': kit.product_tmpl_id.id, 'type': 'phantom',
            'bom_line_ids': [Command.create({'product_id': part.id, 'product_qty': 2})]})
        picking = self._deliver(2, product=kit)
        self.assertEqual(picking.move_ids.product_id, part)
        self._validate(picking)
        self.assertEqual(picking.credit_state, 'hold')
        self.customer.credit_limit = 200.0
        self.assertIs(self._validate(picking), True)
        self.assertEqual((picking.state, picking.credit_state), ('done', 'ok'))
        self.assertEqual(picking.sale_id.order_line.qty_delivered, 2)
