from datetime import timedelta

from odoo import Command, fields
from odoo.tests import HttpCase, new_test_user, tagged

from .common import DunningCommon


@tagged('post_install', '-at_install', 'is_tour')
class TestMorning(DunningCommon, HttpCase):
    """The accountant's morning, in a browser."""

    def test_morning(self):
        self.env.user.write({'login': 'dunning_accountant', 'password': 'dunning_accountant'})
        today = self.company._get_dunning_today()
        partners = self.env['res.partner'].create([
            {'name': name, 'email': f'{number}@example.com', 'street': "Quay 1", 'city': "Brussels"}
            for number, name in enumerate(["Tour Big", "Tour Middle", "Tour Small", "Tour Paused"])
        ])
        for partner, amount in zip(partners, (900.0, 600.0, 300.0, 100.0), strict=True):
            self._create_due_invoice(today - timedelta(days=5), amount, partner=partner)
        self.env['account.dunning.block'].sudo().create({
            'company_id': self.company.id, 'partner_id': partners[3].id, 'reason': 'promise', 'date_from': today,
            'date_until': today + timedelta(days=7),
        })
        self.procedure.sudo().mode = 'review'
        self._run_cron('ir_cron_dunning_run')
        notices = self.Notice.search([('company_id', '=', self.company.id)])
        self.assertEqual(set(notices.partner_id), set(partners[:3]))

        self.start_tour('/odoo/customer-invoices', 'account_dunning_morning', login='dunning_accountant')
        self.env.invalidate_all()
        self.assertEqual(
            {notice.partner_id.name: notice.state for notice in notices},
            {"Tour Big": 'queued', "Tour Middle": 'queued', "Tour Small": 'cancelled'},
        )

        self._run_cron('ir_cron_dunning_send')
        self.assertEqual(
            {notice.partner_id.name: notice.state for notice in notices},
            {"Tour Big": 'sent', "Tour Middle": 'sent', "Tour Small": 'cancelled'},
        )
        self.start_tour('/odoo/dunning-notices', 'account_dunning_sent', login='dunning_accountant')
        line = self._get_receivable_lines(partners[0].invoice_ids)
        self.assertEqual((line.dunning_level_id, line.dunning_last_date), (self.level_1, fields.Date.to_date(today)))


class CollectorTour(DunningCommon, HttpCase):
    """Three customers to call today."""

    def _run_collector_tour(self, tour):
        user = new_test_user(
            self.env, 'dunning_collector', password='dunning_collector', groups='account.group_account_invoice',
            company_id=self.company.id, company_ids=[Command.set(self.company.ids)])
        self.assertFalse(user.has_group('account.group_account_user'))
        today = self.company._get_dunning_today()
        partners = self.env['res.partner'].create([
            {'name': name, 'phone': "+32 9 123", 'street': "Quay 1", 'city': "Brussels"}
            for name in ("Tour Big", "Tour Middle", "Tour Small")
        ])
        self.level_1.write({'send_email': False, 'create_activity': True})
        for partner, amount in zip(partners, (900.0, 600.0, 300.0), strict=True):
            self._create_due_invoice(today - timedelta(days=5), amount, partner=partner)
        self._run_cron('ir_cron_dunning_run')
        self._run_cron('ir_cron_dunning_send')
        self.start_tour('/odoo/follow-up', tour, login='dunning_collector')
        contacts = self.env['account.dunning.contact'].search([('partner_id', 'in', partners.ids)])
        self.assertEqual(
            {contact.partner_id.name: contact.outcome for contact in contacts},
            {"Tour Big": 'no_answer', "Tour Middle": 'promise', "Tour Small": 'other'})
        self.assertEqual(contacts.user_id, user)
        self.assertEqual(len(contacts), 3)


@tagged('post_install', '-at_install', 'is_tour')
class TestCollector(CollectorTour):

    def test_collector_empties_today(self):
        self._run_collector_tour('account_dunning_collector')


@tagged('post_install', '-at_install', 'is_tour')
class TestCollectorOnPhone(CollectorTour):
    browser_size = '390x844'
    touch_enabled = True

    def test_collector_empties_today(self):
        self._run_collector_tour('account_dunning_collector_phone')
