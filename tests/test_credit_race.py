import sys
import threading
import traceback
from unittest.mock import patch

from odoo import SUPERUSER_ID, Command, api
from odoo.exceptions import UserError
from odoo.service import model as service
from odoo.tests import TransactionCase, tagged
from odoo.tools import SQL, mute_logger

ROUNDS = 50
GROUP_ROUNDS = 20
PATIENCE = 90  # seconds: longer than any confirmation takes, the wait of the two for each other included


@tagged('post_install', '-at_install')
class TestCreditRace(TransactionCase):
    """Two orders of one customer, confirmed at the same moment over two connections, each in its own transaction."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        # Real connections see committed data only: what is made here is committed, and removed at the end.
        with cls.registry.cursor() as cr:
            env = api.Environment(cr, SUPERUSER_ID, {})
            cls.had_limits = env.company.account_use_credit_limit
            env.company.account_use_credit_limit = True
            cls.user_id = env['res.users'].create({
                'name': "Racing salesperson",
                'login': f'race.{threading.get_ident()}',
                'group_ids': [Command.set(env.ref('sales_team.group_sale_salesman').ids)],
            }).id
            cls.product_id = env['product.product'].create({'name': "Race", 'type': 'service', 'taxes_id': False}).id
            partners = env['res.partner'].create([{
                'name': f"Race {number}", 'credit_control_policy': 'block', 'credit_limit': 100.0,
            } for number in range(ROUNDS + 1)])
            # pairs of customers that share a limit, which is theirs instead of their own
            sisters = env['res.partner'].create([{
                'name': f"Race sister {number}", 'credit_control_policy': 'block', 'credit_limit': 1000.0,
            } for number in range(2 * (GROUP_ROUNDS + 1))])
            groups = env['account.credit.group'].create([{
                'name': f"Race {number}", 'amount': 100.0,
                'partner_ids': [Command.set(sisters[2 * number:2 * number + 2].ids)],
            } for number in range(GROUP_ROUNDS + 1)])
            cls.group_ids = groups.ids
            cls.partner_ids = (partners + sisters).ids
            orders = env['sale.order'].create([{
                'partner_id': partner.id,
                'user_id': cls.user_id,
                'order_line': [Command.create({
                    'product_id': cls.product_id, 'price_unit': 60.0, 'tax_ids': False})],
            } for partner in partners for _twice in range(2)])
            sister_orders = env['sale.order'].create([{
                'partner_id': sister.id,
                'user_id': cls.user_id,
                'order_line': [Command.create({
                    'product_id': cls.product_id, 'price_unit': 60.0, 'tax_ids': False})],
            } for sister in sisters])
            cls.sister_pairs = [sister_orders.ids[start:start + 2] for start in range(0, len(sister_orders), 2)]
            cls.pairs = [orders.ids[start:start + 2] for start in range(0, len(orders), 2)]
        cls.addClassCleanup(cls._remove)

    @classmethod
    def _remove(cls):
        with cls.registry.cursor() as cr:
            env = api.Environment(cr, SUPERUSER_ID, {})
            env.company.account_use_credit_limit = cls.had_limits
            orders = env['sale.order'].search([('partner_id', 'in', cls.partner_ids)])
            orders._action_cancel()
            orders.unlink()
            env['account.credit.group'].browse(cls.group_ids).unlink()
            env['res.partner'].browse(cls.partner_ids).unlink()
            env['product.product'].browse(cls.product_id).unlink()
            user = env['res.users'].browse(cls.user_id)
            partner = user.partner_id
            user.unlink()
            partner.unlink()

    def _confirm_at_once(self, order_ids):
        """Confirm each order in a thread of its own, the way Odoo serves a request.

        :return: per order: the error (None: confirmed) and how often it was tried
        """
        results = [None] * len(order_ids)
        start = threading.Barrier(len(order_ids), timeout=60)

        def confirm(position, order_id):
            tries = 0
            with self.registry.cursor() as cr:
                env = api.Environment(cr, self.user_id, {})

                def request():
                    nonlocal tries
                    tries += 1
                    order = env['sale.order'].browse(order_id)
                    if tries == 1:
                        self.assertEqual(order.state, 'draft')  # the snapshot is taken: none sees the other
                        start.wait()
                    order.action_confirm()

                try:
                    service.retrying(request, env)
                    results[position] = (None, tries)
                except Exception as error:  # noqa: BLE001  whatever a user would see
                    results[position] = (error, tries)

        threads = [threading.Thread(target=confirm, args=pair) for pair in enumerate(order_ids)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        if any(thread.is_alive() for thread in threads):
            self.fail(self._end_waiting(threads))
        return results

    def _end_waiting(self, threads):
        """Threads that wait for something for ever: let them end.

        :return: what each of them waits for, in the database and in Python
        :rtype: str
        """
        frames = sys._current_frames()
        stacks = [''.join(traceback.format_stack(frames[thread.ident], limit=-12))
                  for thread in threads if thread.ident in frames]
        with self.registry.cursor() as cr:
            cr.execute("""
                SELECT pid, state, wait_event_type, wait_event, pg_blocking_pids(pid), left(query, 200)
                  FROM pg_stat_activity
                 WHERE datname = current_database() AND pid <> pg_backend_pid() AND state IS DISTINCT FROM 'idle'
                """)
            connections = cr.fetchall()
            cr.execute("""
                SELECT pg_cancel_backend(pid) FROM pg_stat_activity
                 WHERE datname = current_database() AND pid <> pg_backend_pid() AND wait_event_type = 'Lock'
                """)
        for thread in threads:
            thread.join(PATIENCE)
        return '\n'.join(["Orders that wait for ever.", *map(str, connections), *stacks])

    def _states(self, order_ids):
        with self.registry.cursor() as cr:
            return api.Environment(cr, SUPERUSER_ID, {})['sale.order'].browse(order_ids).mapped('state')

    @mute_logger('odoo.sql_db', 'odoo.service.model')
    def test_two_orders_confirmed_at_once_never_both_pass(self):
        # Odoo waits up to two seconds before it tries again, so as not to collide; here it need not.
        with patch.object(service.random, 'uniform', lambda start, end: 0.01):
            for number, order_ids in enumerate(self.pairs[:ROUNDS]):
                with self.subTest(round=number):
                    results = self._confirm_at_once(order_ids)
                    self.assertEqual(sorted(self._states(order_ids)), ['draft', 'sale'])
                    passed, refused = sorted(results, key=lambda result: result[0] is not None)
                    self.assertEqual(passed, (None, 1))
                    self.assertIsInstance(refused[0], UserError)
                    self.assertIn("needs a release by a credit manager", str(refused[0]))
                    self.assertEqual(refused[1], 2, "refused only after it was tried again with a new snapshot")

    @mute_logger('odoo.sql_db', 'odoo.service.model')
    def test_it_is_a_race_without_the_row_both_pass(self):
        """The counterpart: the test above would notice if the row were not written."""
        unlocked = patch.object(
            self.registry['account.credit.exposure'], '_get_lock_query', lambda self, company: SQL("SELECT"))
        with unlocked:
            results = self._confirm_at_once(self.pairs[ROUNDS])
        self.assertEqual([error for error, _tries in results], [None, None])
        self.assertEqual(self._states(self.pairs[ROUNDS]), ['sale', 'sale'])

    @mute_logger('odoo.sql_db', 'odoo.service.model')
    def test_two_customers_that_share_a_limit_never_both_pass(self):
        with patch.object(service.random, 'uniform', lambda start, end: 0.01):
            for number, order_ids in enumerate(self.sister_pairs[:GROUP_ROUNDS]):
                with self.subTest(round=number):
                    results = self._confirm_at_once(order_ids)
                    self.assertEqual(sorted(self._states(order_ids)), ['draft', 'sale'])
                    passed, refused = sorted(results, key=lambda result: result[0] is not None)
                    self.assertEqual(passed, (None, 1))
                    self.assertIsInstance(refused[0], UserError)
                    self.assertIn("shares with others", str(refused[0]))
                    self.assertEqual(refused[1], 2, "refused only after it was tried again with a new snapshot")

    @mute_logger('odoo.sql_db', 'odoo.service.model')
    def test_without_the_row_of_the_group_both_pass(self):
        with (
            patch.object(self.registry['account.credit.group'], '_lock', lambda self: None),
            patch.object(
                self.registry['account.credit.exposure'], '_get_lock_query', lambda self, company: SQL("SELECT")),
        ):
            results = self._confirm_at_once(self.sister_pairs[GROUP_ROUNDS])
        self.assertEqual([error for error, _tries in results], [None, None])
        self.assertEqual(self._states(self.sister_pairs[GROUP_ROUNDS]), ['sale', 'sale'])
