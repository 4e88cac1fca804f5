from odoo import Command
from odoo.exceptions import AccessError, UserError
from odoo.tests import Form, new_test_user, tagged

from odoo.addons.account_dunning_stock.models.stock_picking import CREDIT_FIELDS

from .common import DeliveryCommon


@tagged('post_install', '-at_install')
class TestHeldDeliveries(DeliveryCommon):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.invoice = cls._owe(100.0)
        cls.customer.credit_limit = 150.0
        cls.picking = cls._deliver(2)

    def _hold(self):
        self._validate(self.picking)
        self.assertEqual((self.picking.state, self.picking.credit_state), ('assigned', 'hold'))

    #=== SCREENS ===#

    def test_empty_list_says_what_it_is_for(self):
        action = self.env.ref('account_dunning_stock.stock_picking_action_credit')
        pickings = self.env['stock.picking'].with_context(held_deliveries=True)
        self.assertIn("'held_deliveries': True", action.context)
        self.assertEqual(pickings.get_empty_list_help(action.help), action.help)
        self.assertNotEqual(self.env['stock.picking'].get_empty_list_help(action.help), action.help)

    def test_warehouse_and_salesperson_see_words_without_amounts(self):
        self._hold()
        for user in (self.packer, self.salesperson):
            picking = self.picking.with_user(user)
            self.assertEqual(picking.credit_state, 'hold')
            for fname in ('credit_reason', 'credit_exposure') if user == self.packer else ():
                with self.assertRaises(AccessError):
                    picking.mapped(fname)
        view = self.env['stock.picking'].with_user(self.packer).get_view(
            self.env.ref('stock.view_picking_form').id)['arch']
        self.assertIn("On hold: ask credit control.", view)
        self.assertNotIn('credit_exposure', view)
        self.assertTrue(self.picking.sale_id.with_user(self.salesperson).delivery_on_hold)
        words = self._notes(self.picking) + self.picking.activity_ids.mapped('summary')
        self.assertNotRegex(' '.join(words), r'\d\.\d\d')

    def test_credit_manager_without_any_right_on_the_warehouse_sees_the_list(self):
        self._hold()
        action = self.env['ir.actions.actions'].with_user(self.manager)._for_xml_id(
            'account_dunning_stock.stock_picking_action_credit')
        pickings = self.env['stock.picking'].with_user(self.manager)
        found = pickings.search([('credit_state', '=', 'hold'), ('id', '=', self.picking.id)])
        self.assertEqual(found.ids, self.picking.ids)
        for view_id, view_type in action['views']:
            form = self.env['stock.picking'].with_user(self.manager).get_view(view_id or None, view_type)
            fnames = [fname for fname in form['models']['stock.picking'] if fname in pickings._fields]
            found.read(fnames)
        self.assertEqual(
            (found.credit_exposure, found.credit_limit, found.credit_excess, found.credit_goods,
             found.credit_partner_id), (200.0, 150.0, 50.0, 100.0, self.customer))
        self.assertIn("has reached its credit limit", found.credit_reason)
        with Form(found) as form:
            self.assertEqual(form.name, self.picking.name)

    #=== DECISIONS ===#

    def test_a_released_delivery_goes_out(self):
        self._hold()
        wizard = self.env['stock.picking.release'].with_user(self.manager).create({
            'picking_ids': [Command.set(self.picking.ids)], 'decision': 'release', 'reason': "Paid on Friday"})
        self.assertIn("has reached its credit limit", wizard.credit_reason)
        wizard.action_apply()
        self.assertEqual(
            (self.picking.credit_state, self.picking.credit_decision_user_id, self.picking.credit_decision_note,
             self.picking.credit_release_amount), ('released', self.manager, "Paid on Friday", 100.0))
        self.assertTrue(self.picking.credit_decision_date)
        self.assertFalse(self._told(self.picking))
        self.assertTrue(self._told(self.picking, self.salesperson))
        self.assertTrue(self._told(self.picking, self.packer))
        self.assertIn("Paid on Friday", ''.join(self._notes(self.picking)))
        self.assertIs(self._validate(self.picking), True)
        self.assertEqual((self.picking.state, self.picking.credit_state), ('done', 'released'))

    def test_release_covers_the_goods_of_that_moment(self):
        self._hold()
        self.picking.with_user(self.manager).action_release("Paid on Friday")
        self._validate(self.picking, 30)
        self.assertEqual((self.picking.state, self.picking.credit_state), ('assigned', 'hold'))
        self.assertFalse(self.picking.credit_decision_user_id)

    def test_back_order_of_a_released_delivery_is_released(self):
        self._hold()
        self.picking.with_user(self.manager).action_release("Paid on Friday")
        self._validate(self.picking, 1)
        rest = self.picking.backorder_ids
        self.assertEqual(self.picking.state, 'done')
        self.assertEqual((rest.credit_state, rest.credit_release_amount), ('released', 50.0))
        self.assertEqual(rest.credit_decision_user_id, self.manager)
        self._validate(rest)
        self.assertEqual(rest.state, 'done')

    def test_rejection_stays_until_a_manager_lifts_it(self):
        self._hold()
        self.picking.with_user(self.manager).action_reject_release("Goods back first")
        self.assertFalse(self._told(self.picking))
        self.customer.credit_limit = 0.0
        self.env['sale.order']._recheck_held_orders(self.customer)
        result = self._validate(self.picking)
        self.assertEqual(result['params']['message'], f"{self.picking.name}: On hold: ask credit control.")
        self.assertEqual((self.picking.state, self.picking.credit_state), ('assigned', 'rejected'))
        self.picking.with_user(self.packer).action_request_release()
        self.assertEqual(self.picking.credit_state, 'rejected')
        self.assertEqual(self._told(self.picking), [f"Release {self.picking.name}?"])
        self.picking.with_user(self.manager).action_release("They are back")
        self._validate(self.picking)
        self.assertEqual(self.picking.state, 'done')

    def test_rejection_holds_for_the_parts_of_a_split_delivery(self):
        self._hold()
        self.picking.with_user(self.manager).action_reject_release("Goods back first")
        self.customer.credit_limit = 0.0
        with Form(self.picking.with_user(self.packer)) as form, form.move_ids.edit(0) as move:
            move.quantity = 1
        self.picking.with_user(self.packer).action_split_transfer()
        parts = self.picking | self.picking.backorder_ids
        self.assertEqual(len(parts), 2)
        parts.with_user(self.packer).button_validate()
        self.assertEqual(parts.mapped('credit_state'), ['rejected', 'rejected'])
        self.assertNotIn('done', parts.mapped('state'))

    def test_who_decides_and_on_what(self):
        self._hold()
        for user in (self.packer, self.salesperson):
            with self.assertRaises(AccessError):
                self.picking.with_user(user).action_release("I may")
            with self.assertRaises(AccessError):
                self.picking.with_user(user).action_reject_release("I may")
        for reason in ('', '  ', None):
            with self.assertRaises(UserError):
                self.picking.with_user(self.manager).action_release(reason)
        self.company.delivery_credit_policy = 'off'
        self._validate(self.picking)
        self.assertFalse(self._told(self.picking), "nobody is asked any more")
        with self.assertRaises(UserError):
            self.picking.with_user(self.manager).action_release("Too late")

    def test_cancelled_asks_nobody(self):
        self._hold()
        self.picking.with_user(self.packer).action_cancel()
        self.assertFalse(self._told(self.picking))

    def test_no_way_around_the_check(self):
        """`_action_done()` is what all of Odoo's own code calls."""
        self.picking.move_ids.picked = True
        with self.assertRaisesRegex(UserError, "On hold: ask credit control."):
            self.picking.with_user(self.packer)._action_done()
        self.assertEqual(self.picking.state, 'assigned')

    def test_more_of_a_delivery_that_is_done_is_checked(self):
        self.customer.credit_limit = 250.0
        self.assertIs(self._validate(self.picking), True)
        picking = self.picking.with_user(self.packer)
        picking.action_toggle_is_locked()
        picking.move_ids.quantity = 3
        self.assertEqual(self.picking.sale_id.order_line.qty_delivered, 3)
        with self.assertRaisesRegex(UserError, "On hold: ask credit control."):
            picking.move_ids.quantity = 4
        with self.assertRaisesRegex(UserError, "On hold: ask credit control."):
            self.env['stock.move.line'].with_user(self.packer).create({
                'picking_id': picking.id, 'move_id': picking.move_ids.id, 'product_id': self.product.id, 'quantity': 1})
        self.customer.credit_hold = True
        picking.move_ids.quantity = 1

    def test_evidence_is_written_by_the_flow_alone(self):
        self._hold()
        values = {
            'credit_state': 'released', 'credit_hold_date': '2020-01-01', 'credit_hold_user_id': self.packer.id,
            'credit_decision_note': "I may", 'credit_decision_user_id': self.manager.id,
            'credit_decision_date': '2020-01-01', 'credit_release_amount': 1e6,
            'credit_release_partner_id': self.customer.id,
        }
        self.assertEqual(values.keys(), CREDIT_FIELDS)
        administrator = new_test_user(self.env, login='stockboss', groups='stock.group_stock_manager')
        for user in (self.packer, administrator, self.env.user):
            for fname, value in values.items():
                with self.subTest(user=user.login, fname=fname):
                    with self.assertRaises(AccessError):
                        self.picking.with_user(user).write({fname: value})
                    with self.assertRaises(AccessError):
                        self.picking.sale_id.with_user(user).write({
                            'picking_ids': [Command.update(self.picking.id, {fname: value})]})
                    with self.assertRaises(AccessError):
                        self.env['stock.picking'].with_user(user).create({
                            'picking_type_id': self.warehouse.out_type_id.id, fname: value})
        defaults = {f'default_{fname}': value for fname, value in values.items()}
        picking = self.env['stock.picking'].with_user(self.packer).with_context(**defaults).create({
            'picking_type_id': self.warehouse.out_type_id.id})
        self.assertEqual(picking.credit_state, 'none')
        self.assertFalse(any(picking.sudo()[fname] for fname in CREDIT_FIELDS - {'credit_state'}))
        self.picking.with_user(self.manager).action_release("Paid on Friday")
        copy = self.picking.copy()
        self.assertEqual((copy.credit_state, copy.credit_decision_user_id.ids), ('none', []))

    def test_policy_of_a_customer_is_changed_by_those_who_may_change_limits(self):
        boss = new_test_user(
            self.env, login='partners', groups='base.group_partner_manager,sales_team.group_sale_manager')
        with self.assertRaises(AccessError):
            self.customer.with_user(boss).delivery_credit_policy = 'off'
        self.customer.with_user(boss).write({'delivery_credit_policy': False, 'comment': "The form sends all"})
        with self.assertRaises(AccessError):
            self.env['res.partner'].with_user(boss).create({'name': "New", 'delivery_credit_policy': 'off'})

    #=== MONEY COMES IN ===#

    def test_payment_frees_deliveries(self):
        self._hold()
        self._pay(self.invoice)
        self.assertEqual(self.picking.credit_state, 'ok')
        self.assertFalse(self._told(self.picking))
        self.assertEqual(self._told(self.picking, self.packer), ["The goods can go"])
        self.assertEqual(self._told(self.picking, self.salesperson), ["The goods can go"])
        self.assertIs(self._validate(self.picking), True)

    def test_payment_frees_nothing_where_the_company_does_not_want_it(self):
        self.company.credit_auto_release = False
        self._hold()
        self._pay(self.invoice)
        self.assertEqual(self.picking.credit_state, 'hold')
        self.assertIs(self._validate(self.picking), True, "who validates it asks again")
        self.assertEqual(self.picking.state, 'done')

    def test_scheduled_action_frees_deliveries(self):
        self._hold()
        self.customer.credit_limit = 0.0
        with self.enter_registry_test_mode():
            self.env.ref('account_dunning.ir_cron_credit_recheck').method_direct_trigger()
        self.assertEqual(self.picking.credit_state, 'ok')

    #=== RIGHTS ===#

    def test_the_least_user_does_all_that_odoo_lets_them(self):
        self.customer.credit_limit = 0.0
        picking = self.picking.with_user(self.packer)
        with Form(picking) as form:
            with form.move_ids.edit(0) as move:
                move.quantity = 1
            form.origin = "By hand"
        self.assertIs(self._validate(picking), True)
        self.assertEqual(picking.state, 'done')
        rest = picking.backorder_ids
        rest.action_assign()
        rest.do_unreserve()
        rest.copy()
        rest.action_cancel()
        with Form(self.env['stock.picking'].with_user(self.packer)) as form:
            form.picking_type_id = self.warehouse.out_type_id
            form.partner_id = self.customer
            with form.move_ids.new() as move:
                move.product_id = self.product
                move.product_uom_qty = 1
        by_hand = form.save()
        by_hand.button_validate()
        self.assertEqual((by_hand.state, by_hand.credit_state), ('done', 'ok'))
        self.env['stock.picking'].with_user(self.packer).create(
            {'picking_type_id': self.warehouse.out_type_id.id}).unlink()
