"""mutate              deliberate faults in the rules, each of which a test must catch (--only WORD --list)

Each fault is made in a copy of this checkout and its tests are run there; a fault that no test catches is a rule that
nothing proves.
"""
import argparse
import contextlib
import shutil
import subprocess
import sys
from collections import namedtuple

from ..environment.ui import Failure, say

Fault = namedtuple("Fault", "what file old new tests")

ENGINE, LEDGER = "models/account_dunning_engine.py", "models/account_dunning_ledger.py"
AGREEMENT, PLAN = "models/account_dunning_agreement.py", "models/account_payment_plan.py"
PROMISE, DELIVERY = "models/account_payment_promise.py", "models/account_dunning_notice_delivery.py"
ORDER, EXPOSURE = "models/sale_order.py", "models/account_credit_exposure.py"
RULE, CHARGE = "models/account_late_charge_rule.py", "models/account_dunning_notice_charge.py"
LINE, NOTICE = "models/account_dunning_notice_line.py", "models/account_dunning_notice.py"
OF_ENGINE = ("test_engine.py", "test_levels_in_order.py")
OF_CHARGES = ("test_late_charge_vectors.py", "test_late_charge_notice.py")

FAULTS = (
    Fault("a level is reached a day late", ENGINE, "(days >= delay_days OR is_broken)",
          "(days > delay_days OR is_broken)", OF_ENGINE),
    Fault("the minimum must be exceeded", ENGINE, "customer_amount < min_amount", "customer_amount <= min_amount",
          OF_ENGINE),
    Fault("the wait ends a day late", ENGINE, "wait_date > %(date)s AND NOT is_broken",
          "wait_date >= %(date)s AND NOT is_broken", OF_ENGINE),
    Fault("a broken agreement waits", ENGINE, "wait_date > %(date)s AND NOT is_broken", "wait_date > %(date)s",
          OF_ENGINE),
    Fault("credits are not set off", ENGINE, "COALESCE(credit.amount, 0) + claimed", "0 + claimed", OF_ENGINE),
    Fault("credits of another currency count", ENGINE, "AND credit.currency_id = claim.currency_id", "", OF_ENGINE),
    Fault("pauses are not looked at", ENGINE, "LEAST(COALESCE(pause.amount, 0), line.residual) AS blocked",
          "0 AS blocked", OF_ENGINE),
    Fault("a pause ends a day early", ENGINE, "block.date_until >= %(date)s)", "block.date_until > %(date)s)",
          OF_ENGINE),
    Fault("excluded bills are dunned", ENGINE, "WHEN no_followup IS TRUE THEN 'no_followup'", "WHEN FALSE THEN ''",
          OF_ENGINE),
    Fault("reordered levels are repeated", ENGINE, "COALESCE(furthest.level_id, line.own_level_id)",
          "line.own_level_id", OF_ENGINE),
    Fault("the same letter for each new bill", ENGINE, "repeat_date > %(date)s AND NOT is_broken",
          "FALSE AND NOT is_broken", OF_ENGINE),
    Fault("a courtesy after the due date", ENGINE, "level.delay_days >= 0 or days < 0", "True", OF_ENGINE),
    Fault("a payment in process is forgotten", LEDGER, "AND payment.state = 'in_process'\n",
          "AND payment.state = 'draft'\n", OF_ENGINE),
    Fault("money on the statement is forgotten", LEDGER, "AND received.amount_residual < 0",
          "AND received.amount_residual > 0", OF_ENGINE),
    Fault("money that goes out covers", LEDGER, "AND received.amount_residual < 0", "AND received.amount_residual != 0",
          OF_ENGINE),
    Fault("one euro fills two agreements", AGREEMENT, "left = round(left - amount, DIGITS)", "left = left",
          ("test_agreement.py",)),
    Fault("an agreement gets more than was agreed", AGREEMENT, "amount = min(left, missing[item.key])", "amount = left",
          ("test_agreement.py",)),
    Fault("money of before the agreement counts", AGREEMENT, "if receipt.date < item.since or", "if False or",
          ("test_agreement.py", "test_payment_promise.py")),
    Fault("a promise is broken a day early", PROMISE, "'broken' if date > self._get_last_day()",
          "'broken' if date >= self._get_last_day()", ("test_payment_promise.py", "test_agreement.py")),
    Fault("an installment is broken within its grace", PLAN, "if last_day < date and", "if installment.date < date and",
          ("test_payment_plan.py",)),
    Fault("an unsigned offer becomes active", PLAN, "if self.state == 'signed' and all(", "if all(",
          ("test_payment_plan.py", "test_agreement.py")),
    Fault("what is paid meanwhile goes out", LINE, "left = lines - gone\n        gone.unlink()", "left = lines - gone",
          ("test_delivery.py", "test_run.py")),
    Fault("a bill that was moved is reminded again", LINE,
          "if (row['current_level_id'] or False) != self.previous_level_id.id or not row['is_reached']:",
          "if not row['is_reached']:", ("test_delivery.py", "test_run.py", "test_engine.py")),
    Fault("an answer cut off counts as a refusal", DELIVERY, "SURE_REFUSALS = (", "SURE_REFUSALS = (OSError, ",
          ("test_delivery.py",)),
    Fault("a mail from nobody", DELIVERY, "notice.email_to and not notice._get_letter_sender()['email']", "False",
          ("test_delivery.py",)),
    Fault("a letter without an address", DELIVERY, "notice.level_id.print_letter and not notice._get_postal_address()",
          "False", ("test_delivery.py",)),
    Fault("the limit itself is refused", EXPOSURE, "compare_amounts(compared, terms.limit) > 0",
          "compare_amounts(compared, terms.limit) >= 0", ("test_credit_exposure.py", "test_credit_control.py")),
    Fault("confirmed orders may grow", ORDER, "self.currency_id.compare_amounts(open_now, open_amount) > 0", "False",
          ("test_credit_control.py",)),
    Fault("a release covers more than was released", ORDER,
          "compare_amounts(self.amount_total, self.credit_release_amount) <= 0", "compare_amounts(0.0, 1.0) <= 0",
          ("test_credit_control.py",)),
    Fault("anybody releases", ORDER,
          "if not self.env.user.has_group('account_dunning.group_credit_manager'):\n            raise",
          "if False:\n            raise", ("test_credit_control.py",)),
    Fault("orders of a batch do not count for each other", ORDER, "self.amount += order._get_credit_order_amount()",
          "self.amount += 0 * order._get_credit_order_amount()", ("test_credit_control.py",)),
    Fault("draft invoices are forgotten", EXPOSURE, "self.receivable + self.draft + self.orders",
          "self.receivable + self.orders", ("test_credit_exposure.py",)),
    Fault("cover ends a day early", EXPOSURE, "cover.date_until >= %(date)s", "cover.date_until > %(date)s",
          ("test_credit_cover.py",)),
    Fault("a rate is guessed", EXPOSURE, "if currency.id in known else None", "if True else None",
          ("test_credit_limit_currency.py",)),
    Fault("the others of a group owe nothing", EXPOSURE, "return company.currency_id.round(total + owed.others)",
          "return company.currency_id.round(total)", ("test_credit_group.py",)),
    Fault("a deposit paid in part releases", "models/sale_order_deposit.py",
          "in ('paid', 'in_payment')\n            and invoice.currency_id.is_zero(invoice.amount_residual)",
          "in ('paid', 'in_payment', 'partial')", ("test_credit_deposit.py",)),
    Fault("one approves twice", "models/account_credit_limit_request.py",
          "request.state == 'second' and request.first_user_id == self.env.user", "False",
          ("test_credit_limit_request.py",)),
    Fault("compensation a second time", CHARGE, "('kind', '=', 'compensation'), ('state', 'in', CHARGED_STATES)",
          "('kind', '=', 'compensation'), ('state', '=', 'waived')", OF_CHARGES),
    Fault("the rate is never rounded up", RULE, "if self.rate_rounding:", "if False:", OF_CHARGES),
    Fault("the floor is left out", RULE, "if floor is not None and floor", "if False and floor", OF_CHARGES),
    Fault("consumers are charged without a reminder", RULE, "if rule.free_reminder:", "if False:", OF_CHARGES),
)  # fmt: skip


def main(env, arguments):
    parser = argparse.ArgumentParser(prog="./dev mutate")
    parser.add_argument("--only", default="", help="faults whose description has this word")
    parser.add_argument("--list", action="store_true", help="only name the faults")
    options = parser.parse_args(arguments)
    faults = [fault for fault in FAULTS if options.only in fault.what]
    for fault in faults:
        text = (env.root / fault.file).read_text()
        if fault.old not in text:
            raise Failure(f"The place of the fault “{fault.what}” is not in {fault.file} any more.")
    if options.list:
        say("\n".join(f"  {fault.what} ({fault.file})" for fault in faults))
        return 0
    copy = env.home / "mutated"
    survivors = []
    with env.lock("mutate"):
        for fault in faults:
            caught = try_out(env, copy, fault)
            say(f"  {'caught  ' if caught else 'SURVIVED'}  {fault.what}")
            survivors += [] if caught else [fault]
        shutil.rmtree(copy, ignore_errors=True)
    say(f"\n{len(faults) - len(survivors)} of {len(faults)} faults are caught.")
    return int(bool(survivors))


def try_out(env, copy, fault):
    """Whether the tests fail with the fault."""
    refresh(env, copy)
    file = copy / fault.file
    file.write_text(file.read_text().replace(fault.old, fault.new))
    command = [sys.executable, str(copy / "dev"), "test", "--no-lint", "--no-http", "-q", "-x"]
    command += [f"tests/{name}" for name in fault.tests]
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if "FAILED" not in done.stdout and done.returncode:
        raise Failure(f"The tests of “{fault.what}” can't be run:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return bool(done.returncode)


def refresh(env, copy):
    """Make the copy what the checkout is."""
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(copy)
    shutil.copytree(env.root, copy, ignore=shutil.ignore_patterns(".git", "__pycache__"))
