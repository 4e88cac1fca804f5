from collections import defaultdict, namedtuple
from datetime import date as day
from datetime import timedelta

from odoo import api, models

# Sums are rounded to so many decimals: more than any currency has, fewer than errors of floating point
DIGITS = 6

# How long an agreement that is over is looked at again: a payment may come or go after the fact
LOOK_BACK = timedelta(days=365)

# What was agreed: so much by a day. `lines` are the ids of the journal items that it is about; money counts from
# `since` until `until` (dates, both included; until None: without end), and what came in on the first day only if it
# was not known yet when the agreement was made (`made`, a datetime or None). `money_only`: no credit note fills it.
Item = namedtuple('Item', 'key partner_id currency_id lines since until made agreed_on due amount money_only')

# Which part of a receipt filled an item: on which date, how much, whether it is matched with one of its lines, and
# whether it is known to have come (an online payment may only be on its way)
Share = namedtuple('Share', 'date amount is_matched is_known')


def allocate(items, receipts):
    """Let each euro received fill one agreement only.

    First what is for a certain line, which can only fill agreements about that line; then what nobody has told for
    what, which can fill any of the customer's in its currency. Agreements are filled in the order in which they were
    made, and within one the oldest due first.

    :param list[Item] items: promises and installments
    :param list receipts: of `account.dunning.ledger._find_receipts`
    :return: for each item's key what filled it, in the order of dates
    :rtype: dict[object, list[Share]]
    """
    shares = {item.key: [] for item in items}
    missing = {item.key: item.amount for item in items}
    by_line, by_customer = defaultdict(list), defaultdict(list)
    for item in sorted(items, key=lambda item: (item.agreed_on, item.due, item.key)):
        by_customer[item.partner_id, item.currency_id].append(item)
        for line_id in item.lines:
            by_line[line_id].append(item)
    for is_told in (True, False):
        for receipt in receipts:
            if bool(receipt.line_id) != is_told:
                continue
            candidates = (
                by_line[receipt.line_id] if is_told else by_customer[receipt.partner_id, receipt.currency_id])
            left = receipt.amount
            for item in candidates:
                if left <= 0:
                    break
                if missing[item.key] <= 0 or not counts_for(receipt, item):
                    continue
                amount = min(left, missing[item.key])
                missing[item.key] = round(missing[item.key] - amount, DIGITS)
                left = round(left - amount, DIGITS)
                shares[item.key].append(Share(receipt.date, amount, receipt.is_matched, receipt.booked is not None))
    return shares


def counts_for(receipt, item):
    """Whether the receipt came in within the time of the agreement."""
    if not receipt.is_money:
        # A credit note lowers the debt from when it is matched, whatever its date.
        return not item.money_only and not (item.made and receipt.booked and receipt.booked < item.made)
    if receipt.date < item.since or item.until and receipt.date > item.until:
        return False
    if receipt.date == item.since and item.made and receipt.booked:
        return receipt.booked >= item.made
    return True


def total(shares, until=day.max, **conditions):
    """The sum of shares, such as ``total(shares, day, is_matched=True)``.

    :param list[Share] shares:
    :param datetime.date until: only what came in until that day
    """
    return sum(
        share.amount for share in shares
        if share.date <= until and all(getattr(share, name) == value for name, value in conditions.items())
    )


class AccountDunningAgreement(models.AbstractModel):
    """What customers have agreed to, promises and installments, and what of it the ledger says is fulfilled."""

    _name = 'account.dunning.agreement'
    _description = "Agreements and what fulfils them"

    @api.model
    def _find_shares(self, company, date, partners):
        """Which money fulfils which agreement of the customers. A constant number of queries.

        :param res.company company:
        :param datetime.date date: the company's today
        :param res.partner partners: commercial partners
        :return: what fills each ``('promise', id)`` and ``('installment', id)``, and by how much credit notes and
            write-offs have lowered the debt of each promise
        :rtype: tuple[dict, dict]
        """
        agreed = [('company_id', '=', company.id), ('partner_id', 'in', partners.ids)]
        promises = self.env['account.payment.promise'].sudo().search([*agreed, ('state', '!=', 'cancelled')])
        plans = self.env['account.payment.plan'].sudo().search(
            [*agreed, ('state', 'in', ('signed', 'active', 'done', 'broken'))])
        promised = [item for promise in promises for item in promise._prepare_items()]
        planned = [item for plan in plans for item in plan._prepare_items()]
        receipts = self.env['account.dunning.ledger']._find_receipts(
            company, date, partners.ids, (promises.move_line_ids | plans.move_line_ids).ids)
        debts = {('promise', promise.id): promise.amount_start for promise in promises}
        lowered = allocate(
            [item._replace(amount=debts[item.key], until=None, money_only=False) for item in promised],
            [receipt for receipt in receipts if not receipt.is_money])
        return allocate(promised + planned, receipts), {key: total(shares) for key, shares in lowered.items()}
