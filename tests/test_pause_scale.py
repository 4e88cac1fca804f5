import logging
import time
from datetime import date

from odoo.tests import freeze_time, tagged
from odoo.tools import SQL

from .test_payment_plan import PaymentPlanCommon

_logger = logging.getLogger(__name__)


@tagged('post_install', '-at_install')
@freeze_time('2024-03-01')
class TestPauseScale(PaymentPlanCommon):
    """What the scheduled action costs grows with nothing but the rows: not one query per promise or plan."""

    def _clone(self, record, count, **overrides):
        """Copies of a record, in SQL; overrides are SQL over `n`, the number of the copy.

        :return: ids of the copies
        """
        self.env.flush_all()
        columns = [
            name for name, field in record._fields.items()
            if field.store and field.column_type and name != 'id' and name not in overrides
        ]
        rows = self.env.execute_query(SQL(
            "INSERT INTO %(table)s (%(names)s) SELECT %(values)s FROM %(table)s, generate_series(1, %(count)s) n "
            "WHERE id = %(id)s RETURNING id",
            table=SQL.identifier(record._table),
            names=SQL(", ").join(map(SQL.identifier, [*columns, *overrides])),
            values=SQL(", ").join([*map(SQL.identifier, columns), *(SQL(value) for value in overrides.values())]),
            count=count,
            id=record.id,
        ))
        return [row[0] for row in rows]

    def _link(self, table, column, owner_ids, line_ids):
        self.env.cr.execute(SQL(
            "INSERT INTO %s (%s, move_line_id) SELECT * FROM unnest(%s, %s)",
            SQL.identifier(table), SQL.identifier(column), owner_ids, line_ids))

    def _populate(self, promises, plans):
        """Open promises and active plans of ten installments, each on an invoice of its own, ten invoices a customer.

        A tenth of the promises is paid, a tenth is late; of the plans a tenth each is up to date, reminded, broken.
        """
        partner_ids = self._clone(self.partner_a, (promises + plans) // 10, name="'Customer ' || n")
        self.env.cr.execute(SQL(
            "UPDATE res_partner SET commercial_partner_id = id WHERE id = ANY(%s)", partner_ids))
        move = self.line.move_id
        count = promises + plans
        move_ids = self._clone(
            move, count, name="name || '-' || n", sequence_number="sequence_number + n", access_token="NULL")
        line_ids = self._clone(self.line, count)
        self.env.cr.execute("ANALYZE account_move, account_move_line, res_partner")
        # What was paid: of the promises each tenth, of the plans the first installment of nine in ten
        residuals = [
            0.0 if index % 10 == 0 and index < promises else 900.0 if index >= promises and index % 10 != 1 else 1000.0
            for index in range(count)]
        self.env.cr.execute(SQL(
            """
            UPDATE account_move_line line
               SET move_id = clone.move_id, partner_id = clone.partner_id,
                   amount_residual = clone.residual, amount_residual_currency = clone.residual,
                   reconciled = clone.residual = 0
              FROM unnest(%s, %s, %s, %s) AS clone(id, move_id, partner_id, residual)
             WHERE line.id = clone.id
            """,
            line_ids, move_ids, [partner_ids[index // 10] for index in range(count)],
            residuals,
        ))
        # One payment of everybody's, which no customer can fill more than once
        paid = [(line_id, 1000.0 - residual) for line_id, residual in zip(line_ids, residuals, strict=True)
                if residual < 1000.0]
        payment = self._create_unmatched_payment('2024-03-02', 1.0, self.partner_b)
        self.env.flush_all()
        self.env.cr.execute(SQL(
            """
            INSERT INTO account_partial_reconcile (debit_move_id, credit_move_id, company_id, amount,
                        debit_amount_currency, credit_amount_currency, debit_currency_id, credit_currency_id, max_date)
            SELECT line_id, %s, %s, amount, amount, amount, %s, %s, '2024-03-02'
              FROM unnest(%s, %s) AS paid(line_id, amount)
            """,
            payment.id, self.company.id, self.line.currency_id.id, self.line.currency_id.id,
            [line_id for line_id, _amount in paid], [amount for _line_id, amount in paid]))
        self.env.cr.execute(SQL(
            """
            UPDATE account_move move SET partner_id = clone.partner_id, commercial_partner_id = clone.partner_id
              FROM unnest(%s, %s) AS clone(id, partner_id) WHERE clone.id = move.id
            """, move_ids, [partner_ids[index // 10] for index in range(count)]))

        promise = self.env['account.payment.promise'].create({
            'partner_id': self.partner_a.id, 'company_id': self.company.id, 'amount': 1000.0, 'date': '2024-03-08'})
        block_ids = self._clone(promise.block_id, promises)
        promise_ids = self._clone(
            promise, promises, date="CASE WHEN n %% 10 = 3 THEN '2024-03-03'::date ELSE '2024-03-20' END")
        self._link('account_payment_promise_move_line_rel', 'promise_id', promise_ids, line_ids[:promises])
        self._link('account_dunning_block_move_line_rel', 'block_id', block_ids, line_ids[:promises])
        self._own('account_payment_promise', promise_ids, block_ids, line_ids[:promises])
        promise.action_cancel()

        plan = self._plan(number=10)
        block_ids = self._clone(plan.block_id, plans)
        plan_ids = self._clone(plan, plans, name="'TEST/' || n", access_token="NULL")
        self._link('account_payment_plan_move_line_rel', 'plan_id', plan_ids, line_ids[promises:])
        self._link('account_dunning_block_move_line_rel', 'block_id', block_ids, line_ids[promises:])
        self._own('account_payment_plan', plan_ids, block_ids, line_ids[promises:])
        self.env.cr.execute(SQL(
            """
            UPDATE account_move_line line SET payment_plan_id = link.plan_id
              FROM unnest(%s, %s) AS link(plan_id, line_id) WHERE link.line_id = line.id
            """, plan_ids, line_ids[promises:]))
        self.env.cr.execute(SQL(
            """
            INSERT INTO account_payment_plan_installment
                        (plan_id, company_id, date, amount, amount_paid, is_down_payment, state)
            SELECT plan_id, %(company)s, ('2024-03-01'::date + (number - 1) * interval '1 month')::date,
                   100, 0, FALSE, 'open'
              FROM unnest(%(plans)s) plan_id, generate_series(1, 10) number
            """, company=self.company.id, plans=plan_ids))
        plan.action_cancel()
        # Named: PostgreSQL keeps what it counted when the test takes its rows back. Tables that this one leaves empty
        # would count as empty in each test after it, which made one of them take a quarter of an hour.
        self.env.cr.execute("ANALYZE account_payment_promise, account_payment_plan, account_payment_plan_installment,"
                            " account_dunning_block, account_dunning_block_move_line_rel,"
                            " account_payment_promise_move_line_rel, account_payment_plan_move_line_rel,"
                            " account_move, account_move_line, account_partial_reconcile, res_partner")
        self.env.invalidate_all()
        return (
            self.env['account.payment.promise'].browse(promise_ids), self.env['account.payment.plan'].browse(plan_ids))

    def _own(self, table, ids, block_ids, line_ids):
        """Give each row its own pause, and the customer of its line."""
        self.env.cr.execute(SQL(
            """
            UPDATE %(table)s owner SET block_id = link.block_id, partner_id = line.partner_id
              FROM unnest(%(ids)s, %(blocks)s, %(lines)s) AS link(id, block_id, line_id)
              JOIN account_move_line line ON line.id = link.line_id
             WHERE owner.id = link.id
            """, table=SQL.identifier(table), ids=ids, blocks=block_ids, lines=line_ids))
        self.env.cr.execute(SQL(
            """
            UPDATE account_dunning_block block SET partner_id = line.partner_id
              FROM unnest(%s, %s) AS link(block_id, line_id)
              JOIN account_move_line line ON line.id = link.line_id
             WHERE block.id = link.block_id
            """, block_ids, line_ids))

    def _measure(self, promises, plans, day):
        """:return: (queries, seconds) of the update on a day"""
        promises, plans = self._populate(promises, plans)
        before = self.cr.sql_log_count
        start = time.clock_gettime(time.CLOCK_MONOTONIC)  # the other clocks are frozen
        self.env['account.dunning.block']._update_pauses(self.company, day)
        self.env.flush_all()
        seconds = time.clock_gettime(time.CLOCK_MONOTONIC) - start
        queries = self.cr.sql_log_count - before
        self.assertEqual(len(promises.filtered(lambda promise: promise.state == 'kept')), len(promises) // 10)
        self.assertEqual(len(promises.filtered(lambda promise: promise.state == 'broken')), len(promises) // 10)
        self.assertEqual(len(plans.filtered(lambda plan: plan.state == 'broken')), len(plans) // 10)
        self.assertEqual(
            sum(plans.installment_ids.mapped('amount_paid')), 100.0 * (len(plans) - len(plans) // 10))
        _logger.info(
            "%s promises and %s plans with %s installments: %.2f s, %s queries",
            len(promises), len(plans), len(plans.installment_ids), seconds, queries)
        return queries, seconds

    def test_queries_do_not_grow_with_the_rows(self):
        with self.env.cr.savepoint() as savepoint:
            few, _seconds = self._measure(100, 20, date(2024, 3, 7))
            savepoint.rollback()
        self.env.invalidate_all()
        more, _seconds = self._measure(400, 80, date(2024, 3, 7))
        self.assertLessEqual(more, few + 10)

    def test_ten_thousand_promises_and_two_thousand_plans(self):
        self._measure(10000, 2000, date(2024, 3, 7))
