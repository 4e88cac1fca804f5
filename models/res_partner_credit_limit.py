from contextlib import contextmanager

from odoo import api, fields, models
from odoo.exceptions import UserError
from odoo.tools import format_date, formatLang

from .res_partner_credit import CREDIT_KEEPERS

# What makes a customer's limit another one
LIMIT_FIELDS = frozenset({
    'credit_limit', 'credit_limit_extra', 'credit_limit_extra_until', 'credit_limit_in_currency',
    'credit_limit_currency_id', 'credit_group_id', 'use_partner_credit_limit',
})
# Keys of `cr.cache`: no context key can be taken for them.
LIMIT_CHANGE = 'account_dunning.limit_change'
WATCHED_LIMITS = 'account_dunning.watched_limits'


class ResPartner(models.Model):
    """How limits change: what is kept of it, who has to agree, when they are looked at again."""

    _inherit = 'res.partner'

    credit_limit_review_date = fields.Date(
        string="Next review of the limit",
        company_dependent=True,
        copy=False,
        groups=CREDIT_KEEPERS,
        help="On that day the credit managers get an activity, if the company reviews its limits.",
    )

    #=== CRUD METHODS ===#

    @api.model_create_multi
    def create(self, vals_list):
        partners = super().create(vals_list)
        defaults = {key.removeprefix('default_') for key in self.env.context}
        if LIMIT_FIELDS.intersection(defaults.union(*vals_list)):
            partners._keep_limit_changes({})
        return partners

    def write(self, vals):
        cache = self.env.cr.cache
        if not LIMIT_FIELDS.intersection(vals) or cache.get(WATCHED_LIMITS):
            return super().write(vals)  # the one writes the other: looked at once, at the end
        with self._watching_limits():
            return super().write(vals)

    #=== BUSINESS METHODS ===#

    def _get_limits(self):
        """The terms of the customers among the contacts, in the company of the environment, today.

        :rtype: dict[res.partner, CreditTerms]
        """
        company = self.env.company
        customers = self.sudo().filtered(lambda partner: partner.commercial_partner_id == partner)
        return customers._get_credit_terms(company, company._get_dunning_today())

    @contextmanager
    def _watching_limits(self):
        """Within, limits of the customers change: what has become of them is looked at once, at the end."""
        cache = self.env.cr.cache
        before = self._get_limits()
        cache[WATCHED_LIMITS] = True
        try:
            yield
        finally:
            del cache[WATCHED_LIMITS]
        self._keep_limit_changes(before)

    def _keep_limit_changes(self, before):
        """Keep who has changed which limit, when and why; refuse what needs a second approval.

        :param dict before: CreditTerms by customer; empty: new customers
        :raise UserError: when somebody raises a limit above the amount that needs two credit managers
        """
        company = self.env.company
        after = self._get_limits()
        usual = company.env['res.partner']._fields['credit_limit'].get_company_dependent_fallback(self)
        changed = self.sudo().browse([
            partner.id for partner, terms in after.items()
            if (terms.limit, terms.stated_amount, terms.stated_currency_id, terms.group_id) != (
                (old.limit, old.stated_amount, old.stated_currency_id, old.group_id)
                if (old := before.get(partner)) else (usual, 0.0, False, False))
        ])
        if not changed:
            return
        reason, is_approved = self.env.cr.cache.get(LIMIT_CHANGE, (False, self.env.su))
        if not is_approved:
            for partner in changed:
                old = before.get(partner)
                company._check_limit_approved(partner.display_name, old.limit if old else usual, after[partner].limit)
        self.env['account.credit.event']._keep_limits(
            company, {partner: partner._describe_limit(company, after[partner], reason) for partner in changed})
        changed.with_company(company)._plan_limit_review(company)

    def _describe_limit(self, company, terms, reason):
        """:return: amount and currency of the limit, and what is to be said of it
        :rtype: tuple[float, res.currency, str]
        """
        amount, currency, extra = terms.limit, company.currency_id, False
        if terms.extra:
            extra = self.env._(
                "%(extra)s of it until %(date)s",
                extra=formatLang(self.env, terms.extra, currency_obj=currency),
                date=format_date(self.env, self.with_company(company).credit_limit_extra_until))
        elif terms.stated_currency_id:
            amount = terms.stated_amount
            currency = currency.browse(terms.stated_currency_id)
        shared = terms.group_id and self.env._("Shared: %(group)s", group=terms.group_name)
        return amount, currency, " · ".join(filter(None, (shared, extra, reason)))

    @api.model
    @contextmanager
    def _changing_limits(self, reason, is_approved=True):
        """Within, limits change for that reason, and with all the approvals that they need: for the flows that have
        asked for them, and not reachable from outside."""
        cache = self.env.cr.cache
        before = cache.get(LIMIT_CHANGE)
        cache[LIMIT_CHANGE] = (reason, is_approved)
        try:
            yield
        finally:
            if before is None:
                del cache[LIMIT_CHANGE]
            else:
                cache[LIMIT_CHANGE] = before

    def _set_credit_limit(self, company, amount, currency, date_until, reason):
        """Give the customer a limit: of its group, if it shares one; for some time, as an extra on top of its own.

        :param res.company company: in which it counts
        :param float amount: the whole limit
        :param res.currency currency: of the amount
        :param date | bool date_until: the last day; False: until it is changed
        :param str reason: why
        :raise UserError: when it can't be given for some time only
        """
        self.ensure_one()
        customer = self.sudo().commercial_partner_id.with_company(company)
        group = customer.with_company(company.sudo().root_id).credit_group_id
        with self._changing_limits(reason):
            if group:
                group.write({'amount': amount, 'currency_id': currency.id})
            elif date_until:
                customer.write({
                    'credit_limit_extra': customer._get_extra_for(company, amount, currency),
                    'credit_limit_extra_until': date_until,
                })
            elif currency == company.currency_id:
                customer.write({
                    'credit_limit': amount, 'credit_limit_in_currency': 0.0, 'credit_limit_currency_id': False})
            else:
                customer.write({'credit_limit_in_currency': amount, 'credit_limit_currency_id': currency.id})

    @api.model
    def _set_credit_limits(self, company, limits, reason):
        """Give customers limits that count until they are changed, without anybody else's approval.

        :param res.company company: in which they count
        :param dict limits: amount and currency (`res.currency`) by customer, none of which shares a limit
        :param str reason: why
        :raise UserError: when one of them needs a second approval
        """
        customers = self.sudo().union(*limits).with_company(company)
        with self._changing_limits(reason, is_approved=False), customers._watching_limits():
            for customer in customers:
                amount, currency = limits[customer]
                customer.write({
                    'credit_limit': amount, 'credit_limit_in_currency': 0.0, 'credit_limit_currency_id': False,
                } if currency == company.currency_id else {
                    'credit_limit_in_currency': amount, 'credit_limit_currency_id': currency.id})

    def _get_extra_for(self, company, amount, currency):
        """What has to come on top of the customer's limit to make it that amount, in company currency (float)."""
        date = company._get_dunning_today()
        terms = self._get_credit_terms(company, date)[self]
        rate = self.env['account.credit.exposure']._get_rates_of_day(currency, company, date)[currency]
        if rate is None or terms.in_doubt:
            raise UserError(self.env._(
                "There is no exchange rate for today: nobody can say what comes on top of the limit of %(customer)s.",
                customer=self.display_name))
        if not terms.limit:
            raise UserError(self.env._(
                "%(customer)s has no credit limit: it can't be raised for some time.", customer=self.display_name))
        extra = company.currency_id.round(amount * rate - (terms.limit - terms.extra))  # it replaces the one there is
        if company.currency_id.compare_amounts(extra, 0) <= 0:
            raise UserError(self.env._(
                "The limit of %(customer)s is not lower than that anyway: it can't be raised for some time.",
                customer=self.display_name))
        return extra

    #=== BUSINESS METHODS - REVIEW ===#

    def _plan_limit_review(self, company):
        """The limits of the customers have been looked at just now."""
        months = company.sudo().root_id.credit_review_months
        if months:
            date = fields.Date.add(company._get_dunning_today(), months=months)
            self.sudo().with_company(company).write({'credit_limit_review_date': date})

    @api.model
    def _ask_for_limit_reviews(self, batch_size=500):
        """Limits that nobody has looked at for so many months as the company says: the credit managers get an activity,
        once, and again after as many months. Limits that have no date yet get one.

        :param int batch_size: customers of each company at a time; the rest follow at the next run
        """
        activity_type = self.env.ref('account_dunning.mail_activity_type_credit_review', raise_if_not_found=False)
        for company in self.env['res.company'].sudo().search(
                [('parent_id', '=', False), ('credit_review_months', '>', 0)]):
            today = company._get_dunning_today()
            partners = self.sudo().with_company(company)
            usual = self._fields['credit_limit'].get_company_dependent_fallback(partners)
            has_limit = fields.Domain.OR((
                fields.Domain('credit_limit', '>', 0) & fields.Domain('credit_limit', '!=', usual),
                fields.Domain('credit_limit_in_currency', '>', 0),
                fields.Domain('credit_group_id', '!=', False),
            )) & (fields.Domain('is_company', '=', True) | fields.Domain('parent_id', '=', False))
            partners.search(
                has_limit & fields.Domain('credit_limit_review_date', '=', False), limit=batch_size,
            )._plan_limit_review(company)
            managers = company._get_credit_managers()
            due = partners.search(
                has_limit & fields.Domain('credit_limit_review_date', '<=', today), limit=batch_size)
            if not due or not managers or not activity_type:
                continue
            due._plan_limit_review(company)
            self.env['mail.activity'].sudo().with_context(mail_activity_quick_update=True).create([
                {
                    'res_model_id': self.env['ir.model']._get_id(self._name),
                    'res_id': partner.id,
                    'activity_type_id': activity_type.id,
                    'summary': self.with_context(lang=manager.lang).env._("Review the credit limit"),
                    'date_deadline': today,
                    'user_id': manager.id,
                    'automated': True,
                }
                for partner in due
                for manager in managers
            ])

    #=== ACTION METHODS ===#

    def action_view_limit_history(self):
        """Show who has changed the customer's limit, when and why."""
        self.ensure_one()
        self.check_access('read')
        return {
            'type': 'ir.actions.act_window',
            'name': self.env._("History of the limit"),
            'res_model': 'account.credit.event',
            'view_mode': 'list',
            'views': [(self.env.ref('account_dunning.account_credit_event_view_list_limit').id, 'list')],
            'domain': [('partner_id', '=', self.commercial_partner_id.id), ('kind', '=', 'limit')],
            'context': {'create': False},
        }

    def action_request_limit(self):
        """Ask the credit managers for a limit."""
        self.ensure_one()
        self.check_access('read')
        return self.commercial_partner_id._open_limit_request(self.env.company)

    def _open_limit_request(self, company):
        return {
            'type': 'ir.actions.act_window',
            'name': self.env._("Request a credit limit"),
            'res_model': 'account.credit.limit.request',
            'view_mode': 'form',
            'views': [(self.env.ref('account_dunning.account_credit_limit_request_view_form_ask').id, 'form')],
            'target': 'new',
            'context': {'default_partner_id': self.id, 'default_company_id': company.id},
        }
