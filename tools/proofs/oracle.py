"""What dunning must do, worked out from the bills of a file alone: the rules once more, bill by bill.

After each day what the addon has sent is fetched by plain SQL and compared. Nothing here uses the addon's code.
"""

import datetime
from collections import defaultdict, namedtuple
from decimal import Decimal

from ..environment.ui import Failure

Level = namedtuple("Level", "id name delay_days wait_days repeat_days")
DAY = datetime.timedelta(days=1)


def cents(amount):
    """An amount as Odoo's cursor gives it (a float), exactly."""
    return Decimal(amount).quantize(Decimal("0.01"))


class Debt:
    """An open bill, and how it has been dunned."""

    def __init__(self, bill, line, customer):
        self.bill, self.line, self.customer = bill, line, customer
        self.position, self.reminded = -1, None  # place of its level in the procedure, day of its last reminder

    def is_paused(self, day):
        return self.bill.is_disputed and day >= self.bill.due

    def __str__(self):
        return f"invoice {self.bill.number} (line {self.bill.line}, customer {self.bill.customer})"


class Oracle:
    """Keeps the books of the bills on its own and says each day who must be reminded.

    :param odoo: Odoo's environment, for plain SQL
    """

    def __init__(self, odoo, company, procedure):
        self.cr, self.flush, self.company = odoo.cr, odoo.flush_all, company.id
        self.procedure, self.escalation = procedure.id, procedure.escalation
        self.flush()
        self.cr.execute(
            """SELECT level.id, level.name->>'en_US', level.delay_days,
                      GREATEST(level.min_wait_days, procedure.min_wait_days), level.repeat_days,
                      procedure.min_wait_days,
                      GREATEST(level.min_amount, procedure.min_amount)
                 FROM account_dunning_level level
                 JOIN account_dunning_procedure procedure ON procedure.id = level.procedure_id
                WHERE procedure.id = %s AND level.active
             ORDER BY level.sequence, level.id""",
            [procedure.id],
        )
        rows = self.cr.fetchall()
        if any(row[6] for row in rows) or self.escalation != "step":
            raise Failure("The replay checks procedures that go step by step, without minimum amounts.")
        self.levels = [Level(*row[:5]) for row in rows]
        self.position = {level.id: position for position, level in enumerate(self.levels)}
        self.wait = rows[0][5]
        self.debts = {}  # by line
        self.of_customer = defaultdict(dict)
        self.last_sent = {}  # by customer
        self.last_of_level = {}  # by customer and position
        self.settled = {}  # day by line
        self.history = defaultdict(set)  # positions by line
        self.count = 0
        self.sent, self.paid = defaultdict(int), defaultdict(list)

    # === THE FILE === #

    def issue(self, bill, line, customer):
        self.debts[line] = self.of_customer[customer][line] = Debt(bill, line, customer)

    def settle(self, bill, line, day):
        debt = self.debts.pop(line)
        del self.of_customer[debt.customer][line]
        self.settled[line] = day
        if debt.reminded:
            self.paid[debt.position].append((day - debt.reminded).days)

    def begin(self, day):
        """Work out who must be reminded on the day.

        Sets ``expected``: by customer ({line: position}, sum).
        """
        self.expected = {}
        for customer, debts in self.of_customer.items():
            due = {}
            for debt in debts.values():
                position = None if debt.is_paused(day) else self._next(debt, day)
                if position is not None:
                    due[debt.line] = position
            # What the customer had lately for other bills is not said again, unless a notice goes out anyway.
            if due and any(not self._is_repeated(customer, position, day) for position in due.values()):
                total = sum(
                    (
                        debt.bill.amount
                        for debt in debts.values()
                        if not debt.is_paused(day) and (day > debt.bill.due or debt.line in due)
                    ),
                    Decimal(),
                )
                self.expected[customer] = (due, total)

    def _next(self, debt, day):
        """The place of the level that the bill reaches on the day, or None."""
        late = (day - debt.bill.due).days
        for position in range(debt.position + 1, len(self.levels)):
            level = self.levels[position]
            if level.delay_days < 0 <= late:
                continue  # a courtesy before the due date, whose time is over
            last = self.last_sent.get(debt.customer)
            waited = last is None or (day - last).days >= level.wait_days
            return position if late >= level.delay_days and waited else None
        return None

    def _is_repeated(self, customer, position, day):
        last = self.last_of_level.get((customer, position))
        return last is not None and (day - last).days < self.levels[position].repeat_days

    # === WHAT WENT OUT === #

    def check(self, day):
        """Compare what was sent on the day with what must have been.

        :raises Failure: with all that is wrong on that day
        """
        self.flush()
        problems = [*self._check_left_over(), *self._check_sent(day)]
        if problems:
            raise Failure(f"On {day} the dunning did wrong:\n  " + "\n  ".join(problems))
        self.count += 1

    def _check_left_over(self):
        self.cr.execute(
            """SELECT notice.name, notice.state, notice.failure_reason, partner.name
                 FROM account_dunning_notice notice
                 JOIN res_partner partner ON partner.id = notice.partner_id
                WHERE notice.company_id = %s AND notice.state IN ('draft', 'queued', 'failed')""",
            [self.company],
        )
        for name, state, reason, customer in self.cr.fetchall():
            yield f"notice {name} for {customer} is {state}{': ' + reason if reason else ''}."

    def _check_sent(self, day):
        self.cr.execute(
            """SELECT notice.id, notice.name, notice.partner_id, notice.amount_due, line.move_line_id, line.advances,
                      line.is_coming_due, line.level_id, aml.amount_residual, aml.dunning_level_id
                 FROM account_dunning_notice notice
                 JOIN account_dunning_notice_line line ON line.notice_id = notice.id
                 JOIN account_move_line aml ON aml.id = line.move_line_id
                WHERE notice.company_id = %s AND notice.sent_date = %s AND notice.state = 'sent'
             ORDER BY notice.id, line.id""",
            [self.company, day],
        )
        by_notice = defaultdict(list)
        for row in self.cr.fetchall():
            by_notice[(*row[:3], cents(row[3]))].append((*row[4:8], cents(row[8]), row[9]))
        reminded = set()
        for (_id, name, customer, amount), lines in by_notice.items():
            for problem in self._check_notice(day, customer, amount, lines, customer in reminded):
                yield f"notice {name}: {problem}"
            reminded.add(customer)
        for customer in self.expected.keys() - reminded:
            yield "no notice for " + ", ".join(str(self.debts[line]) for line in self.expected[customer][0]) + "."
        for customer in reminded:
            self.last_sent[customer] = day

    def _check_notice(self, day, customer, amount, lines, is_second):
        if is_second:
            yield "the customer's second one of the day."
        last = self.last_sent.get(customer)
        if last and (day - last).days < self.wait:
            yield f"{(day - last).days} days after the one of {last}, the procedure waits {self.wait}."
        advancing, total = {}, Decimal()
        for line, advances, is_coming_due, level, residual, line_level in lines:
            debt = self.debts.get(line)
            if debt is None:
                yield f"reminds of a bill settled on {self.settled.get(line, 'an unknown day')} (journal item {line})."
                continue
            if debt.is_paused(day):
                yield f"reminds of {debt}, which is disputed."
            if not is_coming_due:
                total += residual
            if advances:
                advancing[line] = self.position[level]
                yield from self._check_step(day, debt, self.position[level])
                if line_level != level:
                    yield f"{debt} stands at another level in the books than in the notice."
        if total != amount:
            yield f"asks for {amount}, the open lines are {total}."
        due, expected = self.expected.get(customer, ({}, Decimal()))
        if advancing != due:
            yield f"moves {self._names(advancing)} instead of {self._names(due)}."
        if due and amount != expected:
            yield f"asks for {amount}, by the file {expected} is overdue."
        if advancing:
            highest = max(advancing.values())
            self.sent[highest] += 1
            self.last_of_level[customer, highest] = day

    def _check_step(self, day, debt, position):
        name = self.levels[position].name
        if position in self.history[debt.line]:
            yield f"repeats the level {name} for {debt}."
        for passed in range(debt.position + 1, position):
            if self.levels[passed].delay_days >= 0:
                yield f"skips the level {self.levels[passed].name} for {debt}."
        if position < debt.position:
            yield f"goes back to the level {name} for {debt}."
        self.history[debt.line].add(position)
        debt.position, debt.reminded = position, day

    def _names(self, positions):
        names = (f"{self.debts[line]} to {self.levels[position].name}" for line, position in positions.items())
        return ", ".join(names) or "nothing"

    # === FIGURES === #

    def balance(self, day):
        """The open and the overdue amount in the books.

        :raises Failure: they are not what the file says
        """
        self.cr.execute(
            """SELECT COALESCE(SUM(aml.amount_residual), 0),
                      COALESCE(SUM(aml.amount_residual) FILTER (WHERE aml.date_maturity < %s), 0)
                 FROM account_move_line aml
                 JOIN account_account account ON account.id = aml.account_id
                WHERE account.account_type = 'asset_receivable' AND aml.parent_state = 'posted'
                  AND aml.company_id = %s""",
            [day, self.company],
        )
        open_amount, overdue = map(cents, self.cr.fetchone())
        if open_amount != (mine := sum((debt.bill.amount for debt in self.debts.values()), Decimal())):
            raise Failure(f"On {day} {open_amount} is open in the books, by the file it is {mine}.")
        return open_amount, overdue

    def balances(self, day):
        """What each customer owed on the evening of the day by the books, by id."""
        self.cr.execute(
            """SELECT partner.commercial_partner_id, SUM(aml.balance)
                 FROM account_move_line aml
                 JOIN account_account account ON account.id = aml.account_id
                 JOIN res_partner partner ON partner.id = aml.partner_id
                WHERE account.account_type = 'asset_receivable' AND aml.parent_state = 'posted'
                  AND aml.company_id = %s AND aml.date <= %s
             GROUP BY partner.commercial_partner_id""",
            [self.company, day],
        )
        return {customer: cents(amount) for customer, amount in self.cr.fetchall()}

    def reminders(self):
        """Customer, day and id of each reminder that has gone out."""
        self.cr.execute(
            """SELECT partner_id, sent_date, id FROM account_dunning_notice
                WHERE state = 'sent' AND company_id = %s""",
            [self.company],
        )
        return self.cr.fetchall()

    def take_month(self):
        """Notices sent by level, and days to payment by last level, since the last call."""
        sent, paid = self.sent, self.paid
        self.sent, self.paid = defaultdict(int), defaultdict(list)
        return sent, paid
