"""Days that pass: Odoo in this process with a clock that is set, and the dunning's scheduled actions of each day."""

import contextlib
import datetime
import logging
import subprocess
import sys
import time

from ..environment.server import HOST, free_port, is_free
from ..environment.ui import Failure

ACTIONS = ("ir_cron_dunning_run", "ir_cron_dunning_send")
SINK = """
import sys
from tools.environment.smtp_sink import SmtpSink
with SmtpSink(sys.argv[1], int(sys.argv[2])):
    sys.stdin.read()
"""
HOUR = datetime.time(6, 0)  # of the scheduled actions, UTC


class MailServer:
    """The SMTP sink as a process of its own: it must not live by the clock that is set here; a context manager.

    :param folder: where the mails go
    """

    def __init__(self, env, folder):
        self.env, self.folder, self.port = env, folder, free_port()

    def __enter__(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [str(self.env.python), "-c", SINK, str(self.folder), str(self.port)]
        # It ends when the pipe does, however we end.
        self._process = subprocess.Popen(command, cwd=self.env.root, stdin=subprocess.PIPE, start_new_session=True)
        limit = time.monotonic() + 60
        while is_free(self.port):
            if self._process.poll() is not None or time.monotonic() > limit:
                self.__exit__()
                raise Failure(f"The SMTP sink does not start on port {self.port}: try again.")
            time.sleep(0.1)
        return self

    def __exit__(self, *error):
        self._process.stdin.close()
        self._process.wait()

    @property
    def odoo_options(self):
        return [f"--smtp={HOST}", f"--smtp-port={self.port}"]


class Calendar:
    """Odoo's environment of the superuser, in which the day is what it is told to be.

    :param odoo: Odoo's environment, whose cursor is committed here
    """

    def __init__(self, odoo):
        self.odoo = odoo
        self._clock = None

    def go_to(self, day):
        """Let it be the morning of that day."""
        self._clock.move_to(datetime.datetime.combine(day, HOUR))

    def run_actions(self):
        """Run the scheduled actions, as Odoo's scheduler does: in transactions of their own.

        :raises Failure: one of them ended with an error
        """
        self.odoo.cr.commit()
        for name in ACTIONS:
            action = self.odoo.ref(f"account_dunning.{name}")
            if (answer := action.method_direct_trigger()) is not True:
                raise Failure(f"The scheduled action “{action.name}” failed: {describe(answer)}")
            self.odoo.cr.commit()
        self.odoo.invalidate_all()


def describe(answer):
    try:
        return answer["params"]["data"]["debug"].strip()[-2000:]
    except (KeyError, TypeError):
        return answer


@contextlib.contextmanager
def calendar(odoo, day=None):
    """A Calendar that begins on that day; without one the real time goes on."""
    result = Calendar(odoo)
    if day is None:
        yield result
        return
    from freezegun import freeze_time

    # Answers of servers and child processes are waited for in real time, and a connection to the database is not idle
    # since yesterday only because a day has been left out: a new one each day would know none of the tables.
    ignored = ["subprocess", "smtplib", "socket", "odoo.sql_db"]
    with freeze_time(datetime.datetime.combine(day, HOUR), ignore=ignored) as clock:
        result._clock = clock
        yield result


def keep_quiet(log):
    """Send Odoo's own log of this process to a file: its warnings would drown what is told here.

    :param log: path of the file
    """
    root = logging.getLogger()
    for handler in list(root.handlers):
        root.removeHandler(handler)
    handler = logging.FileHandler(log, "w")
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.captureWarnings(True)
    sys.stdout.reconfigure(line_buffering=True)
