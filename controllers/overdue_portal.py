from odoo import http
from odoo.http import request

from odoo.addons.account_payment.controllers.payment import PaymentPortal
from odoo.addons.account_payment.controllers.portal import PortalAccount


class OverduePortal(PortalAccount):
    """“Pay overdue” asks for what the letters ask for: what is disputed or paused is not in it."""

    @http.route()
    def portal_my_overdue_invoices(self, access_token=None, **kw):
        # EXTENDS 'account_payment'
        Move = request.env['account.move']
        overdue = Move.search(self._get_overdue_invoices_domain()) if Move.has_access('read') else Move
        asked = overdue._get_amounts_asked_for()
        whole = [move for move, amount in asked.items() if is_whole(move, amount)]
        if not whole and len(asked) == 1:
            # One bill, of which a part is paused: Odoo pays all of several bills, and any part of one.
            [(move, amount)] = asked.items()
            return request.redirect(move._get_payment_url(amount) or '/my/invoices')
        return super().portal_my_overdue_invoices(access_token=access_token, **kw)

    def _overdue_invoices_get_page_view_values(self, overdue_invoices, **kwargs):
        # EXTENDS 'account_payment'
        asked = overdue_invoices._get_amounts_asked_for()
        whole = overdue_invoices.filtered(lambda move: is_whole(move, asked.get(move, 0.0)))
        values = super()._overdue_invoices_get_page_view_values(whole, **kwargs)
        if 'payment' in values:
            # Odoo takes the totals of the invoices, whatever has been paid of them.
            amount = values['currency'].round(sum(asked[move] for move in whole))
            values['payment']['amount'] = values['amount'] = amount
        values['partly_asked'] = [
            (move, amount) for move, amount in asked.items() if move in overdue_invoices - whole]
        return values


class OverduePayment(PaymentPortal):

    def _process_transaction(self, partner_id, currency_id, invoice_ids, payment_reference, **kwargs):
        # EXTENDS 'account_payment'
        if request.httprequest.path == '/invoice/transaction/overdue':
            # No more invoices than the page has shown.
            asked = request.env['account.move'].browse(invoice_ids)._get_amounts_asked_for()
            invoice_ids = [move.id for move, amount in asked.items() if is_whole(move, amount)] or invoice_ids
        return super()._process_transaction(partner_id, currency_id, invoice_ids, payment_reference, **kwargs)


def is_whole(move, amount):
    return not move.currency_id.compare_amounts(amount, move.amount_residual)
