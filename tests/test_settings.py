from odoo import fields
from odoo.exceptions import AccessError
from odoo.tests import Form, new_test_user, tagged

from .common import DunningCommon


@tagged('post_install', '-at_install')
class TestSettings(DunningCommon):
    """Who manages accounting chooses how the company reminds, without the right to change everything."""

    def _create_user(self, login, group):
        return new_test_user(
            self.env, login=login, groups=group, company_id=self.company.id,
            company_ids=[fields.Command.set(self.company.ids)])

    def test_accounting_administrator_chooses_the_procedure(self):
        manager = self._create_user('settings_manager', 'account.group_account_manager')
        procedure = self._create_procedure([5])
        form = Form(self.env['account.dunning.settings'].with_user(manager))
        self.assertEqual(form.dunning_procedure_id, self.procedure)
        form.dunning_procedure_id = procedure
        form.promise_max_days = 45
        form.save().action_save()
        self.assertRecordValues(self.company, [{'dunning_procedure_id': procedure.id, 'promise_max_days': 45}])

    def test_credit_settings(self):
        manager = self._create_user('settings_manager', 'account.group_account_manager')
        form = Form(self.env['account.dunning.settings'].with_user(manager))
        form.account_use_credit_limit = True
        form.credit_control_policy = 'block'
        form.credit_overdue_days = 30
        form.credit_cover_counts = True
        form.credit_second_approval_amount = 5000
        form.credit_review_months = 6
        form.save().action_save()
        self.assertRecordValues(self.company, [{
            'credit_cover_counts': True, 'credit_second_approval_amount': 5000, 'credit_review_months': 6}])
        self.assertTrue(self.company._is_credit_hold_effective())

    def test_branch_leaves_the_credit_settings_to_its_main_company(self):
        branch = self.env['res.company'].sudo().create({'name': "Branch", 'parent_id': self.company.id})
        manager = self._create_user('settings_manager', 'account.group_account_manager')
        manager.sudo().company_ids += branch
        settings = self.env['account.dunning.settings'].with_user(manager).with_company(branch).create({
            'credit_control_policy': 'block', 'promise_grace_days': 9})
        settings.action_save()
        self.assertEqual(self.company.sudo().credit_control_policy, 'off')
        self.assertEqual(branch.promise_grace_days, 9)

    def test_nobody_else(self):
        for group in ('account.group_account_invoice', 'sales_team.group_sale_manager', 'base.group_user'):
            user = self._create_user(f'settings_{group}', group)
            with self.subTest(group=group), self.assertRaises(AccessError):
                self.env['account.dunning.settings'].with_user(user).create({'credit_control_policy': 'off'})

    def test_other_company_is_out_of_reach(self):
        other = self.setup_other_company()['company']
        manager = self._create_user('settings_manager', 'account.group_account_manager')
        settings = self.env['account.dunning.settings'].with_user(manager).create({'credit_control_policy': 'off'})
        settings.sudo().company_id = other
        settings.invalidate_recordset()
        with self.assertRaises(AccessError):
            settings.action_save()


@tagged('post_install', '-at_install')
class TestViews(DunningCommon):

    def test_every_view_suits_who_sees_it(self):
        """As Odoo checks them when the addon is installed; it only logs what it finds."""
        ids = self.env['ir.model.data'].search([
            ('module', '=', 'account_dunning'), ('model', '=', 'ir.ui.view')]).mapped('res_id')
        with self.assertNoLogs('odoo.addons.base.models.ir_ui_view', 'WARNING'):
            self.env['ir.ui.view'].sudo().browse(ids)._check_xml()
