import hashlib
from datetime import date, datetime, timedelta
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from odoo.exceptions import AccessError, UserError
from odoo.fields import Command
from odoo.tests import BaseCase, freeze_time, new_test_user, tagged

from odoo.addons.account_dunning.models.account_dunning_agreement import Item, allocate, total
from odoo.addons.account_dunning.models.account_dunning_ledger import Receipt

from .common import DunningCommon

PDF = b'%PDF-1.4 signed'
START = date(2024, 3, 1)
days = st.integers(-5, 40).map(lambda number: START + timedelta(days=number))
amounts = st.integers(1, 300).map(float)


@st.composite
def agreements(draw):
    since = draw(days)
    length = draw(st.one_of(st.none(), st.integers(0, 30)))
    return {
        'partner_id': draw(st.integers(1, 2)), 'currency_id': 1,
        'lines': frozenset(draw(st.sets(st.integers(1, 4), min_size=1, max_size=3))),
        'since': since, 'until': length if length is None else since + timedelta(days=length), 'made': None,
        'agreed_on': since, 'due': draw(days), 'amount': draw(amounts), 'money_only': draw(st.booleans()),
    }


receipts = st.builds(
    Receipt, partner_id=st.integers(1, 2), currency_id=st.just(1), line_id=st.one_of(st.none(), st.integers(1, 4)),
    date=days, booked=st.just(datetime(2024, 1, 1)), amount=amounts, is_matched=st.booleans(), is_money=st.booleans())


@tagged('post_install', '-at_install')
class TestAllocation(BaseCase):
    """Each euro received fills one agreement: the rules as properties of the plain function."""

    def _items(self, drawn):
        return [Item(key=number, **values) for number, values in enumerate(drawn)]

    @settings(max_examples=300, deadline=None)
    @given(st.lists(agreements(), max_size=6), st.lists(receipts, max_size=8))
    def test_each_euro_fills_one_agreement_and_none_more_than_it_asks(self, drawn, money):
        items = self._items(drawn)
        shares = allocate(items, money)
        self.assertLessEqual(
            round(sum(total(share) for share in shares.values()), 2), round(sum(one.amount for one in money), 2))
        for item in items:
            self.assertLessEqual(total(shares[item.key]), item.amount)
            for share in shares[item.key]:
                self.assertGreater(share.amount, 0)
        for line in range(1, 5):
            came = sum(one.amount for one in money if one.line_id == line)
            about_others = sum(total(shares[item.key]) for item in items if line not in item.lines)
            everything = sum(total(share) for share in shares.values())
            self.assertLessEqual(
                everything - about_others, sum(item.amount for item in items if line in item.lines))
            self.assertGreaterEqual(came, 0)

    @settings(max_examples=300, deadline=None)
    @given(st.lists(agreements(), max_size=5), st.lists(receipts, max_size=6), receipts)
    def test_more_money_never_fills_less_in_all(self, drawn, money, more):
        items = self._items(drawn)
        before = sum(total(share) for share in allocate(items, money).values())
        after = sum(total(share) for share in allocate(items, [*money, more]).values())
        self.assertLessEqual(before, after + 1e-6)

    @settings(max_examples=200, deadline=None)
    @given(st.lists(agreements(), max_size=5), st.lists(receipts, max_size=6))
    def test_money_of_others_or_of_another_time_fills_nothing(self, drawn, money):
        items = self._items(drawn)
        shares = allocate(items, money)
        for item in items:
            possible = sum(
                one.amount for one in money
                if (one.line_id in item.lines if one.line_id else one.partner_id == item.partner_id)
                and (one.is_money or not item.money_only)
                and (not one.is_money or item.since <= one.date <= (item.until or date.max)))
            self.assertLessEqual(total(shares[item.key]), possible)


@tagged('post_install', '-at_install')
@freeze_time('2024-03-01')
class TestAgreement(DunningCommon):
    """Verdicts on promises and plans follow the ledger."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.company.sudo().write({
            'promise_grace_days': 2, 'plan_grace_days': 5, 'plan_reminder_days': 0, 'plan_broken_hold': True})
        cls.line = cls._create_due_invoice('2024-02-01', 300.0)

    def _promise(self, day, amount=100.0, lines=None):
        return self.env['account.payment.promise'].create({
            'partner_id': self.partner_a.id, 'company_id': self.company.id, 'amount': amount, 'date': day,
            'move_line_ids': [Command.set((lines or self.line).ids)]})

    def _plan(self, number=3, day='2024-03-15', down_payment=0.0, sign=True):
        Plan = self.env['account.payment.plan']
        plan = Plan.create({
            'partner_id': self.partner_a.id, 'company_id': self.company.id, 'currency_id': self.line.currency_id.id,
            'move_line_ids': [Command.set(self.line.ids)], 'down_payment': down_payment,
            'installment_ids': [Command.create(values) for values in Plan._prepare_schedule(
                self.line.amount_residual_currency, self.line.currency_id, date.fromisoformat(day), number=number,
                down_payment=down_payment, date_down_payment=START + timedelta(days=4))],
        })
        plan.action_offer()
        if sign:
            plan.action_sign()
        return plan

    def _night(self, day):
        with freeze_time(day):
            self.env['account.dunning.block']._update_pauses(self.company, date.fromisoformat(day))

    def test_second_promise_of_the_day_is_kept_by_its_own_money(self):
        first, second = self._promise('2024-03-01'), self._promise('2024-03-08')
        self._pay(self.line, '2024-03-01', 100.0)
        self._night('2024-03-02')
        self.assertEqual((first.state, second.state), ('kept', 'open'))
        self._pay(self.line, '2024-03-08', 100.0)
        self._night('2024-03-12')
        self.assertEqual((first.state, second.state), ('kept', 'kept'))

    def test_one_payment_keeps_one_of_two_promises(self):
        first, second = self._promise('2024-03-08'), self._promise('2024-03-08')
        self._pay(self.line, '2024-03-08', 100.0)
        self._night('2024-03-12')
        self.assertEqual((first.state, second.state), ('kept', 'broken'))

    def test_money_on_the_bank_statement_keeps_a_promise(self):
        promise = self._promise('2024-03-08', 300.0)
        statement_line = self.env['account.bank.statement.line'].create({
            'journal_id': self.company_data['default_journal_bank'].id, 'date': '2024-03-08', 'amount': 300.0,
            'partner_id': self.partner_a.id, 'payment_ref': "Thank you"})
        self._night('2024-03-12')
        self.assertEqual(self._explain(self.line, '2024-03-12')[self.line][0], 'covered')
        self.assertEqual(promise.state, 'kept')
        statement_line.move_id.button_draft()
        statement_line.unlink()
        self._night('2024-03-13')
        self.assertEqual(promise.state, 'broken')

    def test_payment_that_bounces_takes_the_verdict_back(self):
        promise = self._promise('2024-03-08', 300.0)
        payment = self._pay(self.line, '2024-03-05')
        self._night('2024-03-06')
        self.assertEqual(promise.state, 'kept')
        with freeze_time('2024-03-07'):
            self.line.remove_move_reconcile()
            payment.move_id.button_draft()
            payment.move_id.button_cancel()
            self.env['account.dunning.block']._update_pauses(self.company, date(2024, 3, 7))
        self.assertEqual(promise.state, 'open')
        self.assertEqual(self._explain(self.line, '2024-03-07')[self.line][0], 'blocked')
        self._night('2024-03-12')
        self.assertEqual(promise.state, 'broken')

    def test_payment_booked_late_with_its_true_date_keeps_the_promise(self):
        promise = self._promise('2024-03-08')
        self._night('2024-03-12')
        self.assertEqual(promise.state, 'broken')
        self.assertTrue(promise.block_id.broken)
        self._pay(self.line, '2024-03-08', 100.0)
        self._night('2024-03-14')
        self.assertEqual(promise.state, 'kept')
        self.assertFalse(promise.block_id.broken)

    def test_late_payment_leaves_it_broken(self):
        promise = self._promise('2024-03-08')
        self._night('2024-03-12')
        self._pay(self.line, '2024-03-12', 100.0)
        self._night('2024-03-13')
        self.assertEqual(promise.state, 'broken')

    def test_credit_note_alone_keeps_no_promise(self):
        promise = self._promise('2024-03-08', 300.0)
        credit = self._create_due_invoice('2024-03-02', 300.0, move_type='out_refund')
        (credit + self.line).reconcile()
        self._night('2024-03-05')
        self.assertEqual(promise.state, 'cancelled')

    def test_credit_note_lowers_what_was_promised(self):
        promise = self._promise('2024-03-08', 300.0)
        credit = self._create_due_invoice('2024-03-02', 200.0, move_type='out_refund')
        (credit + self.line).reconcile()
        self._night('2024-03-05')
        self.assertEqual(promise.state, 'open')
        self._night('2024-03-12')
        self.assertEqual(promise.state, 'broken')

    def test_offer_of_a_replacement_leaves_the_plan_that_is_honoured(self):
        plan = self._plan()
        new = self.env['account.payment.plan'].sudo().create({
            'partner_id': self.partner_a.id, 'company_id': self.company.id, 'currency_id': self.line.currency_id.id,
            'move_line_ids': [Command.set(self.line.ids)], 'previous_plan_id': plan.id,
            'installment_ids': [Command.create({'date': '2024-04-15', 'amount': 300.0})]})
        new.action_offer()
        self.assertEqual((plan.state, new.state), ('active', 'offered'))
        self._night('2024-03-16')  # the offer has expired
        self.assertEqual((plan.state, new.state), ('active', 'cancelled'))
        self.assertEqual(self.line.payment_plan_id, plan)

    def test_nothing_becomes_active_unsigned(self):
        plan = self._plan(sign=False)
        self._pay(self.line, '2024-03-02')
        self._night('2024-03-03')
        self.assertEqual(plan.state, 'cancelled')
        self.line.remove_move_reconcile()
        self._night('2024-03-04')
        self.assertEqual(plan.state, 'cancelled')
        self.assertFalse(plan.signed_on)

    def test_payment_undone_after_the_end_leads_back_to_the_signed_plan(self):
        plan = self._plan(down_payment=100.0)
        self._pay(self.line, '2024-03-02')
        self.assertEqual(plan.state, 'done')
        self.line.remove_move_reconcile()
        self.assertEqual(plan.state, 'signed', "the down payment is not in any more")

    def test_terms_changed_is_nothing_paid(self):
        plan = self._plan()
        move = self.line.move_id
        move.button_draft()
        move.invoice_payment_term_id = self.pay_terms_b
        move.action_post()
        self._night('2024-03-02')
        self.assertEqual(plan.amount_paid, 0.0)

    def test_payment_in_time_but_booked_late_saves_the_plan(self):
        plan = self._plan()
        self._night('2024-03-25')
        self.assertEqual(plan.state, 'broken')
        customer = self.partner_a.with_company(self.company)
        self.assertTrue(customer.sudo().credit_hold)
        self._pay(self.line, '2024-03-15', 100.0)
        self._night('2024-03-26')
        self.assertEqual(plan.state, 'active')
        self.assertFalse(customer.sudo().credit_hold)

    def test_hold_of_a_broken_plan_ends_when_all_is_paid(self):
        plan = self._plan()
        self._night('2024-03-25')
        customer = self.partner_a.with_company(self.company).sudo()
        self.assertTrue(customer.credit_hold)
        self._pay(self.line, '2024-03-25')
        self.assertEqual(plan.state, 'broken')
        self.assertFalse(customer.credit_hold)

    def test_plan_broken_by_hand_stays_broken(self):
        plan = self._plan()
        plan.action_break()
        self._night('2024-03-05')
        self.assertEqual(plan.state, 'broken')

    def test_part_payment_in_process_leaves_the_rest_to_be_dunned(self):
        method_line = self.company_data['default_journal_bank'].inbound_payment_method_line_ids[:1]
        method_line.payment_account_id = False
        # as with Odoo's Accounting app
        self.patch(self.registry['account.move'], '_get_invoice_in_payment_state', lambda move: 'in_payment')
        payment = self.env['account.payment'].create({
            'payment_type': 'inbound', 'partner_type': 'customer', 'partner_id': self.partner_a.id, 'amount': 1.0,
            'date': '2024-03-01', 'journal_id': self.company_data['default_journal_bank'].id,
            'payment_method_line_id': method_line.id,
            'invoice_ids': [Command.set(self.line.move_id.ids)]})
        payment.action_post()
        self.assertFalse(payment.move_id)
        self.assertEqual(payment.state, 'in_process')
        due = self.Engine._due_lines(self.company, date(2024, 3, 10))
        self.assertEqual(due[self.line].amount_due, 299.0)

    def test_online_payment_of_one_installment_leaves_the_other(self):
        transaction = self._create_online_payment(self.line)
        transaction.amount = 120.0
        self.assertEqual(self.Engine._due_lines(self.company, date(2024, 3, 10))[self.line].amount_due, 180.0)


@tagged('post_install', '-at_install')
@freeze_time('2024-03-01')
class TestEvidence(DunningCommon):
    """What was agreed can't be forged or edited, whatever the way in."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.line = cls._create_due_invoice('2024-02-01', 300.0)
        cls.biller = new_test_user(
            cls.env, 'biller', groups='account.group_account_invoice',
            company_id=cls.company.id, company_ids=[Command.set(cls.company.ids)])

    def _plan_values(self):
        return {
            'partner_id': self.partner_a.id, 'company_id': self.company.id, 'currency_id': self.line.currency_id.id,
            'move_line_ids': [Command.set(self.line.ids)],
            'installment_ids': [Command.create({'date': '2024-03-15', 'amount': 300.0})],
        }

    def _signed_plan(self):
        plan = self.env['account.payment.plan'].with_user(self.biller).create(self._plan_values())
        plan.action_offer()
        plan.action_sign()
        return plan

    def test_defaults_of_the_context_forge_nothing(self):
        forged = {
            'default_state': 'signed', 'default_signed_by': "Mr Victim", 'default_signed_on': '2024-01-01 00:00:00',
            'default_amount_paid': 300.0, 'default_date_promised': '2023-05-01', 'default_broken': True,
        }
        plan = self.env['account.payment.plan'].with_user(self.biller).with_context(**forged).create(
            self._plan_values())
        self.assertRecordValues(plan, [{'state': 'draft', 'signed_by': False, 'signed_on': False}])
        self.assertRecordValues(plan.installment_ids, [{'state': 'open', 'amount_paid': 0.0}])
        promise = self.env['account.payment.promise'].with_user(self.biller).with_context(**forged).create({
            'partner_id': self.partner_a.id, 'company_id': self.company.id, 'amount': 10.0, 'date': '2024-03-08'})
        self.assertRecordValues(promise, [{'state': 'open', 'date_promised': date(2024, 3, 1)}])
        run = self.env['account.dunning.run'].with_user(self.biller).with_context(default_state='done').create({
            'company_id': self.company.id})
        self.assertEqual(run.state, 'draft')

    def test_values_on_the_way_of_nested_commands_and_imports_forge_nothing(self):
        Plan = self.env['account.payment.plan'].with_user(self.biller)
        values = self._plan_values()
        values['installment_ids'] = [Command.create({'date': '2024-03-15', 'amount': 300.0, 'amount_paid': 300.0})]
        with self.assertRaises(AccessError):
            Plan.create(values)
        with self.assertRaises(AccessError):
            self.line.move_id.with_user(self.biller).write({
                'dispute_ids': [Command.create({'amount': 5.0, 'state': 'accepted'})]})
        result = Plan.load(['partner_id/.id', 'state'], [[str(self.partner_a.id), 'signed']])
        self.assertFalse(result['ids'])

    def test_pause_of_an_agreement_is_changed_through_the_agreement_only(self):
        plan = self._signed_plan()
        block = plan.block_id.with_user(self.biller)
        for values in ({'date_until': '2024-03-02'}, {'amount': 1.0}, {'move_line_ids': [Command.clear()]},
                       {'partner_id': self.partner_b.id}):
            with self.assertRaises(UserError):
                block.write(values)
        for values in ({'state': 'ended'}, {'broken': True}, {'reason': 'manual'},
                       {'promise_ids': [Command.create({'amount': 1.0})]}):
            with self.assertRaises(UserError):
                block.write(values)
        with self.assertRaises(UserError):
            block.action_end()
        with self.assertRaises(UserError):
            block.unlink()
        manual = self.env['account.dunning.block'].with_user(self.biller).create({
            'partner_id': self.partner_a.id, 'company_id': self.company.id})
        manual.date_until = '2024-03-20'
        for values in ({'state': 'ended'}, {'broken': True}, {'reason': 'plan'}):
            with self.assertRaises(AccessError):
                manual.write(values)
        manual.action_end()
        self.assertEqual(manual.state, 'ended')

    def test_signed_agreement_stays_as_it_was_signed(self):
        plan = self._signed_plan()
        self.assertTrue(plan.agreement_id)
        content = plan.agreement_id.raw
        self.assertEqual(plan.agreement_sha256, hashlib.sha256(content).hexdigest())
        for values in ({'terms': "New terms"}, {'date': '2024-01-01'}, {'contact_id': self.partner_b.id},
                       {'down_payment': 5.0}):
            with self.assertRaises(UserError):
                plan.write(values)
        for values in ({'agreement_id': False}, {'agreement_sha256': 'x'}, {'signed_by': "Somebody else"}):
            with self.assertRaises(AccessError):
                plan.write(values)
        attachment = plan.agreement_id.with_user(self.biller)
        for change in (
            lambda: attachment.write({'raw': b'forged'}), lambda: attachment.write({'res_id': 0}), attachment.unlink,
        ):
            with self.assertRaises(UserError):
                change()
        plan.action_cancel()
        with self.assertRaises(UserError):
            plan.unlink()
        self.assertEqual(plan.agreement_id.raw, content)

    def test_signed_agreement_is_printed_from_its_file(self):
        report = self.env['ir.actions.report'].sudo().with_context(force_report_rendering=True)
        plan = self.env['account.payment.plan'].create(self._plan_values())
        plan.action_offer()
        with patch.object(type(self.env['ir.actions.report']), '_render_qweb_pdf', autospec=True, side_effect=(
                lambda report, *args, **kwargs: (PDF, 'pdf'))):
            plan.action_sign()
        self.assertEqual(report._render_qweb_pdf('account_dunning.action_report_payment_plan', plan.ids)[0], PDF)

    def test_dialog_of_a_call_shows_nothing_of_another_company(self):
        other = self.setup_other_company()
        stranger = new_test_user(
            self.env, 'stranger', groups='account.group_account_invoice',
            company_id=other['company'].id, company_ids=[Command.set(other['company'].ids)])
        Call = self.env['account.dunning.call'].with_user(stranger)
        for values in ({'company_id': self.company.id}, {'dispute_move_id': self.line.move_id.id},
                       {'move_ids': [Command.set(self.line.move_id.ids)]}):
            with self.subTest(values=values):
                try:
                    call = Call.create({'partner_id': self.partner_a.id, **values})
                    seen = call.read(['promise_amount', 'dispute_amount', 'open_move_ids', 'move_ids'])[0]
                except AccessError:
                    continue
                self.assertFalse(seen['promise_amount'] or seen['dispute_amount'] or seen['open_move_ids'])
