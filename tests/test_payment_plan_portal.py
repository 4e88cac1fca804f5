import base64
from datetime import timedelta

from odoo import Command, fields, http
from odoo.exceptions import AccessError
from odoo.tests import HttpCase, new_test_user, tagged

from .test_payment_plan import PaymentPlanCommon

PIXEL = (
    'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=='
)


class PaymentPlanPortalCommon(PaymentPlanCommon):
    """The browser has no frozen clock: dates are counted from today."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.today = fields.Date.context_today(cls.company)
        cls.line = cls._create_due_invoice(cls.today - timedelta(days=30), 1000.0)
        cls.portal_user = new_test_user(
            cls.env, 'portal_plan', groups='base.group_portal', partner_id=cls.partner_a.id,
            password='portal_plan', company_id=cls.company.id, company_ids=cls.company.ids)
        cls.other_portal_user = new_test_user(
            cls.env, 'portal_other', groups='base.group_portal', partner_id=cls.partner_b.id,
            password='portal_other', company_id=cls.company.id, company_ids=cls.company.ids)

    @classmethod
    def _offer(cls, down_payment=0.0):
        plan = cls.env['account.payment.plan'].create({
            'partner_id': cls.partner_a.id, 'company_id': cls.company.id,
            'move_line_ids': cls.line.ids, 'down_payment': down_payment,
            'installment_ids': [
                fields.Command.create(values) for values in cls.env['account.payment.plan']._prepare_schedule(
                    1000.0, cls.company.currency_id, cls.today + timedelta(days=30), number=3,
                    down_payment=down_payment, date_down_payment=cls.today + timedelta(days=7))
            ],
        })
        plan.action_offer()
        return plan


@tagged('post_install', '-at_install')
class TestPaymentPlanPortal(PaymentPlanPortalCommon, HttpCase):

    def _sign(self, plan, token=None, **params):
        query = f'?access_token={token}' if token else ''
        return self.make_jsonrpc_request(
            f'/my/payment_plans/{plan.id}/accept{query}', {'name': "Joel Willis", 'signature': PIXEL, **params})

    def test_sign_with_the_token_of_the_email(self):
        plan = self._offer()
        response = self.url_open(plan.get_portal_url())
        self.assertEqual(response.status_code, 200)
        self.assertIn(plan.name, response.text)
        self.assertIn('data-bs-target="#modalaccept"', response.text)
        result = self._sign(plan, plan.access_token)
        self.assertTrue(result.get('force_refresh'), result)
        self.assertRecordValues(plan, [{'state': 'active', 'signed_by': "Joel Willis"}])
        self.assertTrue(base64.b64decode(plan.signature))
        message = plan.message_ids.filtered('attachment_ids')
        self.assertTrue(message, "the signed agreement is kept")
        self.assertNotIn('data-bs-target="#modalaccept"', self.url_open(plan.get_portal_url()).text)
        self.assertIn('error', self._sign(plan, plan.access_token))

    def test_down_payment_comes_before_activation(self):
        plan = self._offer(down_payment=100.0)
        self._sign(plan, plan._portal_ensure_token())
        self.assertEqual(plan.state, 'signed')
        self.assertIn("Down payment", self.url_open(plan.get_portal_url()).text)

    def test_signature_and_name_are_needed(self):
        plan = self._offer()
        token = plan._portal_ensure_token()
        self.assertIn('error', self._sign(plan, token, signature=None))
        self.assertIn('error', self._sign(plan, token, name="  "))
        self.assertEqual(plan.state, 'offered')

    def test_without_token_nothing(self):
        plan = self._offer()
        self.assertIn('error', self._sign(plan))
        self.assertIn('error', self._sign(plan, 'wrong'))
        self.assertEqual(plan.state, 'offered')
        response = self.url_open(f'/my/payment_plans/{plan.id}')
        self.assertNotIn(plan.name, response.text)

    def test_another_customer_gets_nothing(self):
        plan = self._offer()
        self.authenticate('portal_other', 'portal_other')
        self.assertNotIn(plan.name, self.url_open('/my/payment_plans').text)
        self.assertNotIn(plan.name, self.url_open(f'/my/payment_plans/{plan.id}').text)
        self.assertIn('error', self._sign(plan))
        Plan = self.env['account.payment.plan'].with_user(self.other_portal_user)
        self.assertFalse(Plan.search([]))
        self.assertFalse(self.env['account.payment.plan.installment'].with_user(self.other_portal_user).search([]))
        with self.assertRaises(AccessError):
            plan.with_user(self.other_portal_user).read(['name'])
        for model in ('account.dunning.block', 'account.payment.promise', 'account.dispute', 'account.dunning.call'):
            with self.assertRaises(AccessError):
                self.env[model].with_user(self.other_portal_user).search([])

    def test_the_customer_reads_and_cannot_write(self):
        plan = self._offer()
        own = plan.with_user(self.portal_user)
        self.assertEqual(own.read(['name'])[0]['name'], plan.name)
        self.assertEqual(sum(own.installment_ids.mapped('amount')), 1000.0)
        for method in ('action_sign', 'action_cancel', 'action_break', 'action_offer'):
            with self.assertRaises(AccessError):
                getattr(own, method)()
        with self.assertRaises(AccessError):
            own.write({'state': 'done'})
        with self.assertRaises(AccessError):
            own.read(['note'])
        self.assertEqual(plan.state, 'offered')

    def test_draft_is_not_shown(self):
        plan = self._plan(offer=False)
        self.assertFalse(self.env['account.payment.plan'].with_user(self.portal_user).search([]))
        response = self.url_open(plan.get_portal_url())
        self.assertNotIn(plan.name, response.text)

    def test_decline(self):
        plan = self._offer()
        self.authenticate('portal_plan', 'portal_plan')
        self.url_open(
            f'/my/payment_plans/{plan.id}/decline',
            data={'csrf_token': http.Request.csrf_token(self), 'decline_message': "Six months, please"})
        self.assertEqual(plan.state, 'cancelled')
        self.assertTrue(any("Six months" in body for body in plan.message_ids.mapped('body')))
        self.assertTrue(plan.activity_ids)

    def test_too_much_cannot_be_paid(self):
        plan = self._offer()
        plan.action_sign()
        self.authenticate('portal_plan', 'portal_plan')
        with self.assertLogs('odoo.http', 'WARNING'), self.assertRaisesRegex(Exception, "ValidationError"):
            self.make_jsonrpc_request(f'/my/payment_plans/{plan.id}/transaction', {
                'access_token': plan._portal_ensure_token(), 'amount': 1000.01, 'provider_id': 1,
                'payment_method_id': 1, 'token_id': None, 'flow': 'direct', 'tokenization_requested': False,
                'landing_route': '/',
            })

    def test_home_page_counts(self):
        self._offer()
        self.authenticate('portal_plan', 'portal_plan')
        counts = self.make_jsonrpc_request(
            '/my/counters', {'counters': ['payment_plan_count', 'payment_plan_to_sign_count']})
        self.assertEqual(counts, {'payment_plan_count': 1, 'payment_plan_to_sign_count': 1})

    def test_agreement(self):
        plan = self._offer(down_payment=100.0)
        html = self.env['ir.actions.report']._render_qweb_html(
            'account_dunning.action_report_payment_plan', plan.ids)[0].decode()
        for text in (plan.name, self.line.move_id.name, "Down payment", "300.00", "1,000.00", "5 days late"):
            self.assertIn(text, html.replace('\n', ' '))

    def test_statement(self):
        html = self.env['ir.actions.report']._render_qweb_html(
            'account_dunning.action_report_statement', self.partner_a.ids)[0].decode()
        self.assertIn(self.line.move_id.name, html)
        self.assertIn("1,000.00", html)


@tagged('post_install', '-at_install')
class TestPaymentPlanTour(PaymentPlanPortalCommon, HttpCase):

    def test_call_plan_and_signature(self):
        clerk = new_test_user(
            self.env, 'clerk', groups='account.group_account_invoice,base.group_partner_manager', password='clerk',
            email='clerk@example.com', company_id=self.company.id, company_ids=self.company.ids)
        # The customer of the first test line would be in the plan too
        (self._get_receivable_lines(self.env['account.move'].search([
            ('partner_id', '=', self.partner_a.id), ('move_type', '=', 'out_invoice'),
        ])) - self.line).move_id.button_draft()
        self.start_tour(
            f'/odoo/res.partner/{self.partner_a.id}', 'account_dunning_log_call_and_plan', login='clerk')
        plan = self.env['account.payment.plan'].search([('partner_id', '=', self.partner_a.id)])
        self.assertRecordValues(plan, [{'state': 'offered', 'user_id': clerk.id}])
        self.assertTrue(any("Lost a big customer" in body for body in self.partner_a.message_ids.mapped('body')))
        self.assertTrue(plan.message_ids.filtered(
            lambda message: message.attachment_ids and self.partner_a in message.partner_ids))
        self.start_tour('/my/payment_plans', 'account_dunning_no_plan', login='portal_other')
        self.start_tour('/my/payment_plans', 'account_dunning_sign_plan', login='portal_plan')
        self.assertRecordValues(plan, [{'state': 'active', 'signed_by': "Joel Willis"}])
        self.assertFalse(self.env['account.dunning.engine']._due_lines(self.company, self.today))

    def test_paying_an_installment_in_the_browser(self):
        """From the plan's page through Odoo's demo payment provider to the ledger: the installment is paid."""
        provider = self._demo_provider()
        plan = self._offer()
        plan.action_sign()
        self.start_tour(plan.get_portal_url(), 'account_dunning_pay_installment', login='portal_plan')
        self.env.invalidate_all()
        transaction = self.line.move_id.sudo().transaction_ids
        self.assertRecordValues(transaction, [{
            'state': 'done', 'amount': 333.33, 'is_post_processed': True, 'provider_id': provider.id,
            'partner_id': self.partner_a.id}])
        self.assertTrue(transaction.reference.startswith(plan.name))
        self.assertRecordValues(plan.installment_ids.sorted('date'), [
            {'amount_paid': 333.33, 'state': 'paid'},
            {'amount_paid': 0.0, 'state': 'open'},
            {'amount_paid': 0.0, 'state': 'open'},
        ])
        self.assertEqual(self.line.amount_residual, 666.67)
        self.assertEqual(self.line.matched_credit_ids.credit_move_id.payment_id, transaction.payment_id)
        self.assertRecordValues(plan, [{'state': 'active', 'amount_paid': 333.33, 'next_amount': 333.33}])
        # Nothing is left for the scheduled post-processing
        self.env['payment.transaction'].sudo()._cron_post_process()
        self.assertEqual(plan.amount_paid, 333.33)

    def _demo_provider(self):
        """Odoo's demo payment provider; the test environment installs the module `payment_demo`."""
        method = self.env.ref('payment_demo.payment_method_demo').sudo()
        method.active = True
        provider = self.env.ref('payment.payment_provider_demo').sudo().copy({'company_id': self.company.id})
        provider.write({
            'state': 'test',
            'is_published': True,
            'journal_id': self.company_data['default_journal_bank'].id,
            'payment_method_ids': [Command.set(method.ids)],
        })
        return provider
