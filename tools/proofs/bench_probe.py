"""One measured task inside Odoo, in a process of its own:
`python -m tools.proofs.bench_probe TASK DATABASE '{"option": …}'`.

Prints one line of JSON: seconds, queries, and the process's memory before the task and at its peak (MB).
"""
import json
import os
import resource
import sys
import time
from contextlib import contextmanager
from datetime import timedelta

from ..environment import database
from ..environment.env import Env
from . import bench_data

MARK = "RESULT "
PROCESS_START = time.perf_counter()


class Meter:
    """Seconds, queries and memory of what runs inside `with`."""

    def __enter__(self):
        import odoo.sql_db

        self.sql_db = odoo.sql_db
        self.result = {"memory_before": peak_memory()}
        self.queries, self.start = odoo.sql_db.sql_counter, time.perf_counter()
        return self.result

    def __exit__(self, *error):
        self.result["seconds"] = time.perf_counter() - self.start
        self.result["queries"] = self.sql_db.sql_counter - self.queries
        self.result["memory"] = peak_memory()


def peak_memory():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


@contextmanager
def timed(model, names, totals):
    """Add up the seconds that methods of a model's class take."""
    kept = {}
    for name in names:
        kept[name] = getattr(model, name)

        def method(self, *args, _name=name, **kwargs):
            start = time.perf_counter()
            try:
                return kept[_name](self, *args, **kwargs)
            finally:
                totals[_name] = totals.get(_name, 0) + time.perf_counter() - start

        setattr(model, name, method)
    try:
        yield
    finally:
        for name, method in kept.items():
            setattr(model, name, method)


def day_of(env):
    partner, move, line, day = bench_data.template(env.cr)
    return day


# === OURS === #


def set_up(env, options):
    """One procedure for everybody whose first level every overdue line reaches at once."""
    from odoo import fields

    procedure = env["account.dunning.procedure"].create({
        "name": "Bench", "mode": "automatic", "min_wait_days": options.get("min_wait_days", 0),
        "level_ids": [
            fields.Command.create({
                "name": f"Reminder {number}", "sequence": number, "delay_days": delay, "send_email": True,
            })
            for number, delay in enumerate((0, 14, 28), start=1)
        ],
    })
    env.company.dunning_procedure_id = procedure
    env.cr.commit()
    return {"procedure": procedure.id, "level": procedure.level_ids[0].id}


def prepare(env, options):
    """Proposals for everybody, as the scheduled action writes them."""
    from odoo.tools import split_every

    from odoo.addons.account_dunning.models.account_dunning_run import BATCH_SIZE

    run = env["account.dunning.run"].create({"date": day_of(env), "state": "running"})
    env.cr.commit()
    with Meter() as result:
        for batch in split_every(BATCH_SIZE, run._start(), list):
            run._prepare_batch(batch)
            env["ir.cron"]._commit_progress()
        run._finish()
        env.cr.commit()
    env.cr.execute("SELECT COUNT(*) FROM account_dunning_notice")
    result["notices"] = env.cr.fetchone()[0]
    env.cr.execute("SELECT COUNT(*), COUNT(*) FILTER (WHERE advances) FROM account_dunning_notice_line")
    result["rows"], result["lines"] = env.cr.fetchone()
    result["failure"] = run.failure_reason
    return result


def send(env, options):
    """Some notices out of the queue: letter rendered, mail rendered and handed over, levels moved."""
    model = env.registry["account.dunning.notice"]
    notices = env["account.dunning.notice"].search([("state", "=", "draft")], order="id", limit=options["limit"])
    notices._queue()
    env.cr.commit()
    parts = {}
    with timed(model, ("_recheck", "_render_letters", "_render_mails", "_hand_over"), parts):
        with Meter() as result:
            env["account.dunning.notice"]._cron_send()
            env.cr.commit()
    notices.invalidate_recordset()
    result["sent"] = len(notices.filtered(lambda notice: notice.state == "sent"))
    result["failures"] = list({notice.failure_reason for notice in notices if notice.state == "failed"})[:3]
    result["parts"] = {name: round(seconds, 2) for name, seconds in parts.items()}
    return result


def queue(env, options):
    """Some proposals into the queue."""
    notices = env["account.dunning.notice"].search([("state", "=", "draft")], order="id", limit=options["limit"])
    notices._queue()
    return {"queued": len(notices)}


def warm_up(env, options):
    """A few notices, so that style sheets and templates are in the database."""
    queue(env, options)
    env.cr.commit()
    env["account.dunning.notice"]._cron_send()
    return {}


def count_queries(env, options):
    """The statements of sending some notices, the most frequent first."""
    import collections
    import re

    from odoo import sql_db

    seen, execute = collections.Counter(), sql_db.Cursor.execute

    def execute_and_count(cursor, query, *args, **kwargs):
        seen[re.sub(r"\s+", " ", getattr(query, "code", None) or str(query))[:110]] += 1
        return execute(cursor, query, *args, **kwargs)

    queue(env, options)
    env.cr.commit()
    sql_db.Cursor.execute = execute_and_count
    try:
        env["account.dunning.notice"]._cron_send()
    finally:
        sql_db.Cursor.execute = execute
    return {"statements": seen.most_common(60)}


def work_off(env, options):
    """The queue, as the scheduled action works it off; others may do the same beside it."""
    env["account.dunning.notice"].search([("state", "=", "queued")], limit=1).mapped("display_name")  # all is loaded
    start, parts = time.perf_counter() - PROCESS_START, {}
    model = env.registry["account.dunning.notice"]
    names = ("_recheck", "_prepare_charges", "_choose_channels", "_render_letters", "_render_mails", "_seal_mails",
             "_hand_over_sealed", "_conclude_sent")
    with timed(model, names, parts), Meter() as result, cpu_of_parts(env, result):
        env["account.dunning.notice"]._cron_send()
        env.cr.commit()
    failed = env["account.dunning.notice"].search([("state", "=", "failed")])
    return {**result, "start": start, "parts": parts, "failures": failed.mapped("failure_reason")[:3]}


@contextmanager
def cpu_of_parts(env, result):
    """Seconds of CPU of this process, of those that it starts, and of its connection to the database."""
    env.cr.execute("SELECT pg_backend_pid()")
    [pid] = env.cr.fetchone()
    before = (time.process_time(), children_cpu(), process_cpu(pid))
    yield
    after = (time.process_time(), children_cpu(), process_cpu(pid))
    names = ("cpu_python", "cpu_wkhtmltopdf", "cpu_postgresql")
    result.update({name: end - start for name, start, end in zip(names, before, after, strict=True)})


def children_cpu():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def process_cpu(pid):
    """Of a process of this machine; 0 when PostgreSQL runs elsewhere."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def letters(env, options):
    """Letters alone, in batches as large as the sending's."""
    from odoo.addons.account_dunning.models.account_dunning_notice_delivery import BATCH_SIZE

    notices = env["account.dunning.notice"].search([("state", "=", "draft")], order="id", limit=options["limit"])
    notices.email_to = "x@customer.example"
    report = env["ir.actions.report"]
    pages = 0
    with Meter() as result, cpu_of_parts(env, result):
        for start in range(0, len(notices), BATCH_SIZE):
            documents, kind = report._pre_render_qweb_pdf(
                "account_dunning.action_report_dunning_notice", notices[start : start + BATCH_SIZE].ids
            )
            pages += len(documents)
    env.cr.rollback()
    result.update({"letters": pages, "kind": kind, "children": children_memory()})
    return result


def children_memory():
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024


FOLLOWUP_VIEWS = {
    "as it opens (Today)": {"domain": [("todo", "!=", "none"), ("todo_date", "<=", "today")]},
    "all overdue, by priority": {"domain": [("amount_overdue", ">", 0)]},
    "sorted by overdue amount": {"domain": [("amount_overdue", ">", 0)], "order": "amount_overdue DESC, id"},
    "sorted by oldest due date": {"domain": [("amount_overdue", ">", 0)], "order": "date_oldest"},
    "filter reminder due": {"domain": [("amount_overdue", ">", 0), ("reason", "in", ("due", "pending"))]},
    "filter over 60 days late": {"domain": [("amount_overdue", ">", 0), ("date_oldest", "<", "-60d")]},
    "filter my customers": {"domain": [("amount_overdue", ">", 0), ("user_id", "=", 2)]},
    "page 100": {"domain": [("amount_overdue", ">", 0)], "offset": 8000},
}
FOLLOWUP_FIELDS = (
    "currency_id", "partner_id", "amount_overdue", "amount_total", "days_overdue", "date_oldest", "level_id",
    "last_date", "next_step", "next_date", "reason", "is_paused", "user_id", "phone", "todo", "todo_date", "aging_bar",
    "last_contact_date",
)  # fmt: skip


def followup(env, options):
    """The list as the browser asks for it, by an accountant; once the day's first figures are made, then after a
    customer's invoice has changed."""
    from odoo import fields

    user = env["res.users"].search([("login", "=", "bench_accountant")]) or env["res.users"].create({
        "name": "Accountant", "login": "bench_accountant",
        "group_ids": [fields.Command.link(env.ref("account.group_account_invoice").id)],
    })
    env.cr.commit()
    Followup = env["account.dunning.followup"].with_user(user)
    specification = {
        name: {"fields": {"display_name": {}}} if Followup._fields[name].type == "many2one" else {}
        for name in FOLLOWUP_FIELDS
    }
    times = {}

    def ask(title, values, repeats=5):
        best = []
        for _attempt in range(repeats):
            env.invalidate_all()
            start = time.perf_counter()
            found = Followup.web_search_read(specification=specification, limit=80, count_limit=10001, **values)
            best.append(time.perf_counter() - start)
            env.cr.commit()
        times[title] = [round(1000 * min(best)), round(1000 * max(best)), found["length"]]

    env.cr.execute(  # a tenth of the customers are to be called today
        """INSERT INTO account_dunning_contact (company_id, partner_id, user_id, date, channel, outcome, next_date)
           SELECT %(company)s, id, %(user)s, %(day)s, 'phone', 'no_answer', %(day)s FROM res_partner
            WHERE id IN (SELECT partner_id FROM account_move_line WHERE reconciled IS NOT TRUE) AND id %% 10 = 0
              AND NOT EXISTS (SELECT FROM account_dunning_contact)""",
        {"company": env.company.id, "user": user.id, "day": env.company._get_dunning_today()})
    env.cr.commit()
    with Meter() as result:
        ask("first of the day", FOLLOWUP_VIEWS["as it opens (Today)"], 1)
    first = result["seconds"]
    for title, values in FOLLOWUP_VIEWS.items():
        ask(title, values)
    receivable = [("account_id.account_type", "=", "asset_receivable")]
    line = env["account.move.line"].search(receivable, limit=1, order="id DESC")
    line.move_id.no_followup = True
    env.cr.commit()
    ask("after a change", FOLLOWUP_VIEWS["all overdue, by priority"], 1)
    line.move_id.no_followup = False
    env.cr.commit()

    def measure(title, ask_once, repeats=3):
        took, found = [], None
        for _attempt in range(repeats):
            env.invalidate_all()
            start = time.perf_counter()
            found = ask_once()
            took.append(time.perf_counter() - start)
            env.cr.commit()
        times[title] = [round(1000 * min(took)), round(1000 * max(took)), found]

    day = fields.Date.to_date(day_of(env))
    customer = line.partner_id.commercial_partner_id
    Aging = env["account.dunning.aging"].with_user(user)
    History = env["account.dunning.history"].with_user(user)
    columns = ["date", "kind", "description", "amount", "balance"]
    measure("aged receivables of all, by customer", lambda: len(
        Aging._read_group([], ["partner_id"], [f"amount_{bucket}:sum" for bucket in range(5)], limit=80)))
    measure("aged receivables of all, each item", lambda: len(Aging._get_balances(env.company, day)))
    measure("… 60 days ago, total", lambda: len(
        Aging.with_context(aging_date=str(day - timedelta(days=60)))._read_group([], [], ["amount:sum"])))
    measure("… of one customer", lambda: len(Aging._get_buckets(env.company, day, customer.ids)))
    measure("life of the account of one customer", lambda: len(
        History._get_history(env.company, customer).read(columns)))
    ids = History._get_history(env.company, customer).ids
    measure("… rows read by their ids", lambda: len(History.browse(ids).read(columns)))
    row = Followup.search([("partner_id", "=", customer.id)], limit=1)
    measure("the customer's workspace", lambda: len(row.browse(row.id).read()))

    today, before = env.company._get_dunning_today(), env.company._get_dunning_today() - timedelta(days=1)
    let_one_percent_change(env, before, today)
    measure("first of a new day, 1 % changed", lambda: Followup.web_search_read(
        specification=specification, limit=80, count_limit=10001, **FOLLOWUP_VIEWS["as it opens (Today)"])["length"], 1)
    env.cr.execute("SELECT COUNT(*) FROM account_dunning_followup WHERE date = %s", [today])
    times["… customers brought up to date by it"] = ["", "", env.cr.fetchone()[0]]
    result.update({"seconds": first, "milliseconds": times})
    return result


def let_one_percent_change(env, before, today):
    """The rows are those of the day before; from then to today time changes something for each hundredth customer: a
    bill has come due. What is overdue of the others has had its last reminder."""
    env.flush_all()
    env.cr.execute(
        """UPDATE account_move_line SET date_maturity = date_maturity + 45
            WHERE date_maturity >= %(before)s AND date_maturity <= %(today)s AND reconciled IS NOT TRUE""",
        {"before": before, "today": today})
    env.cr.execute(
        """UPDATE account_move_line line SET date_maturity = %(before)s
             FROM (SELECT MIN(id) AS id FROM account_move_line
                    WHERE date_maturity > %(today)s AND reconciled IS NOT TRUE AND partner_id %% 100 = 0
                 GROUP BY partner_id) first
            WHERE first.id = line.id""",
        {"before": before, "today": today})
    env.cr.execute(
        """UPDATE account_move_line
              SET dunning_level_id = (SELECT id FROM account_dunning_level
                                       WHERE procedure_id = %(procedure)s ORDER BY sequence DESC LIMIT 1),
                  dunning_last_date = %(before)s
            WHERE date_maturity < %(before)s AND reconciled IS NOT TRUE""",
        {"before": before, "procedure": env.company.dunning_procedure_id.id})
    env.invalidate_all()
    env["account.dunning.followup"]._refresh(env.company, before)
    env.cr.commit()
    env.cr.execute("ANALYZE account_move_line; ANALYZE account_dunning_followup")
    env.cr.commit()


def resolve_doubts(env, options):
    """What an accountant does with failed notices: those in doubt are looked up in the mail server's log."""
    with open(options["mails"]) as file:
        taken = set(json.load(file))
    failed = env["account.dunning.notice"].search([("state", "=", "failed")])
    doubtful = failed.filtered("is_in_doubt")
    gone_out = doubtful.filtered(lambda notice: notice.message_id in taken)
    if gone_out:
        gone_out.action_confirm_sent()
    for notice in doubtful - gone_out:
        notice.action_send()  # each by itself: somebody has looked
    if certain := failed - doubtful:
        certain.action_send()
    return {
        "doubtful": {"confirmed": len(gone_out), "again": len(doubtful - gone_out)},
        "failed": len(failed - doubtful),
    }


# === THE PEER === #


def peer_set_up(env, options):
    from odoo import fields

    policy = env.ref("account_credit_control.credit_control_3_time")
    accounts = env["account.account"].search([("account_type", "=", "asset_receivable")])
    policy.account_ids = [fields.Command.set(accounts.ids)]
    policy.level_ids.sorted("level")[0].delay_days = 0
    env.company.credit_policy_id = policy
    env.cr.commit()
    return {}


def peer_prepare(env, options):
    """Its run over the same lines; limited to some customers where the database is larger than it can do."""
    run = env["credit.control.run"].create({
        "date": day_of(env), "policy_ids": [(6, 0, env.company.credit_policy_id.ids)],
    })
    with Meter() as result:
        run.generate_credit_lines()
        env.cr.commit()
    result["lines"] = len(run.line_ids)
    return result


def peer_send(env, options):
    """Its e-mails to some customers, from its button to the mail server's answer."""
    run = env["credit.control.run"].search([], limit=1)
    partners = run.line_ids.partner_id.sorted("id")[: options["limit"]]
    lines = run.line_ids.filtered(lambda line: line.partner_id in partners)
    lines.write({"state": "to_be_sent"})
    env.cr.commit()
    with Meter() as result:
        run.run_channel_action()
        env.cr.commit()
        env["mail.mail"].process_email_queue(batch_size=10000)
        env.cr.commit()
    lines.invalidate_recordset()
    result["sent"] = len(lines.filtered(lambda line: line.state == "sent").partner_id)
    return result


def main():
    task, name, options = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
    with database.environment(Env(), name, "--log-level=warn", *options.get("odoo", ())) as env:
        # as a user does it, with all companies' data in sight
        result = globals()[task](env(context={"lang": "en_US"}), options)
        env.cr.commit()
    print(MARK + json.dumps(result))


if __name__ == "__main__":
    main()
