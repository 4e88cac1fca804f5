from psycopg2 import IntegrityError

from odoo import Command, fields
from odoo.exceptions import AccessError, UserError, ValidationError
from odoo.tests import Form, freeze_time, new_test_user, tagged
from odoo.tools import mute_logger

from .credit_common import CreditCommon


@tagged('post_install', '-at_install')
@freeze_time('2024-06-10')
class TestCreditCover(CreditCommon):
    """What is insured or guaranteed, and what it changes."""

    @classmethod
    def _cover(cls, amount, partner=None, **values):
        return cls.env['account.credit.cover'].create({
            'partner_id': (partner or cls.customer).id, 'amount': amount, 'date_from': '2024-01-01', **values})

    def _amounts(self, date='2024-06-10', partner=None):
        partner = partner or self.customer
        return self.env['account.credit.exposure'].sudo()._get_amounts(
            {self.company: partner}, fields.Date.to_date(date))[partner.id, self.company.id]

    def test_cover_counts_from_its_first_to_its_last_day(self):
        self._cover(100, date_from='2024-06-10', date_until='2024-06-20')
        for day, covered in (
            ('2024-06-09', 0), ('2024-06-10', 100), ('2024-06-20', 100), ('2024-06-21', 0),
        ):
            with self.subTest(day=day):
                self.assertEqual(self._amounts(day).covered, covered)

    def test_cover_without_an_end_and_several_add_up(self):
        self._cover(100)
        self._cover(50, kind='guarantee', date_until='2024-06-10')
        self._cover(1000, partner=self.env['res.partner'].create({'name': "Other"}))
        self.assertEqual(self._amounts().covered, 150)
        self.assertEqual(self._amounts('2024-06-11').covered, 100)

    def test_state_is_that_of_the_companys_day(self):
        covers = (
            self._cover(1, date_from='2024-06-11') + self._cover(1, date_until='2024-06-10')
            + self._cover(1, date_until='2024-06-09'))
        self.assertEqual(covers.mapped('state'), ['coming', 'valid', 'ended'])
        for cover in covers:
            self.assertEqual(covers.search([('state', '=', cover.state), ('id', 'in', covers.ids)]), cover)

    def test_the_limit_compares_the_own_risk_only_where_the_company_says_so(self):
        self.customer.credit_limit = 100
        self._cover(60)
        for counts, amount, needs_release in (
            (False, 100, False), (False, 100.01, True), (True, 160, False), (True, 160.01, True),
        ):
            with self.subTest(counts=counts, amount=amount):
                self.company.credit_cover_counts = counts
                order = self._order(amount)
                self.assertEqual(order.credit_needs_release, needs_release)
                self.assertEqual(bool(order.partner_credit_warning), needs_release)

    def test_the_sentence_says_what_is_covered(self):
        self.customer.credit_limit = 100
        self.company.credit_cover_counts = True
        self._cover(60)
        order = self._order(170)
        self.assertEqual(order.credit_reason, (
            "Miller Ltd has reached its credit limit of: $\xa0100.00\n"
            "Total amount due (including this document): $\xa0170.00\n"
            "Of this, $\xa060.00 is covered: own risk $\xa0110.00"))
        self.assertEqual((order.credit_exposure, order.credit_limit, order.credit_excess), (170, 100, 10))

    def test_own_risk_is_not_below_zero(self):
        self._cover(500)
        self._invoice(100)
        exposure = self.env['account.credit.exposure'].sudo().create({
            'partner_id': self.customer.id, 'company_id': self.company.id})
        self.assertEqual((exposure.amount_total, exposure.amount_covered, exposure.own_risk), (100, 500, 0))
        self._invoice(600)
        exposure.invalidate_recordset()
        self.assertEqual(exposure.own_risk, 200)

    def test_cover_in_another_currency_counts_at_the_rate_of_the_day(self):
        currency = self.setup_other_currency('EUR', rates=[('2024-01-01', 2.0), ('2024-06-01', 4.0)])
        self._cover(100, currency_id=currency.id)
        self.assertEqual(self._amounts('2024-05-31').covered, 50)
        self.assertEqual(self._amounts('2024-06-01').covered, 25)
        self.assertFalse(self._amounts().uncounted_cover)

    def test_cover_without_a_rate_is_not_counted_and_that_is_said(self):
        currency = self.setup_other_currency('EUR', rates=[('2024-06-11', 2.0)])
        self._cover(100, currency_id=currency.id)
        amounts = self._amounts()
        self.assertEqual((amounts.covered, amounts.uncounted_cover), (0, True))
        exposure = self.env['account.credit.exposure'].sudo().create({
            'partner_id': self.customer.id, 'company_id': self.company.id})
        self.assertIn("no exchange rate", exposure.limit_note)
        self.assertEqual(self._amounts('2024-06-11').covered, 50)

    def test_cover_of_another_company_does_not_count(self):
        other = self.setup_other_company()['company']
        self._cover(100, company_id=other.id, currency_id=other.currency_id.id)
        self.assertEqual(self._amounts().covered, 0)

    @mute_logger('odoo.sql_db')
    def test_bad_values(self):
        for values in (
            {'amount': 0}, {'amount': -1}, {'amount': 1, 'date_until': '2023-12-31'},
        ):
            with self.subTest(values=values), self.assertRaises(IntegrityError), self.env.cr.savepoint():
                self._cover(values.pop('amount'), **values)
        with self.assertRaisesRegex(ValidationError, "is a contact of Miller Ltd"):
            self._cover(1, partner=self.contact)

    def test_cover_goes_with_a_merged_customer(self):
        self._cover(100)
        other = self.env['res.partner'].create({'name': "Miller Limited", 'is_company': True})
        self._cover(50, partner=other)
        self.env['base.partner.merge.automatic.wizard'].create({})._merge((self.customer | other).ids, self.customer)
        self.assertEqual(self._amounts().covered, 150)

    def test_the_cover_of_an_archived_customer_counts(self):
        self._cover(100)
        self.customer.active = False
        self.assertEqual(self._amounts().covered, 100)

    def test_credit_managers_are_told_once_before_it_ends(self):
        self.company.credit_cover_notice_days = 10
        soon, later = self._cover(100, date_until='2024-06-20'), self._cover(100, date_until='2024-06-21')
        ended, endless = self._cover(100, date_until='2024-06-09'), self._cover(100)
        for _run in range(2):
            self.env['account.credit.cover']._remind_of_ends()
        self.assertEqual(soon.activity_ids.user_id, self.credit_manager)
        self.assertEqual(len(soon.activity_ids), 1)
        self.assertIn("Miller Ltd ends on 06/20/2024", soon.activity_ids.summary)
        self.assertFalse((later + ended + endless).activity_ids)
        with freeze_time('2024-06-11'):
            self.env['account.credit.cover']._remind_of_ends()
        self.assertEqual(len((soon + later).activity_ids), 2)
        soon.date_until = '2024-06-18'
        self.env['account.credit.cover']._remind_of_ends()
        self.assertEqual(len(soon.activity_ids), 2, "another end, another reminder")

    def test_the_scheduled_action_tells_them(self):
        cover = self._cover(100, date_until='2024-06-20')
        with self.enter_registry_test_mode():
            self.env.ref('account_dunning.ir_cron_credit_recheck').method_direct_trigger()
        self.assertTrue(cover.activity_ids)

    def test_who_may_see_and_change_it(self):
        cover = self._cover(100)
        rights = {
            'sales_team.group_sale_manager': '',
            'account.group_account_invoice': 'read',
            'account.group_account_readonly': 'read',
            'account_dunning.group_credit_manager': 'read write create unlink',
            'account.group_account_manager': 'read write create unlink',
        }
        for group, allowed in rights.items():
            user = new_test_user(
                self.env, login=f'cover_{group}', groups=f'base.group_user,{group}', company_id=self.company.id,
                company_ids=[Command.set(self.company.ids)])
            for operation in ('read', 'write', 'create', 'unlink'):
                with self.subTest(group=group, operation=operation):
                    self.assertEqual(cover.with_user(user).has_access(operation), operation in allowed)
        with self.assertRaises(AccessError):
            self.customer.with_user(self.salesperson).read(['credit_cover_ids'])

    def test_credit_manager_records_it_in_the_form(self):
        form = Form(self.env['account.credit.cover'].with_user(self.credit_manager))
        form.partner_id = self.customer
        form.kind = 'guarantee'
        form.amount = 250
        form.date_until = '2024-12-31'
        cover = form.save()
        self.assertEqual(cover.currency_id, self.company.currency_id)
        self.assertEqual(self._amounts().covered, 250)

    def test_salesperson_confirms_what_the_cover_allows(self):
        self.customer.credit_limit = 100
        self.company.credit_cover_counts = True
        self._cover(100)
        self._order(200).with_user(self.salesperson).action_confirm()
        with self.assertRaisesRegex(UserError, "own risk"):
            self._order(0.01).with_user(self.salesperson).action_confirm()
