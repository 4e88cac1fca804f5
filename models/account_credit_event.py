from odoo import api, fields, models


class AccountCreditEvent(models.Model):
    """What became of an order that had to wait for its customer's credit: held, released, rejected, cancelled,
    a deposit asked for; and how the customer's limit has changed.

    The order itself says where it stands now, and it can be changed, asked about again and deleted. These rows are
    written as it happens, on the company's own day, and stay: the life of the account is told from them.
    """

    _name = 'account.credit.event'
    _description = "Decision about a customer's credit"
    _inherit = ['account.dunning.guarded']
    _order = 'date desc, id desc'

    company_id = fields.Many2one(comodel_name='res.company', required=True, readonly=True, ondelete='cascade')
    partner_id = fields.Many2one(
        comodel_name='res.partner', string="Customer", required=True, readonly=True, index=True, ondelete='cascade',
        help="Whose debt the order would have become.")
    order_id = fields.Many2one(
        comodel_name='sale.order', readonly=True, index='btree_not_null', ondelete='set null')
    name = fields.Char(string="Number", required=True, readonly=True)
    date = fields.Date(required=True, readonly=True)
    kind = fields.Selection(
        selection=[
            ('held', "Held"),
            ('released', "Released"),
            ('rejected', "Rejected"),
            ('cancelled', "Cancelled"),
            ('deposit', "Deposit asked for"),
            ('limit', "Limit changed"),
        ],
        required=True,
        readonly=True,
    )
    amount = fields.Monetary(readonly=True, help="Of the order at that moment, taxes included; or the new limit.")
    currency_id = fields.Many2one(comodel_name='res.currency', readonly=True)
    user_id = fields.Many2one(
        comodel_name='res.users', string="By", readonly=True, ondelete='set null', help="Empty: nobody of the company.")
    note = fields.Char(string="Reason", readonly=True)

    @api.model
    def _keep(self, orders, kind, note=False):
        """Keep what was decided about orders, in one go.

        :param sale.order orders:
        :param str kind: see the field
        :param str | bool note: why
        """
        if not orders:
            return
        user = self.env.user.id if self.env.user._is_internal() and not self.env.user._is_superuser() else False
        days = {company: company._get_dunning_today() for company in orders.company_id}
        self.sudo().create([
            {
                'company_id': order.company_id.id,
                'partner_id': order._get_credit_debtor().id,
                'order_id': order.id,
                'name': order.name,
                'date': days[order.company_id],
                'kind': kind,
                'amount': order.amount_total,
                'currency_id': order.currency_id.id,
                'user_id': user,
                'note': note,
            }
            for order in orders.sudo()
        ])

    @api.model
    def _keep_limits(self, company, limits):
        """Keep the limits that customers have from now on.

        :param res.company company: in which they count
        :param dict limits: amount, currency (`res.currency`) and note by customer
        """
        user = self.env.user.id if self.env.user._is_internal() and not self.env.user._is_superuser() else False
        self.sudo().create([
            {
                'company_id': company.id,
                'partner_id': partner.id,
                'name': self.env._("Credit limit"),
                'date': company._get_dunning_today(),
                'kind': 'limit',
                'amount': amount,
                'currency_id': currency.id,
                'user_id': user,
                'note': note,
            }
            for partner, (amount, currency, note) in limits.items()
        ])

    @api.model
    def _keep_cancelled(self, orders):
        """Orders were cancelled: those that had waited for their customer's credit are told of.

        :param sale.order orders:
        """
        checked = orders.sudo().filtered(lambda order: order.credit_state not in (False, 'none'))
        if checked:
            self._keep(self.sudo().search([('order_id', 'in', checked.ids)]).order_id, 'cancelled')
