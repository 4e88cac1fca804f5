from datetime import timedelta

from odoo import Command, fields
from odoo.tests import Form, TransactionCase, new_test_user


class DeliveryCommon(TransactionCase):
    """A company that blocks deliveries, a customer, somebody in the warehouse with no other right, a salesperson and a
    credit manager."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.company = cls.env.company
        if not cls.env['account.journal'].search_count([('company_id', '=', cls.company.id)], limit=1):
            cls.env['account.chart.template'].try_loading('generic_coa', cls.company, install_demo=False)
        cls.company.write({
            'account_use_credit_limit': True,
            'credit_control_policy': 'off',
            'delivery_credit_policy': 'block',
            'credit_auto_release': True,
        })
        cls.env.ref('base.user_admin').group_ids -= cls.env.ref('account_dunning.group_credit_manager')
        # Odoo itself fails where somebody of the warehouse opens a form and there are carriers.
        if 'delivery.carrier' in cls.env:
            cls.env['delivery.carrier'].search([]).active = False
        cls.packer = new_test_user(cls.env, login='packer', groups='stock.group_stock_user')
        cls.salesperson = new_test_user(cls.env, login='seller', groups='sales_team.group_sale_salesman')
        cls.manager = new_test_user(
            cls.env, login='carla', groups='base.group_user,account_dunning.group_credit_manager')
        cls.customer = cls.env['res.partner'].create({'name': "Miller Ltd", 'is_company': True})
        cls.vendor = cls.env['res.partner'].create({'name': "Vendor"})
        cls.product, cls.extra = cls.env['product.product'].create([
            {'name': name, 'type': 'consu', 'list_price': 50.0, 'taxes_id': False, 'invoice_policy': 'delivery'}
            for name in ("Goods", "Nobody ordered it")])
        cls.stored = cls.env['product.product'].create({
            'name': "On stock", 'type': 'consu', 'is_storable': True, 'list_price': 50.0, 'taxes_id': False,
            'invoice_policy': 'delivery'})
        cls.warehouse = cls.env['stock.warehouse'].search([('company_id', '=', cls.company.id)], limit=1)
        cls.env['stock.quant']._update_available_quantity(cls.stored, cls.warehouse.lot_stock_id, 1000)

    @classmethod
    def _deliver(cls, quantity=2, product=None, partner=None, price=50.0, lines=1):
        """The delivery of a confirmed order."""
        order = cls.env['sale.order'].create({
            'partner_id': (partner or cls.customer).id,
            'user_id': cls.salesperson.id,
            'order_line': [Command.create({
                'product_id': (product or cls.product).id, 'product_uom_qty': quantity, 'price_unit': price,
                'tax_ids': False}) for _line in range(lines)],
        })
        order.action_confirm()
        return order.picking_ids

    @classmethod
    def _owe(cls, amount, days=0):
        """An open invoice, due that many days ago."""
        date = fields.Date.today() - timedelta(days=days)
        invoice = cls.env['account.move'].create({
            'move_type': 'out_invoice',
            'partner_id': cls.customer.id,
            'invoice_date': date,
            'invoice_date_due': date,
            'invoice_line_ids': [Command.create({'name': "Before", 'price_unit': amount, 'tax_ids': False})],
        })
        invoice.action_post()
        return invoice

    @classmethod
    def _pay(cls, invoice):
        cls.env['account.payment.register'].with_context(
            active_model='account.move', active_ids=invoice.ids).create({})._create_payments()

    @classmethod
    def _pay_in_advance(cls, order, percentage):
        """A down payment invoice, paid."""
        cls.env['sale.advance.payment.inv'].with_context(active_ids=order.ids, active_model='sale.order').create({
            'advance_payment_method': 'percentage', 'amount': percentage}).create_invoices()
        invoice = order.invoice_ids
        invoice.action_post()
        cls._pay(invoice)

    def _validate(self, picking, quantity=None, user=None, backorder=True):
        """As the warehouse does it on the form of the transfer.

        :return: what the last button returned
        """
        picking = picking.with_user(user or self.packer)
        if quantity is not None:
            with Form(picking) as form, form.move_ids.edit(0) as move:
                move.quantity = quantity
        result = picking.button_validate()
        if isinstance(result, dict) and result.get('res_model') == 'stock.backorder.confirmation':
            wizard = Form.from_action(picking.env, result).save()
            result = wizard.with_context(**result['context']).process()
        return result

    def _told(self, picking, user=None):
        """What the activities of a transfer say to the credit manager."""
        return picking.sudo().activity_ids.filtered(
            lambda activity: activity.user_id == (user or self.manager)).mapped('summary')

    def _notes(self, picking):
        return picking.sudo().message_ids.mapped('body')
