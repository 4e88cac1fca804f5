import os
from collections import Counter
from pathlib import Path

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from odoo import Command
from odoo.tests import freeze_time, new_test_user, tagged

from .common import DunningMailCommon
from .fuzz_machine import FIRST_DAY, LIMIT, DunningMachine

# Steps of all examples, and of one: more by `./dev fuzz`
STEPS = int(os.environ.get('DUNNING_FUZZ_STEPS', 300))
SEED = int(os.environ.get('DUNNING_FUZZ_SEED', 20240108))
STEPS_OF_EXAMPLE = 60


@tagged('post_install', '-at_install')
class TestFuzz(DunningMailCommon):
    """Whatever happens, in whatever order: nobody is reminded who owes nothing, nothing twice, never the wrong sum."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.accountant = new_test_user(
            cls.env, login='fuzz_accountant', company_id=cls.company.id,
            company_ids=[Command.set(cls.company.ids)],
            groups='account.group_account_manager,base.group_partner_manager,account_dunning.group_credit_manager')
        cls.salesperson = new_test_user(
            cls.env, login='fuzz_salesperson', company_id=cls.company.id, company_ids=[Command.set(cls.company.ids)],
            groups='sales_team.group_sale_salesman_all_leads')
        cls.credit_manager = new_test_user(
            cls.env, login='fuzz_credit', company_id=cls.company.id, company_ids=[Command.set(cls.company.ids)],
            groups='account_dunning.group_credit_manager')
        company = cls.company.sudo()
        company.write({
            'account_use_credit_limit': True, 'credit_control_policy': 'block', 'promise_grace_days': 1,
            'plan_grace_days': 1,
        })
        # A courtesy by telephone before the due date, then letters
        cls.procedure.level_ids.write({'repeat_days': 14})
        cls.procedure.sudo().write({'min_wait_days': 2, 'level_ids': [Command.create({
            'name': "Courtesy", 'sequence': 0, 'delay_days': -3, 'send_email': False, 'create_activity': True,
            'activity_type_id': cls.env.ref('mail.mail_activity_data_call').id})]})
        # Interest from the second letter on
        (cls.level_2 + cls.level_3).sudo().charge = 'print'
        company.late_charge_post = True
        rule = cls.env['account.late.charge.rule'].sudo().create({
            'name': "Agreed", 'company_id': company.id, 'margin': 10.0, 'rate_validity': 'open',
            'day_count': 'actual_365', 'legal_basis': "Contract", 'currency_id': company.currency_id.id})
        cls.other_procedure = cls._create_procedure([5, 15])
        cls.customers = cls.env['res.partner'].create([
            {
                'name': f"Fuzz {number}", 'is_company': True, 'email': f'fuzz{number}@example.com',
                'street': "Main street 1", 'city': "Brussels",
            } for number in range(8)
        ])
        cls.customers.with_company(company).sudo().late_charge_rule_id = rule
        cls.customers[0].with_company(company).sudo().credit_limit = LIMIT
        cls.customers[1].with_company(company).sudo().credit_limit = LIMIT / 2
        cls.foreign = cls.setup_other_currency('EUR', rates=[('2023-01-01', 2.0)])
        cls.two_terms = cls.env['account.payment.term'].create({
            'name': "30/70", 'line_ids': [
                Command.create({'value': 'percent', 'value_amount': 30, 'nb_days': 15}),
                Command.create({'value': 'percent', 'value_amount': 70, 'nb_days': 45}),
            ]})
        cls.product = cls.env['product.product'].sudo().create({
            'name': "Fuzz", 'type': 'service', 'invoice_policy': 'order', 'taxes_id': False})
        cls.method_line = cls.company_data['default_journal_bank'].inbound_payment_method_line_ids[:1]
        cls.method_line.sudo().payment_account_id = False
        cls.env.flush_all()

    def test_whatever_happens(self):
        machine = type('Machine', (DunningMachine,), {'case': self, 'count': 0, 'happened': Counter()})
        freezer = freeze_time(f'{FIRST_DAY} 08:00:00')
        frozen = freezer.start()
        self.addCleanup(freezer.stop)
        self.frozen = frozen
        phases = {Phase.explicit, Phase.generate}
        if os.environ.get('DUNNING_FUZZ_SHRINK'):  # long: the clock that would end it stands still
            phases.add(Phase.shrink)
        seed(SEED)(machine)
        run_state_machine_as_test(machine, settings=settings(
            max_examples=max(STEPS // STEPS_OF_EXAMPLE, 1), stateful_step_count=STEPS_OF_EXAMPLE, deadline=None,
            database=None, derandomize=False, phases=phases, print_blob=True, report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck)))
        if report := os.environ.get('DUNNING_FUZZ_REPORT'):
            happened = ", ".join(f"{name} {number}" for name, number in sorted(machine.happened.items()))
            Path(report).write_text(f"{machine.count} events with the seed {SEED}: {happened}\n")
        self.assertGreater(machine.count, min(STEPS, 60) // 4)
