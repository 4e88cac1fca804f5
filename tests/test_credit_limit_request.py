from odoo import Command, fields
from odoo.exceptions import AccessError, UserError, ValidationError
from odoo.tests import Form, freeze_time, new_test_user, tagged

from .credit_common import CreditCommon


@tagged('post_install', '-at_install')
@freeze_time('2024-06-10')
class TestCreditLimitRequest(CreditCommon):
    """Salespeople ask for a limit, credit managers decide."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.second_manager = cls.credit_manager.copy({'login': 'second.manager', 'name': "Sue Second"})
        cls.customer.credit_limit = 100
        cls.env['account.credit.event'].sudo().search([]).unlink()

    def _request(self, amount=500, user=None, **values):
        return self.env['account.credit.limit.request'].with_user(user or self.salesperson).create({
            'partner_id': self.customer.id, 'amount': amount, 'reason': "Big project", **values})

    def _events(self, partner=None):
        return self.env['account.credit.event'].sudo().search(
            [('partner_id', '=', (partner or self.customer).id), ('kind', '=', 'limit')], order='id')

    def _rows(self, partner=None):
        return [(event.amount, event.user_id.name or '', event.note or '') for event in self._events(partner)]

    #=== DECISION ===#

    def test_salesperson_asks_and_a_credit_manager_approves(self):
        form = Form(
            self.env['account.credit.limit.request'].with_user(self.salesperson).with_context(
                default_partner_id=self.customer.id),
            view='account_dunning.account_credit_limit_request_view_form_ask')
        form.amount = 500
        form.reason = "Big project\nin spring"
        request = form.save()
        self.assertEqual((request.state, request.user_id), ('requested', self.salesperson))
        self.assertEqual(self.customer.credit_limit, 100)
        self.assertEqual(request.activity_ids.user_id, self.credit_manager | self.second_manager)
        request.with_user(self.credit_manager).action_approve()
        self.assertEqual((request.state, request.first_user_id), ('approved', self.credit_manager))
        self.assertEqual(self.customer.credit_limit, 500)
        self.assertEqual(request.activity_ids.user_id, self.salesperson)
        self.assertIn("Approved: a credit limit of $\xa0500.00 for Miller Ltd", request.activity_ids.summary)
        self.assertEqual(self._rows(), [(500, "Carla Credit", "Big project in spring")])
        with self.assertRaisesRegex(UserError, "decided already"):
            request.with_user(self.credit_manager).action_refuse()

    def test_less_than_wanted_may_be_granted(self):
        request = self._request()
        with Form(request.with_user(self.credit_manager)) as form:
            form.amount_approved = 300
            form.decision_note = "For the start"
        request.with_user(self.credit_manager).action_approve()
        self.assertEqual(self.customer.credit_limit, 300)
        self.assertEqual(self._rows(), [(300, "Carla Credit", "Big project · For the start")])
        with self.assertRaises(AccessError):
            request.with_user(self.credit_manager).amount_approved = 400

    def test_refusal_has_a_reason(self):
        request = self._request()
        with self.assertRaisesRegex(UserError, "Give a reason"):
            request.with_user(self.credit_manager).action_refuse()
        request.with_user(self.credit_manager).decision_note = "Pays late"
        request.with_user(self.credit_manager).action_refuse()
        self.assertEqual(request.state, 'refused')
        self.assertEqual(self.customer.credit_limit, 100)
        self.assertIn("Pays late", request.activity_ids.note)
        self.assertFalse(self._rows())

    def test_for_some_time_it_is_an_extra_on_the_limit(self):
        self.customer.write({'credit_limit_extra': 20, 'credit_limit_extra_until': '2024-06-30'})
        request = self._request(date_until='2024-07-31')
        request.with_user(self.credit_manager).action_approve()
        self.assertEqual((self.customer.credit_limit, self.customer.credit_limit_extra), (100, 400))
        self.assertEqual(str(self.customer.credit_limit_extra_until), '2024-07-31')
        self.assertFalse(self._order(500).credit_needs_release)
        self.assertEqual(self._rows()[-1], (
            500, "Carla Credit", "$\xa0400.00 of it until 07/31/2024 · Big project"))

    def test_what_can_not_be_given_for_some_time(self):
        for values, limit, sentence in (
            ({'amount': 100}, 100, "not lower than that anyway"), ({}, 0, "has no credit limit"),
        ):
            with self.subTest(sentence=sentence):
                self.customer.credit_limit = limit
                request = self._request(date_until='2024-07-31', **values)
                with self.assertRaisesRegex(UserError, sentence):
                    request.with_user(self.credit_manager).action_approve()
                self.assertEqual(request.state, 'requested')
        with self.assertRaisesRegex(ValidationError, "a day that has passed"):
            self._request(date_until='2024-06-09')
        self._request(date_until='2024-06-10')

    def test_in_another_currency(self):
        euro = self.setup_other_currency('EUR', rates=[('2024-01-01', 4.0)])
        self._request(800, currency_id=euro.id).with_user(self.credit_manager).action_approve()
        self.assertRecordValues(self.customer, [{
            'credit_limit': 100, 'credit_limit_in_currency': 800, 'credit_limit_currency_id': euro.id}])
        self.assertRecordValues(self._events(), [{'amount': 800, 'currency_id': euro.id}])
        self._request(300).with_user(self.credit_manager).action_approve()
        self.assertRecordValues(self.customer, [{
            'credit_limit': 300, 'credit_limit_in_currency': 0, 'credit_limit_currency_id': False}])

    def test_of_a_group_it_is_the_limit_of_the_group(self):
        sister = self.env['res.partner'].create({'name': "Miller South"})
        group = self.env['account.credit.group'].create({
            'name': "Miller group", 'amount': 100, 'partner_ids': [Command.set((self.customer | sister).ids)]})
        with self.assertRaisesRegex(ValidationError, "shares its limit with others"):
            self._request(date_until='2024-07-31')
        self._request().with_user(self.credit_manager).action_approve()
        self.assertEqual(group.amount, 500)
        self.assertEqual(self._rows(sister)[-1], (500, "Carla Credit", "Shared: Miller group · Big project"))

    #=== SECOND APPROVAL ===#

    def test_above_the_amount_another_person_has_to_agree(self):
        self.company.credit_second_approval_amount = 400
        self._request(400).with_user(self.credit_manager).action_approve()
        self.assertEqual(self.customer.credit_limit, 400)
        request = self._request(400.01)
        request.with_user(self.credit_manager).action_approve()
        self.assertEqual((request.state, self.customer.credit_limit), ('second', 400))
        self.assertEqual(request.activity_ids.user_id, self.second_manager)
        with self.assertRaisesRegex(UserError, "another person"):
            request.with_user(self.credit_manager).action_approve()
        with self.assertRaises(AccessError):
            request.with_user(self.second_manager).amount_approved = 1000
        request.with_user(self.second_manager).action_approve()
        self.assertEqual((request.state, request.second_user_id), ('approved', self.second_manager))
        self.assertEqual(self.customer.credit_limit, 400.01)

    def test_in_a_currency_without_a_rate_two_have_to_agree(self):
        self.company.credit_second_approval_amount = 400
        euro = self.setup_other_currency('EUR', rates=[('2024-06-11', 4.0)])
        request = self._request(1, currency_id=euro.id)
        request.with_user(self.credit_manager).action_approve()
        self.assertEqual(request.state, 'second')

    def test_without_a_second_credit_manager_it_is_said(self):
        self.company.credit_second_approval_amount = 400
        self.second_manager.active = False
        with self.assertRaisesRegex(UserError, "nobody else is a credit manager"):
            self._request().with_user(self.credit_manager).action_approve()

    def test_no_single_person_raises_a_limit_above_the_amount_in_another_way(self):
        self.company.credit_second_approval_amount = 400
        administrator = new_test_user(
            self.env, login='limit_admin', company_id=self.company.id, company_ids=[Command.set(self.company.ids)],
            groups='base.group_user,base.group_partner_manager,account.group_account_manager')
        euro = self.setup_other_currency('EUR', rates=[('2024-01-01', 4.0)])
        customer = self.customer.with_user(administrator)
        group = self.env['account.credit.group'].create({'name': "Group", 'amount': 100})
        ways = {
            'limit': lambda: customer.write({'credit_limit': 401}),
            'no limit': lambda: customer.write({'credit_limit': 0}),
            'extra': lambda: customer.write({
                'credit_limit_extra': 301, 'credit_limit_extra_until': '2024-06-10'}),
            'currency': lambda: customer.write({
                'credit_limit_in_currency': 1604, 'credit_limit_currency_id': euro.id}),
            'form': lambda: customer.web_save({'credit_limit': 401, 'use_partner_credit_limit': True}, {}),
            'switch': lambda: customer.write({'use_partner_credit_limit': False}),
            'create': lambda: customer.create({'name': "New", 'credit_limit': 401}) and customer.create({
                'name': "New", 'credit_limit': 500}).write({'credit_limit': 501}),
            'group': lambda: group.with_user(administrator).write({'amount': 401}),
        }
        self.env['ir.default'].set('res.partner', 'credit_limit', 300, company_id=self.company.id)
        for name, way in ways.items():
            if name == 'switch':
                self.env['ir.default'].set('res.partner', 'credit_limit', 1000, company_id=self.company.id)
            with (
                self.subTest(way=name), self.assertRaisesRegex(UserError, "needs two credit managers"),
                self.env.cr.savepoint(),
            ):
                way()
            self.env['ir.default'].set('res.partner', 'credit_limit', 300, company_id=self.company.id)
        with self.assertRaisesRegex(UserError, "needs two credit managers"):
            customer.with_context(default_credit_limit=1e6).create({'name': "New"})
        # up to it, and down from above, one is enough
        customer.write({'credit_limit': 400})
        self.customer.sudo().credit_limit = 1000
        customer.write({'credit_limit': 900})
        customer.write({'name': "Miller Limited", 'credit_limit': 900})

    #=== HISTORY ===#

    def test_every_change_is_kept_once(self):
        manager = new_test_user(
            self.env, login='limit_keeper', name="Max Manager", company_id=self.company.id,
            company_ids=[Command.set(self.company.ids)],
            groups='base.group_user,base.group_partner_manager,account.group_account_manager')
        customer = self.customer.with_user(manager)
        customer.web_save({'credit_limit': 200, 'use_partner_credit_limit': True}, {})
        customer.write({'credit_limit': 200, 'name': "Miller Limited"})
        customer.use_partner_credit_limit = False
        self.assertEqual(self._rows(), [(200, "Max Manager", ''), (0, "Max Manager", '')])
        new = self.env['res.partner'].with_user(manager).create({'name': "New", 'credit_limit': 50})
        self.assertEqual(self._rows(new), [(50, "Max Manager", '')])
        self.assertFalse(self._rows(self.env['res.partner'].create({'name': "Without"})))

    def test_the_life_of_the_account_tells_it(self):
        self._request().with_user(self.credit_manager).action_approve()
        history = self.env['account.dunning.history'].sudo()._get_history(self.company, self.customer)
        row = history.filtered(lambda row: row.kind == 'credit_limit')
        self.assertEqual(row.description, "$\xa0500.00 · Big project")
        self.assertEqual(row.action_open()['res_id'], self.customer.id)

    def test_the_list_of_a_customer(self):
        self._request().with_user(self.credit_manager).action_approve()
        action = self.contact.with_user(self.credit_manager).action_view_limit_history()
        self.assertEqual(self.env[action['res_model']].with_user(self.credit_manager).search(
            action['domain']), self._events())

    #=== REVIEW ===#

    def test_limits_are_reviewed_after_so_many_months(self):
        self.company.credit_review_months = 6
        self._ask_for_reviews()
        self.assertEqual(str(self.customer.credit_limit_review_date), '2024-12-10', "begins today")
        self.assertFalse(self.contact.credit_limit_review_date)
        with freeze_time('2024-12-09'):
            self._ask_for_reviews()
            self.assertFalse(self.customer.activity_ids)
        with freeze_time('2024-12-10'):
            self._ask_for_reviews()
            self._ask_for_reviews()
            self.assertEqual(
                self.customer.activity_ids.mapped('user_id'), self.credit_manager | self.second_manager)
            self.assertEqual(len(self.customer.activity_ids), 2)
        self.assertEqual(str(self.customer.credit_limit_review_date), '2025-06-10')
        with freeze_time('2024-12-20'):
            self.customer.credit_limit = 90
        self.assertEqual(str(self.customer.credit_limit_review_date), '2025-06-20', "looked at when it changes")

    def test_without_the_setting_and_without_a_limit_of_its_own_nothing_is_reviewed(self):
        self.env['ir.default'].set('res.partner', 'credit_limit', 1000, company_id=self.company.id)
        usual = self.env['res.partner'].create({'name': "Usual", 'is_company': True})
        self._ask_for_reviews()
        self.assertFalse(self.customer.credit_limit_review_date)
        self.company.credit_review_months = 6
        self._ask_for_reviews()
        self.assertTrue(self.customer.credit_limit_review_date)
        self.assertFalse(usual.credit_limit_review_date)

    def _ask_for_reviews(self):
        self.env['res.partner']._ask_for_limit_reviews()

    #=== PROPOSAL ===#

    def test_proposal_from_turnover_and_days_to_pay(self):
        for amount, date, due, paid in (
            (1200, '2024-01-01', '2024-01-31', '2024-02-10'),  # 30 days agreed, 40 taken
            (600, '2024-03-01', '2024-03-31', '2024-03-11'),  # 30 agreed, 10 taken
            (5000, '2023-06-10', '2023-07-10', '2023-09-10'),  # a day too old
        ):
            invoice = self._invoice(amount, date=date, invoice_date_due=due)
            self._register_payment(invoice, payment_date=paid)
        self._invoice(700, date='2024-06-01')  # not paid: turnover only
        self._invoice(100, date='2024-05-01', move_type='out_refund')
        proposal = self.env['account.credit.limit.request'].sudo()._propose(
            self.customer, self.company, fields.Date.to_date('2024-06-10'))
        # 1200 + 600 + 700 - 100; (1200 × 40 + 600 × 10) / 1800 = 30
        self.assertEqual(proposal, (2400, 30, 30, 200))
        request = self._request()
        self.assertRecordValues(request.sudo(), [{
            'amount_proposed': 200, 'turnover': 2400, 'days_to_pay': 30, 'days_agreed': 30}])
        text = request.with_user(self.credit_manager).proposal
        self.assertIn("Invoiced in the last twelve months: $\xa02,400.00, a month $\xa0200.00.", text)
        self.assertIn("Paid on average 30 days after the invoice; agreed are 30 days.", text)
        self.assertIn("$\xa0200.00 × 30 / 30 days = $\xa0200.00.", text)

    def test_paying_late_does_not_raise_the_proposal(self):
        Request = self.env['account.credit.limit.request']
        for days_to_pay, agreed, counted in ((10, 30, 10), (90, 30, 30), (90, 60, 60), (90, 0, 30), (20, 0, 20)):
            with self.subTest(days_to_pay=days_to_pay, agreed=agreed):
                self.assertEqual(Request._get_days_counted(days_to_pay, agreed), counted)

    def test_without_invoices_there_is_no_proposal(self):
        request = self._request().with_user(self.credit_manager)
        self.assertEqual(request.amount_proposed, 0)
        self.assertIn("nothing to go by", request.proposal)

    #=== RIGHTS ===#

    def test_salespeople_see_their_own_requests_without_figures(self):
        request = self._request()
        colleague = self.salesperson.copy({'login': 'colleague'})
        self.assertFalse(request.with_user(colleague).search([('id', '=', request.id)]))
        with self.assertRaises(AccessError):
            request.with_user(colleague).read(['amount'])
        for fname in ('amount_proposed', 'turnover', 'days_to_pay', 'proposal', 'limit_text', 'amount_approved'):
            with self.subTest(field=fname), self.assertRaises(AccessError):
                request.with_user(self.salesperson).read([fname])
        arch = request.with_user(self.salesperson).get_view(view_type='form')['arch']
        self.assertNotIn('amount_proposed', arch)
        Form(request.with_user(self.salesperson))

    def test_salespeople_decide_nothing(self):
        request = self._request()
        accountant = new_test_user(
            self.env, login='limit_accountant', groups='base.group_user,account.group_account_invoice',
            company_id=self.company.id, company_ids=[Command.set(self.company.ids)])
        for user in (self.salesperson, accountant):
            for method in ('action_approve', 'action_refuse'):
                with self.subTest(user=user.name, method=method), self.assertRaises(AccessError):
                    getattr(request.with_user(user), method)()
        for values in (
            {'state': 'approved'}, {'amount': 1000}, {'decision_note': "Yes"}, {'first_user_id': self.salesperson.id},
        ):
            with self.subTest(values=values), self.assertRaises(AccessError):
                request.with_user(self.salesperson).write(values)
        for values in ({'state': 'approved'}, {'user_id': self.credit_manager.id}, {'amount_approved': 1e6}):
            with self.subTest(values=values), self.assertRaises(AccessError):
                self._request(**values)
        request = self.env['account.credit.limit.request'].with_user(self.salesperson).with_context(
            default_state='approved', default_amount_approved=1e6).create({
                'partner_id': self.customer.id, 'amount': 200, 'reason': "Please"})
        self.assertRecordValues(request.sudo(), [{'state': 'requested', 'amount_approved': 0}])
        self.assertEqual(self.customer.credit_limit, 100)

    def test_who_has_asked_withdraws(self):
        request = self._request()
        colleague = self.salesperson.copy({
            'login': 'colleague', 'group_ids': [Command.link(self.env.ref('account.group_account_invoice').id)]})
        with self.assertRaisesRegex(AccessError, "who has asked"):
            request.with_user(colleague).action_cancel()
        request.with_user(self.salesperson).action_cancel()
        self.assertEqual(request.state, 'cancelled')
        self.assertFalse(request.activity_ids)
        with self.assertRaisesRegex(UserError, "decided already"):
            request.with_user(self.credit_manager).action_approve()

    def test_what_was_decided_is_not_deleted(self):
        request = self._request().with_user(self.credit_manager)
        with self.assertRaisesRegex(UserError, "Withdraw the request"):
            request.unlink()
        request.action_cancel()
        request.unlink()

    def test_bad_requests(self):
        with self.assertRaisesRegex(ValidationError, "is a contact of Miller Ltd"):
            self._request(partner_id=self.contact.id)

    def test_from_a_quotation_that_is_over_the_limit(self):
        order = self._order(200).with_user(self.salesperson)
        action = order.action_request_limit()
        self.assertEqual(action['context']['default_partner_id'], self.customer.id)
        form = Form(self.env[action['res_model']].with_user(self.salesperson).with_context(**action['context']),
                    view='account_dunning.account_credit_limit_request_view_form_ask')
        form.amount = 200
        form.reason = "This order"
        form.save().with_user(self.credit_manager).action_approve()
        order.invalidate_recordset()
        order.action_confirm()
