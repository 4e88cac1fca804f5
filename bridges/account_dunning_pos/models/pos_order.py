from datetime import timedelta

from markupsafe import Markup

from odoo import fields, models
from odoo.exceptions import UserError
from odoo.tools import formatLang

# An order that reaches the server so long after it was paid was made while the till had no connection: its goods are
# gone, and refusing it now would lose what the customer owes.
OFFLINE_AFTER = timedelta(minutes=10)


class PosOrder(models.Model):
    _inherit = 'pos.order'

    def action_pos_order_paid(self):
        # EXTENDS 'point_of_sale': the one way to a paid order, from the till and from the back office
        result = super().action_pos_order_paid()
        self._check_credit_on_account()
        return result

    def _check_credit_on_account(self):
        """What goes onto the customer's account needs what an order needs.

        :raise UserError: when the customer's limit, hold or overdue debt blocks it, in the words that the cashier may
            know: the till gives the order back, to be paid otherwise
        """
        self.ensure_one()
        order = self.sudo()
        on_account = order.payment_ids.filtered(lambda payment: payment.payment_method_id.type == 'pay_later')
        currency = order.currency_id
        if not order.partner_id or currency.compare_amounts(sum(on_account.mapped('amount')), 0) <= 0:
            return
        company, customer = order.company_id, order.partner_id.commercial_partner_id
        root = company.root_id
        date = root._get_dunning_today()
        terms = customer._get_credit_terms(company, date)[customer]
        if terms.policy != 'block':
            return
        Exposure = self.env['account.credit.exposure'].sudo()
        owed = Exposure._get_amounts({root: customer}, date, lock=True)[customer.id, root.id]
        reasons = Exposure._explain(company, customer, terms, owed, owed.total)
        if not reasons:
            return
        if order.date_order > fields.Datetime.now() - OFFLINE_AFTER:
            raise UserError(self.env._(
                "%(customer)s can't buy on account now: please take another payment, or ask a credit manager.",
                customer=customer.name))
        order._tell_sold_over_limit(customer, reasons)

    def _tell_sold_over_limit(self, customer, reasons):
        """The goods are gone: the credit managers get to know.

        :param res.partner customer:
        :param dict reasons: sentences
        """
        sentence = self.env._(
            "%(order)s was sold on account while the till had no connection: %(amount)s, past the limit.",
            order=self.pos_reference or self.name,
            amount=formatLang(self.env, self.amount_total, currency_obj=self.currency_id))
        note = Markup("<br/>").join(reasons.values())
        self._message_log(body=Markup("%s<br/>%s") % (sentence, note))
        managers = self.env.ref('account_dunning.group_credit_manager').all_user_ids.filtered(
            lambda user: user.active and not user.share and self.company_id in user.company_ids)
        for manager in managers:
            customer.activity_schedule(
                'account_dunning.mail_activity_type_credit_release', summary=sentence, note=note, user_id=manager.id)
