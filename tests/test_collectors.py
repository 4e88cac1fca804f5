from datetime import date

from odoo import Command, fields
from odoo.exceptions import AccessError, ValidationError
from odoo.tests import Form, freeze_time, new_test_user, tagged

from .common import DunningCommon


@tagged('post_install', '-at_install')
@freeze_time('2024-03-20')
class TestCollectors(DunningCommon):
    """Customers A (Belgium, 300 overdue) and B (France, 50 overdue); three collectors with billing rights."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.anna, cls.bert, cls.cleo = (
            new_test_user(
                cls.env, login=f'collector_{name}', groups='account.group_account_invoice', company_id=cls.company.id,
                company_ids=[Command.set(cls.company.ids)])
            for name in ('anna', 'bert', 'cleo'))
        cls.partner_a.country_id = cls.env.ref('base.be')
        cls.partner_b.country_id = cls.env.ref('base.fr')
        cls._create_due_invoice('2024-03-01', 300.0)
        cls._create_due_invoice('2024-03-01', 50.0, partner=cls.partner_b)
        cls.Rule = cls.env['account.dunning.collector.rule'].sudo()

    def _collectors(self):
        followups = self.env['account.dunning.followup'].search([
            ('company_id', '=', self.company.id), ('partner_id', 'in', (self.partner_a + self.partner_b).ids)])
        by_customer = {followup.partner_id: followup.user_id for followup in followups}
        return by_customer[self.partner_a], by_customer[self.partner_b]

    def _absent(self, user, deputy, first='2024-03-20', last='2024-03-22'):
        return self.env['account.dunning.absence'].sudo().create({
            'user_id': user.id, 'deputy_id': deputy.id, 'date_from': first, 'date_until': last})

    def test_first_rule_that_fits_names_the_collector(self):
        nobody = self.env['res.users']
        self.assertEqual(self._collectors(), (nobody, nobody))
        everybody = self.Rule.create({'user_id': self.cleo.id, 'sequence': 90})
        self.assertEqual(self._collectors(), (self.cleo, self.cleo))
        self.Rule.create({
            'user_id': self.anna.id, 'sequence': 10, 'country_ids': [Command.set(self.env.ref('base.fr').ids)]})
        self.assertEqual(self._collectors(), (self.cleo, self.anna))
        self.Rule.create({'user_id': self.bert.id, 'sequence': 5, 'amount_from': 100.0})
        self.assertEqual(self._collectors(), (self.bert, self.anna))
        everybody.active = False
        self.bert.sudo().active = False
        self.assertEqual(self._collectors(), (nobody, self.anna), "nobody who has left")

    def test_salesperson_and_country_of_the_customer_count_as_they_are_now(self):
        self.Rule.create({'user_id': self.anna.id, 'salesperson_ids': [Command.set(self.bert.ids)]})
        self.assertFalse(self._collectors()[0])
        self.partner_a.user_id = self.bert
        self.assertEqual(self._collectors()[0], self.anna)
        self.partner_a.user_id = self.cleo
        self.assertFalse(self._collectors()[0])
        self.Rule.create({'user_id': self.cleo.id, 'country_ids': [Command.set(self.env.ref('base.de').ids)]})
        self.partner_b.country_id = self.env.ref('base.de')
        self.assertEqual(self._collectors()[1], self.cleo)

    def test_what_is_paid_changes_the_collector_by_amount(self):
        self.Rule.create({'user_id': self.bert.id, 'amount_from': 100.0})
        self.Rule.create({'user_id': self.anna.id, 'sequence': 20})
        self.assertEqual(self._collectors(), (self.bert, self.anna))
        self._pay(self._get_receivable_lines(self.partner_a.invoice_ids), '2024-03-20', 250.0)
        self.assertEqual(self._collectors(), (self.anna, self.anna))

    def test_given_by_hand_stays(self):
        self.Rule.create({'user_id': self.cleo.id})
        self.partner_a.dunning_user_id = self.anna
        self.assertEqual(self._collectors(), (self.anna, self.cleo))

    def test_notices_and_aged_receivables_have_the_same_collector(self):
        self.Rule.create({'user_id': self.bert.id, 'amount_from': 100.0})
        run = self.Run.create({'company_id': self.company.id, 'date': '2024-03-20'})
        run.action_prepare()
        by_customer = {notice.partner_id: notice.user_id for notice in run.notice_ids}
        self.assertEqual(by_customer[self.partner_a], self.bert)
        self.assertFalse(by_customer[self.partner_b])
        self._collectors()
        rows = self.env['account.dunning.aging']._get_balances(
            self.company, fields.Date.to_date('2024-03-20'), self.partner_a.ids)
        self.assertEqual({row['user_id'] for row in rows}, {self.bert.id})

    def test_rule_of_another_company_does_not_count(self):
        elsewhere = self.env['res.company'].sudo().create({'name': "Elsewhere"})
        self.Rule.create({'user_id': self.anna.id, 'company_id': elsewhere.id})
        self.assertFalse(self._collectors()[0])

    def test_deputy_sees_the_customers_of_the_absent_and_only_while_they_are_away(self):
        self.partner_a.dunning_user_id = self.anna
        self._collectors()
        Followup = self.env['account.dunning.followup'].with_user(self.bert)
        mine = [('is_mine', '=', True), ('partner_id', '=', self.partner_a.id)]
        self.assertFalse(Followup.search(mine))
        self._absent(self.anna, self.bert)
        self.assertTrue(Followup.search(mine).is_mine)
        with freeze_time('2024-03-22'):
            self.assertTrue(Followup.search(mine))
        with freeze_time('2024-03-23'):
            self.assertFalse(Followup.search(mine))
        self.assertTrue(self.env['account.dunning.followup'].with_user(self.anna).search(mine), "still theirs, too")

    def test_tasks_go_to_the_deputy_and_back(self):
        self.partner_a.dunning_user_id = self.anna
        run = self.Run.create({'company_id': self.company.id, 'date': '2024-03-20'})
        run.action_prepare()
        notice = run.notice_ids.filtered(lambda notice: notice.partner_id == self.partner_a)
        self.assertEqual(notice._get_collector(), self.anna)
        self._absent(self.anna, self.bert)
        self.assertEqual(notice._get_collector(), self.bert)
        with freeze_time('2024-03-23'):
            self.assertEqual(notice._get_collector(), self.anna)

    def test_deputies_of_deputies_and_circles(self):
        day = date(2024, 3, 20)
        Absence = self.env['account.dunning.absence']
        self._absent(self.anna, self.bert)
        self._absent(self.bert, self.cleo)
        self.assertEqual(Absence._get_deputies(day), {self.anna: self.cleo, self.bert: self.cleo})
        self.assertEqual(Absence._get_represented(self.cleo, day), self.anna + self.bert + self.cleo)
        self._absent(self.cleo, self.anna)
        self.assertEqual(Absence._get_deputies(day), {}, "all are away: each keeps their own work")

    def test_collector_enters_their_own_absence_and_nobody_elses(self):
        form = Form(self.env['account.dunning.absence'].with_user(self.anna), view='account_dunning.'
                    'account_dunning_absence_view_list')
        form.deputy_id = self.bert.with_user(self.anna)
        form.date_until = '2024-03-25'
        absence = form.save()
        self.assertEqual(absence.user_id, self.anna)
        absence.date_until = '2024-03-26'
        with self.assertRaises(AccessError):
            absence.with_user(self.bert).date_until = '2024-03-21'
        with self.assertRaises(AccessError):
            self.env['account.dunning.absence'].with_user(self.bert).create({
                'user_id': self.anna.id, 'deputy_id': self.bert.id, 'date_until': '2024-03-25'})
        with self.assertRaisesRegex(ValidationError, "stand in for themselves"):
            self._absent(self.anna, self.anna)

    def test_others_get_nowhere(self):
        rule = self.Rule.create({'user_id': self.anna.id})
        absence = self._absent(self.anna, self.bert)
        for groups in ('base.group_portal', 'sales_team.group_sale_salesman', 'base.group_user'):
            user = new_test_user(self.env, login=f'others {groups}', groups=groups)
            for record in (rule, absence):
                with self.subTest(user=groups, model=record._name), self.assertRaises(AccessError):
                    record.with_user(user).read(['user_id'])
                with self.subTest(user=groups, model=record._name), self.assertRaises(AccessError):
                    record.with_user(user).write({'user_id': user.id})
        with self.assertRaises(AccessError):
            rule.with_user(self.anna).user_id = self.bert
