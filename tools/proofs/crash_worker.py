"""Workers for `./dev crash`: one process loads Odoo, then forks as many workers as it is asked for.

Started as `python -m tools.proofs.crash_worker DATABASE LETTERS [Odoo's options]`; each line on its input (`run` or
`send`) makes a worker that does the scheduled action over and over, and answers with its process id.
"""
import io
import os
import random
import signal
import sys
import time
import traceback

from ..environment.env import Env


def load(name, options):
    """Odoo, ready to fork: no connection stays open."""
    import odoo.sql_db
    import odoo.tools
    from odoo.modules.registry import Registry

    odoo.tools.config.parse_config(["-c", str(Env().config), "-d", name, "--log-level=warn", *options])
    registry = Registry(name)
    odoo.sql_db.close_all()
    return registry


def limit_letters(registry, percent):
    """Render the letters of only so many of the notices: a PDF takes longer than all the rest together."""
    report = registry["ir.actions.report"]
    render = report._pre_render_qweb_pdf

    def _pre_render_qweb_pdf(self, report_ref, res_ids=None, data=None):
        chosen = [record_id for record_id in res_ids if record_id % 100 < percent]
        documents, kind = render(self, report_ref, chosen, data) if chosen else ({}, "pdf")
        left_out = {record_id: {"stream": io.BytesIO(b"Left out")} for record_id in res_ids if record_id not in chosen}
        return {**documents, **left_out}, kind

    report._pre_render_qweb_pdf = _pre_render_qweb_pdf


def inject_errors(registry, flag):
    """Let handing over fail, as an exhausted time limit or a bug elsewhere does: before the mail server has the mail,
    or after it has answered that it does.

    :param str flag: a file with the share of the mails; without the file nothing fails any more
    """
    from odoo.addons.account_dunning.models.account_dunning_notice_handover import HandOver

    mail, notice = registry["mail.mail"], registry["account.dunning.notice"]
    prepare, look = mail._prepare_outgoing_list, notice._is_unchanged
    send, conclude = HandOver.send, notice._conclude

    def fail(moment):
        try:
            with open(flag) as file:
                share = float(file.read() or 0)
        except OSError:
            return
        if random.random() < share:
            print(f"INJECTED {moment}", file=sys.stderr, flush=True)
            raise RuntimeError(f"CPU time limit exceeded, {moment} the answer")

    def _prepare_outgoing_list(self, *args, **kwargs):
        fail("before")
        return prepare(self, *args, **kwargs)

    def _is_unchanged(self, *args):
        fail("before")
        return look(self, *args)

    def send_and_fail(self, *args):
        send(self, *args)
        fail("after")

    def _conclude(self):
        fail("after")
        return conclude(self)

    mail._prepare_outgoing_list, notice._is_unchanged = _prepare_outgoing_list, _is_unchanged
    HandOver.send, notice._conclude = send_and_fail, _conclude


def work(registry, task):
    """The scheduled action, again and again, as Odoo's cron workers do it."""
    from odoo.api import SUPERUSER_ID, Environment

    while True:
        try:
            with registry.cursor() as cr:
                env = Environment(cr, SUPERUSER_ID, {})
                if task == "run":
                    env["account.dunning.run"]._cron_run()
                else:
                    env["account.dunning.notice"]._cron_send()
        except Exception:
            # As Odoo's own workers: tell, and go on with the next turn. ./dev crash reads what is told.
            print(f"TROUBLE {task}\n{traceback.format_exc()}", file=sys.stderr, flush=True)
            time.sleep(0.5)
        time.sleep(0.5 if task == "run" else 0.1)


def main():
    name, percent, options = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
    registry = load(name, options)
    if percent < 100:
        limit_letters(registry, percent)
    if flag := os.environ.get("CRASH_ERRORS"):
        inject_errors(registry, flag)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    print("ready", flush=True)
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.close(0)
            random.seed()
            work(registry, line.strip())
        print(pid, flush=True)


if __name__ == "__main__":
    main()
