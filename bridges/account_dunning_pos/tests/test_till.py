from odoo.tests import tagged

from odoo.addons.point_of_sale.tests.test_frontend import TestPointOfSaleHttpCommon


@tagged('post_install', '-at_install')
class TestTill(TestPointOfSaleHttpCommon):
    """A cashier in the browser."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.env.company.write({'account_use_credit_limit': True, 'credit_control_policy': 'block'})
        cls.debtor = cls.env['res.partner'].create({'name': "Debtor", 'credit_limit': 100.0})
        cls.env['product.product'].create({
            'name': "Article", 'available_in_pos': True, 'list_price': 60.0, 'taxes_id': False})
        method = cls.env['pos.payment.method'].create({'name': "On account", 'split_transactions': True})
        cls.main_pos_config.payment_method_ids |= method

    def test_cashier_is_refused_and_takes_cash(self):
        self.main_pos_config.with_user(self.pos_user).open_ui()
        self.start_pos_tour('account_dunning_pos.refused')
        order = self.main_pos_config.current_session_id.order_ids
        self.assertEqual((order.state, order.payment_ids.payment_method_id.type), ('paid', 'cash'))

    def test_sale_without_connection_arrives_and_is_told(self):
        self.main_pos_config.with_user(self.pos_user).open_ui()
        self.start_pos_tour('account_dunning_pos.offline')
        order = self.main_pos_config.current_session_id.order_ids
        self.assertEqual((order.state, order.payment_ids.payment_method_id.type), ('paid', 'pay_later'))
        self.assertTrue(order.sold_offline)
        self.assertIn("without a connection", self.debtor.activity_ids[:1].summary)
