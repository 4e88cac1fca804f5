from contextlib import nullcontext, suppress
from unittest.mock import patch

from odoo.sql_db import Cursor
from odoo.tests import tagged
from odoo.tools import SQL

from odoo.addons.sale.models.sale_order import SaleOrder

from .credit_common import CreditCommon


class _Undo(Exception):
    """Ends a savepoint."""


@tagged('post_install', '-at_install')
class TestCreditCost(CreditCommon):
    """What a check costs, counted in queries beside Odoo without it."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.customer.credit_limit = 1e12
        cls.partners = cls.env['res.partner'].create([
            {'name': f"Customer {number}", 'credit_limit': 1000} for number in range(100)])
        cls.orders = cls.env['sale.order'].concat(*(cls._order(10, partner=partner) for partner in cls.partners))

    def _count(self, orders, alone=False):
        """How many queries it takes to confirm the orders, nothing being in the cache; they are quotations again then.

        :param bool alone: without this addon
        """
        model = self.registry['sale.order']
        patches = patch.multiple(
            model,
            _checked_for_credit=lambda self: nullcontext(),
            _watch_credit=lambda self: nullcontext(),
            _confirmation_error_message=SaleOrder._confirmation_error_message,
        ) if alone else nullcontext()
        counts = []
        for _warmup in range(2):
            self.env.flush_all()
            self.env.invalidate_all()
            with suppress(_Undo), patches, self.env.cr.savepoint():
                before = self.env.cr.sql_log_count
                orders.action_confirm()
                self.env.flush_all()
                counts.append(self.env.cr.sql_log_count - before)
                self.assertEqual(set(orders.mapped('state')), {'sale'})
                self.assertEqual(set(orders.mapped('credit_state')), {'none' if alone else 'ok'})
                raise _Undo
        return counts[-1]

    def _multiply(self, table, record_id, times, **values):
        """Copies of a row, made by the database: ten thousand through the ORM would take minutes."""
        columns = [SQL.identifier(name) for (name,) in self.env.execute_query(SQL(
            "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped "
            "AND attname NOT IN %s", table, ('id', *values)))]
        names = [SQL.identifier(name) for name in values]
        rows = self.env.execute_query(SQL(
            "INSERT INTO %(table)s (%(columns)s) "
            "SELECT %(values)s FROM %(table)s, generate_series(1, %(times)s) AS number WHERE id = %(id)s RETURNING id",
            table=SQL.identifier(table), columns=SQL(', ').join(columns + names),
            values=SQL(', ').join(columns + list(values.values())), times=times, id=record_id))
        return [row_id for (row_id,) in rows]

    def _open_documents(self, number):
        """Open orders, posted and draft invoices of the customer: a tenth of them drafts, the rest half and half."""
        order = self._order(1, confirm=True)
        invoice, draft = self._invoice(1), self._invoice(1, post=False)
        self.env.flush_all()
        rest = (number - number // 10) // 2
        order_ids = self._multiply('sale_order', order.id, rest)
        line_ids = self._multiply('sale_order_line', order.order_line.id, rest)
        self.env.cr.execute(SQL("""
            UPDATE sale_order_line line SET order_id = pair.order_id
              FROM (SELECT unnest(%s) AS line_id, unnest(%s) AS order_id) AS pair WHERE pair.line_id = line.id
            """, line_ids, order_ids))
        for move, times in ((invoice, rest), (draft, number // 10)):
            move_ids = self._multiply('account_move', move.id, times, name=SQL("name || '-' || number"))
            receivable = move.line_ids.filtered(lambda line: line.account_type == 'asset_receivable')
            line_ids = self._multiply('account_move_line', receivable.id, times)
            self.env.cr.execute(SQL("""
                UPDATE account_move_line line SET move_id = pair.move_id
                  FROM (SELECT unnest(%s) AS line_id, unnest(%s) AS move_id) AS pair WHERE pair.line_id = line.id
                """, line_ids, move_ids))
        self.env.cr.execute(SQL("ANALYZE sale_order, sale_order_line, account_move, account_move_line"))
        self.env.invalidate_all()

    def test_confirming_costs_at_most_four_queries_more_with_ten_and_with_ten_thousand_open_documents(self):
        order = self._order(10)
        counts = {}
        for number in (10, 10000):
            self._open_documents(number)
            counts[number] = (self._count(order), self._count(order, alone=True))
        self.assertGreater(self._exposure(), 10000)
        for number, (with_addon, alone) in counts.items():
            with self.subTest(open_documents=number):
                self.assertLessEqual(with_addon - alone, 4)
        self.assertEqual(counts[10][0], counts[10000][0])

    def test_an_order_invoiced_in_part_costs_no_more_than_four_queries_more(self):
        other = self._order(100, confirm=True)
        other._create_invoices()
        other.order_line.product_uom_qty = 3
        self.env.flush_all()
        order = self._order(10)
        self.assertEqual(self._exposure(), 300, "100 on the draft invoice, 200 still to be invoiced")
        self.assertLessEqual(self._count(order) - self._count(order, alone=True), 4)

    def test_a_batch_of_a_hundred_customers_adds_no_more_queries_than_one_order(self):
        self._count(self.orders)  # fills the server's caches
        added_by_one = self._count(self.orders[0]) - self._count(self.orders[0], alone=True)
        added_by_all = self._count(self.orders) - self._count(self.orders, alone=True)
        # one of them may be a cache of the server that was emptied meanwhile; a query per customer would be a hundred
        self.assertLessEqual(added_by_all, added_by_one + 1)

    def test_without_a_policy_the_ledger_is_not_read(self):
        self.assertTrue(self._get_ledger_statements(self.orders[0]))
        self.company.credit_control_policy = 'off'
        self.assertFalse(self._get_ledger_statements(self.orders[1]))

    def _get_ledger_statements(self, order):
        """What is asked of the journal items when the order is confirmed."""
        self.env['sale.order'].flush_model()
        statements = []
        execute = Cursor.execute

        def log(cursor, query, *args, **kwargs):
            statements.append(query.code if isinstance(query, SQL) else str(query))
            return execute(cursor, query, *args, **kwargs)

        with patch.object(Cursor, 'execute', log):
            order.action_confirm()
        self.assertTrue(statements)
        return [statement for statement in statements if 'amount_residual' in statement]

    def test_a_list_of_held_orders_reads_the_ledger_once(self):
        counts = []
        for orders in (self.orders[:1], self.orders):
            orders.mapped('credit_exposure')
            self.env.flush_all()
            self.env.invalidate_all()
            before = self.env.cr.sql_log_count
            orders.mapped('credit_exposure')
            counts.append(self.env.cr.sql_log_count - before)
        self.assertLessEqual(counts[1], counts[0])
