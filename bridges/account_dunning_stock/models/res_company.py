from odoo import fields, models


class ResCompany(models.Model):
    _inherit = 'res.company'

    # None of these is required in the database, see `credit_state` of the sales order.
    delivery_credit_policy = fields.Selection(
        string="Deliveries",
        selection=[
            ('off', "Not checked"),
            ('warn', "Warn"),
            ('block', "Block: deliveries wait for a release"),
        ],
        default='off',
        help="What happens to a delivery when its customer is over the credit limit, on credit hold or has old debts.\n"
             "A customer may have a policy of their own.",
    )
    delivery_credit_moment = fields.Selection(
        string="Deliveries are checked",
        selection=[
            ('validate', "When goods leave"),
            ('reserve', "When goods are reserved, and when they leave"),
        ],
        default='validate',
        help="Goods of a delivery that waits are not reserved in the second case: others can have them.",
    )
    delivery_credit_order_release = fields.Boolean(
        string="A released order needs no release of its deliveries",
        default=True,
        help="As long as no more is delivered than was ordered.",
    )

    def _get_company_root_delegated_field_names(self):
        # EXTENDS 'account_dunning': a branch and its main company are one creditor
        return super()._get_company_root_delegated_field_names() + [
            'delivery_credit_policy',
            'delivery_credit_moment',
            'delivery_credit_order_release',
        ]
