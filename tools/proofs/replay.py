"""replay FILE         books the invoices of a CSV file, lets the days pass with dunning, checks each (--help)"""

import argparse
import contextlib
import datetime
import gc
import io
import shutil
import time
from collections import Counter, defaultdict
from decimal import Decimal
from pathlib import Path
from unittest import mock

from ..environment import database
from ..environment.server import Server
from ..environment.ui import Failure, Step, say
from . import receivables
from .cores import share_core
from .days import MailServer, calendar, keep_quiet
from .drafts import Drafts
from .letters import check_notices, export_letters
from .oracle import Oracle, cents

NAME = "replay"
SHOWN = 20  # broken lines that are listed one by one
PROCEDURES = {"crescendo": "account_dunning_procedure_crescendo", "standard": "account_dunning_procedure_standard"}
DAY = datetime.timedelta(days=1)


def main(env, arguments):
    parser = argparse.ArgumentParser(
        prog="./dev replay",
        description="Book the invoices of a CSV file in a fresh database and let the days pass: each day its invoices "
        "are posted, its payments booked, and the dunning's scheduled actions run, with a real mail server. After each "
        "day everything that went out is compared with the rules, worked out from the file alone. Paper bills are "
        "reminded by letter, electronic ones by e-mail; a disputed bill is paused from its due date on.",
    )
    parser.add_argument("file", metavar="FILE", help=f"CSV with the columns {', '.join(receivables.COLUMNS)}")
    parser.add_argument(
        "--procedure", choices=PROCEDURES, default="crescendo", help="the dunning procedure (crescendo)"
    )
    parser.add_argument(
        "--letters", choices=("all", "sample"), default="sample",
        help="sample: the letters of each month's first day of sending are rendered as PDF and read back, the others "
        "left out, which takes less time (default); all: each one",
    )  # fmt: skip
    parser.add_argument("--db", default=NAME, help=f"name of the database, which is made anew ({NAME})")
    options = parser.parse_args(arguments)
    start = time.monotonic()
    bills, problems = receivables.read(Path(options.file))
    tell_broken(problems, len(bills))
    name = database.check_name(options.db)
    folder = env.out / name
    with env.lock(f"use-{name}"), contextlib.ExitStack() as stack:
        database.with_addon(env, name, fresh=True)
        shutil.rmtree(folder, ignore_errors=True)
        drafts = stack.enter_context(Drafts(env, name, bills))
        mails = stack.enter_context(MailServer(env, folder / "mails"))
        stack.enter_context(Server(env, name))  # the letters' styles come from it
        with Step(f"Opening the database {name}"):
            odoo = stack.enter_context(database.environment(env, name, "--log-level=warn", *mails.odoo_options))
        gc.freeze()  # the registry is there to stay: it need not be searched for garbage day by day
        gc.set_threshold(50_000)
        odoo = odoo(context={"tracking_disable": True, "mail_create_nolog": True})  # for the bookkeeping
        keep_quiet(env.logs / f"replay-{name}.log")
        replay = Replay(odoo, bills, drafts, options, folder)
        with Step(f"Preparing {len({bill.customer for bill in bills})} customers"):
            replay.prepare()
        replay.walk()
        replay.finish()
    say(f"\n  {time.monotonic() - start:.0f} s in all. Mails and letters: {folder}")


def tell_broken(problems, count):
    for problem in problems[:SHOWN]:
        say(f"  left out: {problem}")
    if len(problems) > SHOWN:
        say(f"  left out: {len(problems) - SHOWN} more lines")
    if problems:
        say(f"  {len(problems)} broken lines left out, {count} invoices kept.")


def no_letter(report, reference, res_ids=None, data=None):
    """Stands in for the rendering of letters on the days without a sample."""
    text = b"Not rendered: see --letters of ./dev replay"
    return {record_id: {"stream": io.BytesIO(text)} for record_id in res_ids}, "pdf"


class Replay:
    """The bills of a file in Odoo, day by day.

    :param odoo: Odoo's environment of the superuser
    :param list bills: receivables.Bill
    :param Drafts drafts: makes their invoices
    """

    def __init__(self, odoo, bills, drafts, options, folder):
        self.odoo, self.bills, self.drafts, self.options, self.folder = odoo, bills, drafts, options, folder
        self.company = odoo.ref("base.main_company")
        self.first = min(bill.date for bill in bills)
        self.last = max(max(bill.date, bill.due, bill.settled or bill.due) for bill in bills)
        self.sampled = set()  # months whose sample of letters has been rendered

    # === BEFORE === #

    def prepare(self):
        odoo, company = self.odoo, self.company
        if not company.chart_template:
            odoo["account.chart.template"].try_loading("generic_coa", company=company, install_demo=False)
        company.partner_id.write({
            "tz": "UTC", "street": "1 Ledger Lane", "city": "Springfield", "email": "accounts@ledger.example"})
        procedure = odoo.ref(f"account_dunning.{PROCEDURES[self.options.procedure]}")
        procedure.mode = "automatic"
        company.dunning_procedure_id = procedure
        self.procedure = procedure
        contacts, self.customers = self._create_customers()
        self.bank = odoo["account.journal"].search([("type", "=", "bank"), ("company_id", "=", company.id)], limit=1)
        odoo.cr.commit()
        self.drafts.begin(company.id, {
            code: {is_paperless: contact.id for is_paperless, contact in pair.items()}
            for code, pair in contacts.items()
        })

    def _create_customers(self):
        """Each customer is a company with two contacts: one for electronic bills, one for paper.

        :return: the contacts by code of the customer and ``is_paperless``, and the customers by code
        """
        Partner = self.odoo["res.partner"]
        codes = sorted({bill.customer for bill in self.bills})
        customers = Partner.create(
            [
                {
                    "name": f"Customer {code}",
                    "ref": code,
                    "is_company": True,
                    "street": f"{n} Main Street",
                    "city": "Springfield",
                }
                for n, code in enumerate(codes, start=1)
            ]
        )
        by_mail = Partner.create(
            [
                {
                    "name": "Accounts payable",
                    "parent_id": customer.id,
                    "type": "other",
                    "email": f"{code.lower()}@customer.example",
                }
                for code, customer in zip(codes, customers, strict=True)
            ]
        )
        by_post = Partner.create(
            [
                {
                    "name": "Mail room",
                    "parent_id": customer.id,
                    "type": "other",
                    "street": customer.street,
                    "city": customer.city,
                }
                for customer in customers
            ]
        )
        contacts = {code: {True: mail, False: post} for code, mail, post in zip(codes, by_mail, by_post, strict=True)}
        return contacts, dict(zip(codes, customers, strict=True))

    # === THE DAYS === #

    def walk(self):
        issued, settled = defaultdict(list), defaultdict(list)
        for bill in self.bills:
            issued[bill.date].append(bill)
            if bill.settled:
                settled[bill.settled].append(bill)
        self.lines = {}  # receivable line id by invoice number
        self.month_ends = {}  # what was open and overdue, by day
        self.happened = Counter()  # all but reminders: customer, kind, day, amount, record
        oracle = self.oracle = Oracle(self.odoo, self.company, self.procedure)
        table = Table(oracle)
        table.head()
        with calendar(self.odoo, self.first) as days:
            day = self.first
            while day <= self.last:
                days.go_to(day)
                self.post(issued.get(day, ()))
                self.pay(settled.get(day, ()), day)
                oracle.begin(day)
                self.run_actions(days, day)
                oracle.check(day)
                if day == self.first:
                    share_core(self.odoo.cr)  # now that all connections exist
                if (day + DAY).day == 1 or day == self.last:
                    table.row(day)
                    self.month_ends[day] = self.check_accounts(day)
                day += DAY
        table.total()

    def post(self, bills):
        if not bills:
            return
        ids = self.drafts.get(bills)
        self.odoo.cr.commit()  # a transaction that began before they were made does not see them
        moves = self.odoo["account.move"].browse(ids)
        moves.action_post()
        for bill, move in zip(bills, moves, strict=True):
            [line] = move.line_ids.filtered(lambda line: line.account_id.account_type == "asset_receivable")
            self.lines[bill.number] = line.id
            self.happened[self.customers[bill.customer].id, "invoice", bill.date, bill.amount, move.id] += 1
            self.oracle.issue(bill, line.id, self.customers[bill.customer].id)
        contested = [(bill, move) for bill, move in zip(bills, moves, strict=True) if bill.is_disputed]
        disputes = self.odoo["account.dispute"].create([
            {"move_id": move.id, "amount": float(bill.amount), "date_opened": bill.due} for bill, move in contested
        ])
        for (bill, _move), dispute in zip(contested, disputes, strict=True):
            self.happened[self.customers[bill.customer].id, "dispute", bill.due, Decimal(), dispute.id] += 1

    def pay(self, bills, day):
        """One entry of the bank for all that has come in on the day, matched bill by bill."""
        if not bills:
            return
        odoo = self.odoo
        claims = odoo["account.move.line"].browse(self.lines[bill.number] for bill in bills)
        total = sum(bill.amount for bill in bills)
        entry = odoo["account.move"].create(
            {
                "move_type": "entry",
                "journal_id": self.bank.id,
                "date": day,
                "line_ids": [
                    (0, 0, {"name": "Bank", "account_id": self.bank.default_account_id.id, "debit": float(total)}),
                    *(
                        (0, 0, {
                            "name": bill.number, "account_id": claim.account_id.id,
                            "partner_id": claim.partner_id.id, "credit": float(bill.amount),
                        })
                        for bill, claim in zip(bills, claims, strict=True)
                    ),
                ],
            }
        )  # fmt: skip
        entry.action_post()
        credits_by_number = {line.name: line for line in entry.line_ids if line.credit}
        odoo["account.move.line"]._reconcile_plan(
            [claim + credits_by_number[bill.number] for bill, claim in zip(bills, claims, strict=True)]
        )
        paid = defaultdict(Decimal)
        for bill in bills:
            paid[self.customers[bill.customer].id] += bill.amount
            self.oracle.settle(bill, self.lines[bill.number], day)
        for customer, amount in paid.items():  # what a customer pays on one day is one event
            self.happened[customer, "entry", day, -amount, entry.id] += 1

    def run_actions(self, days, day):
        month = (day.year, day.month)
        if self.options.letters == "all" or month not in self.sampled:
            days.run_actions()
            notices = self.odoo["account.dunning.notice"].search([("sent_date", "=", day), ("state", "=", "sent")])
            if notices.attachment_id:
                self.sampled.add(month)
                check_notices(self.odoo, notices, self.folder / "mails")
            return
        report = type(self.odoo["ir.actions.report"])
        with mock.patch.object(report, "_pre_render_qweb_pdf", no_letter):
            days.run_actions()

    def check_accounts(self, day):
        """Aged receivables and the life of each account say what the ledger says.

        :return: what is open and what is overdue, in the books
        :raises Failure: they do not
        """
        balance = self.oracle.balance(day)
        self.check_aging(day, balance)
        self.check_lives([day])
        self.odoo.invalidate_all()
        return balance

    def check_lives(self, days):
        """The lives of all accounts tell each event once and no other, and their running balance is the ledger's on
        the given days.

        :raises Failure: they do not
        """
        history = self.odoo["account.dunning.history"]._get_history(
            self.company, self.odoo["res.partner"].browse(customer.id for customer in self.customers.values()))
        told = Counter(
            (row.partner_id.id, row.kind, row.date, cents(row.amount), row.res_id) for row in history)
        happened = self.happened + Counter(
            (customer, "notice", sent, Decimal(), notice) for customer, sent, notice in self.oracle.reminders())
        if told != happened:
            raise Failure(f"Of {sum(happened.values())} events the lives of the accounts leave out "
                          f"{sorted((happened - told).items())[:5]}, and tell too much: "
                          f"{sorted((told - happened).items())[:5]}.")
        self.events = Counter(event[1] for event in told.elements())
        rows = defaultdict(list)
        for row in reversed(history):  # the oldest first
            rows[row.partner_id.id].append((row.date, row.balance))
        for day in days:
            owed = self.oracle.balances(day)
            for customer in rows.keys() | owed.keys():
                found = next((balance for date, balance in reversed(rows[customer]) if date <= day), 0.0)
                if cents(found) != owed.get(customer, Decimal()):
                    raise Failure(f"The life of customer {customer} stands at {found} on {day}, the ledger at "
                                  f"{owed.get(customer)}.")

    def check_aging(self, day, balance):
        rows = self.odoo["account.dunning.aging"]._get_balances(self.company, day)
        total = cents(sum(cents(row["amount"]) for row in rows))
        overdue = cents(sum(cents(row["amount"]) for row in rows if row["days"] > 0))
        if (total, overdue) != balance:
            raise Failure(f"Aged receivables of {day}: {total} and {overdue} overdue, in the books {balance}.")

    # === AFTER === #

    def finish(self):
        odoo = self.odoo
        odoo.cr.execute(
            """SELECT COUNT(*) FILTER (WHERE email_to IS NOT NULL), COUNT(*) FILTER (WHERE is_letter_to_print)
                 FROM account_dunning_notice WHERE state = 'sent' AND company_id = %s""",
            [self.company.id],
        )
        mailed, posted = odoo.cr.fetchone()
        arrived = len(list((self.folder / "mails").glob("*.eml")))
        if arrived != mailed:
            raise Failure(f"{mailed} reminders count as sent by e-mail, but {arrived} mails have arrived.")
        for day, balance in self.month_ends.items():  # asked later, a past day is still what it was
            self.check_aging(day, balance)
        self.check_lives(self.month_ends)
        events = ", ".join(f"{number:,} × {kind}" for kind, number in sorted(self.events.items()))
        say(f"\n  {len(self.month_ends)} month ends, each then and asked again at the end: aged receivables, in all "
            f"and overdue, and the running balance of each of {len(self.customers)} accounts are the ledger's, to the "
            f"cent. Each event is told once: {events}.")
        export_letters(odoo, self.folder / "letters")
        say(f"\n  {arrived} e-mails delivered, {posted} letters to post; {self.oracle.count} days checked.")


class Table:
    """What is told per month: money, notices by level, and how fast bills are paid after each level."""

    def __init__(self, oracle):
        self.oracle = oracle
        self.months = []

    def head(self):
        say("\nPer level: reminders sent, and the average days to payment of the bills whose last reminder it was\n")
        self.columns = [(level.name, max(len(level.name), 11)) for level in self.oracle.levels]
        cells = [f"{'Month':7}", f"{'Open':>12}", f"{'Overdue':>12}"]
        say("  " + "  ".join(cells + [name.rjust(width) for name, width in self.columns]))

    def row(self, day):
        sent, paid = self.oracle.take_month()
        self.months.append((sent, paid))
        open_amount, overdue = self.oracle.balance(day)
        self._line(f"{day:%Y-%m}", f"{open_amount:,.2f}", f"{overdue:,.2f}", sent, paid)

    def total(self):
        sent, paid = defaultdict(int), defaultdict(list)
        for month_sent, month_paid in self.months:
            for level, count in month_sent.items():
                sent[level] += count
            for level, days in month_paid.items():
                paid[level] += days
        self._line("All", "", "", sent, paid)

    def _line(self, month, open_amount, overdue, sent, paid):
        cells = [f"{month:7}", f"{open_amount:>12}", f"{overdue:>12}"]
        for position, (_name, width) in enumerate(self.columns):
            days = paid.get(position, ())
            mean = f"{sum(days) / len(days):5.1f} d" if days else "      –"
            cells.append(f"{sent.get(position, 0):4}{mean:>7}".rjust(width))
        say("  " + "  ".join(cells))
