"""crash               kill -9 of workers and of PostgreSQL while 5,000 reminders go out (--notices N --kills N)

One worker prepares, four send, all as Odoo's scheduled actions do, to a real mail server and over a PostgreSQL server
of its own. They are killed at random moments. Afterwards an accountant looks up what is in doubt in the mail server's
log, and the database is compared with what the mail server has taken.
"""
import argparse
import asyncio
import email
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from datetime import datetime, timezone
from pathlib import Path

from ..environment import database, postgres
from ..environment.env import ADDON, ROOT
from ..environment.server import Server
from ..environment.smtp_sink import SmtpSink
from ..environment.ui import Failure, Step, run_logged, say
from . import bench, bench_data

INVOICES = 4  # open invoices of each customer; about two in three are overdue
PATIENCE = 1200  # seconds without any progress


class SlowSink(SmtpSink):
    """Takes each mail at once and answers a little later, so that kills fall in between."""

    async def handle_DATA(self, server, session, envelope):
        answer = await super().handle_DATA(server, session, envelope)
        await asyncio.sleep(random.uniform(0, 0.03))
        return answer

    def message_ids(self):
        """The log of the mail server: recipients by Message-ID."""
        log = {}
        for path in self.mails:
            with open(path, "rb") as file:
                headers = email.message_from_binary_file(file)
            recipient = re.fullmatch(r"\d+_(.+)\.eml", path.name)[1]
            log.setdefault(headers["Message-Id"].strip(), []).append(recipient)
        return log


def main(env, arguments):
    parser = argparse.ArgumentParser(prog="./dev crash")
    parser.add_argument("--notices", type=int, default=5000, help="about how many reminders (5000)")
    parser.add_argument("--kills", type=int, default=60, help="how many workers are killed (60)")
    parser.add_argument("--workers", type=int, default=4, help="how many send (4), besides one that prepares")
    parser.add_argument("--letters", type=int, default=10, help="percent of them with a letter as PDF (10)")
    parser.add_argument("--seed", type=int, help="repeat the same random moments")
    parser.add_argument("--write", action="store_true", help="add the counts to bench/RESULTS.md")
    options = parser.parse_args(arguments)
    options.seed = options.seed or random.randrange(10**6)
    random.seed(options.seed)
    with env.lock("crash"):
        dump = dump_base(env)
        server = postgres.Postgres(env, "crash")
        server.stop()
        server.start()
        os.environ.update(server.variables())
        restore_base(env, dump)
        try:
            name = make_database(env, options)
            # From here on it waits for the disk, as a careful production server does.
            server.stop()
            server = postgres.Postgres(env, "crash", postgres.SAFE).start()
            # Letters take their styles from a running Odoo.
            with tempfile.TemporaryDirectory(dir=env.out) as folder, SlowSink(folder) as sink, Server(env, name):
                outcome = Crash(env, server, name, sink, options).run()
            lines = outcome.lines()  # they ask the server what it is
            database.drop(env, name)
        finally:
            server.stop()
    say("\n" + "\n".join(lines))
    if options.write:
        with open(bench.RESULTS, "a") as file:
            file.write(f"\n## Crash, {datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC\n\n" + "\n".join(lines) + "\n")
    return int(outcome.is_bad())


def dump_base(env):
    """The base of the usual server, as a file: quicker than installing Odoo once more."""
    name = database.base(env)
    path = env.out / f"{name}.dump"
    if not path.exists():
        draft = path.with_suffix(".draft")
        command = ["pg_dump", "-Fc", "-Z1", "-f", draft, name]
        run_logged("Saving the base", command, env.logs / "postgres.log", "The base cannot be saved.")
        draft.rename(path)
    return path


def restore_base(env, dump):
    name = dump.stem
    if not database.exists(name):
        database.drop(env, f"{name}_draft")
        database.copy_empty(f"{name}_draft")
        command = ["pg_restore", "--no-owner", "-d", f"{name}_draft", dump]
        run_logged("Restoring the base", command, env.logs / "postgres.log", "The base cannot be restored.")
        database.rename(env, f"{name}_draft", name)


def make_database(env, options):
    source = bench_data.make(env, int(options.notices * 1.015), INVOICES)
    name = "crash"
    database.copy(env, source, name)
    database.install(env, name, [ADDON])
    bench.probe(env, "set_up", name, min_wait_days=7)
    return name


class Crash:
    """The drama, and what is left after it."""

    def __init__(self, env, server, name, sink, options):
        self.env, self.server, self.name, self.sink, self.options = env, server, name, sink, options
        self.log = env.logs / "crash-workers.log"
        self.workers = {}  # task by process id
        self.kills = Counter()
        self.restarts = 0
        self.doubtful = Counter()
        self.failed = 0

    def run(self):
        start = time.monotonic()
        command = [
            sys.executable, "-m", "tools.proofs.crash_worker", self.name, str(self.options.letters),
            *self.sink.odoo_options,
        ]  # fmt: skip
        variables = {**os.environ, "PYTHONPATH": f"{self.env.odoo_path}{os.pathsep}{ROOT}"}
        with open(self.log, "w") as errors:
            self.nursery = subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True,
                env=variables,
            )  # fmt: skip
            try:
                if self.nursery.stdout.readline().strip() != "ready":
                    raise Failure(f"The workers do not start: {self.log} says why.")
                self.storm()
                self.settle()
            finally:
                for pid in list(self.workers):
                    self.kill(pid, count=False)
                self.nursery.stdin.close()
                self.nursery.wait()
        return Outcome(self, time.monotonic() - start)

    # === WORKERS === #

    def start(self, task):
        self.nursery.stdin.write(task + "\n")
        self.nursery.stdin.flush()
        self.workers[int(self.nursery.stdout.readline())] = task

    def kill(self, pid, count=True):
        task = self.workers.pop(pid)
        os.kill(pid, signal.SIGKILL)
        if count:
            self.kills[task] += 1
        return task

    # === STORM === #

    def storm(self):
        """Kill and replace workers until there were enough of it and nothing is left to send."""
        self.start("run")
        for _worker in range(self.options.workers):
            self.start("send")
        with Step(f"Killing workers ({self.options.kills} times, seed {self.options.seed})", every=3600):
            last, killed_at = None, 0
            moved = told = killed_on = time.monotonic()
            while True:
                time.sleep(random.uniform(0.3, 2.5))
                state = self.state()
                if state != last:
                    last, moved = state, time.monotonic()
                elif time.monotonic() - moved > PATIENCE:
                    raise Failure(f"Nothing moves any more: {state}; see {self.log}.")
                if time.monotonic() - told > 15:
                    told = time.monotonic()
                    say(f"  … {sum(self.kills.values())} kills, {state}")
                prepared = state.get("sent", 0) + state.get("queued", 0) > 0
                enough = sum(self.kills.values()) >= self.options.kills
                if enough and prepared and not state.get("queued") and not state.get("draft"):
                    break
                # Once sending has begun, kills are spread over all of it: whoever dies has had time to do something.
                sent = state.get("sent", 0) + state.get("failed", 0)
                step = self.options.notices / self.options.kills / 1.5
                busy = bool(state.get("queued"))
                due = not prepared or not busy or sent - killed_at >= step or time.monotonic() - killed_on > 20
                if not enough and due:
                    killed_at, killed_on = sent, time.monotonic()
                    # While proposals are written, whoever writes them, and more often then; later anybody.
                    if prepared or self.kills["run"] < self.options.kills / 4:
                        victims = [pid for pid, task in self.workers.items() if prepared or task == "run"]
                        self.start(self.kill(random.choice(victims)))
                self.maybe_crash_server(state)

    def maybe_crash_server(self, state):
        """Once while proposals are written, twice while they go out."""
        share = state.get("sent", 0) / self.options.notices
        if (self.restarts, True) in (
            (0, bool(state.get("draft"))), (1, share > 0.25), (2, share > 0.6), (0, share > 0.1),
        ):  # fmt: skip
            self.restarts += 1
            say(f"  … PostgreSQL is stopped hard ({state})")
            self.server.stop("immediate")
            time.sleep(1)
            self.server.start()

    def settle(self):
        """Nobody is killed any more. What is in doubt is looked up, as an accountant does; the rest goes out."""
        with Step("Looking up what is in doubt, sending the rest"):
            for _round in range(5):
                while self.state().get("queued"):
                    time.sleep(0.5)
                result = self.resolve()
                self.doubtful.update(result["doubtful"])
                self.failed += result["failed"]
                if not any(result["doubtful"].values()) and not result["failed"]:
                    return
            raise Failure(f"Notices fail again and again: see {self.log}.")

    def resolve(self):
        file = self.env.out / "crash-mails.json"
        file.write_text(json.dumps(list(self.sink.message_ids())))
        return bench.probe(self.env, "resolve_doubts", self.name, mails=str(file), odoo=self.sink.odoo_options)

    def state(self):
        """Number of notices by state."""
        import psycopg2

        try:
            with database.cursor(self.name) as cr:
                cr.execute("SELECT state, COUNT(*) FROM account_dunning_notice GROUP BY state ORDER BY state")
                return dict(cr.fetchall())
        except (psycopg2.Error, Failure):
            return {}


class Outcome:
    """What the database says, beside what the mail server has taken."""

    def __init__(self, crash, seconds):
        self.crash, self.seconds = crash, seconds
        log = crash.sink.message_ids()
        recipients = Counter(recipient for found in log.values() for recipient in found)
        with database.cursor(crash.name) as cr:
            _partner, _move, _line, day = bench_data.template(cr)

            def ask(query, *values):
                cr.execute(query, values)
                return cr.fetchall()

            [[self.due]] = ask(
                """
                SELECT COUNT(*) FROM account_move_line aml JOIN account_account account ON account.id = aml.account_id
                 WHERE account.account_type = 'asset_receivable' AND aml.parent_state = 'posted'
                   AND aml.no_followup IS NOT TRUE AND aml.date_maturity <= %s
                """, day)  # fmt: skip
            # Lines by number of sent notices that moved them
            self.times = dict(ask(
                """
                SELECT times, COUNT(*)
                  FROM (
                        SELECT aml.id, COUNT(notice.id) AS times
                          FROM account_move_line aml
                          JOIN account_account account ON account.id = aml.account_id
                     LEFT JOIN account_dunning_notice_line line ON line.move_line_id = aml.id AND line.advances
                     LEFT JOIN account_dunning_notice notice ON notice.id = line.notice_id AND notice.state = 'sent'
                         WHERE account.account_type = 'asset_receivable' AND aml.parent_state = 'posted'
                           AND aml.no_followup IS NOT TRUE AND aml.date_maturity <= %s
                      GROUP BY aml.id
                       ) counted
              GROUP BY times
                """, day))  # fmt: skip
            self.states = dict(ask("SELECT state, COUNT(*) FROM account_dunning_notice GROUP BY state"))
            [[self.several]] = ask(
                """
                SELECT COUNT(*) FROM (
                    SELECT partner_id FROM account_dunning_notice WHERE state != 'cancelled'
                  GROUP BY partner_id HAVING COUNT(*) > 1
                ) twice
                """)  # fmt: skip
            sent = dict(ask("SELECT message_id, email_to FROM account_dunning_notice WHERE state = 'sent'"))
            [[self.level_without_notice]] = ask(
                """
                SELECT COUNT(*) FROM account_move_line aml
                 WHERE aml.dunning_level_id IS NOT NULL
                   AND NOT EXISTS (
                        SELECT FROM account_dunning_notice_line line
                          JOIN account_dunning_notice notice ON notice.id = line.notice_id
                         WHERE line.move_line_id = aml.id AND line.advances AND notice.state = 'sent'
                           AND line.level_id = aml.dunning_level_id
                   )
                """)  # fmt: skip
            [[self.notice_without_level]] = ask(
                """
                SELECT COUNT(*) FROM account_dunning_notice_line line
                  JOIN account_dunning_notice notice ON notice.id = line.notice_id
                  JOIN account_move_line aml ON aml.id = line.move_line_id
                 WHERE line.advances AND notice.state = 'sent' AND aml.dunning_level_id IS DISTINCT FROM line.level_id
                """)  # fmt: skip
        self.mails = sum(recipients.values())
        self.doubled = sum(count - 1 for count in recipients.values())
        self.undelivered = len(set(sent) - set(log))
        self.unnoticed = len(set(log) - set(sent))
        log_text = Path(crash.log).read_text(errors="replace")
        self.troubles = log_text.count("TROUBLE ")

    def is_bad(self):
        return bool(
            self.several or self.doubled or self.undelivered or self.unnoticed or self.level_without_notice
            or self.notice_without_level or set(self.times) - {1} or set(self.states) - {"sent", "cancelled"}
        )  # fmt: skip

    def lines(self):
        crash = self.crash
        doubtful = crash.doubtful
        return [
            f"{bench.machine()} Seed {crash.options.seed}, {self.seconds:.0f} s, letters for {crash.options.letters} % "
            "of the notices.",
            "",
            f"- Workers killed: {sum(crash.kills.values())} ({crash.kills['run']} preparing, {crash.kills['send']} "
            f"sending, {crash.options.workers} at a time); PostgreSQL stopped hard: {crash.restarts} times.",
            f"- Due lines: {self.due:,}; reminded of by exactly one sent notice: {self.times.get(1, 0):,}; by none: "
            f"{self.times.get(0, 0)}; by more: {sum(count for times, count in self.times.items() if times > 1)}.",
            f"- Notices: {self.states}; customers with more than one: {self.several}.",
            f"- Mails taken by the mail server: {self.mails:,}; second mails to a customer: {self.doubled}.",
            f"- Sent, but not with the mail server (lost): {self.undelivered}; with the mail server, but not sent: "
            f"{self.unnoticed}.",
            f"- Lines with a level but no sent notice: {self.level_without_notice}; lines of sent notices without "
            f"their level: {self.notice_without_level}.",
            f"- In doubt, left to a person: {sum(doubtful.values())}; looked up by Message-ID, {doubtful['confirmed']} "
            f"had gone out and were confirmed, {doubtful['again']} had not and were sent again. Failed otherwise and "
            f"sent again: {crash.failed}.",
            f"- Turns of workers that ended with an error, while the database was away: {self.troubles}.",
            "",
            "**Something is wrong.**" if self.is_bad() else "**Nothing lost, nothing doubled.**",
        ]
