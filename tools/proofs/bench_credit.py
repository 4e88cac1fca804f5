"""What confirming an order costs: Odoo alone, with this addon, and with PyPI's odoo-addon-sale-financial-risk.

`./dev bench credit [--documents N] [--orders M]`: three databases made in the same way, one after the other on this
machine. A customer with N open documents (orders, posted and draft invoices) gets M quotations; each is confirmed with
an empty cache and undone. The median counts.

`./dev bench credit --batch`: 100 and 1,000 orders of one customer confirmed in one call, without and with the addon,
and a payment that frees 30 and 300 waiting orders.
"""
import argparse
import json

from ..environment import database
from ..environment.env import ADDON
from ..environment.ui import Failure, run_logged, say

PEER = "sale_financial_risk"
PEER_PACKAGES = ("odoo-addon-sale-financial-risk==19.0.*", "odoo-addon-account-financial-risk==19.0.*")
MARK = "RESULT "

SCRIPT = """
import json, statistics, time
from odoo.tools import SQL

documents, rounds = %(documents)d, %(rounds)d
receivable = [('account_type', '=', 'asset_receivable'), ('company_ids', 'in', env.company.ids)]
if not env['account.account'].search_count(receivable, limit=1):
    env['account.chart.template'].try_loading('generic_coa', env.company, install_demo=False)
product = env['product.product'].create({'name': "Bench", 'type': 'service', 'list_price': 1, 'taxes_id': False})
customer = env['res.partner'].create({'name': "Bench", 'credit_limit': 1e12})
if 'credit_control_policy' in env.company._fields:
    env.company.write({'credit_control_policy': 'block', 'account_use_credit_limit': True})
for name in customer._fields:
    if name.startswith('risk_') and name.endswith('_include'):
        customer[name] = True


def order():
    return env['sale.order'].create({
        'partner_id': customer.id,
        'order_line': [(0, 0, {'product_id': product.id, 'price_unit': 1, 'tax_ids': False})],
    })


def invoice():
    return env['account.move'].create({
        'move_type': 'out_invoice', 'partner_id': customer.id, 'invoice_date': '2024-01-01',
        'invoice_line_ids': [(0, 0, {'name': "Bench", 'price_unit': 1, 'tax_ids': False})],
    })


def multiply(table, record_id, times, **values):
    # Copies of a row, made by the database.
    columns = [SQL.identifier(name) for (name,) in env.execute_query(SQL(
        "SELECT attname FROM pg_attribute WHERE attrelid = %%s::regclass AND attnum > 0 AND NOT attisdropped "
        "AND attname NOT IN %%s", table, ('id', *values)))]
    rows = env.execute_query(SQL(
        "INSERT INTO %%(table)s (%%(columns)s) "
        "SELECT %%(values)s FROM %%(table)s, generate_series(1, %%(times)s) AS number WHERE id = %%(id)s RETURNING id",
        table=SQL.identifier(table), columns=SQL(', ').join(columns + [SQL.identifier(name) for name in values]),
        values=SQL(', ').join(columns + list(values.values())), times=times, id=record_id))
    return [row_id for (row_id,) in rows]


def relink(table, column, ids, target_ids):
    env.cr.execute(SQL(
        "UPDATE %%(table)s SET %%(column)s = pair.target "
        "FROM (SELECT unnest(%%(ids)s) AS id, unnest(%%(targets)s) AS target) AS pair WHERE pair.id = %%(table)s.id",
        table=SQL.identifier(table), column=SQL.identifier(column), ids=ids, targets=target_ids))


first = order()
first.action_confirm()
posted, draft = invoice(), invoice()
posted.action_post()
env.flush_all()
rest = (documents - documents // 10) // 2
relink('sale_order_line', 'order_id', multiply('sale_order_line', first.order_line.id, rest),
       multiply('sale_order', first.id, rest))
for move, times in ((posted, rest), (draft, documents // 10)):
    line = move.line_ids.filtered(lambda line: line.account_type == 'asset_receivable')
    relink('account_move_line', 'move_id', multiply('account_move_line', line.id, times),
           multiply('account_move', move.id, times, name=SQL("name || '-' || number")))
env.cr.commit()
env.cr.execute("ANALYZE")
quotations = [order() for _ in range(rounds + 2)]
env.flush_all()
env.cr.commit()


class Undo(Exception):
    pass


seconds, queries = [], []
for quotation in quotations:
    env.invalidate_all()
    try:
        with env.cr.savepoint():
            before, start = env.cr.sql_log_count, time.perf_counter()
            quotation.action_confirm()
            env.flush_all()
            seconds.append(time.perf_counter() - start)
            queries.append(env.cr.sql_log_count - before)
            assert quotation.state == 'sale', quotation.state
            raise Undo
    except Undo:
        pass
print(%(mark)r + json.dumps({
    'seconds': statistics.median(seconds[2:]), 'best': min(seconds[2:]), 'queries': statistics.median(queries[2:]),
    'owed': getattr(customer, 'credit_exposure', None) or getattr(customer, 'risk_total', None),
}))
"""

BATCH_SCRIPT = """
import json, time
from odoo.exceptions import UserError

receivable = [('account_type', '=', 'asset_receivable'), ('company_ids', 'in', env.company.ids)]
if not env['account.account'].search_count(receivable, limit=1):
    env['account.chart.template'].try_loading('generic_coa', env.company, install_demo=False)
product = env['product.product'].create({'name': "Bench", 'type': 'service', 'list_price': 1, 'taxes_id': False})
ours = 'credit_control_policy' in env.company._fields
if ours:
    env.company.write({'credit_control_policy': 'block', 'account_use_credit_limit': True, 'credit_auto_release': True})


def make_orders(customer, number):
    orders = env['sale.order'].create([{
        'partner_id': customer.id,
        'order_line': [(0, 0, {'product_id': product.id, 'price_unit': 1, 'tax_ids': False})],
    } for _ in range(number)])
    env.flush_all()
    return orders


def count(do):
    env.invalidate_all()
    queries, start = env.cr.sql_log_count, time.process_time()
    do()
    env.flush_all()
    return {'seconds': time.process_time() - start, 'queries': env.cr.sql_log_count - queries}


def confirm(number):
    customer = env['res.partner'].create({'name': "Bench", 'credit_limit': 1e12})
    orders = make_orders(customer, number)
    result = count(orders.action_confirm)
    assert set(orders.mapped('state')) == {'sale'}
    return {key: value / number for key, value in result.items()}


def free(number):
    customer = env['res.partner'].create({'name': "Bench"})
    invoice = env['account.move'].create({
        'move_type': 'out_invoice', 'partner_id': customer.id, 'invoice_date': '2024-01-01',
        'invoice_line_ids': [(0, 0, {'name': "Bench", 'price_unit': 10000, 'tax_ids': False})],
    })
    invoice.action_post()
    customer.credit_limit = 5000
    orders = make_orders(customer, number)
    orders.action_request_release()
    assert set(orders.mapped('credit_state')) == {'hold'}
    wizard = env['account.payment.register'].with_context(
        active_model='account.move', active_ids=invoice.ids).create({})
    env.flush_all()
    result = count(wizard.action_create_payments)
    assert set(orders.mapped('credit_state')) == {'ok'}, orders.mapped('credit_state')
    return result


confirm(10)
best = {}
for _round in range(%(rounds)d):
    for number in (100, 1000):
        with env.cr.savepoint() as savepoint:
            found = confirm(number)
            savepoint.rollback()
        env.clear()
        if number not in best or found['seconds'] < best[number]['seconds']:
            best[number] = found
freed = {}
if ours:
    free(3)
    freed = {number: free(number) for number in (30, 300)}
print(%(mark)r + json.dumps({'confirm': best, 'free': freed}))
"""


def main(env, arguments):
    parser = argparse.ArgumentParser(prog="./dev bench credit")
    parser.add_argument("--documents", type=int, default=10000, help="open documents of the customer (10000)")
    parser.add_argument("--orders", type=int, default=30, help="how many orders are confirmed (30)")
    parser.add_argument(
        "--batch", action="store_true", help="instead: many orders in one call, and a payment that frees many")
    options = parser.parse_args(arguments)
    if options.batch:
        return batch(env, options)
    if options.documents < 10 or options.orders < 1:
        raise Failure("--documents begins at 10 and --orders at 1.")
    addons = peer_addons(env)
    with_peer = [f"--addons-path={','.join(map(str, [*env.addons_path, addons]))}"]
    results = {}
    with env.lock("bench"):
        for variant, modules, odoo in (
            ("Odoo alone", [], []),
            ("with account_dunning", [ADDON], []),
            (f"with {PEER}", [PEER], with_peer),
        ):
            script = SCRIPT % {"documents": options.documents, "rounds": options.orders, "mark": MARK}
            results[variant] = measure(env, modules, odoo, script)
            say(f"  {variant}: {json.dumps(results[variant])}")
    for key, name in (("seconds", "median"), ("best", "best")):  # on a busy machine the best tells more
        alone, ours, peer = (result[key] for result in results.values())
        say("")
        say(f"Confirming one order of a customer with {options.documents} open documents, {name} of {options.orders}:")
        for variant, result in results.items():
            added = (result[key] - alone) * 1000
            say(f"  {variant:<28} {result[key] * 1000:8.1f} ms  {result['queries']:5.0f} queries"
                + (f"  (+{added:.1f} ms)" if result[key] != alone else ""))
        if peer > alone:
            say(f"  It adds {(ours - alone) / (peer - alone):.2f} times what the peer adds.")


def batch(env, options):
    """Many orders in one call: CPU time and queries of each; then what a payment costs that frees many."""
    with env.lock("bench"):
        for variant, modules in (("Odoo alone", []), (f"with {ADDON}", [ADDON])):
            result = measure(env, modules, [], BATCH_SCRIPT % {"rounds": min(options.orders, 5), "mark": MARK})
            say("")
            say(f"Orders of one customer confirmed in one call, {variant} (CPU time, best of several):")
            per_order = result["confirm"]
            for number, each in per_order.items():
                milliseconds = each["seconds"] * 1000
                say(f"  {number:>5} orders: {milliseconds:.2f} ms and {each['queries']:.2f} queries an order")
            say(f"  {per_order['1000']['seconds'] / per_order['100']['seconds']:.2f} times the time an order")
            for number, payment in result["free"].items():
                say(f"  A payment that frees {number:>3} orders: {payment['queries']} queries, "
                    f"{payment['seconds'] * 1000:.0f} ms")


def measure(env, modules, odoo, script):
    """The figures of one variant, in a database of its own."""
    name = "bench_credit"
    source = database.base(env)
    with env.lock(f"database-{source}"):
        database.copy(env, source, name)
    if modules:
        database.install(env, name, modules, *odoo)
    try:
        output = database.run_script(env, name, script, *odoo)
    finally:
        database.drop(env, name)
    for line in output.splitlines():
        if MARK in line:
            return json.loads(line.split(MARK, 1)[1])
    raise Failure(f"Measuring failed:\n{output[-2000:]}")


def peer_addons(env):
    """The peer from PyPI, in a folder of its own that only its measurement uses."""
    folder = env.home / "peer_credit"
    addons = folder / "odoo" / "addons"
    if not (addons / PEER).is_dir():
        command = [
            env.python, "-m", "pip", "install", "--disable-pip-version-check", "--no-deps", "--target", folder,
            *PEER_PACKAGES,
        ]  # fmt: skip
        run_logged(
            "Fetching the peer", command, env.logs / "pip.log", "The peer cannot be fetched from the package index."
        )
    return addons
