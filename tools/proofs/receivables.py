"""Invoices with their due and settlement dates from a CSV file, for `./dev replay`.

A line that cannot be used is reported with its number and the rest is kept.
"""

import csv
import datetime
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from ..environment.ui import Failure

# Columns that must be there; others (countryCode, PaperlessDate, DaysToSettle, DaysLate) are not needed.
COLUMNS = (
    "customerID",
    "invoiceNumber",
    "InvoiceDate",
    "DueDate",
    "InvoiceAmount",
    "Disputed",
    "SettledDate",
    "PaperlessBill",
)
DATE = "%m/%d/%Y"
LARGEST = Decimal(10) ** 12


@dataclass(frozen=True)
class Bill:
    """One line of the file."""

    line: int  # its number in the file
    customer: str
    number: str
    date: datetime.date
    due: datetime.date
    amount: Decimal
    is_disputed: bool
    settled: datetime.date | None  # None: not paid until the end of the file
    is_paperless: bool


def read(path):
    """Read the bills of a file.

    :param path: of a CSV file with a line of column names
    :return: the bills in the order of the file, and a sentence for each line that was left out
    :rtype: tuple[list[Bill], list[str]]
    :raises Failure: the file cannot be read, lacks a column, or has no bill in it
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as content:
            bills, problems = _read(csv.DictReader(content), path)
    except OSError as error:
        raise Failure(f"{path} cannot be read ({error.strerror}): name a CSV file of invoices.") from error
    except UnicodeDecodeError as error:
        raise Failure(f"{path} is no text in UTF-8: save it as CSV in UTF-8.") from error
    except csv.Error as error:
        raise Failure(f"{path} is no CSV file ({error}).") from error
    if not bills:
        why = f"; the first of {len(problems)} broken lines: {problems[0]}" if problems else ""
        raise Failure(f"{path} has no invoice that can be used{why}.")
    return bills, problems


def _read(reader, path):
    names = [(name or "").strip() for name in reader.fieldnames or []]
    if not any(names):
        raise Failure(f"{path} is empty: it needs a line of column names ({', '.join(COLUMNS)}), then the invoices.")
    if missing := [name for name in COLUMNS if name not in names]:
        raise Failure(f"{path} lacks the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}.")
    if double := [name for name in COLUMNS if names.count(name) > 1]:
        raise Failure(f"{path} has the column {double[0]} twice.")
    reader.fieldnames = names
    bills, problems, seen = [], [], {}
    for row in reader:
        try:
            bill = _bill(row, reader.line_num)
            if bill.number in seen:
                raise ValueError(f"invoice {bill.number} stands in line {seen[bill.number]} already")
        except ValueError as error:
            problems.append(f"line {reader.line_num}: {error}")
            continue
        seen[bill.number] = bill.line
        bills.append(bill)
    return bills, problems


def _bill(row, line):
    """:raises ValueError: with what is wrong, in words"""
    if row.get(None):
        raise ValueError("it has more fields than there are columns")
    row = {name: (row[name] or "").strip() for name in COLUMNS}
    for name in ("customerID", "invoiceNumber"):
        if not row[name]:
            raise ValueError(f"{name} is empty")
    bill = Bill(
        line=line,
        customer=row["customerID"],
        number=row["invoiceNumber"],
        date=_date(row, "InvoiceDate"),
        due=_date(row, "DueDate"),
        amount=_amount(row["InvoiceAmount"]),
        is_disputed=_choice(row, "Disputed", "Yes", "No"),
        settled=_date(row, "SettledDate") if row["SettledDate"] else None,
        is_paperless=_choice(row, "PaperlessBill", "Electronic", "Paper"),
    )
    if bill.due < bill.date:
        raise ValueError(f"it is due on {bill.due}, before its date {bill.date}")
    if bill.settled and bill.settled < bill.date:
        raise ValueError(f"it is settled on {bill.settled}, before its date {bill.date}")
    return bill


def _date(row, name):
    try:
        return datetime.datetime.strptime(row[name], DATE).date()
    except ValueError:
        raise ValueError(f"{name} “{row[name]}” is no date (month/day/year)") from None


def _amount(text):
    try:
        amount = Decimal(text)
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite():
        raise ValueError(f"InvoiceAmount “{text}” is no number")
    if not 0 < amount < LARGEST:
        raise ValueError(f"InvoiceAmount {text} is no amount of an invoice")
    if amount != amount.quantize(Decimal("0.01")):
        raise ValueError(f"InvoiceAmount {text} has fractions of a cent")
    return amount


def _choice(row, name, yes, no):
    if row[name].lower() not in (yes.lower(), no.lower()):
        raise ValueError(f"{name} “{row[name]}” is neither {yes} nor {no}")
    return row[name].lower() == yes.lower()
