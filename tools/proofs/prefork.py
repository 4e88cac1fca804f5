"""`./dev crash --prefork`: 5,000 reminders from Odoo's own server with its default limits."""
import re
import time
from collections import Counter

from ..environment import database
from ..environment.server import Server, free_port
from ..environment.ui import Failure, Step, say
from . import bench
from .outcome import Outcome

# Odoo's own words for a worker that it has killed, and for what must not stand in the log of a quiet night
KILLED = re.compile(r"Worker\w* \(\d+\) timeout|Worker \(\d+\) .*(?:limit|reached)|CPU time limit exceeded|SIGKILL")
TROUBLE = re.compile(r" (ERROR|CRITICAL) \S+ (\S+): (.*)")
PATIENCE = 600  # seconds without any progress


class Prefork:
    """One night: the scheduled actions prepare and send, started by Odoo's own cron workers."""

    def __init__(self, env, server, name, sink, options):
        self.env, self.name, self.sink, self.options = env, name, sink, options

    def run(self):
        with database.cursor(self.name) as cr:
            # Due at once. The others of Odoo's scheduled actions do what they do in any night.
            cr.execute(
                "UPDATE ir_cron SET nextcall = now() AT TIME ZONE 'UTC' - interval '1 minute' WHERE id IN ("
                " SELECT res_id FROM ir_model_data WHERE module = 'account_dunning' AND name = 'ir_cron_dunning_run')"
            )
        options = ["--workers=2", *self.env.default_limits, f"--gevent-port={free_port()}", *self.sink.odoo_options]
        start = time.monotonic()
        with Server(self.env, self.name, options=options, cron_threads=2) as server:
            self.wait()
            seconds = time.monotonic() - start
        return PreforkOutcome(self, server.log.read_text(errors="replace"), seconds)

    def wait(self):
        last, moved, told = None, time.monotonic(), 0.0
        with Step("Odoo's cron workers prepare and send", every=3600):
            while True:
                time.sleep(2)
                with database.cursor(self.name) as cr:
                    cr.execute("SELECT state, COUNT(*) FROM account_dunning_notice GROUP BY state ORDER BY state")
                    state = dict(cr.fetchall())
                if state != last:
                    last, moved = state, time.monotonic()
                elif state.get("sent") and not state.get("queued") and not state.get("draft"):
                    if time.monotonic() - moved > 10:
                        return
                elif time.monotonic() - moved > PATIENCE:
                    raise Failure(f"Nothing moves any more: {state}.")
                if time.monotonic() - told > 30:
                    told = time.monotonic()
                    say(f"  … {state}")


class PreforkOutcome(Outcome):
    """What the mail server and the server's log say."""

    def __init__(self, drama, log, seconds):
        super().__init__(drama.name, drama.sink)
        self.seconds, self.options = seconds, drama.options
        self.killed = len(KILLED.findall(log))
        self.troubles = Counter(f"{level} {logger}: {text[:120]}" for level, logger, text in TROUBLE.findall(log))

    def is_bad(self):
        return bool(super().is_bad() or self.killed or self.troubles)

    def lines(self):
        return [
            f"{bench.machine()} Odoo's server with --workers=2 --max-cron-threads=2 and its default limits, "
            f"{self.seconds:.0f} s, a letter as PDF with each mail.",
            "",
            *self.balance_lines(),
            f"- Workers killed by Odoo: {self.killed}; errors in the log: {sum(self.troubles.values())}.",
            *(f"  - {count} × {text}" for text, count in self.troubles.most_common(10)),
            "",
            "**Something is wrong.**" if self.is_bad() else "**Nobody killed, nothing in doubt, nothing in the log.**",
        ]
