from odoo import models


class StockLocation(models.Model):
    _inherit = 'stock.location'

    def _is_at_customers(self):
        """Where goods are that have left: at a customer's, or on the way to another company of the database."""
        return self.usage == 'customer' or self.usage == 'transit' and not self.company_id
