from odoo import api, models
from odoo.fields import Command


class PosPayment(models.Model):
    _inherit = 'pos.payment'

    # Payments of an order that is paid can still be changed, in the back office: to the customer's account, too.

    @api.model_create_multi
    def create(self, vals_list):
        # Order and method may come as defaults, too.
        defaults = self.default_get(['pos_order_id', 'payment_method_id'])
        vals_list = [{**defaults, **vals} for vals in vals_list]
        orders = self.pos_order_id.browse({vals.get('pos_order_id') for vals in vals_list} - {None, False})
        with orders.exists()._watch_on_account([{'payment_ids': [Command.create(vals)]} for vals in vals_list]):
            return super().create(vals_list)

    def write(self, vals):
        orders = self.pos_order_id | self.pos_order_id.browse(vals.get('pos_order_id') or ()).exists()
        with orders._watch_on_account([{'payment_ids': [Command.create(vals)]}]):
            return super().write(vals)

    def unlink(self):
        with self.pos_order_id._watch_on_account([]):
            return super().unlink()
