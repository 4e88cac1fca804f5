from odoo import Command
from odoo.exceptions import UserError
from odoo.tests import TransactionCase, new_test_user, tagged


@tagged('post_install', '-at_install')
class TestGrownByRepair(TransactionCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        company = cls.env.company
        company.write({'account_use_credit_limit': True, 'credit_control_policy': 'block'})
        if not cls.env['account.journal'].search_count([('company_id', '=', company.id)], limit=1):
            cls.env['account.chart.template'].try_loading('generic_coa', company, install_demo=False)
        cls.user = new_test_user(
            cls.env, login='sells and repairs', groups='sales_team.group_sale_salesman,stock.group_stock_user')
        cls.manager = new_test_user(
            cls.env, login='credit manager', groups='base.group_user,account_dunning.group_credit_manager')
        cls.customer = cls.env['res.partner'].create({'name': "Customer", 'credit_limit': 100.0})
        cls.machine, cls.part = cls.env['product.product'].create([
            {'name': name, 'type': 'consu', 'list_price': 95.0, 'taxes_id': False} for name in ("Machine", "Part")])
        cls.repair = cls.env['repair.order'].create({
            'product_id': cls.machine.id, 'product_uom': cls.machine.uom_id.id, 'partner_id': cls.customer.id,
            'move_ids': [Command.create({
                'repair_line_type': 'add', 'product_id': cls.part.id, 'product_uom_qty': 1})],
        })
        cls.repair.action_create_sale_order()
        cls.order = cls.repair.sale_order_id
        cls.order.user_id = cls.user
        cls.order.action_confirm()

    def test_more_parts_pass_and_are_told(self):
        self.assertEqual((self.order.state, self.order.amount_total), ('sale', 95.0))
        self.repair.with_user(self.user).move_ids.product_uom_qty = 3
        self.repair.with_user(self.user).write({'move_ids': [Command.create({
            'repair_line_type': 'add', 'product_id': self.machine.id, 'product_uom_qty': 1})]})
        self.assertEqual(self.order.amount_total, 4 * 95.0)
        told = self.order.sudo().activity_ids.filtered(lambda activity: activity.user_id == self.manager)
        self.assertIn("grown past the limit", told[:1].summary)

    def test_salesperson_can_not_do_so_by_hand(self):
        with self.assertRaises(UserError):
            self.order.with_user(self.user).order_line.product_uom_qty = 3
