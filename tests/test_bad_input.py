from datetime import date
from inspect import Parameter, signature

import psycopg2

from odoo import fields, http
from odoo.exceptions import AccessError, MissingError, UserError
from odoo.service.model import get_public_method
from odoo.tests import HttpCase, freeze_time, new_test_user, tagged
from odoo.tools import mute_logger

from .common import DunningCommon, DunningMailCommon

# Odoo shows these as a sentence, that of the constraint too; anything else is a traceback to the user.
SENTENCES = (UserError, AccessError, MissingError, psycopg2.IntegrityError)
CODE_RESULT = str(7919 * 7907)  # long enough not to occur in a page by chance, as part of a token or an id
NASTY = '<script>alert(1)</script><b>{amount_due}</b> {{ 7919*7907 }} <t t-out="7919*7907"/> ${7919*7907}'
PLAIN_NASTY = '<script>alert(1)</script> <t t-out="7919*7907"/>'  # without braces: the level's words would refuse them
RIGHT_TO_LEFT = "شركة الاختبار \u202e(test)\u202c"
NUMBERS = (-1.0, -1e12, 1e12)
# No client can type them, and Odoo's own rounding refuses them with a Python error.
NO_NUMBERS = (float('nan'), float('inf'), float('-inf'))


@tagged('post_install', '-at_install')
class TestBadMethodCalls(DunningCommon):
    """Every method of the addon that can be called from outside, by those who have no business with it."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.lines = cls._create_due_invoice('2024-01-01') + cls._create_due_invoice(
            '2024-01-05', partner=cls.partner_b)
        cls.dunning_run = cls.Run.create({'company_id': cls.company.id, 'date': '2024-02-01'})
        cls.dunning_run.action_prepare()
        cls.env['account.dunning.block'].create({'partner_id': cls.partner_a.id, 'date_from': '2024-01-01'})
        cls.env['account.dunning.followup']._refresh(cls.company, date(2024, 2, 1))
        cls.company_data_2 = cls.setup_other_company()
        companies = {'company_id': cls.company.id, 'company_ids': [fields.Command.set(cls.company.ids)]}
        other_company = cls.company_data_2['company']
        cls.strangers = (
            new_test_user(cls.env, 'bad_portal', 'base.group_portal', **companies),
            new_test_user(cls.env, 'bad_employee', 'base.group_user', **companies),
            new_test_user(cls.env, 'bad_salesperson', 'sales_team.group_sale_salesman', **companies),
            new_test_user(
                cls.env, 'bad_other_company', 'account.group_account_manager', company_id=other_company.id,
                company_ids=[fields.Command.set(other_company.ids)]),
        )
        cls.accountant = new_test_user(cls.env, 'bad_accountant', 'account.group_account_invoice', **companies)

    def _own_methods(self):
        """Model and name of the methods of the addon that a client may call."""
        for name, model in sorted(self.env.registry.items()):
            for method_name in sorted(dir(model)):
                method = getattr(model, method_name, None)
                if not (getattr(method, '__module__', None) or '').startswith('odoo.addons.account_dunning.'):
                    continue
                if method_name.startswith('_') or not callable(method) or isinstance(method, type):
                    continue
                try:
                    yield self.env[name], get_public_method(self.env[name], method_name)
                except AccessError:
                    continue  # private, as it should be

    def _own_tables(self):
        """Tables of what people and the flow write; the follow-up's figures are worked out from them at any time."""
        return sorted(
            model._table for name, model in self.env.registry.items()
            if model._original_module == 'account_dunning' and model._auto and not model._abstract
            and not model._transient
            # derived, and a list of what is to be derived anew
            and not name.startswith('account.dunning.followup') and name != 'account.payer.change'
            and name != 'account.reference.rate'  # shared by all companies
        )

    def _get_state(self):
        """What the addon's tables and the levels of journal items hold."""
        self.env.flush_all()
        state = {}
        for table in self._own_tables():
            self.env.cr.execute(f'SELECT COUNT(*), MD5(STRING_AGG(t::text, \'|\' ORDER BY id)) FROM "{table}" t')
            state[table] = self.env.cr.fetchone()
        self.env.cr.execute(
            "SELECT MD5(STRING_AGG(CONCAT(id, dunning_level_id, reconciled), '|' ORDER BY id)) FROM account_move_line")
        state['account_move_line'] = self.env.cr.fetchone()
        return state

    def _call(self, user, model, method, ids, value):
        """Call as a client does.

        :return: what no user may see: an error that is no sentence
        """
        records = model.with_user(user).browse(ids)
        needed = [
            parameter for parameter in list(signature(method).parameters.values())[1:]
            if parameter.default is Parameter.empty and parameter.kind in (
                Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
        ]
        try:
            with self.env.cr.savepoint(), mute_logger('odoo.sql_db'):
                method(records, *[value] * len(needed))
                self.env.flush_all()
        except SENTENCES:
            return None
        except Exception as error:  # whatever it is, a user would see it
            return f"{user.login}: {model._name}.{method.__name__}({ids}, {value!r}): {type(error).__name__}: {error}"
        finally:
            self.env.invalidate_all()
        return None

    def test_strangers_change_nothing(self):
        """Portal users, employees without accounting and accountants of another company get nowhere."""
        methods = list(self._own_methods())
        self.assertGreater(len(methods), 15)
        state = self._get_state()
        for user in self.strangers:
            for model, method in methods:
                if model._abstract or model._transient:
                    ids = []
                else:
                    # a life is always somebody's
                    is_life = model._name == 'account.dunning.history'
                    domain = [('partner_id', '=', self.partner_a.id)] if is_life else []
                    ids = model.sudo().with_context(active_test=False).search(domain, limit=1, order='id DESC').ids
                with self.subTest(user=user.login, method=f'{model._name}.{method.__name__}'):
                    if model._original_module == 'account_dunning' and method.__name__ not in (
                            'create', 'default_get', 'onchange', 'read', 'write', 'unlink'):
                        self._call(user, model, method, ids, self.level_2.id)
                        self.assertEqual(self._get_state(), state)

    def test_ids_that_do_not_exist(self):
        """Records that are gone, or never were: a sentence, no traceback."""
        crud = ('create', 'write', 'default_get', 'onchange')
        tracebacks = [
            fault
            for model, method in self._own_methods()
            if model._original_module == 'account_dunning' and method.__name__ not in crud
            for ids in ([], [2**31 - 1])
            for value in (2**31 - 1, False)
            if (fault := self._call(self.accountant, model, method, ids, value))
            # Odoo's own words for a method of one record that is given none
            and 'Expected singleton' not in fault
        ]
        self.assertFalse(tracebacks, "\n".join(tracebacks))

    def test_evidence_is_not_for_writing(self):
        """An accountant may not write what only the flow writes."""
        notice = self.dunning_run.notice_ids[:1].with_user(self.accountant)
        for values in (
            {'state': 'sent'}, {'amount_due': 1.0}, {'sent_date': '2024-01-01'}, {'message_id': 'x'},
            {'company_id': self.company_data_2['company'].id},
        ):
            before = notice.sudo().read(list(values))
            try:
                with self.env.cr.savepoint():
                    notice.write(values)
            except SENTENCES:
                continue
            self.env.invalidate_all()
            self.assertEqual(notice.sudo().read(list(values)), before, values)

    def test_configuration_is_the_managers(self):
        """Words and templates, which are rendered for others, are not written by those who only work with them."""
        level = self.level_1.with_user(self.accountant)
        with self.assertRaises(AccessError):
            level.letter_intro = NASTY
        with self.assertRaises(AccessError):
            level.copy()
        with self.assertRaises(AccessError):
            self.procedure.with_user(self.accountant).name = NASTY


@tagged('post_install', '-at_install')
class TestBadNumbersAndDates(DunningCommon):

    def _refuse_or_survive(self, write, *, check=None):
        """Writing is refused with a sentence, or what was written does no harm to the run.

        :param write: function that writes the value
        """
        savepoint = self.env.cr.savepoint()
        try:
            with mute_logger('odoo.sql_db'):
                write()
                self.env.flush_all()
        except SENTENCES:
            return
        else:
            line = self._create_due_invoice('2024-01-01', 50.0)
            self.Engine._due_lines(self.company, date(2024, 6, 1))
            self.Engine._explain(line, date(2024, 6, 1))
            self._prepare('2024-06-01')
        finally:
            savepoint.close(rollback=True)
            self.env.invalidate_all()

    def test_amounts(self):
        block = self.env['account.dunning.block'].create({
            'partner_id': self.partner_a.id, 'currency_id': self.company.currency_id.id, 'date_from': '2024-01-01'})
        for record, fname in (
            (block, 'amount'), (self.procedure, 'min_amount'), (self.level_1, 'min_amount'),
        ):
            for number in NUMBERS:
                with self.subTest(record=record, number=number):
                    self._refuse_or_survive(lambda record=record, fname=fname, number=number: record.sudo().write(
                        {fname: number}))
            for number in NO_NUMBERS:
                with self.subTest(record=record, number=number):
                    before = record[fname]
                    with self.assertRaises(ArithmeticError if number in NO_NUMBERS[1:] else ValueError):
                        record.sudo().write({fname: number})
                        self.env.flush_all()
                    self.env.invalidate_all(flush=False)
                    self.assertEqual(record[fname], before)

    def test_days(self):
        for record, fname in (
            (self.procedure, 'min_wait_days'), (self.level_1, 'min_wait_days'), (self.level_1, 'delay_days'),
            (self.level_1, 'deadline_days'),
        ):
            for number in (-1, -(2**31), 2**31 - 1, 10_000_000):
                with self.subTest(record=record, fname=fname, number=number):
                    self._refuse_or_survive(lambda record=record, fname=fname, number=number: record.sudo().write(
                        {fname: number}))

    def test_dates(self):
        """The first and the last day that a date field takes."""
        line = self._create_due_invoice('2024-01-01')
        for day in (date.min, date(1900, 1, 1), date(2999, 1, 1), date.max):
            with self.subTest(day=day):
                self.Engine._due_lines(self.company, day)
                self.Engine._explain(line, day)
                preview = self.env['account.dunning.preview'].create({'company_id': self.company.id, 'date': day})
                self.assertTrue(preview.preview)
                self._prepare(day)

    def test_other_company(self):
        """Nothing of another company gets into a record."""
        other = self.setup_other_company()['company']
        procedure = self._create_procedure([1], company=other)
        with self.assertRaises(UserError):
            self.company.sudo().dunning_procedure_id = procedure
            self.env.flush_all()
        with self.assertRaises(UserError):
            self.partner_a.with_company(self.company).dunning_procedure_id = procedure
            self.env.flush_all()
        preview = self.env['account.dunning.preview'].create({'company_id': self.company.id, 'date': '2024-02-01'})
        user = new_test_user(
            self.env, 'bad_preview', 'account.group_account_invoice', company_id=other.id,
            company_ids=[fields.Command.set(other.ids)])
        with self.assertRaises(AccessError):
            preview.with_user(user).read(['preview'])
        foreign = self.env['account.dunning.preview'].with_user(user).new({
            'company_id': self.company.id, 'date': '2024-02-01'})
        self.assertFalse(foreign.preview)


@tagged('post_install', '-at_install')
@freeze_time('2024-03-01')
class TestBadAgreements(DunningCommon):
    """What the customer is said to have said: promises, disputes, plans, and the dialog of a call."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.line = cls._create_due_invoice('2024-02-01', 1000.0)
        cls.foreign_line = cls._create_due_invoice('2024-02-01', 500.0, partner=cls.partner_b)
        cls.accountant = new_test_user(
            cls.env, 'bad_accountant', 'account.group_account_invoice', company_id=cls.company.id,
            company_ids=[fields.Command.set(cls.company.ids)])

    def _try(self, model, values):
        """Create as an accountant.

        :return: the record, or None when it was refused with a sentence
        """
        try:
            with self.env.cr.savepoint(), mute_logger('odoo.sql_db'):
                record = self.env[model].with_user(self.accountant).create(values)
                self.env.flush_all()
                return record.sudo()
        except SENTENCES:
            self.env.invalidate_all()
            return None

    def _assert_paused_at_most(self, amount):
        """Of the customer's 1,000, no more is paused than was agreed, and the other customer's bill not at all."""
        due = self.Engine._due_lines(self.company, date(2024, 3, 1))
        self.assertIn(self.foreign_line, due)
        paused = 1000.0 - (due[self.line].amount_due if self.line in due else 0.0)
        self.assertLessEqual(paused, amount)
        self.assertGreaterEqual(paused, 0.0)

    def test_amounts(self):
        for number in (*NUMBERS, 0.0, 0.001):
            promise = {'partner_id': self.partner_a.id, 'amount': number, 'date': '2024-03-05'}
            dispute = {'move_id': self.line.move_id.id, 'amount': number, 'reason': 'other'}
            block = {'partner_id': self.partner_a.id, 'amount': number, 'date_from': '2024-02-01',
                     'currency_id': self.company.currency_id.id}
            for model, values in (
                ('account.payment.promise', promise), ('account.dispute', dispute), ('account.dunning.block', block),
            ):
                with self.subTest(model=model, number=number):
                    record = self._try(model, values)
                    if record:
                        # 0 means "all of it" for a dispute and a block
                        self.assertGreaterEqual(record.amount, 0.0)
                        self._assert_paused_at_most(1000.0)
                        record.unlink()
                    else:
                        self._assert_paused_at_most(0.0)

    def test_plan_amounts(self):
        for number in (*NUMBERS, 0.0):
            with self.subTest(number=number):
                plan = self._try('account.payment.plan', {
                    'partner_id': self.partner_a.id, 'move_line_ids': [fields.Command.set(self.line.ids)],
                    'down_payment': number,
                    'installment_ids': [fields.Command.create({'date': '2024-03-15', 'amount': number})],
                })
                if plan:
                    with self.assertRaises(UserError):
                        plan.with_user(self.accountant).action_offer()
                    plan.unlink()
                self._assert_paused_at_most(0.0)

    def test_plan_dialog(self):
        for values in (
            {'number': 0}, {'number': -3}, {'number': 10_000}, {'down_payment': -1.0}, {'down_payment': 1e12},
            {'split': 'amount', 'installment_amount': 0.0}, {'split': 'amount', 'installment_amount': -5.0},
            {'split': 'amount', 'installment_amount': 0.01}, {'date_first': '1900-01-01'}, {'date_first': '9999-12-31'},
        ):
            with self.subTest(values=values):
                dialog = self._try('account.payment.plan.prepare', {
                    'partner_id': self.partner_a.id, 'move_line_ids': [fields.Command.set(self.line.ids)],
                    'company_id': self.company.id, **values,
                })
                if dialog:
                    try:
                        with self.env.cr.savepoint():
                            dialog.with_user(self.accountant).action_make()
                            plan = self.env['account.payment.plan'].search([('partner_id', '=', self.partner_a.id)])
                            if plan:
                                plan.action_offer()
                                self.assertAlmostEqual(sum(plan.installment_ids.mapped('amount')), 1000.0)
                                self.assertGreater(min(plan.installment_ids.mapped('amount')), 0.0)
                            raise UserError(self.env._("back to the start"))
                    except SENTENCES:
                        self.env.invalidate_all()
                self._assert_paused_at_most(0.0)

    def test_lines_of_others(self):
        """An agreement with one customer never pauses another's bills, nor another company's."""
        lines = [fields.Command.set(self.foreign_line.ids)]
        for model, values in (
            ('account.payment.promise', {'partner_id': self.partner_a.id, 'amount': 10.0, 'date': '2024-03-05'}),
            ('account.dispute', {'move_id': self.line.move_id.id, 'amount': 10.0, 'reason': 'other'}),
            ('account.payment.plan', {'partner_id': self.partner_a.id}),
            ('account.dunning.block', {'partner_id': self.partner_a.id, 'date_from': '2024-02-01'}),
        ):
            with self.subTest(model=model):
                self._try(model, {**values, 'move_line_ids': lines})
                self.assertIn(self.foreign_line, self.Engine._due_lines(self.company, date(2024, 3, 1)))

    def test_dates(self):
        for day in ('1900-01-01', '9999-12-31', False):
            with self.subTest(day=day):
                self._try('account.payment.promise', {'partner_id': self.partner_a.id, 'amount': 10.0, 'date': day})
                self._try('account.dunning.block', {'partner_id': self.partner_b.id, 'date_from': day})
                self._try('account.dunning.block', {
                    'partner_id': self.partner_b.id, 'date_from': '2024-03-01', 'date_until': day})
                self.Engine._due_lines(self.company, date(2024, 3, 1))
                self.Engine._explain(self.line + self.foreign_line, date(2024, 3, 1))
                self.env['account.dunning.block']._update_pauses(self.company, date(2024, 3, 1))

    def test_texts_of_a_call(self):
        """Notes of a call are text wherever they are shown, whatever was typed."""
        for outcome in ('promise', 'dispute', 'forgot', 'no_answer', 'plan'):
            call = self.env['account.dunning.call'].with_user(self.accountant).create({
                'partner_id': self.partner_a.id, 'outcome': outcome, 'note': NASTY + "x" * 10_000,
                'activity_type_id': self.env.ref('mail.mail_activity_data_call').id, 'activity_summary': NASTY,
            })
            call.action_log()
        records = self.partner_a + self.env['res.partner']
        bodies = (records.message_ids + self.line.move_id.message_ids).mapped('body')
        self.assertTrue(any('&lt;script&gt;' in body for body in bodies))
        notes = self.partner_a.activity_ids.mapped('note')
        for html in [*bodies, *(note for note in notes if note)]:
            self.assertNotIn('<script', html)
            self.assertNotIn(CODE_RESULT, html)


@tagged('post_install', '-at_install')
class TestBadTexts(DunningMailCommon):

    def _send(self, date):
        self._prepare(date).notice_ids.action_send()
        self._run_cron('ir_cron_dunning_send')
        return self.Notice.search([('company_id', '=', self.company.id)], order='id')

    def _render(self, notice):
        return self.env['ir.actions.report']._render_qweb_html(
            'account_dunning.action_report_dunning_notice', notice.ids)[0].decode()

    def _assert_harmless(self, html):
        self.assertNotIn('<script>alert', html)
        self.assertNotIn(CODE_RESULT, html, "code was run")

    def test_markup_and_code_in_names(self):
        """What people type stays text: in letter, e-mail, chatter, lists."""
        self.partner_a.write({'name': NASTY, 'street': NASTY, 'comment': NASTY})
        contact = self.env['res.partner'].create({
            'name': NASTY, 'parent_id': self.partner_a.id, 'type': 'dunning', 'email': 'nasty@example.com'})
        self.level_1.sudo().write({'name': PLAIN_NASTY, 'activity_summary': NASTY, 'create_activity': True})
        self._create_due_invoice('2024-01-01', ref=NASTY, payment_reference=NASTY)
        notice = self._send('2024-01-10')
        self.assertEqual(notice.state, 'sent', notice.failure_reason)
        self.assertEqual(notice.contact_id, contact)
        html = self._render(notice)
        self._assert_harmless(html)
        self.assertIn('&lt;script&gt;', html)
        self.assertIn('{amount_due}', html, "a placeholder in a name is no placeholder")
        [(_recipients, mail)] = self.sink.mails
        self._assert_harmless(mail.get_body(('html',)).get_content())
        for message in notice.message_ids + notice.line_ids.move_id.message_ids:
            self._assert_harmless(message.body)
        self._assert_harmless(notice.run_id.statistics)
        preview = self.env['account.dunning.preview'].create({'company_id': self.company.id, 'date': '2024-03-10'})
        self._assert_harmless(preview.preview)

    def test_words_of_a_level_are_never_evaluated(self):
        for text in ("{company.__class__}", "{object}", "{0}", "{customer!r}", "{customer:>99999999}"):
            with self.subTest(text=text), self.assertRaises(UserError):
                self.level_1.sudo().letter_intro = f"<p>{text}</p>"
        for text in ("{{ 7919*7907 }}", '<t t-out="7919*7907"/>', "${7919*7907}", "%(x)s", "{", "}",
                     "<p t-if='1/0'>x</p>"):
            with self.subTest(text=text):
                try:
                    with self.env.cr.savepoint():
                        self.level_1.sudo().write({'letter_intro': f"<div>{text}</div>", 'letter_title': text})
                        self.env.flush_all()
                except UserError:
                    continue
                self._assert_harmless(self.level_1.letter_preview)
                self._create_due_invoice('2024-01-01')
                self._assert_harmless(self._render(self._prepare('2024-01-10').notice_ids))

    def test_broken_template_fails_alone(self):
        """A broken e-mail of one level: its notices say so, all others go out."""
        template = self.env['mail.template'].sudo().create({
            'name': "Broken", 'model_id': self.env['ir.model']._get_id('account.dunning.notice'),
            'body_html': '<p t-out="object.no_such_field"/>',
        })
        self.level_1.sudo().mail_template_id = template
        procedure = self._create_procedure([3])
        self.partner_b.with_company(self.company).dunning_procedure_id = procedure
        self._create_due_invoice('2024-01-01')
        self._create_due_invoice('2024-01-01', partner=self.partner_b)
        with mute_logger('odoo.addons.account_dunning.models.account_dunning_notice_delivery',
                         'odoo.addons.mail.models.mail_render_mixin'):
            notices = self._send('2024-01-10')
        broken = notices.filtered(lambda notice: notice.partner_id == self.partner_a)
        self.assertEqual((notices - broken).state, 'sent')
        self.assertEqual(broken.state, 'failed')
        self.assertTrue(broken.failure_reason)
        self.assertNotIn('Traceback', broken.failure_reason)
        self.assertFalse(broken.line_ids.move_line_id.dunning_level_id)
        self.assertEqual(self._get_recipients(), ['b@example.com'])

    def test_long_and_right_to_left(self):
        """10,000 characters and Arabic names come through."""
        self.partner_a.write({'name': f'{RIGHT_TO_LEFT} {"x" * 10_000}', 'street': "y" * 10_000})
        self._create_due_invoice('2024-01-01', ref="z" * 10_000, narration="n" * 10_000)
        notice = self._send('2024-01-10')
        self.assertEqual(notice.state, 'sent', notice.failure_reason)
        self.assertIn(RIGHT_TO_LEFT, self._render(notice))
        [(_recipients, mail)] = self.sink.mails
        self.assertIn("شركة", mail.get_body(('html',)).get_content())


@tagged('post_install', '-at_install')
class TestBadRequests(DunningCommon, HttpCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls._create_due_invoice('2024-01-01')
        cls.dunning_run = cls.Run.create({'company_id': cls.company.id, 'date': '2024-02-01'})
        cls.dunning_run.action_prepare()
        cls.notice = cls.dunning_run.notice_ids
        cls.notice.sudo().attachment_id = cls.env['ir.attachment'].sudo().create({
            'name': 'letter.pdf', 'raw': b'%PDF-1.4 confidential-letter', 'mimetype': 'application/pdf',
            'res_model': 'account.dunning.notice', 'res_id': cls.notice.id,
        })
        companies = {'company_id': cls.company.id, 'company_ids': [fields.Command.set(cls.company.ids)]}
        other = cls.setup_other_company()['company']
        new_test_user(cls.env, 'bad_portal', 'base.group_portal', password='bad_portal', **companies)
        new_test_user(cls.env, 'bad_employee', 'base.group_user', password='bad_employee', **companies)
        new_test_user(
            cls.env, 'bad_other', 'account.group_account_manager', password='bad_other', company_id=other.id,
            company_ids=[fields.Command.set(other.ids)])
        new_test_user(
            cls.env, 'bad_accountant', 'account.group_account_invoice', password='bad_accountant', **companies)

    @mute_logger('odoo.http')
    def test_letters_of_others(self):
        for login in (None, 'bad_portal', 'bad_employee', 'bad_other'):
            self.authenticate(login, login)
            response = self.url_open(f'/account_dunning/letters/{self.notice.id}', allow_redirects=False)
            with self.subTest(login=login):
                self.assertIn(response.status_code, (303, 403, 404))
                self.assertNotIn(b'confidential-letter', response.content)

    @mute_logger('odoo.http')
    def test_letters_that_do_not_exist(self):
        self.authenticate('bad_accountant', 'bad_accountant')
        for ids in ('0', '-1', '2147483647', '9' * 30, '1,', ',', 'x', "1'", '%27%3B', '٣', '1,' * 2000 + '1', '²'):
            with self.subTest(ids=ids[:40]):
                response = self.url_open(f'/account_dunning/letters/{ids}')
                self.assertEqual(response.status_code, 404, response.text[:300])

    @mute_logger('odoo.http')
    def test_payment_plans_of_others(self):
        """Forged and foreign tokens open nothing, sign nothing, pay nothing."""
        line = self._create_due_invoice(fields.Date.today(), 321.99, partner=self.partner_b)
        plan, other = (
            self.env['account.payment.plan'].create({
                'partner_id': receivable.partner_id.id, 'move_line_ids': [fields.Command.set(receivable.ids)],
                'installment_ids': [fields.Command.create({
                    'date': fields.Date.add(fields.Date.today(), days=20), 'amount': receivable.amount_residual})],
            })
            for receivable in (line, self.dunning_run.notice_ids.line_ids.move_line_id[:1])
        )
        (plan + other).action_offer()
        tokens = (
            '', 'x', '0' * 36, 'x' * 5000, "' OR 1=1 --",
            other._portal_ensure_token(), plan._portal_ensure_token()[:-1],
        )
        for login in (None, 'bad_portal', 'bad_employee'):
            self.authenticate(login, login)
            for token in tokens:
                with self.subTest(login=login, token=token[:40]):
                    self._assert_closed(plan, token)
        self.assertEqual(plan.state, 'offered')
        self.assertFalse(plan.signed_by)

    def _assert_closed(self, plan, token):
        pages = [
            self.url_open(f'/my/payment_plans/{plan.id}', timeout=60, params={'access_token': token}),
            self.url_open(f'/my/payment_plans/{plan.id}', timeout=60, params={
                'access_token': token, 'report_type': 'html'}),
            self.url_open(f'/my/payment_plans/{plan.id}/decline', data={
                'access_token': token, 'decline_message': NASTY, 'csrf_token': http.Request.csrf_token(self)}),
        ]
        for page in pages:
            self.assertLess(page.status_code, 500)
            self.assertNotIn('321.99', page.text)
        answers = [
            self._post(f'/my/payment_plans/{plan.id}/accept', access_token=token, name=NASTY, signature='x'),
            self._post(f'/my/payment_plans/{plan.id}/transaction', access_token=token, amount=1.0),
        ]
        for answer in answers:
            self.assertTrue(answer.get('error') or answer.get('result', {}).get('error'), answer)
            self.assertNotIn('321.99', str(answer))

    def _post(self, url, **params):
        return self.url_open(url, json={'jsonrpc': '2.0', 'method': 'call', 'params': params}).json()

    @mute_logger('odoo.http')
    def test_payment_plans_that_do_not_exist(self):
        for number in ('0', '2147483647', '99999999999', '-1', 'x'):
            with self.subTest(number=number):
                self.assertLess(self.url_open(f'/my/payment_plans/{number}').status_code, 500)
                self.assertLess(self.url_open(f'/my/payment_plans/{number}?access_token=x').status_code, 500)

    @mute_logger('odoo.http')
    def test_signature_that_is_none(self):
        line = self._create_due_invoice(fields.Date.today(), 321.99, partner=self.partner_b)
        plan = self.env['account.payment.plan'].create({
            'partner_id': line.partner_id.id, 'move_line_ids': [fields.Command.set(line.ids)],
            'installment_ids': [fields.Command.create({
                'date': fields.Date.add(fields.Date.today(), days=20), 'amount': 321.99})],
        })
        plan.action_offer()
        token = plan._portal_ensure_token()
        for image in ('x', '<svg onload=alert(1)>', 'QUJD', '=' * 100, '', None, 5, ['x'], '٣٣'):
            with self.subTest(image=image):
                answer = self._post(
                    f'/my/payment_plans/{plan.id}/accept', access_token=token, name=NASTY, signature=image)
                self.assertIn('error', answer.get('result', {}), answer)
                self.assertEqual(plan.state, 'offered')
        for amount in (-1.0, 0, 1e12, 321.99 + 0.01, 'x', None):
            with self.subTest(amount=amount):
                answer = self._post(f'/my/payment_plans/{plan.id}/transaction', access_token=token, amount=amount)
                self.assertIn('error', answer)
        self.assertFalse(self.env['payment.transaction'].search([('partner_id', '=', self.partner_b.id)]))
