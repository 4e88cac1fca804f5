"""Everything that happens to a company's receivables, in any order: events for Hypothesis to draw from."""
from collections import Counter
from contextlib import suppress
from datetime import timedelta
from unittest.mock import patch

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from odoo import Command, fields
from odoo.exceptions import AccessError, RedirectWarning, UserError, ValidationError
from odoo.tools import mute_logger

from .fuzz_oracle import Oracle, require


class NothingThere(Exception):
    """There is nothing that the event could happen to."""


REFUSALS = (UserError, ValidationError, AccessError, RedirectWarning, NothingThere)
LOGGERS = (
    'odoo.sql_db', 'odoo.addons.mail.models.mail_mail', 'odoo.addons.base.models.ir_mail_server',
    'odoo.addons.account_dunning.models.account_dunning_notice_delivery',
    'odoo.addons.account_dunning.models.account_dunning_run', 'odoo.addons.account_dunning.utils.isolate',
    'mail.log', 'odoo.addons.base.models.ir_cron', 'odoo.addons.base.models.ir_actions_report', 'odoo.models.unlink',
)
FIRST_DAY = '2024-01-08'
LIMIT = 1000.0

PICK = st.integers(min_value=0, max_value=30)
CENTS = st.integers(min_value=1, max_value=60_000)
AMOUNT = st.sampled_from([100.0, 250.0, 99.99, 400.0, 33.33, 600.0])
DAYS_BACK = st.sampled_from([0, 0, 0, 1, 5, 15, 40])


EVENTS = {}  # name -> strategies of its arguments
WEIGHTED = []  # names, the frequent ones several times


def event(weight=1, **strategies):
    """One of the things that may happen.

    :param int weight: how often it happens, among the others
    :param strategies: what its arguments are drawn from
    """
    def decorate(method):
        EVENTS[method.__name__] = st.fixed_dictionaries(strategies)
        WEIGHTED.extend([method.__name__] * weight)
        return method
    return decorate


class DunningMachine(RuleBasedStateMachine):
    """One example. What users are refused changes nothing, and is no fault."""

    case = None  # the test case, set on a subclass

    def __init__(self):
        super().__init__()
        case = self.case
        self.day = fields.Date.to_date(FIRST_DAY)
        case.frozen.move_to(f'{self.day} 08:00:00')
        self.env = case.env(user=case.accountant, su=False)
        self.sales = case.env(user=case.salesperson, su=False)
        self.credit = case.env(user=case.credit_manager, su=False)
        self.company = case.company.with_env(self.env)
        self.oracle = Oracle(case.env(su=True), case.company.sudo(), case.sink)
        self.customers = list(case.customers.ids)
        case.env.cr.execute("SAVEPOINT example")
        self.events = 0

    def teardown(self):
        case = self.case
        case.env.cr.precommit.clear()
        case.env.cr.postcommit.clear()
        case.env.cr.execute("ROLLBACK TO SAVEPOINT example")
        case.env.invalidate_all(flush=False)
        case.env.transaction.clear()
        case.registry.clear_all_caches()
        case.sink.mails.clear()
        case.sink.refused.clear()
        case.sink.hang_up = False
        type(self).count += self.events
        self.happened['notices sent'] += len(self.oracle.seen_sent)
        self.happened['interest worked out anew'] += self.oracle.count_charges

    count = 0  # events of all examples
    happened = Counter()  # how often each event was possible, and not refused

    # === PLUMBING === #

    def pick(self, records, number):
        if not records:
            raise NothingThere
        return records[number % len(records)]

    def customer(self, number):
        customers = self.env['res.partner'].browse(self.customers).exists().filtered('active')
        return self.pick(customers, number)

    def do(self, happening):
        """Let something happen, look at all that must be true afterwards."""
        self.events += 1
        with mute_logger(*LOGGERS):
            with suppress(*REFUSALS):
                with self.case.env.cr.savepoint():
                    happening()
                    self.case.env.flush_all()
                self.happened[happening.__qualname__.split('.')[1]] += 1
            self.case.env.cr.precommit.run()
            self.case.env.flush_all()
        self.oracle.check(self.day)

    def open_lines(self, customer=None):
        domain = [
            ('account_type', '=', 'asset_receivable'), ('parent_state', '=', 'posted'), ('reconciled', '=', False),
            ('company_id', '=', self.company.id), ('amount_residual', '>', 0),
        ]
        if customer:
            domain.append(('partner_id', 'child_of', customer.commercial_partner_id.id))
        return self.env['account.move.line'].search(domain, order='id')

    def invoices(self, *states):
        return self.env['account.move'].search([
            ('move_type', '=', 'out_invoice'), ('state', 'in', states or ('posted',)),
            ('company_id', '=', self.company.id)], order='id')

    def when(self, days_back):
        return self.day - timedelta(days=days_back)

    @rule(data=st.data())
    def step(self, data):
        """Hypothesis would leave some rules out of each example, so the events are drawn here."""
        name = data.draw(st.sampled_from(WEIGHTED), label="event")
        arguments = data.draw(EVENTS[name], label=name)
        getattr(self, name)(**arguments)

    # === INVOICES === #

    @event(weight=6, number=PICK, amount=AMOUNT, due=st.sampled_from([-25, -10, -3, 0, 5, 20]), foreign=st.booleans())
    def invoice(self, number, amount, due, foreign):
        self.do(lambda: self.create_invoice(self.customer(number), amount, due, foreign=foreign and number % 4 == 0))

    @event(weight=3, number=PICK, amount=AMOUNT)
    def invoice_in_two_installments(self, number, amount):
        self.do(lambda: self.create_invoice(self.customer(number), amount, None, terms=self.case.two_terms))

    def create_invoice(self, customer, amount, due, foreign=False, terms=None):
        due_date = self.day + timedelta(days=due) if due is not None else False
        invoice = self.env['account.move'].create({
            'move_type': 'out_invoice',
            'partner_id': customer.id,
            'currency_id': (self.case.foreign if foreign else self.company.currency_id).id,
            'invoice_date': min(due_date, self.day) if due_date else self.when(35),
            'invoice_date_due': due_date,
            'invoice_payment_term_id': terms.id if terms else False,
            'invoice_line_ids': [Command.create({
                'name': "Goods", 'quantity': 1.0, 'price_unit': amount, 'tax_ids': []})],
        })
        invoice.action_post()
        return invoice

    @event(weight=2, number=PICK, share=st.sampled_from([1.0, 0.5, 0.1]), matched=st.booleans())
    def credit_note(self, number, share, matched):
        def event():
            invoice = self.pick(self.invoices(), number)
            refund = self.env['account.move'].create({
                'move_type': 'out_refund', 'partner_id': invoice.partner_id.id, 'invoice_date': self.day,
                'currency_id': invoice.currency_id.id, 'invoice_payment_term_id': False,
                'invoice_line_ids': [Command.create({
                    'name': "Back", 'quantity': 1.0, 'tax_ids': [],
                    'price_unit': invoice.currency_id.round(invoice.amount_total * share)})],
            })
            refund.action_post()
            if matched:
                lines = (invoice + refund).line_ids.filtered(
                    lambda line: line.account_type == 'asset_receivable' and not line.reconciled)
                lines.reconcile()
        self.do(event)

    @event(number=PICK)
    def invoice_back_to_draft(self, number):
        self.do(lambda: self.pick(self.invoices(), number).button_draft())

    @event(number=PICK)
    def draft_posted_again(self, number):
        self.do(lambda: self.pick(self.invoices('draft'), number).action_post())

    @event(number=PICK)
    def draft_cancelled(self, number):
        self.do(lambda: self.pick(self.invoices('draft'), number).button_cancel())

    @event(number=PICK, days=st.sampled_from([-10, 10, 30]))
    def due_date_moved(self, number, days):
        def event():
            line = self.pick(self.open_lines(), number)
            line.date_maturity += timedelta(days=days)
        self.do(event)

    @event(number=PICK, excluded=st.booleans())
    def no_followup(self, number, excluded):
        self.do(lambda: self.pick(self.open_lines(), number).write({'no_followup': excluded}))

    # === MONEY === #

    def receive(self, customer, amount, currency, date):
        return self.case._create_unmatched_payment(str(date), amount, customer, currency)

    @event(weight=4, number=PICK, back=DAYS_BACK, part=st.sampled_from([1.0, 1.0, 0.5, 0.9, 1.1]))
    def payment_matched(self, number, back, part):
        def event():
            line = self.pick(self.open_lines(), number)
            amount = line.currency_id.round(line.amount_residual_currency * part)
            paid = self.receive(line.partner_id, amount, line.currency_id, self.when(back))
            (line + paid.with_env(self.env)).reconcile()
        self.do(event)

    @event(weight=3, number=PICK, back=DAYS_BACK, amount=AMOUNT)
    def payment_unmatched(self, number, back, amount):
        self.do(lambda: self.receive(self.customer(number), amount, self.company.currency_id, self.when(back)))

    @event(number=PICK, amount=AMOUNT)
    def payment_foreign(self, number, amount):
        self.do(lambda: self.receive(self.customer(number), amount, self.case.foreign, self.day))

    @event(weight=2, number=PICK)
    def unmatched_payment_matched_later(self, number):
        def event():
            credits = self.env['account.move.line'].search([
                ('account_type', '=', 'asset_receivable'), ('parent_state', '=', 'posted'), ('reconciled', '=', False),
                ('company_id', '=', self.company.id), ('amount_residual', '<', 0)], order='id')
            credit = self.pick(credits, number)
            lines = self.open_lines(credit.partner_id).filtered(lambda line: line.currency_id == credit.currency_id)
            (credit + self.pick(lines, number)).reconcile()
        self.do(event)

    @event(weight=2, number=PICK)
    def payment_bounced(self, number):
        def event():
            entries = self.env['account.move'].search([
                ('move_type', '=', 'entry'), ('state', '=', 'posted'), ('journal_id.type', '=', 'bank'),
                ('company_id', '=', self.company.id), ('statement_line_id', '=', False)], order='id')
            entry = self.pick(entries, number)
            entry.line_ids.remove_move_reconcile()
            entry.button_draft()
            entry.button_cancel()
        self.do(event)

    @event(number=PICK)
    def unreconciled(self, number):
        def event():
            lines = self.env['account.move.line'].search([
                ('account_type', '=', 'asset_receivable'), ('company_id', '=', self.company.id), ('balance', '>', 0),
                ('matched_credit_ids', '!=', False)], order='id')
            self.pick(lines, number).remove_move_reconcile()
        self.do(event)

    @event(weight=2, number=PICK, amount=AMOUNT, back=st.sampled_from([0, 3, 20]))
    def money_on_the_statement(self, number, amount, back):
        self.do(lambda: self.env['account.bank.statement.line'].create({
            'journal_id': self.case.company_data['default_journal_bank'].id, 'date': self.when(back), 'amount': amount,
            'partner_id': self.customer(number).id, 'payment_ref': "Transfer"}))

    @event(number=PICK, amount=AMOUNT)
    def payment_in_process(self, number, amount):
        def event():
            payment = self.env['account.payment'].create({
                'partner_id': self.customer(number).id, 'amount': amount, 'payment_type': 'inbound', 'date': self.day,
                'journal_id': self.case.company_data['default_journal_bank'].id,
                'payment_method_line_id': self.case.method_line.id,
            })
            payment.action_post()
        self.do(event)

    @event(number=PICK)
    def paid_online(self, number):
        def event():
            line = self.pick(self.open_lines(), number)
            if not self.case.env['payment.transaction'].sudo().search_count([('invoice_ids', 'in', line.move_id.ids)]):
                self.case._create_online_payment(line)
        self.do(event)

    # === AGREEMENTS === #

    @event(
        weight=3, number=PICK, days=st.sampled_from([0, 3, 10, 29]), part=st.sampled_from([1.0, 0.5, 0.2]),
        single=st.booleans())
    def promise(self, number, days, part, single):
        def event():
            lines = self.open_lines(self.customer(number))
            line = self.pick(lines, number)
            lines = line if single else lines.filtered(lambda other: other.currency_id == line.currency_id)
            amount = line.currency_id.round(sum(lines.mapped('amount_residual_currency')) * part)
            self.env['account.payment.promise'].create({
                'partner_id': line.partner_id.id, 'company_id': self.company.id, 'amount': amount,
                'currency_id': line.currency_id.id, 'date': self.day + timedelta(days=days),
                'move_line_ids': lines.ids})
        self.do(event)

    @event(number=PICK)
    def promise_cancelled(self, number):
        self.do(lambda: self.pick(
            self.env['account.payment.promise'].search([('state', '=', 'open')], order='id'), number).action_cancel())

    @event(weight=2, number=PICK, count=st.integers(min_value=1, max_value=4), down=st.sampled_from([0.0, 0.0, 50.0]))
    def plan_offered(self, number, count, down):
        def event():
            line = self.pick(self.open_lines(self.customer(number)), number)
            self.create_plan(line, count, down).action_offer()
        self.do(event)

    def create_plan(self, lines, count, down, **values):
        Plan = self.env['account.payment.plan']
        return Plan.create({
            'partner_id': lines.partner_id.id, 'company_id': self.company.id, 'currency_id': lines.currency_id.id,
            'move_line_ids': [Command.set(lines.ids)], 'down_payment': down,
            'installment_ids': [Command.create(installment) for installment in Plan._prepare_schedule(
                sum(lines.mapped('amount_residual_currency')), lines.currency_id, self.day + timedelta(days=10),
                number=count, down_payment=down, date_down_payment=self.day + timedelta(days=3))],
            **values,
        })

    def plans(self, *states):
        return self.env['account.payment.plan'].search([('state', 'in', states)], order='id')

    @event(weight=3, number=PICK)
    def plan_signed(self, number):
        self.do(lambda: self.pick(self.plans('offered'), number).action_sign())

    @event(number=PICK, count=st.integers(min_value=1, max_value=3))
    def plan_replaced(self, number, count):
        def event():
            plan = self.pick(self.plans('signed', 'active'), number)
            replacement = self.create_plan(plan._get_open_lines(), count, 0.0)
            replacement.sudo().previous_plan_id = plan
            replacement.action_offer()
        self.do(event)

    @event(number=PICK)
    def plan_cancelled(self, number):
        self.do(lambda: self.pick(self.plans('draft', 'offered', 'signed', 'active'), number).action_cancel())

    @event(weight=2, number=PICK, part=st.sampled_from([1.0, 0.5, 0.25]))
    def dispute_opened(self, number, part):
        def event():
            line = self.pick(self.open_lines(), number)
            self.env['account.dispute'].create({
                'move_id': line.move_id.id, 'reason': 'quality',
                'amount': line.currency_id.round(line.amount_residual_currency * part)})
        self.do(event)

    def disputes(self):
        return self.env['account.dispute'].search([('state', '=', 'open')], order='id')

    @event(weight=2, number=PICK, posted=st.booleans())
    def dispute_accepted(self, number, posted):
        def event():
            dispute = self.pick(self.disputes(), number)
            dispute.action_accept()
            if posted:
                dispute.credit_note_id.action_post()
        self.do(event)

    @event(weight=2, number=PICK)
    def dispute_rejected(self, number):
        self.do(lambda: self.pick(self.disputes(), number).action_reject())

    @event(number=PICK, days=st.sampled_from([0, 5, 30]), whole=st.booleans())
    def blocked_by_hand(self, number, days, whole):
        self.do(lambda: self.env['account.dunning.block'].create({
            'company_id': self.company.id, 'partner_id': self.customer(number).id,
            'date_from': self.day, 'date_until': self.day + timedelta(days=days),
            'move_line_ids': [] if whole else self.pick(self.open_lines(self.customer(number)), number).ids}))

    @event(number=PICK)
    def block_ended(self, number):
        self.do(lambda: self.pick(self.env['account.dunning.block'].search([
            ('state', '=', 'active'), ('reason', '=', 'manual')], order='id'), number).action_end())

    # === CHARGES === #

    def claimed_charges(self):
        return self.env['account.late.charge'].search([
            ('state', '=', 'claimed'), ('company_id', '=', self.company.id)], order='id')

    @event(number=PICK)
    def charges_invoiced(self, number):
        def event():
            charge = self.pick(self.claimed_charges(), number)
            self.claimed_charges().filtered(lambda other: other.partner_id == charge.partner_id).action_invoice()
        self.do(event)

    @event(number=PICK)
    def charges_waived(self, number):
        self.do(lambda: self.pick(self.claimed_charges(), number)._waive("Goodwill"))

    # === CONFIGURATION === #

    @event(number=PICK, delay=st.sampled_from([1, 3, 10, 20]), repeat=st.sampled_from([0, 14]))
    def level_changed(self, number, delay, repeat):
        def event():
            level = self.pick(self.case.procedure.sudo().level_ids.filtered(lambda level: level.delay_days > 0), number)
            level.write({'delay_days': delay, 'repeat_days': repeat})
            self.oracle.is_reordered = True
        self.do(event)

    @event(first=PICK, second=PICK)
    def levels_reordered(self, first, second):
        def event():
            levels = self.case.procedure.sudo().level_ids.filtered(lambda level: level.delay_days > 0)
            one, other = self.pick(levels, first), self.pick(levels, second)
            one.sequence, other.sequence = other.sequence, one.sequence
            self.oracle.is_reordered = True
        self.do(event)

    @event(number=PICK, none=st.booleans())
    def procedure_changed(self, number, none):
        def event():
            self.customer(number).dunning_procedure_id = False if none else self.case.other_procedure
            self.oracle.is_reordered = True
        self.do(event)

    @event(number=PICK, level=st.integers(min_value=0, max_value=3))
    def level_set_by_hand(self, number, level):
        def event():
            levels = self.case.procedure.level_ids
            line = self.pick(self.open_lines(), number)
            line.sudo().dunning_level_id = levels[level] if level < len(levels) else False
            self.oracle.by_hand[line.id] = line.dunning_level_id.id
            self.oracle.is_reordered = True
        self.do(event)

    @event(first=PICK, second=PICK)
    def customers_merged(self, first, second):
        def event():
            source, target = self.customer(first), self.customer(second)
            if source != target:
                self.env['base.partner.merge.automatic.wizard'].sudo().create({})._merge(
                    (source + target).ids, target.sudo(), extra_checks=False)
                self.oracle.merged |= {source.id, target.id}
                self.oracle.is_reordered = True
        if len(self.customers) > 3:
            self.do(event)

    @event(first=PICK, second=PICK)
    def customer_moved(self, first, second):
        def event():
            child, parent = self.customer(first), self.customer(second)
            if child != parent and parent.commercial_partner_id != child:
                child.write({'is_company': False, 'parent_id': parent.id})
                self.oracle.merged |= {child.id, parent.commercial_partner_id.id}
                self.oracle.is_reordered = True
        self.do(event)

    # === ORDERS === #

    def orders(self, *states):
        return self.sales['sale.order'].search([
            ('state', 'in', states), ('company_id', '=', self.company.id)], order='id')

    def check_limit(self, order, added=True):
        """Whoever confirmed or changed the order: it is within the limit, or a manager has let it pass."""
        customer = order.sudo().partner_invoice_id.commercial_partner_id
        limit = customer.with_company(self.company).credit_limit
        if not limit or not added:
            return
        exposure = self.oracle.exposure(customer.id)
        require(
            order.credit_state == 'released' or exposure <= limit + 0.005,
            "order %s of customer %s got past the limit of %s: %s", order.name, customer.id, limit, exposure)

    @event(weight=3, number=PICK, amount=AMOUNT)
    def order(self, number, amount):
        self.do(lambda: self.sales['sale.order'].create({
            'partner_id': self.customer(number).id, 'company_id': self.company.id,
            'order_line': [Command.create({
                'product_id': self.case.product.id, 'product_uom_qty': 1, 'price_unit': amount, 'tax_ids': False})]}))

    @event(weight=4, number=PICK)
    def order_confirmed(self, number):
        def event():
            order = self.pick(self.orders('draft', 'sent'), number)
            order.action_confirm()
            order.flush_recordset()
            self.check_limit(order)
        self.do(event)

    @event(
        weight=3,         number=PICK, factor=st.sampled_from([2.0, 1.5, 0.5]),
        way=st.sampled_from(['line', 'nested', 'new', 'context']))
    def order_changed(self, number, factor, way):
        def event():
            order = self.pick(self.orders('sale'), number)
            line = order.order_line[:1]
            customer = order.sudo().partner_invoice_id.commercial_partner_id.id
            before = self.oracle.exposure(customer)
            values = {'product_id': self.case.product.id, 'price_unit': 150.0 * factor, 'tax_ids': False}
            if way == 'line':
                line.price_unit *= factor
            elif way == 'nested':
                order.write({'order_line': [Command.update(line.id, {'product_uom_qty': 1 * factor})]})
            elif way == 'new':
                order.write({'order_line': [Command.create(values)]})
            else:
                self.sales['sale.order.line'].with_context(default_order_id=order.id).create(values)
            self.sales.flush_all()
            self.check_limit(order, added=self.oracle.exposure(customer) > before + 0.005)
        self.do(event)

    @event(number=PICK)
    def order_invoiced(self, number):
        self.do(lambda: self.pick(self.orders('sale'), number).sudo()._create_invoices())

    @event(number=PICK)
    def order_cancelled(self, number):
        self.do(lambda: self.pick(self.orders('draft', 'sale'), number)._action_cancel())

    @event(weight=2, number=PICK)
    def release_requested(self, number):
        self.do(lambda: self.pick(self.orders('draft'), number).action_request_release())

    @event(weight=2, number=PICK, accepted=st.booleans())
    def release_decided(self, number, accepted):
        def event():
            order = self.pick(self.orders('draft').filtered(lambda order: order.credit_state == 'hold'), number)
            order = order.with_env(self.credit)
            order.action_release("Fine") if accepted else order.action_reject_release("No")
        self.do(event)

    # === TIME, RUNS, SENDING === #

    @event(days=st.sampled_from([1, 1, 2, 7, 12]))
    def days_pass(self, days):
        self.day += timedelta(days=days)
        self.case.frozen.move_to(f'{self.day} 08:00:00')
        self.do(lambda: self.env['account.dunning.block'].sudo()._update_pauses(self.case.company.sudo(), self.day))

    @event(weight=8, days=st.sampled_from([1, 1, 2, 3, 7, 8, 12, 14]))
    def night(self, days):
        """Days pass, and in the last night both scheduled actions do their work."""
        self.day += timedelta(days=days)
        self.case.frozen.move_to(f'{self.day} 08:00:00')
        self.oracle.is_reordered = False
        self.do(lambda: self.case._run_crons())
        self.oracle.check_money_in_agreements(promises=True)
        self.oracle.check_invoiced_charges()

    @event(weight=3)
    def run(self):
        def event():
            run = self.env['account.dunning.run'].create({'company_id': self.company.id, 'date': self.day})
            run.action_prepare()
            require(not run.failure_reason, "the run has left somebody out: %s", run.failure_reason)
            self.env.flush_all()
            verdicts = self.env['account.dunning.engine']._explain(self.open_lines(), self.day)
            reasons = {line.id: verdict[0] for line, verdict in verdicts.items()}
            self.oracle.check_run(reasons)
            self.happened['verdicts compared'] += self.oracle.check_verdicts(reasons, self.day)
            self.oracle.is_reordered = False
        self.do(event)

    @event(number=PICK)
    def proposal_dropped(self, number):
        self.do(lambda: self.pick(self.notices('draft', 'failed'), number).action_cancel())

    def notices(self, *states):
        return self.env['account.dunning.notice'].search([
            ('state', 'in', states), ('company_id', '=', self.company.id)], order='id')

    @event(weight=3, trouble=st.sampled_from(['none', 'none', 'none', 'refuses', 'hangs up', 'crashes after']))
    def send(self, trouble):
        """All proposals, through the queue; the mail server or the worker may fail meanwhile."""
        sink = self.case.sink

        def event():
            self.notices('draft', 'failed').filtered(lambda notice: not notice.is_in_doubt).action_send()
        self.do(event)
        sink.refused = {f'fuzz{number}@example.com' for number in range(8)} if trouble == 'refuses' else set()
        sink.hang_up = trouble == 'hangs up'

        def queue():
            if trouble == 'crashes after':
                with patch.object(
                    self.case.registry['mail.mail'], '_postprocess_sent_message', autospec=True,
                    side_effect=Exception("CPU time limit exceeded."),
                ):
                    self.case._run_cron('ir_cron_dunning_send')
            else:
                self.case._run_cron('ir_cron_dunning_send')
        self.do(queue)
        sink.refused, sink.hang_up = set(), False

    @event(number=PICK)
    def doubtful_confirmed(self, number):
        self.do(lambda: self.pick(
            self.notices('failed').filtered('is_in_doubt'), number).action_confirm_sent())

    @initialize(numbers=st.lists(PICK, min_size=2, max_size=5))
    def begin(self, numbers):
        for number in numbers:
            self.do(lambda number=number: self.create_invoice(self.customer(number), 250.0, -5 + number % 20))
