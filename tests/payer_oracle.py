"""How a payer's curve, score and expected date are worked out, in plain Python: what the addon's SQL must say, too."""
from collections import defaultdict
from dataclasses import dataclass
from datetime import date

FIRST, LAST = -30, 90


@dataclass
class Bill:
    """An invoice as the settlement table knows it."""

    id: int
    customer: int
    issued: date
    due: date
    settled: date | None


class PayerOracle:
    """What is known on a day of a company's payers. Payments come in on weekends, too.

    :param list[Bill] bills:
    :param date day: what happened before it is known
    """

    def __init__(self, bills, day):
        self.day = day
        self.known = defaultdict(list)  # (bill, days late or None, more than so many days late or None)
        for bill in bills:
            if bill.issued >= day or (day - bill.due).days > 730:
                continue
            if bill.settled and bill.settled < day:
                late = (bill.settled - bill.due).days
                self.known[bill.customer].append((bill, min(max(late, FIRST), LAST), None))
            elif bill.due < day:
                self.known[bill.customer].append((bill, None, min((day - bill.due).days - 1, LAST - 1)))
        self.average = self.get_average()

    def get_average(self):
        """The company's probability of each day; None if too little is known."""
        sample = []
        for members in self.known.values():
            recent = [member for member in members if (self.day - member[0].due).days <= 365]
            recent.sort(key=lambda member: (-member[0].due.toordinal(), member[0].id))
            sample += recent[:10]
        if sum(late is not None for _bill, late, _open in sample) < 10:
            return None
        unpaid, left, average = 1.0, len(sample), {}
        for number in range(FIRST, LAST + 1):
            paid = sum(late == number for _bill, late, _open in sample)
            average[number] = unpaid * paid / left if left else 0.0
            unpaid -= average[number]
            left -= paid + sum(late is None and still_open == number for _bill, late, still_open in sample)
        average[LAST] += unpaid
        return average

    def get_curve(self, customer):
        """A customer's probability of each day."""
        curve = {number: 2 * share for number, share in self.average.items()}
        total = 2.0
        for bill, late, still_open in self.known[customer]:
            weight = 0.5 ** (max((self.day - bill.due).days, 0) / 365)
            total += weight
            if late is not None:
                curve[late] += weight
                continue
            tail = sum(self.average[number] for number in range(still_open + 1, LAST + 1))
            if tail < 1e-12:
                curve[LAST] += weight
                continue
            for number in range(still_open + 1, LAST + 1):
                curve[number] += weight * self.average[number] / tail
        return {number: share / total for number, share in curve.items()}

    def get_expected_late(self, customer):
        return sum(max(number, 0) * share for number, share in self.get_curve(customer).items())

    def get_probability_late(self, customer):
        return sum(share for number, share in self.get_curve(customer).items() if number > 0)

    def get_middle(self, customer, due):
        """Days after the due date until which half of what is unpaid so far is paid; None: not foreseeable."""
        since = max((self.day - due).days - 1, FIRST - 1)
        curve = self.get_curve(customer)
        left = sum(curve[number] for number in range(since + 1, LAST + 1))
        if since >= LAST - 1 or left < 1e-12:
            return None
        reached = 0.0
        for number in range(since + 1, LAST + 1):
            reached += curve[number]
            if reached >= left / 2 - 1e-9:
                return number
        return LAST
