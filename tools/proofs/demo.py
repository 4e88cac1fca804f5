"""demo                the demo: a database in every situation, its dunning until today, and who got what and why not

Options: --fresh (make it anew, for today), --db NAME. Mails and letters lie in the home folder, under out/NAME.
"""

import argparse
import contextlib
import datetime
import shutil

from ..environment import database
from ..environment.server import Server
from ..environment.ui import Failure, Step, say
from .days import MailServer, calendar, keep_quiet
from .letters import check_notices, export_letters

WALKED = "account_dunning.demo_walked"  # the last day whose scheduled actions have run
LONGEST_WALK = 60  # days
LEAST_NOTICES, LEAST_LEVELS = 6, 3  # a fresh demo delivers at least so many over SMTP


def main(env, arguments):
    parser = argparse.ArgumentParser(prog="./dev demo")
    parser.add_argument("--fresh", action="store_true", help="make the database anew")
    parser.add_argument("--db", default="demo", help="name of the database (demo)")
    options = parser.parse_args(arguments)
    name = database.check_name(options.db)
    folder = env.out / name
    with env.lock(f"use-{name}"), contextlib.ExitStack() as stack:
        is_new = database.with_addon(env, name, options.fresh, demo=True)
        if is_new:
            shutil.rmtree(folder, ignore_errors=True)
        mails = stack.enter_context(MailServer(env, folder / "mails"))
        with Step(f"Opening the database {name}"):
            odoo = stack.enter_context(database.environment(env, name, "--log-level=warn", *mails.odoo_options))
        keep_quiet(env.logs / f"demo-{name}.log")
        company = odoo.ref("base.main_company")
        # Out of the box a procedure proposes; here it sends by itself, so that there is something to see.
        company.dunning_procedure_id.mode = "automatic"
        today = company._get_dunning_today()
        if is_new:
            with Step("Booking what customers paid in the last year"):
                pay_history(odoo, company, today)
        past = days_to_walk(odoo, company, today)
        odoo.cr.commit()
        if past or something_to_send(odoo, company, today):
            stack.enter_context(Server(env, name))  # the letters' styles come from it
            odoo.registry.clear_all_caches()
        walk(odoo, company, past, folder)
        with Step(f"Running the dunning of today, {today}"):
            # should midnight have passed meanwhile, it is still the day that the demo data were made for
            with calendar(odoo, None if company._get_dunning_today() == today else today) as days:
                days.run_actions()
        with Step("Scoring the payers"):
            odoo["account.payer.score"]._cron_score()
        notices = notices_of(odoo, company, today)
        with Step("Reading mails and letters back, and comparing every amount with the open lines"):
            check_notices(odoo, notices, folder / "mails")
        set_walked(odoo, today)
        odoo.cr.commit()
        export_letters(odoo, folder / "letters")
        tell(odoo, company, today, notices, folder)
        if is_new:
            check_enough(notices)


# === THE YEAR BEFORE === #


def pay_history(odoo, company, today):
    """Invoices of the last year with their payments, each customer's after a habit of their own: what payers are known
    by. Nothing of it is open."""
    customers = odoo["res.partner"].browse(odoo["ir.model.data"].search(
        [("module", "=", "account_dunning"), ("model", "=", "res.partner"), ("name", "like", "demo_partner_%")],
    ).mapped("res_id")).filtered(lambda partner: partner.is_company and not partner.parent_id).sorted("name")
    bank = odoo["account.journal"].search([("type", "=", "bank"), ("company_id", "=", company.id)], limit=1)
    for number, customer in enumerate(customers[:14]):
        habit = (-4, 0, 1, 2, 4, 6, 9, 12, 18, 30)[number % 10]
        for month in range(8):
            issued = today - datetime.timedelta(days=400 - 40 * month - number)
            due = issued + datetime.timedelta(days=30)
            paid = due + datetime.timedelta(days=habit + (number + 2 * month) % 5 - 2)
            paid += datetime.timedelta(days=max(0, 7 - paid.weekday()) if paid.weekday() > 4 else 0)
            invoice = odoo["account.move"].create({
                "move_type": "out_invoice", "partner_id": customer.id, "invoice_date": issued, "invoice_date_due": due,
                "invoice_payment_term_id": False,
                "invoice_line_ids": [(0, 0, {"name": "Delivery", "quantity": 1, "price_unit": 300 + 70 * month})],
            })
            invoice.action_post()
            receivable = invoice.line_ids.filtered(lambda line: line.account_type == "asset_receivable")
            payment = odoo["account.move"].create({
                "move_type": "entry", "date": paid, "journal_id": bank.id,
                "line_ids": [
                    (0, 0, {"name": invoice.name, "partner_id": customer.id, "account_id": receivable.account_id.id,
                            "credit": receivable.balance}),
                    (0, 0, {"name": invoice.name, "account_id": bank.default_account_id.id,
                            "debit": receivable.balance}),
                ],
            })
            payment.action_post()
            (receivable + payment.line_ids.filtered("credit")).reconcile()
    odoo.cr.commit()


# === THE DAYS BEFORE TODAY === #


def days_to_walk(odoo, company, today):
    """The days before today whose scheduled actions have not run: in a new database, since the first due date."""
    walked = odoo["ir.config_parameter"].get_param(WALKED)
    if walked:
        first = datetime.date.fromisoformat(walked) + datetime.timedelta(days=1)
    else:
        odoo.cr.execute(
            """SELECT MIN(aml.date_maturity)
                 FROM account_move_line aml
                 JOIN account_account account ON account.id = aml.account_id
                WHERE account.account_type = 'asset_receivable'
                  AND aml.parent_state = 'posted' AND NOT aml.reconciled AND aml.company_id = %s""",
            [company.id],
        )
        first = odoo.cr.fetchone()[0] or today
    first = max(first, today - datetime.timedelta(days=LONGEST_WALK))
    return [first + datetime.timedelta(days=number) for number in range((today - first).days)]


def set_walked(odoo, day):
    odoo["ir.config_parameter"].set_param(WALKED, day.isoformat())


def something_to_send(odoo, company, today):
    """Whether a run of today would send anything."""
    procedures = {row["procedure_id"] for row in odoo["account.dunning.run"]._preview(company, today)}
    if "automatic" in odoo["account.dunning.procedure"].browse(procedures).mapped("mode"):
        return True
    notices = odoo["account.dunning.notice"]
    return bool(notices.search_count(notices._get_queue_domain()))


def walk(odoo, company, past, folder):
    """Let the days before today pass, so that the customers stand at the levels that they really would."""
    if not past:
        return
    title = f"Letting the days from {past[0]} to {past[-1]} pass, with the scheduled actions of each"
    with Step(title), calendar(odoo, past[0]) as days:
        for day in past:
            days.go_to(day)
            days.run_actions()
            notices = notices_of(odoo, company, day)
            check_notices(odoo, notices, folder / "mails")
            set_walked(odoo, day)
            odoo.cr.commit()
            if notices:
                who = sorted(f"{notice.partner_id.name}: {notice.level_id.name}" for notice in notices)
                say(f"  {day}  {', '.join(who)}")


def notices_of(odoo, company, day):
    """The notices sent on a day."""
    return odoo["account.dunning.notice"].search(
        [("company_id", "=", company.id), ("sent_date", "=", day), ("state", "=", "sent")], order="level_id, name"
    )


# === WHAT IS TOLD === #


def tell(odoo, company, today, notices, folder):
    say(f"\nSent on {today} by {company.name}\n")
    show(
        ("Customer", "Level", "How", "Overdue", "Letter"),
        [
            (
                notice.partner_id.name,
                notice.level_id.name,
                how(notice),
                money(notice.amount_due, notice.currency_id),
                notice.attachment_id.name or "",
            )
            for notice in notices.sorted(lambda notice: (notice.level_id.sequence, notice.partner_id.name))
        ],
        "Nothing: see below why.",
    )
    mailed = notices.filtered("email_to")
    say(
        f"\n  {len(mailed)} e-mails of {len(mailed.level_id)} levels taken by the mail server; in "
        f"{len(notices.filtered('attachment_id'))} letters every amount equals the open lines."
    )
    say("\nNot reminded today, and why\n")
    show(("Customer", "Bill", "Due", "Open", "Why"), list(not_reminded(odoo, company, today, notices)), "Nobody.")
    say(f"\n  Mails:   {folder / 'mails'}\n  Letters: {folder / 'letters'}")
    say("  ./dev serve shows it all in the browser; ./dev demo --fresh makes it anew.")


def how(notice):
    ways = []
    if notice.email_to:
        ways.append(f"e-mail to {notice.email_to}")
    if notice.is_letter_to_print:
        ways.append("letter, as there is no e-mail address" if notice.is_fallback_letter else "letter")
    if notice.level_id.create_activity:
        kind = notice.level_id.activity_type_id.name or "activity"
        ways.append(f"{kind.lower()} for {notice.activity_user_id.name or notice._get_collector().name}")
    return ", ".join(ways)


def not_reminded(odoo, company, today, notices):
    """A row for each open bill that no notice of today reminds of."""
    reminded = notices.line_ids.filtered("advances").move_line_id
    lines = odoo["account.move.line"].search(
        [
            ("company_id", "=", company.id), ("account_id.account_type", "=", "asset_receivable"),
            ("parent_state", "=", "posted"), ("reconciled", "=", False), ("amount_residual", ">", 0),
            ("partner_id", "!=", False), ("id", "not in", reminded.ids),
        ]
    ).sorted(
        lambda line: (line.partner_id.commercial_partner_id.name or "", line.date_maturity or line.date, line.id)
    )  # fmt: skip
    explanation = odoo["account.dunning.explanation"]
    verdicts = odoo["account.dunning.engine"]._explain(lines, today)
    live = odoo["account.dunning.notice"].search(
        [("company_id", "=", company.id), ("state", "in", ("draft", "queued", "failed"))]
    )
    notice_of = {line.move_line_id: line.notice_id for line in live.line_ids}
    for line in lines:
        if line not in verdicts:
            continue  # no trade receivable of a customer
        reason, level, date = verdicts[line]
        customer = line.partner_id.commercial_partner_id
        pauses = explanation._find_pauses(company, customer, today)
        why = explanation._describe_step(reason, level, date, pauses)
        notice = notice_of.get(line)
        if notice and notice.state == "failed":
            why = f"Failed: {notice.failure_reason}"
        elif notice and reason == "pending":
            why = f"{why}, waits for review"
        yield (
            customer.name,
            line.move_id.name,
            line.date_maturity or line.date,
            money(line.amount_residual_currency, line.currency_id),
            f"{why} [{reason}]",
        )


def money(amount, currency):
    return f"{amount:,.{currency.decimal_places}f} {currency.name}"


def show(heads, rows, nothing):
    """Print a table; amounts to the right."""
    if not rows:
        say(f"  {nothing}")
        return
    rows = [tuple(map(str, row)) for row in rows]
    widths = [max(len(row[column]) for row in (heads, *rows)) for column in range(len(heads))]
    right = {column for column, head in enumerate(heads) if head in ("Overdue", "Open")}
    for row in (heads, tuple("─" * width for width in widths), *rows):
        cells = (
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        say(f"  {'  '.join(cells)}".rstrip())


def check_enough(notices):
    """A fresh demo shows enough.

    :raises Failure: it does not
    """
    mailed = notices.filtered("email_to")
    levels = mailed.level_id
    if len(mailed) < LEAST_NOTICES or len(levels) < LEAST_LEVELS:
        raise Failure(
            f"Only {len(mailed)} reminders of {len(levels)} levels went out by e-mail, the demo data call for "
            f"{LEAST_NOTICES} of {LEAST_LEVELS}: the addon or its demo data is broken."
        )
