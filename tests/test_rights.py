import inspect

from odoo.exceptions import AccessError, UserError
from odoo.fields import Command
from odoo.service.model import get_public_method
from odoo.tests import freeze_time, new_test_user, tagged

from .common import DunningCommon

READ, WORK, ALL = 'r', 'rw', 'rwcu'
OPERATIONS = {'r': 'read', 'w': 'write', 'c': 'create', 'u': 'unlink'}

# What each user may do, by model; who is not named may do nothing
RIGHTS = {
    'account.dunning.procedure': {
        'employee': READ, 'salesman': READ, 'readonly': READ, 'billing': READ, 'manager': ALL},
    'account.dunning.level': {
        'employee': READ, 'salesman': READ, 'readonly': READ, 'billing': READ, 'manager': ALL},
    'account.dunning.run': {'readonly': READ, 'billing': ALL, 'manager': ALL},
    'account.dunning.notice': {'readonly': READ, 'billing': WORK, 'manager': WORK},
    'account.dunning.notice.line': {'readonly': READ, 'billing': READ, 'manager': READ},
    'account.dunning.followup': {'readonly': READ, 'billing': READ, 'manager': READ},
    'account.dunning.followup.change': {},
    'account.dunning.history': {'readonly': READ, 'billing': READ, 'manager': READ},
    'account.credit.event': {'readonly': READ, 'billing': READ, 'manager': READ},
    'account.credit.limit.import': {'manager': ALL},
    'account.credit.limit.import.line': {'manager': READ},
    'account.credit.limit.request': {
        'salesman': 'rc', 'readonly': READ, 'billing': 'rc', 'manager': 'rc'},
    'account.credit.cover': {'readonly': READ, 'billing': READ, 'manager': ALL},
    'account.credit.group': {'readonly': READ, 'billing': READ, 'manager': ALL},
}


@freeze_time('2024-03-20')
@tagged('post_install', '-at_install')
class TestRights(DunningCommon):
    """Who may see and do what, with the least rights that each needs."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        groups = {
            'portal': 'base.group_portal',
            'employee': 'base.group_user',
            'salesman': 'sales_team.group_sale_salesman',
            'readonly': 'account.group_account_readonly',
            'billing': 'account.group_account_invoice',
            'manager': 'account.group_account_manager',
        }
        cls.users = {
            name: new_test_user(
                cls.env, login=f'dunning_{name}', groups=group, company_id=cls.company.id,
                company_ids=[(6, 0, cls.company.ids)])
            for name, group in groups.items()
        }
        cls.line = cls._create_due_invoice('2024-03-10', 300.0)
        cls.dunning_run = cls.Run.create({'company_id': cls.company.id, 'date': '2024-03-20'})
        cls.dunning_run.action_prepare()
        cls.notice = cls.dunning_run.notice_ids
        cls.env['account.dunning.followup']._refresh(cls.company, cls.dunning_run.date)
        cls.followup = cls.env['account.dunning.followup'].search([('partner_id', '=', cls.partner_a.id)])

    #=== BY MODEL ===#

    def test_rights_of_each_user_on_each_model(self):
        for model, rights in RIGHTS.items():
            for name, user in self.users.items():
                for letter, operation in OPERATIONS.items():
                    with self.subTest(model=model, user=name, operation=operation):
                        self.assertEqual(
                            self.env[model].with_user(user).has_access(operation), letter in rights.get(name, ''))

    def test_every_model_has_rights_and_none_is_open_to_visitors(self):
        internal = self.env.ref('base.group_user') + self.env['res.groups'].search(
            [('all_implied_ids', 'in', self.env.ref('base.group_user').ids)])
        for model in self._own_models():
            rights = self.env['ir.model.access'].sudo().search([('model_id.model', '=', model)])
            with self.subTest(model=model):
                self.assertTrue(rights, "no access line")
                self.assertTrue(all(right.group_id for right in rights), "open to everybody")
                writers = rights.filtered(lambda right: right.perm_write or right.perm_create or right.perm_unlink)
                self.assertLessEqual(writers.group_id, internal, "visitors may write")

    def test_every_model_with_a_company_has_a_company_rule(self):
        for model in self._own_models():
            if 'company_id' not in self.env[model]._fields or self.env[model]._transient:
                continue
            rights = self.env['ir.model.access'].sudo().search([('model_id.model', '=', model)])
            if not any(rights.mapped('perm_read')):
                continue  # nobody but the flow itself
            rules = self.env['ir.rule'].sudo().search([('model_id.model', '=', model), ('groups', '=', False)])
            with self.subTest(model=model):
                self.assertTrue(any('company' in rule.domain_force for rule in rules))

    def _own_models(self):
        """Models that this addon brings, those of later hours included."""
        return [
            name for name, model in self.env.registry.items()
            if model._original_module == 'account_dunning' and not model._abstract
        ]

    #=== COMPANIES ===#

    def test_records_of_another_company_are_out_of_reach(self):
        other = self.setup_other_company()['company']
        stranger = new_test_user(
            self.env, login='dunning_stranger', groups='account.group_account_manager', company_id=other.id,
            company_ids=[(6, 0, other.ids)])
        block = self.env['account.dunning.block'].create({
            'company_id': self.company.id, 'partner_id': self.partner_b.id, 'date_from': '2024-03-01'})
        for record in (
            self.notice, self.notice.line_ids, self.dunning_run, self.followup, block, self.procedure,
            self.procedure.level_ids,
        ):
            with self.subTest(model=record._name):
                record = record.with_user(stranger).with_context(allowed_company_ids=other.ids)
                self.assertFalse(record.search([('id', 'in', record.ids)]))
                with self.assertRaises(AccessError):
                    record.check_access('read')
        with self.assertRaises(AccessError):
            self.notice.with_user(stranger).action_send()
        preview = self.env['account.dunning.preview'].with_user(stranger).with_context(
            allowed_company_ids=other.ids).create({'company_id': other.id, 'date': '2024-03-20'})
        self.assertNotIn(self.partner_a.name, preview.preview)

    def test_preview_of_a_company_that_the_user_does_not_work_in_is_empty(self):
        other = self.setup_other_company()['company']
        stranger = new_test_user(
            self.env, login='dunning_stranger', groups='account.group_account_invoice', company_id=other.id,
            company_ids=[(6, 0, other.ids)])
        preview = self.env['account.dunning.preview'].with_user(stranger).new({
            'company_id': self.company.id, 'date': '2024-03-20'})
        self.assertFalse(preview.preview)

    #=== SALESPEOPLE ===#

    def test_salesperson_sees_the_level_and_nothing_of_the_ledger(self):
        self.line.sudo().dunning_level_id = self.level_2
        partner = self.partner_a.with_user(self.users['salesman'])
        self.assertEqual(partner.dunning_level_id.name, "Level 2")
        self.assertIn(partner, partner.search([('dunning_level_id', '=', self.level_2.id)]))
        for name in ('amount_overdue', 'dunning_last_date', 'dunning_next_step', 'dunning_notice_count'):
            with self.subTest(field=name), self.assertRaises(AccessError):
                partner.read([name])
        order = self.env['sale.order'].with_user(self.users['salesman']).create({'partner_id': partner.id})
        self.assertEqual(order.dunning_level_id.name, "Level 2")
        for name, value in (('amount_overdue', 0), ('dunning_last_date', '2024-01-01')):
            with self.subTest(search=name), self.assertRaises(AccessError):
                partner.search([(name, '>', value)])
        for record in (self.notice, self.followup, self.dunning_run):
            with self.subTest(model=record._name), self.assertRaises(AccessError):
                record.with_user(self.users['salesman']).read(['company_id'])

    def test_customer_form_opens_for_each_internal_user(self):
        for name in ('employee', 'salesman', 'readonly', 'billing', 'manager'):
            with self.subTest(user=name):
                partner = self.partner_a.with_user(self.users[name])
                arch = partner.get_view(view_type='form')['arch']
                self.assertEqual('amount_overdue' in arch, name in ('readonly', 'billing', 'manager'))

    #=== BILLING ===#

    def test_billing_user_does_the_whole_morning(self):
        billing = self.users['billing']
        self.notice.sudo().unlink()
        followup = self.followup.with_user(billing)
        self.assertTrue(followup.next_step)
        notice = self.notice.with_user(billing).browse(followup.action_remind()['res_id'])
        self.env['account.dunning.notice.change.level'].with_user(billing).with_context(
            active_ids=notice.ids).create({'level_id': self.level_2.id}).action_apply()
        self.assertEqual(notice.level_id, self.level_2)
        notice.contact_id = self.partner_a
        notice.user_id = billing
        notice.action_cancel()
        self.assertEqual(notice.state, 'cancelled')
        run = self.Run.with_user(billing).create({'date': '2024-03-21'})
        run.action_prepare()
        self.assertEqual(len(run.notice_ids), 1)
        run.action_send()
        self.assertEqual(run.notice_ids.state, 'queued')

    def test_notice_is_evidence_that_nobody_edits(self):
        notice = self.notice.with_user(self.users['manager'])
        for values in (
            {'state': 'sent'}, {'amount_due': 1.0}, {'level_id': self.level_3.id}, {'sent_date': '2024-01-01'},
            {'partner_id': self.partner_b.id}, {'failure_reason': False}, {'company_id': self.company.id},
        ):
            with self.subTest(values=values), self.assertRaises(AccessError):
                notice.write(values)

    def test_recipient_of_a_notice_that_went_out_stays(self):
        notice = self.notice.with_user(self.users['manager'])
        contact = self.env['res.partner'].create({'name': "Paul", 'parent_id': self.partner_a.id})
        notice.contact_id = contact
        self.notice.sudo()._mark_sent(self.dunning_run.date)
        for values in ({'contact_id': self.partner_a.id}, {'user_id': self.users['manager'].id}):
            with self.subTest(values=values), self.assertRaises(AccessError):
                notice.write(values)
        self.assertEqual(notice.contact_id, contact)

    def test_letter_that_went_out_stays(self):
        letter = self.env['ir.attachment'].sudo().create({
            'name': "letter.pdf", 'raw': b"Pay", 'res_model': self.notice._name, 'res_id': self.notice.id})
        self.notice.sudo().attachment_id = letter
        self.notice.sudo()._mark_sent(self.dunning_run.date)
        letter = letter.with_user(self.users['manager'])
        self.assertEqual(letter.raw, b"Pay")
        with self.assertRaises(UserError):
            letter.raw = b"Paid"
        with self.assertRaises(UserError):
            letter.unlink()
        self.env['ir.attachment'].with_user(self.users['manager']).create({
            'name': "note.txt", 'raw': b"x", 'res_model': self.notice._name, 'res_id': self.notice.id}).unlink()

    def test_level_of_an_invoice_is_written_by_the_flow_and_administrators(self):
        self.notice.sudo()._mark_sent(self.dunning_run.date)
        line = self.line.with_user(self.users['billing'])
        for record in (line, line.move_id):
            for values in ({'dunning_level_id': False}, {'dunning_last_date': '2024-01-01'}):
                with self.subTest(model=record._name, values=values), self.assertRaises(AccessError):
                    record.write(values)
        self.assertEqual((line.dunning_level_id, line.dunning_last_date), (self.level_1, self.dunning_run.date))
        # taking over the history of another program
        line.with_user(self.users['manager']).dunning_level_id = self.level_2
        self.assertEqual(line.dunning_level_id, self.level_2)

    def test_customers_do_not_see_how_they_are_dunned(self):
        portal = self.users['portal']
        portal.partner_id.parent_id = self.partner_a
        self.line.move_id.message_subscribe(portal.partner_id.ids)
        for record, names in (
            (self.partner_a, ('dunning_level_id', 'dunning_user_id', 'dunning_procedure_id')),
            (self.line.move_id, ('dunning_level_id', 'dunning_last_date', 'dunning_procedure_id')),
        ):
            record = record.with_user(portal)
            record.read(['display_name'])
            for name in names:
                with self.subTest(model=record._name, field=name), self.assertRaises(AccessError):
                    record.read([name])

    def test_call_about_another_company(self):
        other = self.setup_other_company()['company']
        call = self.env['account.dunning.call'].with_user(self.users['billing']).create({
            'partner_id': self.partner_a.id, 'company_id': other.id, 'email': 'me@example.com',
            'send_statement': True, 'outcome': 'no_answer'})
        for action in (call.action_send_documents, call.action_log):
            with self.assertRaises(AccessError):
                action()

    #=== OVER RPC ===#

    def _public_methods(self):
        """Every method of our own models that can be called over RPC."""
        for name in self._own_models():
            if not name.startswith('account.dunning'):
                continue
            model = self.env[name]
            own = {
                method
                for cls in type(model).__mro__
                if cls.__module__.startswith('odoo.addons.account_dunning')
                for method, function in vars(cls).items()
                if inspect.isfunction(function) and not method.startswith('_')
            }
            for method in sorted(own - {'create', 'write', 'unlink', 'read', 'search', 'copy', 'fields_get'}):
                try:
                    get_public_method(model, method)
                except AccessError:
                    continue
                yield name, method

    def test_public_methods_refuse_users_without_rights(self):
        records = {
            'account.dunning.notice': self.notice,
            'account.dunning.notice.line': self.notice.line_ids,
            'account.dunning.run': self.dunning_run,
            'account.dunning.followup': self.followup,
        }
        methods = list(self._public_methods())
        self.assertIn(('account.dunning.notice', 'action_send'), methods)
        for model, method in methods:
            record = records.get(model)
            if not record:
                if self.env[model]._transient:
                    with self.subTest(model=model), self.assertRaises(AccessError):
                        self.env[model].with_user(self.users['employee']).check_access('create')
                    continue
                record = self._make(model)
            arguments = {'action_set_level': (self.level_3.id,)}.get(method, ())
            for name in ('portal', 'employee', 'salesman'):
                with self.subTest(model=model, method=method, user=name):
                    self._assert_refused(record.with_user(self.users[name]), method, arguments)
        self.assertRecordValues(self.notice, [{'state': 'draft', 'level_id': self.level_1.id}])

    def _assert_refused(self, record, method, arguments):
        try:
            result = getattr(record, method)(*arguments)
        except AccessError:
            return
        # What only opens a screen may leave it to the screen to refuse.
        self.assertIsInstance(result, dict, "not refused")
        self.assertEqual(result.get('type'), 'ir.actions.act_window', "not refused")

    def _make(self, model):
        """A record of a model that the set-up does not make."""
        if model == 'account.dunning.block':
            return self.env[model].create({
                'company_id': self.company.id, 'partner_id': self.partner_b.id, 'date_from': '2024-03-01'})
        if model == 'account.collection.case':
            return self.env[model].create({
                'company_id': self.company.id, 'partner_id': self.partner_b.id, 'agency_id': self.partner_a.id})
        if model == 'account.payer.score':
            return self.env[model].sudo().create({
                'company_id': self.company.id, 'partner_id': self.partner_a.id, 'date': '2024-03-01'})
        return {
            'account.dunning.effect': self.env['account.dunning.effect'].browse(1),  # rights are asked first
            'account.payment.forecast': self.env['account.payment.forecast'].browse(1),
            'account.dunning.aging': self.env['account.dunning.aging'].search([], limit=1),
            'account.dunning.history': self.env['account.dunning.history'].search(
                [('partner_id', '=', self.partner_a.id)], limit=1),
            'account.dunning.procedure': self.procedure,
            'account.dunning.level': self.level_1,
        }[model]

    def test_agreements_refuse_users_without_rights(self):
        promise = self.env['account.payment.promise'].create({
            'partner_id': self.partner_a.id, 'company_id': self.company.id, 'amount': 300.0, 'date': '2024-03-25'})
        dispute = self.env['account.dispute'].create({'move_id': self.line.move_id.id, 'amount': 100.0})
        plan = self.env['account.payment.plan'].create({
            'partner_id': self.partner_a.id, 'company_id': self.company.id,
            'currency_id': self.company.currency_id.id, 'move_line_ids': [Command.set(self.line.ids)]})
        for record, methods in (
            (promise, ('action_cancel',)),
            (promise.block_id, ('action_end',)),
            (dispute, ('action_accept', 'action_reject')),
            (plan, ('action_offer', 'action_sign', 'action_cancel', 'action_break')),
        ):
            for method in methods:
                for name in ('portal', 'employee', 'salesman', 'readonly'):
                    with self.subTest(model=record._name, method=method, user=name), self.assertRaises(AccessError):
                        getattr(record.with_user(self.users[name]), method)()
        self.assertEqual((promise.state, dispute.state, plan.state), ('open', 'open', 'draft'))
        self.assertEqual(promise.block_id.state, 'active')

    def test_read_only_accountant_changes_nothing(self):
        readonly = self.users['readonly']
        self.assertTrue(self.followup.with_user(readonly).next_step)
        for record, method, arguments in (
            (self.notice, 'action_send', ()),
            (self.notice, 'action_cancel', ()),
            (self.notice, 'action_set_level', (self.level_3.id,)),
            (self.notice, 'action_print_letters', ()),
            (self.dunning_run, 'action_prepare', ()),
            (self.dunning_run, 'action_send', ()),
            (self.followup, 'action_remind', ()),
        ):
            with self.subTest(method=method), self.assertRaises(AccessError):
                getattr(record.with_user(readonly), method)(*arguments)

    def test_engine_and_explanation_are_not_for_rpc(self):
        for model in ('account.dunning.engine', 'account.dunning.explanation'):
            own = {
                method
                for cls in type(self.env[model]).__mro__
                if cls.__module__.startswith('odoo.addons.account_dunning')
                for method, function in vars(cls).items()
                if inspect.isfunction(function)
            }
            self.assertTrue(own)
            self.assertFalse([method for method in own if not method.startswith('_')])
