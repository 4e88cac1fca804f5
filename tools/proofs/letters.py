"""What went out, read back: the mails that the mail server took, and the amounts printed in the letters.

Nothing here asks the addon what it meant to write: the open amounts come from the ledger by plain SQL.
"""

import email
import email.policy
import io
import logging
import re
from decimal import Decimal

from ..environment.ui import Failure

# 1,240.00 and 1.240,00 and 1 240,00, but no percentage and no part of a longer number or word.
AMOUNT = re.compile(
    r"(?<![\w.,/-])-?\d{1,3}"
    r"(?:(?P<sep>[,.'\u2019 \u00a0\u202f])\d{3}(?:(?P=sep)\d{3})*)?"
    r"[.,]\d{2}(?![\w/-]|[.,]\d|[\s\u00a0\u202f]*%)"
)


def amounts_in(text):
    """The amounts of money in a text.

    :rtype: list[Decimal]
    """
    found = []
    for match in AMOUNT.finditer(text):
        digits = re.sub(r"[^\d]", "", match[0])
        found.append(Decimal(f"{'-' if match[0].startswith('-') else ''}{digits[:-2]}.{digits[-2:]}"))
    return found


def text_of(content):
    """The text of a PDF, page by page."""
    from pypdf import PdfReader

    logging.getLogger("pypdf").setLevel(logging.ERROR)
    return "\n".join(page.extract_text() for page in PdfReader(io.BytesIO(content)).pages)


def check_notices(odoo, notices, folder):
    """Each notice that asks for money has a letter whose every amount is that of the ledger; each mail has arrived.

    :param notices: account.dunning.notice records, sent just now
    :param folder: of the mails that the mail server took
    :raises Failure: with all that is wrong
    """
    if not notices:
        return
    mails = read_mails(folder, set(notices.filtered("email_to").mapped("message_id")))
    problems = []
    for notice in notices:
        name = f"{notice.name} ({notice.partner_id.name}, {notice.level_id.name})"
        content = notice.attachment_id.raw
        if (notice.email_to or notice.is_letter_to_print) and not content:
            problems.append(f"{name}: has no letter.")
            continue
        problems += [f"{name}: {problem}" for problem in check_sums(odoo, notice)]
        if content:
            problems += [f"{name}: {problem}" for problem in check_letter(odoo, notice, text_of(content))]
        if notice.email_to:
            problems += [f"{name}: {problem}" for problem in check_mail(notice, mails.get(notice.message_id), content)]
    if problems:
        raise Failure("What went out is wrong:\n  " + "\n  ".join(problems))


def read_mails(folder, message_ids):
    """The mails of these Message-IDs, newest files first."""
    mails = {}
    for path in sorted(folder.glob("*.eml"), reverse=True):
        if len(mails) == len(message_ids):
            break
        mail = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
        if mail["Message-Id"] in message_ids:
            mails[mail["Message-Id"]] = mail
    return mails


def check_mail(notice, mail, content):
    if mail is None:
        yield f"no mail {notice.message_id} has arrived."
        return
    if notice.email_to not in mail["To"]:
        yield f"the mail is for {mail['To']} instead of {notice.email_to}."
    parts = [part.get_content() for part in mail.iter_attachments() if part.get_content_type() == "application/pdf"]
    if content not in parts:
        yield "the mail does not carry the letter."


def ledger(odoo, notice):
    """What the books say about the notice's lines.

    :return: per currency a list of (move line id, whole amount, open amount, coming due)
    """
    odoo.flush_all()
    odoo.cr.execute(
        """SELECT currency.name, currency.decimal_places, line.move_line_id, aml.amount_currency,
                  aml.amount_residual_currency, line.is_coming_due, line.amount_set_off, line.amount_blocked,
                  aml.reconciled
             FROM account_dunning_notice_line line
             JOIN account_move_line aml ON aml.id = line.move_line_id
             JOIN res_currency currency ON currency.id = aml.currency_id
            WHERE line.notice_id = %s
         ORDER BY COALESCE(line.date_maturity, line.invoice_date), line.id""",
        [notice.id],
    )
    rows = odoo.cr.dictfetchall()
    for row in rows:  # Odoo's cursor gives floats
        for name in ("amount_currency", "amount_residual_currency", "amount_set_off", "amount_blocked"):
            row[name] = quantize(row[name] or 0)
    return rows


def check_sums(odoo, notice):
    """The notice's own sum is that of the open lines in the books."""
    odoo.cr.execute(
        """SELECT COALESCE(SUM(ROUND(aml.amount_residual
                    * (aml.amount_residual_currency - line.amount_set_off - line.amount_blocked)
                    / NULLIF(aml.amount_residual_currency, 0), 2)), 0)
             FROM account_dunning_notice_line line
             JOIN account_move_line aml ON aml.id = line.move_line_id
            WHERE line.notice_id = %s AND (NOT line.is_coming_due)""",
        [notice.id],
    )
    [total] = odoo.cr.fetchone()
    if notice.currency_id.compare_amounts(float(total), notice.amount_due):
        yield f"asks for {notice.amount_due:.2f}, the open lines are {total}."


def expected_amounts(rows, charges):
    """What a letter may print: (those that it must print, those that it may print as well).

    :param list[dict] rows: of `ledger`
    :param dict charges: charges to be paid with it, by currency
    """
    must, may = set(), {Decimal("0.00")}
    dunned = [row for row in rows if not row["is_coming_due"]] or rows
    for row in rows:
        whole, left = row["amount_currency"], row["amount_residual_currency"]
        must |= {whole, left}
        if row in dunned:
            must.add(whole - left)
            may |= {
                -row["amount_set_off"],
                -row["amount_blocked"],
                row["amount_blocked"],
                left - row["amount_set_off"] - row["amount_blocked"],
            }
    for currency in {row["name"] for row in dunned} | charges.keys():
        lines = [row for row in dunned if row["name"] == currency]
        whole = sum((row["amount_currency"] for row in lines), Decimal())
        left = sum((row["amount_residual_currency"] for row in lines), Decimal())
        set_off = sum((row["amount_set_off"] for row in lines), Decimal())
        blocked = sum((row["amount_blocked"] for row in lines), Decimal())
        due = left - set_off - blocked
        must |= {due + charges.get(currency, 0)}
        if lines:
            must |= {whole, whole - left, left}
        may |= {due, -set_off, set_off, -blocked, blocked, charges.get(currency, Decimal())}
        for count in range(1, len(lines)):  # carried forward from page to page
            may |= carried_forward(lines[:count])
    return {quantize(amount) for amount in must}, {quantize(amount) for amount in must | may}


def carried_forward(lines):
    """The sums down to some line of the letter's table."""
    whole, left, set_off, blocked = (
        sum((row[name] for row in lines), Decimal())
        for name in ("amount_currency", "amount_residual_currency", "amount_set_off", "amount_blocked")
    )
    return {whole, whole - left, left, -set_off, -blocked, left - set_off - blocked}


def quantize(amount):
    amount = Decimal(amount).quantize(Decimal("0.01"))
    return amount or Decimal("0.00")


def check_letter(odoo, notice, text):
    rows = ledger(odoo, notice)
    if any(row["reconciled"] for row in rows):
        yield "claims a bill that is paid."
    charges, details = charges_of(notice)
    details |= agreed_amounts(odoo, notice)
    must, may = expected_amounts(rows, charges)
    printed = set(amounts_in(text))
    if missing := must - printed:
        yield f"the letter does not show {join(missing)}."
    if extra := printed - may - details:
        yield f"the letter shows {join(extra)}, which is no sum of the open lines."


def charges_of(notice):
    """Charges claimed in the letter by currency, and the amounts of which they are made up."""
    charges, details = {}, set()
    if "account.late.charge" in notice.env and notice.level_id.charge == "print":
        for charge in notice.env["account.late.charge"].search([("notice_ids", "in", notice.ids)]):
            charges[charge.currency_id.name] = charges.get(charge.currency_id.name, Decimal()) + quantize(charge.amount)
            details |= {quantize(charge.amount), quantize(charge.base)}
        details |= set(charges.values())
    return charges, details


def agreed_amounts(odoo, notice):
    """What was promised, planned or disputed by the customer: the letter may speak of it."""
    odoo.cr.execute(
        """SELECT amount FROM account_payment_promise WHERE partner_id = %(customer)s
            UNION SELECT amount FROM account_dispute WHERE partner_id = %(customer)s
            UNION SELECT amount_total FROM account_payment_plan WHERE partner_id = %(customer)s
            UNION SELECT installment.amount
                    FROM account_payment_plan_installment installment
                    JOIN account_payment_plan plan ON plan.id = installment.plan_id
                   WHERE plan.partner_id = %(customer)s""",
        {"customer": notice.partner_id.id},
    )
    return {quantize(amount) for [amount] in odoo.cr.fetchall() if amount}


def join(amounts):
    return ", ".join(f"{amount:,.2f}" for amount in sorted(amounts))


def export_letters(odoo, folder):
    """Write the letters of all notices that have gone out into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for notice in odoo["account.dunning.notice"].search([("state", "=", "sent"), ("attachment_id", "!=", False)]):
        path, content = folder / notice.attachment_id.name.replace("/", "-"), notice.attachment_id.raw
        if content.startswith(b"%PDF") and not path.exists():  # a replay leaves letters out
            path.write_bytes(content)
