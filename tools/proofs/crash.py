"""crash               kill -9 of workers and of PostgreSQL while 5,000 reminders go out (--notices N --kills N)

One worker prepares, four send, all as Odoo's scheduled actions do, to a real mail server and over a PostgreSQL server
of its own. They are killed at random moments. With `--errors` the mail server and the workers fail besides, before the
server has taken a mail, after it, and while nobody can know. Afterwards an accountant looks up what is in doubt in the
mail server's log, and the database is compared with what the mail server has taken.

With `--prefork` nobody is killed: the reminders go out from Odoo's own server with two workers and two for scheduled
actions, under Odoo's default limits; nothing may be killed by these, be in doubt, or stand in the log as an error.
"""
import argparse
import asyncio
import contextlib
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
from ..environment.smtp_sink import SmtpSink
from ..environment.ui import Failure, Step, run_logged, say
from . import bench, bench_data, prefork
from .outcome import Outcome

INVOICES = 4  # open invoices of each customer; about two in three are overdue
PATIENCE = 1200  # seconds without any progress


class SlowSink(SmtpSink):
    """Takes each mail at once and answers a little later, so that kills fall in between.

    `errors` is the share of mails that go wrong: refused for the moment, refused for good, or the connection breaks
    off, before or after the mail was taken.
    """

    errors = 0.0

    async def handle_DATA(self, server, session, envelope):
        fault = random.choice(("later", "never", "lost", "unanswered")) if random.random() < self.errors else None
        if fault in ("later", "never"):
            return "451 4.3.0 come back later" if fault == "later" else "554 5.6.0 not like this"
        if fault != "lost":
            answer = await super().handle_DATA(server, session, envelope)
        if fault:
            server.transport.close()
            return None
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
    parser.add_argument("--errors", type=float, default=0, help="percent of the mails that go wrong besides (0)")
    parser.add_argument("--prefork", action="store_true", help="no kills: Odoo's own server with its default limits")
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
            with tempfile.TemporaryDirectory(dir=env.out) as folder, SlowSink(folder) as sink:
                drama = prefork.Prefork if options.prefork else Crash
                outcome = drama(env, server, name, sink, options).run()
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
        self.flag = env.out / "crash-errors"  # while it exists, workers fail

    def run(self):
        start = time.monotonic()
        command = [
            sys.executable, "-m", "tools.proofs.crash_worker", self.name, str(self.options.letters),
            *self.sink.odoo_options,
        ]  # fmt: skip
        variables = {**os.environ, "PYTHONPATH": f"{self.env.odoo_path}{os.pathsep}{ROOT}"}
        self.flag.unlink(missing_ok=True)
        if self.options.errors:
            self.sink.errors = self.options.errors / 100
            self.flag.write_text(str(self.options.errors / 100))
            variables["CRASH_ERRORS"] = str(self.flag)
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
        return CrashOutcome(self, time.monotonic() - start)

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
                if self.options.errors:
                    self.try_again()
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
        self.flag.unlink(missing_ok=True)
        self.sink.errors = 0.0
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

    def try_again(self):
        """What failed is due again at once: the storm does not last for the hours until the next attempt."""
        import psycopg2

        with contextlib.suppress(psycopg2.Error, Failure), database.cursor(self.name) as cr:
            cr.execute(
                "UPDATE account_dunning_notice SET next_attempt = now() AT TIME ZONE 'UTC', attempts = 1"
                " WHERE state = 'failed' AND next_attempt > now() AT TIME ZONE 'UTC'"
            )

    def state(self):
        """Number of notices by state."""
        import psycopg2

        try:
            with database.cursor(self.name) as cr:
                cr.execute("SELECT state, COUNT(*) FROM account_dunning_notice GROUP BY state ORDER BY state")
                return dict(cr.fetchall())
        except (psycopg2.Error, Failure):
            return {}


class CrashOutcome(Outcome):
    """What became of it all, and of the workers."""

    def __init__(self, crash, seconds):
        super().__init__(crash.name, crash.sink)
        self.crash, self.seconds = crash, seconds
        log_text = Path(crash.log).read_text(errors="replace")
        self.troubles = log_text.count("TROUBLE ")
        self.injected = Counter(re.findall(r"INJECTED (\w+)", log_text))

    def lines(self):
        crash = self.crash
        doubtful = crash.doubtful
        injected = ", ".join(f"{count} {kind}" for kind, count in sorted(self.injected.items()))
        return [
            f"{bench.machine()} Seed {crash.options.seed}, {self.seconds:.0f} s, letters for {crash.options.letters} % "
            "of the notices.",
            "",
            f"- Workers killed: {sum(crash.kills.values())} ({crash.kills['run']} preparing, {crash.kills['send']} "
            f"sending, {crash.options.workers} at a time); PostgreSQL stopped hard: {crash.restarts} times.",
            *([
                f"- {crash.options.errors:g} % of the mails were refused or broken off by the mail server; as many "
                f"turns failed in the worker besides: {injected or 'none'} the server's answer."
            ] if crash.options.errors else []),
            *self.balance_lines(),
            f"- In doubt, left to a person: {sum(doubtful.values())}; looked up by Message-ID, {doubtful['confirmed']} "
            f"had gone out and were confirmed, {doubtful['again']} had not and were sent again. Failed otherwise and "
            f"sent again: {crash.failed}.",
            f"- Turns of workers that ended with an error, while the database was away: {self.troubles}.",
            "",
            "**Something is wrong.**" if self.is_bad() else "**Nothing lost, nothing doubled.**",
        ]
