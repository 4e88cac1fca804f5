from datetime import timedelta

from odoo import Command, fields
from odoo.tests import new_test_user

from odoo.addons.point_of_sale.tests.common import TestPoSCommon


class TillCommon(TestPoSCommon):
    """A cashier, and a customer who may owe 100 and has a quotation for 180."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.company.write({'account_use_credit_limit': True, 'credit_control_policy': 'block'})
        cls.config = cls.basic_config
        cls.config.down_payment_product_id = cls.env.ref('pos_sale.default_downpayment_product')
        cls.debtor = cls.env['res.partner'].create({'name': "Debtor", 'is_company': True, 'credit_limit': 100.0})
        cls.contact = cls.env['res.partner'].create({'name': "Contact", 'parent_id': cls.debtor.id})
        cls.article = cls.create_product("Article", cls.categ_basic, 60.0, 0.0)
        cls.cashier = cls._new_user("cashier", 'point_of_sale.group_pos_user')
        # Odoo itself lets nobody settle quotations who may not confirm them.
        cls.clerk = cls._new_user(
            "sells at the till", 'point_of_sale.group_pos_user,sales_team.group_sale_salesman_all_leads')
        cls.manager = cls._new_user("credit manager", 'account_dunning.group_credit_manager')
        cls.env.user.group_ids |= cls.env.ref('sales_team.group_sale_manager')
        cls.order = cls.env['sale.order'].create({
            'partner_id': cls.debtor.id,
            'order_line': [Command.create({
                'product_id': cls.article.id, 'product_uom_qty': 3, 'price_unit': 60.0, 'tax_ids': False})],
        })

    @classmethod
    def _new_user(cls, login, groups):
        return new_test_user(
            cls.env, login=login, groups=f'base.group_user,{groups}', company_id=cls.company.id,
            company_ids=[Command.set(cls.company.ids)])

    def setUp(self):
        super().setUp()
        self.open_new_session()

    def _sell(self, quantity, method, customer=None, settles=None, price=60.0, minutes_ago=0, user=None, **values):
        """As the till sends it.

        :param sale.order.line settles: what the order settles
        :param values: further ones of the order
        :return: the pos.order
        """
        amount = quantity * price
        line = {
            'product': self.article, 'quantity': quantity, 'price_unit': price, 'price_subtotal': amount,
            'price_subtotal_incl': amount,
        }
        if settles:
            line.update(sale_order_origin_id=settles.order_id.id, sale_order_line_id=settles.id)
        user = user or (self.clerk if settles else self.cashier)
        return self._send([line], [(method, amount)], customer, minutes_ago, user, **values)

    def _take_down_payment(self, amount, method, user=None):
        line = {
            'product': self.config.down_payment_product_id, 'quantity': 1, 'price_unit': amount,
            'price_subtotal': amount, 'price_subtotal_incl': amount, 'sale_order_origin_id': self.order.id,
        }
        return self._send([line], [(method, amount)], user=user or self.clerk)

    def _send(self, lines, payments, customer=None, minutes_ago=0, user=None, **values):
        values = {'state': 'paid', **values}
        data = self.create_ui_order_data(lines, values, customer or self.debtor, payments=payments)
        data['date_order'] = fields.Datetime.to_string(fields.Datetime.now() - timedelta(minutes=minutes_ago))
        result = self.env['pos.order'].with_user(user or self.cashier).sync_from_ui([data])
        return self.env['pos.order'].with_user(user or self.cashier).browse(result['pos.order'][0]['id'])

    def _exposure(self, customer=None):
        self.env.flush_all()
        customer = customer or self.debtor
        return self.env['account.credit.exposure'].sudo()._get_amounts(
            {self.company: customer}, self.company._get_dunning_today())[customer.id, self.company.id].total

    def _close_till(self):
        cash = self.pos_session.order_ids.payment_ids.filtered(
            lambda payment: payment.payment_method_id == self.cash_pm1)
        self.pos_session.post_closing_cash_details(sum(cash.mapped('amount')))
        self.pos_session.close_session_from_ui()
        self.assertEqual(self.pos_session.state, 'closed')

    def _told(self, user=None):
        """What the customer's activities say to the credit manager."""
        return self.debtor.sudo().activity_ids.filtered(
            lambda activity: activity.user_id == (user or self.manager)).mapped('summary')
