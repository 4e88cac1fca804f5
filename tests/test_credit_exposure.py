from odoo import Command
from odoo.tests import freeze_time, tagged

from .credit_common import CreditCommon


@tagged('post_install', '-at_install')
@freeze_time('2024-06-10')
class TestCreditExposure(CreditCommon):
    """What counts, and that nothing counts twice."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.company.credit_control_policy = 'warn'

    # === From the order to the payment === #

    def test_the_same_sum_all_the_way_from_order_to_invoice(self):
        order = self._order(1000)
        self.assertEqual(self._exposure(), 0, "a quotation is no debt")
        self.assertEqual(order.credit_exposure, 1000, "with the order at hand")
        order.action_confirm()
        self.assertEqual(self._exposure(), 1000)
        self.assertEqual(order.credit_exposure, 1000)
        invoice = order._create_invoices()
        self.assertEqual(self._exposure(), 1000, "draft invoice")
        invoice.action_post()
        self.assertEqual(self._exposure(), 1000, "posted invoice")
        self._register_payment(invoice)
        self.assertEqual(invoice.payment_state, 'in_payment' if invoice.amount_residual else 'paid')
        self.assertEqual(self._exposure(), invoice.amount_residual)

    def test_a_matched_payment_leaves_nothing(self):
        invoice = self._order(1000, confirm=True)._create_invoices()
        invoice.action_post()
        self._pay(invoice, 400)
        self.assertEqual(self._exposure(), 600)
        self._pay(invoice, 600)
        self.assertEqual(self._exposure(), 0)

    def test_an_unmatched_payment_counts_at_once(self):
        self._invoice(1000)
        self._entry(-300)
        self.assertEqual(self._exposure(), 700)

    def _entry(self, amount, partner=None, date='2024-06-05'):
        """A journal entry on the customer's receivable account: a payment that is not matched, or an old debt."""
        receivable = self.company_data['default_account_receivable']
        other = self.company_data['default_account_revenue']
        entry = self.env['account.move'].create({
            'date': date,
            'line_ids': [
                Command.create({
                    'account_id': receivable.id, 'partner_id': (partner or self.customer).id, 'balance': amount}),
                Command.create({'account_id': other.id, 'balance': -amount}),
            ],
        })
        entry.action_post()
        return entry.line_ids.filtered(lambda line: line.account_id == receivable)

    def _pay(self, invoice, amount):
        line = invoice.line_ids.filtered(lambda line: line.account_type == 'asset_receivable')
        (line + self._entry(-amount)).reconcile()

    def test_partly_invoiced_lines(self):
        order = self._order(100, order_line=[Command.create({
            'product_id': self.product.id, 'product_uom_qty': 10, 'price_unit': 100, 'tax_ids': False})])
        order.action_confirm()
        invoice = order._create_invoices()
        invoice.invoice_line_ids.quantity = 4
        self.assertEqual(self._exposure(), 1000)
        invoice.action_post()
        self.assertEqual(self._exposure(), 1000)
        self._pay(invoice, 400)
        self.assertEqual(self._exposure(), 600)

    def test_down_payment_invoice_and_final_invoice(self):
        order = self._order(1000, confirm=True)
        self.env['sale.advance.payment.inv'].with_context(active_ids=order.ids, active_model='sale.order').create({
            'advance_payment_method': 'percentage', 'amount': 40,
        }).create_invoices()
        self.assertEqual(self._exposure(), 1000, "draft down payment")
        order.invoice_ids.action_post()
        self.assertEqual(self._exposure(), 1000, "posted down payment")
        self._pay(order.invoice_ids, 400)
        self.assertEqual(self._exposure(), 600, "paid down payment")
        final = order._create_invoices(final=True)
        self.assertEqual(final.amount_total, 600)
        self.assertEqual(self._exposure(), 600, "draft final invoice")
        final.action_post()
        self.assertEqual(self._exposure(), 600, "posted final invoice")

    def test_credit_note_of_an_order(self):
        order = self._order(1000, confirm=True)
        invoice = order._create_invoices()
        invoice.action_post()
        refund = invoice._reverse_moves()
        self.assertEqual(refund.state, 'draft')
        self.assertEqual(self._exposure(), 1000, "a draft credit note frees nothing")
        refund.action_post()
        self.assertEqual(self._exposure(), 1000, "the order is to be invoiced again")
        self.assertEqual(order.invoice_status, 'to invoice')

    def test_a_draft_credit_note_without_an_order_frees_nothing(self):
        self._invoice(1000)
        refund = self._invoice(300, move_type='out_refund', post=False)
        self.assertEqual(self._exposure(), 1000)
        refund.action_post()
        self.assertEqual(self._exposure(), 700)

    def test_draft_invoices_count_and_cancelled_ones_do_not(self):
        draft = self._invoice(250, post=False)
        self.assertEqual(self._exposure(), 250)
        draft.button_cancel()
        self.assertEqual(self._exposure(), 0)

    def test_cancelled_order_does_not_count_and_locked_one_does(self):
        order = self._order(500, confirm=True)
        order.action_lock()
        self.assertEqual(self._exposure(), 500)
        order.action_unlock()
        order.with_context(disable_cancel_warning=True).action_cancel()
        self.assertEqual(self._exposure(), 0)

    def test_undelivered_order_counts_and_so_does_what_is_delivered_beyond_it(self):
        order = self._order(100, product=self.delivered_product, confirm=True)
        self.assertEqual(order.amount_to_invoice, 0, "Odoo itself does not count what is not delivered")
        self.assertEqual(self._exposure(), 100)
        order.order_line.qty_delivered = 3
        self.assertEqual(self._exposure(), 300)

    def test_taxes_count(self):
        order = self._order(100)
        order.order_line.tax_ids = self.company_data['default_tax_sale']
        total = order.amount_total
        self.assertGreater(total, 100)
        order.action_confirm()
        self.assertEqual(self._exposure(), total)

    def test_an_over_invoiced_order_does_not_count_below_zero(self):
        order = self._order(1000, confirm=True)
        invoice = order._create_invoices()
        invoice.invoice_line_ids.price_unit = 1500
        self.assertEqual(self._exposure(), 1500)

    # === Whose debt === #

    def test_contacts_count_for_their_company(self):
        self._order(100, partner=self.contact, confirm=True)
        self._invoice(50, partner=self.contact)
        self._entry(25, partner=self.contact)
        self.assertEqual(self._exposure(), 175)
        self.assertEqual(self._exposure(self.contact), 175)

    def test_an_order_counts_for_who_gets_the_invoice(self):
        payer = self.env['res.partner'].create({'name': "Holding", 'is_company': True})
        self._order(100, partner_invoice_id=payer.id, confirm=True)
        self.assertEqual(self._exposure(payer), 100)
        self.assertEqual(self._exposure(), 0)

    def test_many_customers_in_a_constant_number_of_queries(self):
        partners = self.env['res.partner'].create([{'name': f"Customer {number}"} for number in range(40)])
        for partner in partners[:4]:
            self._order(10, partner=partner, confirm=True)
        self.env.flush_all()
        counts = []
        for some in (partners[:1], partners):
            self.env.invalidate_all()
            some.commercial_partner_id.mapped('name')
            before = self.env.cr.sql_log_count
            some.mapped('credit_exposure')
            counts.append(self.env.cr.sql_log_count - before)
        self.assertLessEqual(counts[1], counts[0])
        self.assertEqual(partners[:5].mapped('credit_exposure'), [10, 10, 10, 10, 0])

    # === Currencies === #

    def test_each_document_counts_at_its_own_rate(self):
        """1 company unit = 2 units on 1 June, 4 units on 9 June; all by hand:

        - order of 5 June over 100: 100 / 2 = 50.00
        - order of 10 June over 100: 100 / 4 = 25.00
        - invoice of 5 June over 30: 30 / 2 = 15.00
        - draft invoice of 10 June over 10: 10 / 4 = 2.50
        - order of 10 June in company currency: 7.00
        """
        currency = self.setup_other_currency('CHF', rates=[('2024-06-01', 2.0), ('2024-06-09', 4.0)])
        pricelist = self.env['product.pricelist'].create({'name': "CHF", 'currency_id': currency.id})
        with freeze_time('2024-06-05'):
            self._order(100, pricelist_id=pricelist.id, confirm=True)
            self._invoice(30, date='2024-06-05', currency_id=currency.id)
        order = self._order(100, pricelist_id=pricelist.id)
        self.assertEqual(order.credit_exposure, 50 + 15 + 25)
        order.action_confirm()
        self._invoice(10, date='2024-06-10', currency_id=currency.id, post=False)
        self._order(7, confirm=True)
        self.assertEqual(self._exposure(), 50 + 25 + 15 + 2.5 + 7)

    def test_down_payment_in_a_foreign_currency_lowers_its_order_at_the_orders_rate(self):
        """Order of 5 June over 100 at 2: 50. Down payment of 40 on 10 June at 4: 10, the rest of the order: 60 / 2."""
        currency = self.setup_other_currency('CHF', rates=[('2024-06-01', 2.0), ('2024-06-09', 4.0)])
        pricelist = self.env['product.pricelist'].create({'name': "CHF", 'currency_id': currency.id})
        with freeze_time('2024-06-05'):
            order = self._order(100, pricelist_id=pricelist.id, confirm=True)
        self.assertEqual(self._exposure(), 50)
        self.env['sale.advance.payment.inv'].with_context(active_ids=order.ids, active_model='sale.order').create({
            'advance_payment_method': 'fixed', 'fixed_amount': 40,
        }).create_invoices()
        order.invoice_ids.invoice_date = '2024-06-10'
        order.invoice_ids.action_post()
        self.assertEqual(self._exposure(), 10 + 30)

    # === Companies === #

    def test_companies_are_apart(self):
        other = self.setup_other_company()
        self._order(100, confirm=True)
        self.env['sale.order'].with_company(other['company']).create({
            'partner_id': self.customer.id,
            'company_id': other['company'].id,
            'order_line': [Command.create({
                'product_id': other['product_order_no'].id, 'price_unit': 900, 'tax_ids': False})],
        }).action_confirm()
        self.assertEqual(self._exposure(), 100)
        self.assertEqual(self._exposure(company=other['company']), 900)

    def test_branches_are_one_creditor(self):
        branch = self.env['res.company'].create({'name': "Branch", 'parent_id': self.company.id})
        self.env.user.company_ids |= branch
        self.company.credit_control_policy = 'block'
        self.assertEqual(branch.credit_control_policy, 'block')
        self.customer.credit_limit = 250
        self._order(100, confirm=True)
        order = self._order(100, company_id=branch.id)
        order.action_confirm()
        self.assertEqual(self._exposure(), 200)
        self.assertEqual(self._exposure(company=branch), 200)
        third = self._order(100, company_id=branch.id)
        self.assertEqual(third.credit_limit, 250, "the limit of the main company holds in the branch")
        self.assertTrue(third.credit_needs_release)

    # === Paid online === #

    def _transaction(self, order, amount, state='done'):
        provider = self.env['payment.provider'].sudo().search([
            ('code', '=', 'none'), ('company_id', '=', self.company.id)], limit=1) or self.env[
            'payment.provider'].sudo().create({'name': "Test", 'code': 'none', 'company_id': self.company.id})
        return self.env['payment.transaction'].sudo().create({
            'provider_id': provider.id,
            'payment_method_id': self.env.ref('payment.payment_method_unknown').id,
            'reference': f'{order.name}-{amount}-{state}',
            'amount': amount,
            'currency_id': order.currency_id.id,
            'partner_id': order.partner_id.id,
            'state': state,
            'operation': 'online_redirect',
            'sale_order_ids': [Command.set(order.ids)],
        })

    def test_online_payment_not_in_the_ledger_yet_lowers_the_exposure(self):
        order = self._order(1000)
        self._transaction(order, 300)
        self._transaction(order, 500, 'pending')
        self.assertEqual(order.credit_exposure, 700)
        order.action_confirm()
        self.assertEqual(self._exposure(), 700)

    def test_online_payment_in_the_ledger_counts_once(self):
        order = self._order(1000, confirm=True)
        transaction = self._transaction(order, 300)
        self.assertEqual(self._exposure(), 700)
        payment = self.env['account.payment'].create({
            'payment_type': 'inbound', 'partner_type': 'customer', 'partner_id': self.customer.id, 'amount': 300,
            'journal_id': self.company_data['default_journal_bank'].id,
        })
        payment.outstanding_account_id = self.company_data['default_account_assets']
        transaction.payment_id = payment
        payment.action_post()
        self.assertTrue(payment.move_id, "the payment is in the ledger")
        self.assertEqual(self._exposure(), 700)

    # === The breakdown === #

    def test_breakdown_adds_up_to_the_number_on_the_order(self):
        self._invoice(100, date='2024-05-01')
        self._invoice(40, date='2024-06-30')
        self._invoice(30, post=False)
        self._order(20, confirm=True)
        order = self._order(10)
        self._transaction(order, 4)
        action = order.action_view_credit_exposure()
        exposure = self.env[action['res_model']].with_context(**action['context']).browse(action['res_id'])
        self.assertRecordValues(exposure, [{
            'amount_receivable': 140, 'amount_overdue': 100, 'amount_draft': 30, 'amount_orders': 20,
            'amount_order': 10, 'amount_paid_online': 4, 'amount_total': 196, 'order_id': order.id,
        }])
        self.assertEqual(order.credit_exposure, 196)
        self.assertEqual(self._exposure(), 190, "without the quotation and its payment")
        self.assertEqual(self.env['sale.order'].search(
            exposure.action_view_orders()['domain']).mapped('amount_total'), [20])
        self.assertEqual(self.env['account.move'].search(
            exposure.action_view_drafts()['domain']).mapped('amount_total'), [30])
        self.assertEqual(sum(self.env['account.move.line'].search(
            exposure.action_view_open_items()['domain']).mapped('amount_residual')), 140)

    def test_company_has_one_row_per_customer(self):
        order = self._order(10)
        first = order.action_view_credit_exposure()['res_id']
        self.assertEqual(self.contact.action_view_credit_exposure()['res_id'], first)
