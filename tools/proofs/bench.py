"""bench               speed beside a peer and bare SQL (--customers N --invoices M --write); also credit | send | score

The same data three times on this machine, one after the other: this addon, PyPI's odoo-addon-account-credit-control
(the peer) and the same rows written by a bare INSERT … SELECT in psql (the limit).
"""
import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timezone
from pathlib import Path

from ..environment import database
from ..environment.env import ADDON, ROOT
from ..environment.server import Server
from ..environment.smtp_sink import SmtpSink
from ..environment.ui import Failure, Step, run_logged, say
from . import bench_data, bench_probe

PEER = "account_credit_control"
PEER_PACKAGE = "odoo-addon-account-credit-control==19.0.*"
PARTS = ("install", "prepare", "followup", "send", "letters", "peer")
RESULTS = ROOT / "bench" / "RESULTS.md"

# What the engine selects here and what the run writes: the same columns of the same tables with their indexes.
LIMIT_SQL = """
WITH line AS (
    SELECT id, move_id, partner_id, currency_id, date_maturity, amount_residual, amount_residual_currency,
           amount_currency, %(day)s::date - date_maturity AS days
      FROM account_move_line
     WHERE account_id IN %(accounts)s
       AND reconciled IS NOT TRUE
       AND parent_state = 'posted'
       AND company_id = 1
       AND no_followup IS NOT TRUE
       AND amount_residual > 0
),
notice AS (
    INSERT INTO account_dunning_notice (
                name, run_id, company_id, partner_id, contact_id, procedure_id, level_id, date, state, amount_due,
                create_uid, create_date, write_uid, write_date)
         SELECT '/', %(run)s, 1, partner_id, partner_id, %(procedure)s, %(level)s, %(day)s, 'draft',
                SUM(amount_residual) FILTER (WHERE days > 0), 1, NOW(), 1, NOW()
           FROM line
       GROUP BY partner_id
         HAVING BOOL_OR(days >= 0)
      RETURNING id, partner_id
)
INSERT INTO account_dunning_notice_line (
            notice_id, move_line_id, move_id, move_name, invoice_date, level_id, advances, live, is_coming_due,
            date_maturity, days_overdue, currency_id, amount_total, amount_residual, amount_set_off, amount_blocked,
            amount_due, amount_due_company)
     SELECT notice.id, line.id, line.move_id, move.name, move.invoice_date,
            CASE WHEN days >= 0 THEN %(level)s END, days >= 0, days >= 0, days < 0,
            line.date_maturity, days, line.currency_id, line.amount_currency, line.amount_residual_currency, 0, 0,
            CASE WHEN days >= 0 THEN line.amount_residual_currency ELSE 0 END,
            CASE WHEN days >= 0 THEN line.amount_residual ELSE 0 END
       FROM line
       JOIN notice ON notice.partner_id = line.partner_id
       JOIN account_move move ON move.id = line.move_id;
"""


def main(env, arguments):
    if arguments[:1] == ["credit"]:
        try:
            from . import bench_credit
        except ImportError as error:
            raise Failure("there is no ./dev bench credit in this checkout.") from error
        return bench_credit.main(env, arguments[1:])
    if arguments[:1] == ["send"]:
        from . import bench_send

        return bench_send.main(env, arguments[1:])
    if arguments[:1] == ["score"]:
        from . import bench_score

        return bench_score.main(env, arguments[1:])
    parser = argparse.ArgumentParser(prog="./dev bench")
    parser.add_argument("--customers", type=int, default=2000, help="how many customers (2000)")
    parser.add_argument("--invoices", type=int, default=10, help="open invoices of each (10)")
    parser.add_argument("--mails", type=int, default=200, help="how many reminders are sent and letters made (200)")
    parser.add_argument("--peer-customers", type=int, help="customers of the peer's own database (2000 at most)")
    parser.add_argument("--parts", default=",".join(PARTS), help=f"what is measured ({','.join(PARTS)})")
    parser.add_argument("--write", action="store_true", help="add the figures to bench/RESULTS.md")
    parser.add_argument("--drop", action="store_true", help="remove the databases with the invoices afterwards")
    options = parser.parse_args(arguments)
    options.parts = options.parts.split(",")
    if unknown := set(options.parts) - set(PARTS):
        raise Failure(f"--parts: there is no {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}.")
    if options.customers < 1 or options.invoices < 1:
        raise Failure("--customers and --invoices begin at 1.")
    report = Report(options)
    with env.lock("bench"):
        name = bench_data.make(env, options.customers, options.invoices)
        measure_ours(env, name, options, report)
        if "peer" in options.parts:
            customers = options.peer_customers or min(options.customers, 2000)
            peer_name = bench_data.make(env, customers, options.invoices)
            measure_peer(env, peer_name, options, report)
            if options.drop and peer_name != name:
                database.drop(env, peer_name)
        if options.drop:
            database.drop(env, name)
    report.print()
    if options.write:
        report.write()


class Report:
    """Figures by part, and the tables that they make."""

    def __init__(self, options):
        self.options, self.figures = options, {}

    def add(self, part, result):
        self.figures[part] = result
        say(f"  {part}: {json.dumps(result)}")

    def text(self):
        figures, rows = self.figures, []
        data, limit, peer = figures.get("data", {}), figures.get("limit"), figures.get("peer_prepare")
        peer_rate = rate(peer and peer["lines"], peer)
        head = ("", "open lines", "overdue", "notices", "seconds", "overdue lines/s", "peak memory", "queries",
                "times the peer's rate", "times the limit's time")  # fmt: skip
        for title, result in (("ours", figures.get("prepare")), ("bare SQL", limit), ("peer", peer)):
            if not result:
                continue
            lines = result.get("lines") or data.get("overdue")
            rows.append((
                title, number(result.get("open", data.get("open"))), number(lines), number(result.get("notices")),
                f"{result['seconds']:.2f}", number(rate(lines, result)), megabytes(result),
                number(result.get("queries")),
                f"{rate(lines, result) / peer_rate:.0f}" if peer_rate else "–",
                f"{result['seconds'] / limit['seconds']:.2f}" if limit and title == "ours" else "–",
            ))  # fmt: skip
        text = table(head, rows) if rows else ""
        rows = []
        ours, peer = figures.get("send"), figures.get("peer_send")
        for title, result in (("ours", ours), ("peer", peer)):
            if result:
                factor = rate(result["sent"], result) / rate(peer["sent"], peer) if peer and peer["sent"] else 0
                rows.append((
                    f"e-mails with letter, {title}", number(result["sent"]), f"{result['seconds']:.1f}",
                    f"{rate(result['sent'], result):.1f}", number(result["queries"]),
                    f"{factor:.1f} times the peer" if factor and title == "ours" else "",
                ))  # fmt: skip
        if ours:
            handing = ours["parts"].get("_hand_over") or 0
            rows.append((
                "of which handing over to the mail server", number(ours["sent"]), f"{handing:.1f}",
                f"{ours['sent'] / handing:.1f}" if handing else "–", "",
                ", ".join(f"{part.strip('_')} {seconds} s" for part, seconds in ours["parts"].items()),
            ))  # fmt: skip
        if letters := figures.get("letters"):
            rows.append((
                f"letters ({letters['kind']})", number(letters["letters"]), f"{letters['seconds']:.1f}",
                f"{rate(letters['letters'], letters):.1f}", number(letters["queries"]), "",
            ))  # fmt: skip
        if rows:
            text += "\n" + table(("", "number", "seconds", "per second", "queries", ""), rows)
        if followup := figures.get("followup"):
            rows = [(title, *times) for title, times in followup["milliseconds"].items()]
            text += "\n" + table(("follow-up list (80 rows)", "ms, best", "ms, worst of 5", "rows counted"), rows)
        for part in ("install", "peer_install"):
            if result := figures.get(part):
                title = "ours" if part == "install" else "the peer"
                text += (
                    f"\nInstalling {title}: {result['seconds']:.0f} s with {number(result['open'])} open lines, "
                    f"{result['empty']:.0f} s on an empty database.\n"
                )
        return text

    def heading(self):
        size = f"{self.options.customers:,} customers × {self.options.invoices} open invoices"
        return f"## {size}, {datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC\n\n{machine()}\n"

    def print(self):
        say(f"\n{self.heading()}\n{self.text()}")

    def write(self):
        RESULTS.parent.mkdir(exist_ok=True)
        with open(RESULTS, "a") as file:
            file.write(f"\n{self.heading()}\n{self.text()}")
        say(f"Added to {RESULTS.relative_to(ROOT)}.")


def rate(count, result):
    return count / result["seconds"] if count and result and result["seconds"] else 0


def number(value):
    return "–" if value is None else f"{round(value):,}"


def megabytes(result):
    if "memory" not in result:
        return "–"
    return f"{result['memory']} MB (+{result['memory'] - result['memory_before']})"


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines) + "\n"


def machine():
    """The machine in one line: processor, memory, programs; and how busy it is."""
    model = platform.processor() or platform.machine()
    memory = ""
    if (info := Path("/proc/cpuinfo")).exists():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        model = names[0].split(":", 1)[1].strip() if names else model
        total = Path("/proc/meminfo").read_text().splitlines()[0].split()[1]
        memory = f", {int(total) // 2**20} GB"
    with database.cursor() as cr:
        cr.execute("SHOW server_version")
        server = cr.fetchone()[0]
    return (
        f"{model}, {os.cpu_count()} cores{memory}; Python {platform.python_version()}, PostgreSQL {server}; "
        f"load of the machine when the figures were printed: {os.getloadavg()[0]:.1f}."
    )


# === MEASURING === #


def measure_ours(env, source, options, report):
    name = f"{source}_ours"
    report.figures["data"] = data = count_lines(source)
    say(f"  {data['open']:,} open lines, {data['overdue']:,} of them overdue")
    with Step(f"Copying {source}"):
        database.copy(env, source, name)
    seconds = timed_install(env, name, [ADDON])
    if "install" in options.parts:
        report.add("install", {"seconds": seconds, "open": data["open"], "empty": empty_install(env, [ADDON])})
    chosen = probe(env, "set_up", name)
    if "prepare" in options.parts or {"send", "letters"} & set(options.parts):
        report.add("limit", measure_limit(env, name, chosen))
        report.add("prepare", probe(env, "prepare", name))
        if report.figures["prepare"]["failure"]:
            raise Failure(report.figures["prepare"]["failure"])
        if report.figures["prepare"]["lines"] != report.figures["limit"]["lines"]:
            raise Failure("The run and the bare SQL have not written the same lines.")
    if "followup" in options.parts:
        report.add("followup", probe(env, "followup", name))
    if {"send", "letters"} & set(options.parts):
        measure_sending(env, name, options, report, ("letters", "send"), "")
    database.drop(env, name)


def measure_peer(env, source, options, report):
    name = f"{source}_peer"
    addons = peer_addons(env)
    odoo = [f"--addons-path={','.join(map(str, [*env.addons_path, addons]))}"]
    data = count_lines(source)
    database.copy(env, source, name)
    seconds = timed_install(env, name, [PEER], *odoo)
    if "install" in options.parts:
        empty = empty_install(env, [PEER], *odoo)
        report.add("peer_install", {"seconds": seconds, "open": data["open"], "empty": empty})
    probe(env, "peer_set_up", name, odoo=odoo)
    report.add("peer_prepare", {**probe(env, "peer_prepare", name, odoo=odoo), "open": data["open"]})
    if "send" in options.parts:
        measure_sending(env, name, options, report, ("send",), "peer_", odoo)
    database.drop(env, name)


def measure_sending(env, name, options, report, parts, prefix, odoo=()):
    """Mails to a real mail server; letters take their styles from a running Odoo."""
    with tempfile.TemporaryDirectory(dir=env.out) as folder, SmtpSink(folder) as sink:
        with Server(env, name, options=[*sink.odoo_options, *odoo]):
            for part in parts:
                if part in options.parts:
                    limit = options.mails if not prefix else min(options.mails, 100)
                    result = probe(env, f"{prefix}{part}", name, limit=limit, odoo=[*sink.odoo_options, *odoo])
                    if part == "send" and len(sink.mails) != result["sent"]:
                        raise Failure(f"{result['sent']} sent, but {len(sink.mails)} mails have arrived: {result}")
                    report.add(f"{prefix}{part}", result)


def measure_limit(env, name, chosen):
    """The same rows by one statement in psql, then removed again."""
    from psycopg2.extensions import adapt

    with database.cursor(name) as cr:
        _partner, _move, _line, day = bench_data.template(cr)
        cr.execute("SELECT id FROM account_account WHERE account_type = 'asset_receivable' AND non_trade IS NOT TRUE")
        accounts = [account for [account] in cr.fetchall()]
        insert = "INSERT INTO account_dunning_run (company_id, date, state) VALUES (1, %s, 'prepared') RETURNING id"
        cr.execute(insert, [day])
        run = cr.fetchone()[0]
        sql = LIMIT_SQL % {
            "day": adapt(day), "accounts": f"({', '.join(map(str, accounts))})", "run": run, **chosen,
        }  # fmt: skip
        cr.execute("CHECKPOINT")
        command = ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", name]
        start = time.perf_counter()
        done = subprocess.run(command, input=sql, text=True, capture_output=True)
        seconds = time.perf_counter() - start
        if done.returncode:
            raise Failure(f"The bare SQL failed: {done.stderr.strip()[:500]}")
        cr.execute("SELECT COUNT(*) FROM account_dunning_notice")
        notices = cr.fetchone()[0]
        cr.execute("SELECT COUNT(*), COUNT(*) FILTER (WHERE advances) FROM account_dunning_notice_line")
        rows, lines = cr.fetchone()
        cr.execute("DELETE FROM account_dunning_notice_line")
        cr.execute("DELETE FROM account_dunning_notice")
        cr.execute("DELETE FROM account_dunning_run")
        for table_name in ("account_dunning_notice_line", "account_dunning_notice"):
            cr.execute(f"VACUUM (FULL, ANALYZE) {table_name}")
        cr.execute("CHECKPOINT")
    return {"seconds": seconds, "notices": notices, "rows": rows, "lines": lines, "queries": 1}


def probe(env, task, name, **options):
    """Run a task of bench_probe in a process of its own."""
    command = [sys.executable, "-m", "tools.proofs.bench_probe", task, name, json.dumps(options)]
    log = env.logs / f"bench-{name}.log"
    with Step(f"{name}: {task.replace('_', ' ')}", log), open(log, "a") as errors:
        done = subprocess.run(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True,
            env={**os.environ, "PYTHONPATH": f"{env.odoo_path}{os.pathsep}{ROOT}"},
        )  # fmt: skip
    for line in done.stdout.splitlines():
        if line.startswith(bench_probe.MARK):
            return json.loads(line[len(bench_probe.MARK) :])
    raise Failure(f"Measuring “{task}” failed: {log} says why.")


def count_lines(name):
    with database.cursor(name) as cr:
        _partner, _move, _line, day = bench_data.template(cr)
        cr.execute(
            """
            SELECT COUNT(*), COUNT(*) FILTER (WHERE date_maturity < %s)
              FROM account_move_line line
              JOIN account_account account ON account.id = line.account_id
             WHERE account.account_type = 'asset_receivable'
               AND line.no_followup IS NOT TRUE
               AND line.reconciled IS NOT TRUE
            """,
            [day],
        )
        return dict(zip(("open", "overdue"), cr.fetchone(), strict=True))


def timed_install(env, name, modules, *extra):
    start = time.perf_counter()
    database.install(env, name, modules, *extra)
    return time.perf_counter() - start


def empty_install(env, modules, *extra):
    """Seconds that the same takes without data."""
    name = "bench_empty"
    source = database.base(env)
    with env.lock(f"database-{source}"):
        database.copy(env, source, name)
    seconds = timed_install(env, name, modules, *extra)
    database.drop(env, name)
    return seconds


def peer_addons(env):
    """The peer from PyPI, in a folder of its own that only its measurement uses."""
    folder = env.home / "peer"
    addons = folder / "odoo" / "addons"
    if not (addons / PEER).is_dir():
        pip = [env.python, "-m", "pip", "install", "--disable-pip-version-check"]
        command = [*pip, "--no-deps", "--target", folder, PEER_PACKAGE]
        sentence = "The peer cannot be fetched from the package index."
        run_logged("Fetching the peer", command, env.logs / "pip.log", sentence)
    return addons
