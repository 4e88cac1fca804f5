"""score FILE          how good scores and predictions of payers are on the invoices of a CSV file (--help)"""

import argparse
import csv
import datetime
import json
import math
import time
from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from ..environment import database
from ..environment.ui import Failure, Step, say

NAME = "score"
DAY, WEEK = datetime.timedelta(days=1), datetime.timedelta(days=7)
WEEKS = 4
LEAK_DAYS = 24  # so many days are tried again with the future erased

# Names of the columns, and those of the sample in ../shared
COLUMNS = {
    "customer": ("customer", "customerID"),
    "invoice": ("invoice", "invoiceNumber"),
    "issued": ("issued", "InvoiceDate"),
    "due": ("due", "DueDate"),
    "settled": ("settled", "SettledDate"),
    "amount": ("amount", "InvoiceAmount"),
    "disputed": ("disputed", "Disputed"),
}
TRUE = {"1", "true", "yes", "y", "t"}


@dataclass
class Bill:
    """One line of the file."""

    customer: str
    issued: datetime.date
    due: datetime.date
    settled: datetime.date | None
    amount: float
    is_disputed: bool
    id: int = 0
    partner_id: int = 0

    def days_late(self, is_weekend_paid):
        due = self.due
        if not is_weekend_paid and due.isoweekday() > 5:
            due += DAY * (8 - due.isoweekday())
        return (self.settled - due).days


@dataclass
class Prediction:
    """What was foretold of a bill on the day of its issue."""

    bill: Bill
    days_late: int
    known: int
    score: int
    expected_late: float
    p_late: float
    p_late_14: float
    first: datetime.date | None
    expected: datetime.date | None


def main(env, arguments):
    parser = argparse.ArgumentParser(
        prog="./dev score",
        description="Load invoices into the addon's settlement table, run its own queries day by day, each knowing "
        "only what had happened before that day, and compare what they foretold with what happened.",
    )
    parser.add_argument("file", metavar="FILE", help="CSV: customer, invoice, issued, due, settled, amount, disputed")
    parser.add_argument("--from", dest="first", type=day, help="first day of issue that is scored (half of the time)")
    parser.add_argument("--to", dest="last", type=day, help="last one (the last)")
    parser.add_argument("--json", help="write the figures into this file")
    parser.add_argument("--db", default=NAME, help=f"name of the database, which is made anew ({NAME})")
    options = parser.parse_args(arguments)
    bills = read(Path(options.file))
    days = [bill.issued for bill in bills]
    first = options.first or min(days) + (max(days) - min(days)) / 2 + DAY
    last = options.last or max(days)
    if first > last:
        raise Failure(f"{first} is after {last}: there is nothing to score.")
    name = database.check_name(options.db)
    with env.lock(f"use-{name}"):
        database.with_addon(env, name, fresh=True)
        with database.environment(env, name, "--log-level=warn") as odoo:
            proof = Proof(odoo, bills, first, last)
            with Step(f"Loading {len(bills)} invoices"):
                proof.load()
            start = time.monotonic()
            with Step("Foretelling day by day"):
                proof.walk()
            figures = proof.measure()
            figures["seconds"] = round(time.monotonic() - start, 1)
    show(figures)
    if options.json:
        Path(options.json).write_text(json.dumps(figures, indent=1))


def day(text):
    try:
        return parse_day(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"“{text}” is no day: write 2013-01-31.") from error


def parse_day(text):
    try:
        return datetime.date.fromisoformat(text)
    except ValueError:
        return datetime.datetime.strptime(text, "%m/%d/%Y").date()  # noqa: DTZ007 -- a day


def read(path):
    """The bills of a file.

    :raises Failure: it can't be read, or a line is no invoice
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as content:
            reader = csv.DictReader(content)
            given = {(name or "").strip(): name for name in reader.fieldnames or []}
            columns = {
                column: next((given[name] for name in names if name in given), None)
                for column, names in COLUMNS.items()
            }
            if missing := [c for c in ("customer", "due", "settled", "amount", "issued") if not columns[c]]:
                raise Failure(f"{path} lacks the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}.")
            bills = []
            for row in reader:
                value = {column: (row[name] or "").strip() for column, name in columns.items() if name}
                try:
                    bill = Bill(
                        value["customer"], parse_day(value["issued"]), parse_day(value["due"]),
                        parse_day(value["settled"]) if value["settled"] else None, float(value["amount"]),
                        value.get("disputed", "").lower() in TRUE)
                except ValueError as error:
                    raise Failure(f"{path}, line {reader.line_num}: {error}") from error
                if not bill.customer or not math.isfinite(bill.amount) or bill.amount <= 0:
                    raise Failure(f"{path}, line {reader.line_num}: an invoice has a customer and an amount.")
                bills.append(bill)
    except OSError as error:
        raise Failure(f"{path} cannot be read ({error.strerror}): name a CSV file of invoices.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise Failure(f"{path} is no CSV file in UTF-8 ({error}).") from error
    if not bills:
        raise Failure(f"{path} has no invoices.")
    return bills


class Proof:
    """Scores and predictions of a file's bills beside what happened.

    :param odoo: Odoo's environment of the superuser
    """

    def __init__(self, odoo, bills, first, last):
        from odoo.tools import SQL

        self.SQL = SQL
        self.odoo, self.bills, self.first, self.last = odoo, bills, first, last
        self.company = odoo.ref("base.main_company")
        self.curves, self.scores = odoo["account.payer.curve"], odoo["account.payer.score"]
        self.predictions, self.weeks, self.calls = [], [], []
        self.leaks, self.tried = 0, 0

    def load(self):
        quiet = self.odoo(context={"tracking_disable": True, "mail_create_nolog": True})
        names = sorted({bill.customer for bill in self.bills})
        partners = quiet["res.partner"].create([{"name": name, "is_company": True} for name in names])
        ids = dict(zip(names, partners.ids, strict=True))
        rows = self.odoo.execute_query(self.SQL(
            """
            INSERT INTO account_payer_settlement
                   (company_id, partner_id, date_issued, date_due, date_settled, amount, is_disputed)
            SELECT %s, bill.partner_id, bill.issued, bill.due, bill.settled, bill.amount, bill.is_disputed
              FROM unnest(%s::int[], %s::date[], %s::date[], %s::date[], %s::float8[], %s::bool[])
                   WITH ORDINALITY AS bill(partner_id, issued, due, settled, amount, is_disputed, number)
          ORDER BY number
         RETURNING id
            """,
            self.company.id, *(list(column) for column in zip(*(
                (ids[bill.customer], bill.issued, bill.due, bill.settled, bill.amount, bill.is_disputed)
                for bill in self.bills), strict=True))))
        for bill, (row_id,) in zip(self.bills, rows, strict=True):
            bill.id, bill.partner_id = row_id, ids[bill.customer]
        self.by_id = {bill.id: bill for bill in self.bills}
        self.odoo.cr.execute("ANALYZE account_payer_settlement, res_partner")
        self.odoo.cr.commit()

    # === DAY BY DAY === #

    def walk(self):
        by_day = defaultdict(list)
        for bill in self.bills:
            by_day[bill.issued].append(bill)
        snapshots = {self.first + WEEK * number for number in range((self.last - self.first).days // 7 + 1)}
        scored = [today for today in by_day if self.first <= today <= self.last]
        tried = set(sorted(scored)[:: max(1, len(scored) // LEAK_DAYS)])
        for today in sorted(by_day.keys() | snapshots):
            if not self.first <= today <= self.last:
                continue
            curve = self.curves._update(self.company, today)
            if not curve:
                continue
            # a week's look ahead needs all customers, a day's bills only theirs
            self.scores._update(
                self.company, today, None if today in snapshots else {bill.partner_id for bill in by_day[today]})
            self.scores._keep_first_predictions(self.company, today)
            if today in tried:
                self.tried += 1
                self.leaks += self.count_leaks(today, by_day[today])
            self.predictions += self.foretell(today, by_day[today], curve)
            if today in snapshots:
                self.look_ahead(today, curve)

    def get_items(self, ids):
        """The day on which a bill was disputed is not in the file: that it is, nobody knew for sure."""
        return self.SQL(
            "SELECT id, partner_id, date_due, FALSE AS is_disputed FROM account_payer_settlement WHERE id = ANY(%s)",
            [bill.id for bill in ids])

    def ask(self, today, bills):
        return self.odoo.execute_query_dict(self.SQL(
            """
            SELECT prediction.id, first_prediction, expected_date, prediction.probability_late,
                   prediction.unpaid[14 + 32] AS late_14,
                   known.invoices_known, known.score, known.expected_late_days
              FROM (%s) prediction
              JOIN account_payer_settlement settlement ON settlement.id = prediction.id
         LEFT JOIN account_payer_score known
                ON known.partner_id = settlement.partner_id AND known.company_id = settlement.company_id
          ORDER BY prediction.id
            """,
            self.curves._get_prediction_query(self.company, today, self.get_items(bills))))

    def foretell(self, today, bills, curve):
        return [
            Prediction(
                bill=self.by_id[row["id"]],
                days_late=self.by_id[row["id"]].days_late(curve.is_weekend_paid),
                known=row["invoices_known"] or 0,
                score=row["score"] or 0,
                expected_late=row["expected_late_days"] or curve.expected_late_days,
                p_late=float(row["probability_late"]),
                p_late_14=row["late_14"],
                first=row["first_prediction"],
                expected=row["expected_date"],
            )
            for row in self.ask(today, bills)
            if self.by_id[row["id"]].settled
        ]

    def count_leaks(self, today, bills):
        """Predictions of a day that differ when everything on or after the day is erased."""
        def ask():
            return [{name: round(value, 9) if isinstance(value, float) else value for name, value in row.items()}
                    for row in self.ask(today, bills)]

        before = ask()
        self.odoo.cr.execute("SAVEPOINT future")
        self.odoo.cr.execute(self.SQL(
            "DELETE FROM account_payer_settlement WHERE date_issued >= %s AND id != ALL(%s)",
            today, [bill.id for bill in bills]))
        self.odoo.cr.execute(self.SQL(
            "UPDATE account_payer_settlement SET date_settled = NULL, is_disputed = FALSE"
            " WHERE date_settled >= %s", today))
        self.curves._update(self.company, today)
        self.scores._update(self.company, today, {bill.partner_id for bill in bills})
        after = ask()
        self.odoo.cr.execute("ROLLBACK TO SAVEPOINT future")
        self.odoo.invalidate_all(flush=False)
        if not before or len(before) != len(after):
            return max(len(before), 1)
        return sum(row != other for row, other in zip(before, after, strict=True))

    def look_ahead(self, today, curve):
        """What the next weeks will bring, and whom to call first."""
        waiting = [
            bill for bill in self.bills if bill.issued < today and (bill.settled is None or bill.settled >= today)]
        if not waiting:
            return
        expected, real = [0.0] * WEEKS, [0.0] * WEEKS
        items = self.get_items(waiting)
        for row_id, week, share in self.odoo.execute_query(self.SQL(
            "SELECT id, week, share::float8 FROM (%s) forecast WHERE week BETWEEN 0 AND %s",
            self.curves._get_forecast_query(self.company, today, 7, items, WEEKS), WEEKS - 1,
        )):
            expected[week] += share * self.by_id[row_id].amount
        for bill in waiting:
            if bill.settled and (week := (bill.settled - today).days // 7) < WEEKS:
                real[week] += bill.amount
        self.weeks.append((expected, real))
        calls = defaultdict(lambda: [0.0, 0, 0.0])  # priority, oldest, coming euro-days, by customer
        for row_id, left in self.odoo.execute_query(self.SQL(
            "SELECT id, days_left FROM (%s) prediction",
            self.curves._get_prediction_query(self.company, today, items),
        )):
            bill = self.by_id[row_id]
            late = bill.days_late(curve.is_weekend_paid) - (bill.settled - today).days if bill.settled else 0
            if late > 0:
                call = calls[bill.partner_id]
                call[0] += bill.amount * (left or 0.0)
                call[1] = max(call[1], late)
                call[2] += bill.amount * (bill.settled - today).days
        if calls:
            self.calls.append(list(calls.values()))

    # === FIGURES === #

    def measure(self):
        rows = self.predictions
        if not rows:
            raise Failure("Nothing could be foretold: too few invoices before the first day.")
        late = [row.days_late > 0 for row in rows]
        classes = {
            str(number): [row for row in rows if row.score == number]
            for number in range(1, 6) if any(row.score == number for row in rows)
        }
        letters = [row for row in rows if row.p_late >= 0.5 and row.known >= 3]
        one_known = [row for row in rows if row.known == 1]

        def by_class(value):
            return {number: round(fmean(map(value, members)), 4) for number, members in classes.items()}

        return {
            "invoices": len(rows),
            "auc_late_0": auc([row.p_late for row in rows], late),
            "auc_late_14": auc([row.p_late_14 for row in rows], [row.days_late > 14 for row in rows]),
            "log_loss": log_loss(rows),
            "mae_days": error_days(rows, lambda row: row.expected),
            "mae_days_without_trend": error_days(rows, lambda row: row.first),
            "wape_weeks_1_4": wape(self.weeks),
            "late_share_by_class": by_class(lambda row: row.days_late > 0),
            "over_14_share_by_class": by_class(lambda row: row.days_late > 14),
            "expected_late_by_class": by_class(lambda row: row.expected_late),
            "real_late_by_class": by_class(lambda row: max(row.days_late, 0)),
            "invoices_by_class": {number: len(members) for number, members in classes.items()},
            "log_loss_one_known": log_loss(one_known),
            "courtesy_share": len(letters) / len(rows),
            "courtesy_reach": sum(row.days_late > 0 for row in letters) / sum(late) if any(late) else None,
            "first_tenth_of_calls": first_tenth(self.calls, 0),
            "oldest_first_tenth": first_tenth(self.calls, 1),
            "dso": self.get_dso(),
            "leaks": self.leaks,
            "leak_days": self.tried,
        }

    def get_dso(self):
        """By month end, from the addon's own report."""
        results = self.odoo["account.dunning.result"]
        daily = results._get_daily(self.SQL(
            """
            SELECT date_issued AS date, date_due AS due, amount, TRUE AS is_sale
              FROM account_payer_settlement WHERE company_id = %(company)s
         UNION ALL
            SELECT date_settled, date_due, -amount, FALSE
              FROM account_payer_settlement WHERE company_id = %(company)s AND date_settled IS NOT NULL
            """, company=self.company.id))
        ends, month = [], self.first.replace(day=1)
        while month <= self.last:
            month = (month + datetime.timedelta(days=31)).replace(day=1)
            ends.append(month - DAY)
        return [
            {
                name: value.isoformat() if name == "date" else value if value is None else round(value, 4)
                for name, value in row.items()
            }
            for row in results._get_months(daily, ends)
        ]


def auc(values, hits):
    """Probability that one that hit has the higher value than one that did not."""
    ordered = sorted(values)
    rank = {value: bisect_left(ordered, value) for value in set(values)}
    count = defaultdict(int)
    for value in values:
        count[value] += 1
    ranks = [rank[value] + (count[value] + 1) / 2 for value, hit in zip(values, hits, strict=True) if hit]
    misses = len(values) - len(ranks)
    if not ranks or not misses:
        return None
    return (sum(ranks) - len(ranks) * (len(ranks) + 1) / 2) / len(ranks) / misses


def log_loss(rows):
    if not rows:
        return None
    return -fmean(
        math.log(max(1e-9, row.p_late if row.days_late > 0 else 1 - row.p_late)) for row in rows)


def error_days(rows, get_day):
    return fmean(abs((row.bill.settled - get_day(row)).days) for row in rows if get_day(row))


def wape(weeks):
    """Weighted absolute percentage error of the weeks' sums."""
    total = sum(sum(real) for _expected, real in weeks)
    return sum(
        abs(one - other) for pair in weeks for one, other in zip(*pair, strict=True)) / total if total else None


def first_tenth(snapshots, key):
    """Share of the coming euro-days that the first tenth of each snapshot's calls reaches."""
    total = sum(call[2] for calls in snapshots for call in calls)
    reached = sum(
        call[2] for calls in snapshots
        for call in sorted(calls, key=lambda call: call[key], reverse=True)[:max(1, round(len(calls) / 10))])
    return reached / total if total else None


def show(figures):
    for name, value in figures.items():
        if isinstance(value, list):
            for row in value:
                say("  " + "  ".join(f"{key}: {number}" for key, number in row.items()))
            continue
        if isinstance(value, dict):
            value = "  ".join(f"{key}: {number:.4g}" for key, number in value.items())
        elif isinstance(value, float):
            value = f"{value:.4f}"
        say(f"  {name:<24} {value}")
