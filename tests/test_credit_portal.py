import re

from odoo import Command
from odoo.exceptions import UserError
from odoo.tests import HttpCase, tagged
from odoo.tools import html2plaintext

from .credit_common import CreditCommon


@tagged('post_install', '-at_install')
class TestCreditPortal(CreditCommon, HttpCase):
    """A customer over the limit signs and pays as usual; the order waits, and nobody shows them a number."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.customer.credit_limit = 777

    def _page(self, order):
        response = self.url_open(order.get_portal_url())
        self.assertEqual(response.status_code, 200)
        return re.sub(r'\s+', ' ', html2plaintext(response.text))

    def test_signing_an_order_over_the_limit_in_the_browser(self):
        order = self._order(1500, require_signature=True, require_payment=False, state='sent')
        self.start_tour(order.get_portal_url(), 'account_dunning_sign_held_order')
        order.invalidate_recordset()
        self.assertRecordValues(order, [{'state': 'sent', 'credit_state': 'hold', 'signed_by': "Ann Miller"}])
        self.assertTrue(order.signature)
        self.assertIn(self.credit_manager, order.activity_ids.user_id)
        page = self._page(order)
        self.assertNotIn("777.00", page)
        self.assertNotIn("limit", page)
        # The answer reaches the customer as it does without credit control.
        order.with_user(self.credit_manager).action_release("Known for years")
        self.assertIn("are reviewing it", self._page(order))
        order._confirm_accepted()
        self.assertEqual(order.state, 'sale')
        page = self._page(order)
        self.assertNotIn("reviewing", page)
        self.assertNotIn("Known for years", page)

    def test_a_rejected_order_asks_the_customer_to_get_in_touch(self):
        order = self._order(1500, require_signature=True, require_payment=False, state='sent')
        self.start_tour(order.get_portal_url(), 'account_dunning_sign_held_order')
        order.with_user(self.credit_manager).action_reject_release("Owes since March")
        page = self._page(order)
        self.assertIn("Please contact us about this order.", page)
        self.assertNotIn("March", page)
        self.assertNotIn("777.00", page)

    def test_paying_an_order_online_in_the_browser(self):
        provider = self._demo_provider()
        order = self._order(2000, require_signature=False, require_payment=True, prepayment_percent=0.5, state='sent')
        self.start_tour(order.get_portal_url(), 'account_dunning_pay_held_order')
        order.invalidate_recordset()
        transaction = order.sudo().transaction_ids
        self.assertRecordValues(transaction, [{
            'state': 'done', 'amount': 1000, 'is_post_processed': True, 'provider_id': provider.id}])
        self.assertEqual(transaction.payment_id.amount, 1000)
        self.assertRecordValues(order, [{'state': 'sent', 'credit_state': 'hold', 'amount_paid': 1000}])
        # Nothing is left for the scheduled post-processing: no loop.
        self.env['payment.transaction'].sudo()._cron_post_process()
        self.assertEqual(len(order.sudo().transaction_ids), 1)
        self.assertEqual(order.state, 'sent')
        with self.assertRaises(UserError):
            order.with_user(self.salesperson).action_confirm()

    def test_a_fully_prepaid_order_passes_in_the_browser(self):
        self._demo_provider()
        self.customer.credit_hold = True
        order = self._order(2000, require_signature=False, require_payment=True, prepayment_percent=1, state='sent')
        self.start_tour(order.get_portal_url(), 'account_dunning_pay_order')
        order.invalidate_recordset()
        self.assertRecordValues(order, [{'state': 'sale', 'credit_state': 'ok', 'amount_paid': 2000}])

    def _demo_provider(self):
        """Odoo's demo payment provider; the test environment installs the module `payment_demo`."""
        provider = self.env.ref('payment.payment_provider_demo').sudo().copy({'company_id': self.company.id})
        provider.write({
            'state': 'test',
            'is_published': True,
            'journal_id': self.company_data['default_journal_bank'].id,
            'payment_method_ids': [Command.set(self.env.ref('payment_demo.payment_method_demo').ids)],
        })
        self.assertEqual(provider.code, 'demo')
        self.env.ref('payment_demo.payment_method_demo').sudo().active = True
        return provider
