from odoo import api, models
from odoo.tools import format_amount

from ..utils.days import format_day


class AccountDunningExplanation(models.AbstractModel):
    """The engine's verdict in the user's words: why there is a reminder or none, and what comes next."""

    _name = 'account.dunning.explanation'
    _description = "Dunning explanation"

    @api.model
    def _get_reasons(self):
        """The engine's reason codes and what a screen calls them.

        :rtype: list[tuple[str, str]]
        """
        return [
            ('due', self.env._("Due now")),
            ('pending', self.env._("In preparation")),
            ('waiting', self.env._("Waiting")),
            ('not_overdue', self.env._("Not overdue")),
            ('blocked', self.env._("Paused")),
            ('below_minimum', self.env._("Below the minimum")),
            ('last_level', self.env._("Last level reached")),
            ('no_procedure', self.env._("No procedure")),
            ('not_delivered', self.env._("Not delivered")),
            ('covered', self.env._("Covered by payments")),
            ('no_followup', self.env._("Excluded")),
        ]

    @api.model
    def _describe_step(self, reason, level, date, pauses=None):
        """Why there is a reminder or none, and what comes next.

        :param str reason: the engine's reason code.
        :param account.dunning.level level: the level that comes next, may be empty.
        :param date: the day on which it comes, or False.
        :param account.dunning.block pauses: what pauses dunning, if anything does.
        :rtype: str
        """
        texts = {
            'no_followup': self.env._("Excluded from follow-up"),
            'no_procedure': self.env._("No reminder: no dunning procedure"),
            'not_delivered': self.env._("No reminder: the invoice has not reached the customer"),
            'covered': self.env._("No reminder: covered by payments or credit notes that are not matched yet"),
            'last_level': self.env._("No further reminder: last level reached"),
            'below_minimum': self.env._("No reminder: less than the minimum amount"),
        }
        if reason == 'blocked':
            return self._describe_pauses(pauses)
        if reason in texts:
            return texts[reason]
        if not level:
            return self.env._("Not overdue")
        if reason == 'due':
            return self.env._("Next: %(level)s, due now", level=level.name)
        if reason == 'pending':
            return self.env._("In preparation: %(level)s", level=level.name)
        if not date:
            return self.env._("Next: %(level)s", level=level.name)
        return self.env._("Next: %(level)s on %(date)s", level=level.name, date=self._format_day(date))

    @api.model
    def _describe_pauses(self, pauses):
        """Until when dunning is paused, and why: of several pauses the one that lasts longest.

        :param account.dunning.block pauses: may be empty: then the payment itself is blocked.
        :rtype: str
        """
        if not pauses:
            return self.env._("Paused: the payment is blocked")
        pause = pauses.sorted(lambda block: (not block.date_until, block.date_until or block.date_from))[-1]
        reason = dict(pause._fields['reason']._description_selection(self.env))[pause.reason]
        if agency := pause.case_ids.agency_id[:1]:
            return self.env._("With %(agency)s since %(date)s", agency=agency.display_name,
                              date=self._format_day(pause.date_from))
        # A pause of all of its lines has no amount of its own, what was promised or disputed has.
        amount = (pause.promise_ids or pause.dispute_ids)[:1].amount if not pause.amount else pause.amount
        if amount and pause.currency_id:
            reason = self.env._(
                "%(reason)s of %(amount)s",
                reason=reason,
                amount=format_amount(self.env, amount, pause.currency_id),
            )
        if pause.date_until:
            return self.env._(
                "Paused until %(date)s: %(reason)s", date=self._format_day(pause.date_until), reason=reason)
        return self.env._("Paused: %(reason)s", reason=reason)

    @api.model
    def _find_pauses(self, company, partners, date):
        """The pauses in force over customers or over some of their lines.

        :param res.company company:
        :param res.partner partners: commercial partners.
        :param date date:
        :rtype: account.dunning.block
        """
        # The block's reason and end are shown to whoever may see the customer's dunning at all.
        return self.env['account.dunning.block'].sudo().search([
            ('company_id', '=', company.id),
            ('partner_id.commercial_partner_id', 'in', partners.ids),
            ('state', '=', 'active'),
            ('date_from', '<=', date),
            '|', ('date_until', '=', False), ('date_until', '>=', date),
        ])

    @api.model
    def _filter_pauses_of(self, line, pauses):
        """The pauses that cover a line, by themselves or through its customer.

        :param account.move.line line:
        :param account.dunning.block pauses:
        :rtype: account.dunning.block
        """
        customer = line.partner_id.commercial_partner_id
        return pauses.filtered(lambda block: (
            line in block.move_line_ids if block.move_line_ids
            else block.partner_id.commercial_partner_id == customer
        ))

    @api.model
    def _format_day(self, date):
        """A day as short as can be: the year only when it helps."""
        this_year = self.env.company._get_dunning_today().year
        return format_day(self.env, date, short=True, with_year=date.year != this_year)
