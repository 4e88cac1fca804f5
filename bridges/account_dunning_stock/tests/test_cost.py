from contextlib import contextmanager
from unittest.mock import patch

from odoo.tests import freeze_time, tagged

from odoo.addons.account_dunning_stock.models.stock_move import StockMove
from odoo.addons.account_dunning_stock.models.stock_picking import StockPicking

from .common import DeliveryCommon


@tagged('post_install', '-at_install')
@freeze_time('2026-06-15 12:00:00')  # Odoo writes dates once more when a second has gone by
class TestDeliveryCost(DeliveryCommon):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.customer.credit_limit = 1e9
        cls._owe(10.0)

    @contextmanager
    def _odoo_alone(self):
        def alone(model, name):
            def method(records, *args, **kwargs):
                return getattr(super(model, records), name)(*args, **kwargs)
            return patch.object(model, name, method)
        with alone(StockPicking, 'button_validate'), alone(StockPicking, '_action_done'), \
                alone(StockPicking, '_create_backorder'), alone(StockPicking, '_create_backorder_picking'), \
                alone(StockMove, '_action_assign'):
            yield

    def _count(self, pickings, alone=False):
        pickings.move_ids.quantity = 2
        pickings.move_ids.picked = True
        self.env.flush_all()
        self.env.invalidate_all()
        pickings = pickings.with_user(self.packer)
        with self.env.cr.savepoint():
            before = self.env.cr.sql_log_count
            if alone:
                with self._odoo_alone():
                    pickings.button_validate()
            else:
                pickings.button_validate()
            self.env.flush_all()
            count = self.env.cr.sql_log_count - before
        self.assertEqual(set(pickings.mapped('state')), {'done'})
        return count

    def _compare(self, make):
        """:return: queries without the bridge, and with the policies off, warn and block"""
        counts = []
        self._count(make(), alone=True)  # warm
        self.company.delivery_credit_policy = 'block'
        self._count(make())
        for policy in ('off', None, 'warn', 'block'):
            self.company.delivery_credit_policy = policy or 'off'
            self._count(make(), alone=not policy)  # what a change of settings has cleared
            counts.append(self._count(make(), alone=not policy))
        off, alone, warn, block = counts
        return alone, off, warn, block

    def test_cost_of_a_delivery_does_not_grow_with_its_lines(self):
        for lines in (1, 20):
            with self.subTest(lines=lines):
                alone, off, warn, block = self._compare(lambda lines=lines: self._deliver(lines=lines))
                self.assertEqual(off, alone)
                self.assertLessEqual(warn - alone, 3)
                self.assertLessEqual(block - alone, 3)

    def test_cost_of_many_deliveries_is_that_of_one(self):
        def make():
            pickings = self.env['stock.picking']
            for _number in range(5):
                pickings |= self._deliver()
            return pickings
        alone, off, warn, block = self._compare(make)
        self.assertEqual(off, alone)
        self.assertLessEqual(warn - alone, 3)
        self.assertLessEqual(block - alone, 3)
