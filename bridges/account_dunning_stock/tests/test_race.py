import threading
from unittest.mock import patch

from odoo import SUPERUSER_ID, Command, api
from odoo.service import model as service
from odoo.tests import TransactionCase, tagged
from odoo.tools import SQL, mute_logger

ROUNDS = 50
PATIENCE = 90  # seconds: longer than any validation takes, the wait of the two for each other included


@tagged('post_install', '-at_install')
class TestDeliveryRace(TransactionCase):
    """Two deliveries to one customer, each of one more than was ordered, validated at the same moment over two
    connections: the customer's limit has room for one more."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        # Real connections see committed data only: what is made here is committed, and removed at the end.
        with cls.registry.cursor() as cr:
            env = api.Environment(cr, SUPERUSER_ID, {})
            company = env.company
            cls.settings = {
                fname: company[fname] for fname in ('account_use_credit_limit', 'delivery_credit_policy')}
            cls.user_id = env['res.users'].create({
                'name': "Racing packer",
                'login': f'race.stock.{threading.get_ident()}',
                'group_ids': [Command.set(env.ref('stock.group_stock_user').ids)],
            }).id
            cls.product_id = env['product.product'].create({
                'name': "Race", 'type': 'consu', 'taxes_id': False, 'invoice_policy': 'delivery'}).id
            partners = env['res.partner'].create([
                {'name': f"Race {number}", 'credit_limit': 180.0} for number in range(ROUNDS + 1)])
            cls.partner_ids = partners.ids
            orders = env['sale.order'].create([{
                'partner_id': partner.id,
                'order_line': [Command.create({
                    'product_id': cls.product_id, 'product_uom_qty': 1, 'price_unit': 50.0, 'tax_ids': False})],
            } for partner in partners for _twice in range(2)])
            cls.order_ids = orders.ids
            orders.action_confirm()
            orders.picking_ids.move_ids.write({'quantity': 2, 'picked': True})
            cls.pairs = [(orders[start:start + 2].picking_ids).ids for start in range(0, len(orders), 2)]
            company.write({'account_use_credit_limit': True, 'delivery_credit_policy': 'block'})
        cls.addClassCleanup(cls._remove)

    @classmethod
    def _remove(cls):
        with cls.registry.cursor() as cr:
            env = api.Environment(cr, SUPERUSER_ID, {})
            env.company.write(cls.settings)
            orders = env['sale.order'].browse(cls.order_ids)
            pickings = orders.picking_ids
            env.flush_all()
            # What has left is kept by Odoo for ever: here it has not.
            cr.execute(SQL("DELETE FROM stock_move_line WHERE picking_id IN %s", pickings._ids))
            cr.execute(SQL("UPDATE stock_move SET state = 'cancel' WHERE picking_id IN %s", pickings._ids))
            cr.execute(SQL("UPDATE stock_picking SET state = 'cancel' WHERE id IN %s", pickings._ids))
            cr.execute(SQL("UPDATE sale_order SET state = 'cancel' WHERE id IN %s", orders._ids))
            env.invalidate_all()
            references = pickings.reference_ids
            pickings.unlink()
            orders.unlink()
            references.unlink()
            env['res.partner'].browse(cls.partner_ids).unlink()
            env['product.product'].browse(cls.product_id).product_tmpl_id.unlink()
            user = env['res.users'].browse(cls.user_id)
            partner = user.partner_id
            user.unlink()
            partner.unlink()

    def _validate_at_once(self, picking_ids):
        """Validate each delivery in a thread of its own, the way Odoo serves a request.

        :return: states of the deliveries, their credit states, and how often each was tried, all sorted
        """
        results = [None] * len(picking_ids)
        start = threading.Barrier(len(picking_ids), timeout=60)

        def validate(position, picking_id):
            tries = 0
            with self.registry.cursor() as cr:
                env = api.Environment(cr, self.user_id, {})

                def request():
                    nonlocal tries
                    tries += 1
                    picking = env['stock.picking'].browse(picking_id)
                    if tries == 1:
                        self.assertEqual(picking.state, 'assigned')  # the snapshot is taken: none sees the other
                        start.wait()
                    picking.button_validate()

                service.retrying(request, env)
                results[position] = tries

        threads = [threading.Thread(target=validate, args=pair, daemon=True) for pair in enumerate(picking_ids)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        with self.registry.cursor() as cr:
            pickings = api.Environment(cr, SUPERUSER_ID, {})['stock.picking'].browse(picking_ids)
            return sorted(pickings.mapped('state')), sorted(pickings.mapped('credit_state')), results

    @mute_logger('odoo.sql_db', 'odoo.service.model')
    def test_two_deliveries_at_once_never_both_pass(self):
        # Odoo waits up to two seconds before it tries again, so as not to collide; here it need not.
        with patch.object(service.random, 'uniform', lambda start, end: 0.01):
            for number, picking_ids in enumerate(self.pairs[:ROUNDS]):
                with self.subTest(round=number):
                    states, credit_states, tries = self._validate_at_once(picking_ids)
                    self.assertEqual((states, credit_states), (['assigned', 'done'], ['hold', 'ok']))
                    self.assertEqual(sorted(tries), [1, 2])

    @mute_logger('odoo.sql_db', 'odoo.service.model')
    def test_it_is_a_race_without_the_row_both_pass(self):
        """The counterpart: the test above would notice if the row were not written."""
        unlocked = patch.object(
            self.registry['account.credit.exposure'], '_get_lock_query', lambda self, company: SQL("SELECT"))
        with unlocked:
            states, _credit_states, tries = self._validate_at_once(self.pairs[ROUNDS])
        self.assertEqual((states, tries), (['done', 'done'], [1, 1]))
