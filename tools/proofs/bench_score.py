"""What payer scores cost: `./dev bench score [--customers N --invoices M]`.

A database with that many customers and paid invoices of the last two years, made in SQL; one customer of a hundred has
old invoices that are still open. Measured: all of it made anew from the ledger, a night in which one customer of a
hundred was touched, one customer, the expected payments of all open invoices, and the results by month.
"""
import argparse
import json

from ..environment import database
from ..environment.env import ADDON
from ..environment.ui import Step, say
from . import bench_data

MARK = "RESULT "
PAID_SHARE = 97  # percent of the invoices

# One credit item for each customer, with which their invoices are matched.
PAY = """
SET session_replication_role = replica;
UPDATE account_move_line line
   SET date_maturity = line.date_maturity - chance, date = line.date - chance
  FROM (SELECT id, (hashint4(id) & 2147483647) %% 540 AS chance
          FROM account_move_line WHERE account_id IN (
                SELECT id FROM account_account WHERE account_type = 'asset_receivable')) drawn
 WHERE drawn.id = line.id AND (hashint4(line.id + 7) & 2147483647) %% 100 < %(share)s;
UPDATE account_move move
   SET date = line.date, invoice_date = line.date, invoice_date_due = line.date_maturity
  FROM account_move_line line
 WHERE line.move_id = move.id AND line.date_maturity IS NOT NULL AND move.invoice_date != line.date;
CREATE TEMP TABLE payment AS
SELECT partner_id, (SELECT MAX(id) FROM account_move_line) + ROW_NUMBER() OVER (ORDER BY partner_id) AS id
  FROM account_move_line WHERE partner_id IS NOT NULL GROUP BY partner_id;
"""
MATCH = """
INSERT INTO account_partial_reconcile (debit_move_id, credit_move_id, company_id, amount, debit_amount_currency,
            credit_amount_currency, debit_currency_id, credit_currency_id, max_date)
SELECT line.id, payment.id, line.company_id, line.balance, line.balance, line.balance, line.currency_id,
       line.currency_id,
       LEAST(line.date_maturity + (hashint4(line.partner_id) & 2147483647) %% 12
             + (hashint4(line.id) & 2147483647) %% 9 - 6, CURRENT_DATE - 1)
  FROM account_move_line line
  JOIN payment ON payment.partner_id = line.partner_id
  JOIN account_account account ON account.id = line.account_id AND account.account_type = 'asset_receivable'
 WHERE line.balance > 0 AND line.date_maturity < CURRENT_DATE - 20
   AND ((hashint4(line.id + 7) & 2147483647) %% 100 < %(share)s OR line.partner_id %% 100 != 1);
UPDATE account_move_line line
   SET reconciled = TRUE, amount_residual = 0, amount_residual_currency = 0
  FROM account_partial_reconcile part
 WHERE part.debit_move_id = line.id;
UPDATE account_move move
   SET payment_state = 'paid', amount_residual = 0
  FROM account_move_line line
 WHERE line.move_id = move.id AND line.reconciled;
VACUUM (ANALYZE) account_move_line, account_move, account_partial_reconcile;
"""

MEASURE = """
import json, time, resource, os

def measure(name, run):
    before = env.cr.sql_log_count
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    env.cr.commit()
    results[name] = [round(time.perf_counter() - wall, 3), env.cr.sql_log_count - before]

results = {}
company = env.ref('base.main_company')
today = company._get_dunning_today()
Score = env['account.payer.score'].with_company(company)
memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
env['account.dunning.followup']._bring_up_to_date(company)
env.cr.commit()
measure('rebuild', lambda: Score._update_company(company, today))
env.cr.execute("ANALYZE account_payer_settlement, account_payer_score")
env.cr.commit()
measure('rebuild_again', lambda: (
    setattr(env['account.payer.curve']._get(company), 'date_rebuilt', False), Score._update_company(company, today)))
env.cr.execute(
    "INSERT INTO account_payer_change (company_id, partner_id)"
    " SELECT DISTINCT company_id, partner_id FROM account_payer_score WHERE partner_id %% 100 = 2")
env.cr.commit()
measure('night', lambda: Score._update_company(company, today))
payer = Score.search([('score', '>', 0)], limit=1)
measure('one', lambda: (payer.action_update(), payer.reasons))
measure('read', lambda: (payer.invalidate_recordset(), payer.reasons))
measure('forecast', lambda: env['account.payment.forecast']._forecast(company, today, 13))
measure('months', lambda: env['account.dunning.result'].search([]).mapped('dso'))
results['memory_mb'] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) // 1024
for table in ('account_payer_settlement', 'account_payer_score'):
    env.cr.execute(f"SELECT COUNT(*), pg_total_relation_size('{table}') / 1048576 FROM {table}")
    results[table] = list(env.cr.fetchone())
env.cr.execute("SELECT COUNT(*) FROM account_payer_settlement WHERE date_settled IS NULL")
results['open'] = env.cr.fetchone()[0]
print('%(mark)s' + json.dumps(results, default=str))
"""


def main(env, arguments):
    parser = argparse.ArgumentParser(prog="./dev bench score")
    parser.add_argument("--customers", type=int, default=20000, help="how many customers (20,000)")
    parser.add_argument("--invoices", type=int, default=50, help="how many invoices each (50)")
    options = parser.parse_args(arguments)
    source = bench_data.make(env, options.customers, options.invoices)
    name = "bench_score"
    with env.lock(f"bench-{source}"):
        database.copy(env, source, name)
    with Step(f"Paying {PAID_SHARE} % of the invoices in {name}"):
        pay(name)
    database.install(env, name, [ADDON])
    with Step("Measuring"):
        output = database.run_script(env, name, MEASURE % {"mark": MARK})
    results = next(json.loads(line[len(MARK):]) for line in output.splitlines() if line.startswith(MARK))
    for key, value in results.items():
        say(f"  {key:<28} {value}")
    database.drop(env, name)


def pay(name):
    with database.cursor(name) as cr:
        cr.execute(PAY, {"share": PAID_SHARE})
        _partner, move, receivable, _day = bench_data.template(cr)
        bench_data.clone(
            cr, "account_move_line",
            {
                "partner_id": "s.partner_id", "balance": "-1", "debit": "0", "credit": "1", "amount_currency": "-1",
                "amount_residual": "0", "amount_residual_currency": "0", "reconciled": "TRUE",
                "date_maturity": "NULL", "move_id": "s.move", "journal_id": "s.journal",
            },
            "(SELECT id AS n, payment.*, %(bank_move)s AS move, %(bank)s AS journal FROM payment) s",
            {"template": receivable, **bank_move(cr, move)},
        )
        for statement in MATCH.split(";\n"):
            if statement.strip():
                cr.execute(statement, {"share": PAID_SHARE})


def bank_move(cr, move):
    """One posted entry in a bank journal, which stands for all payments."""
    cr.execute("SELECT id FROM account_journal WHERE type = 'bank' ORDER BY id LIMIT 1")
    journal = cr.fetchone()[0]
    bench_data.clone(
        cr, "account_move",
        {"move_type": "'entry'", "journal_id": str(journal), "name": "'BANK/1'", "sequence_prefix": "'BANK/'",
         "sequence_number": "1", "access_token": "NULL", "payment_reference": "NULL"},
        "(SELECT 1 AS n) s", {"template": move})
    cr.execute("SELECT MAX(id) FROM account_move")
    return {"bank_move": cr.fetchone()[0], "bank": journal}
