from typing import NamedTuple

from odoo import api, fields, models
from odoo.exceptions import AccessError, ValidationError

CREDIT_READERS = ','.join((
    'account.group_account_invoice',
    'account.group_account_readonly',
    'sales_team.group_sale_salesman',
    'account_dunning.group_credit_manager',
))
CREDIT_TERMS_IN_ORDER = (
    'credit_limit', 'credit_limit_extra', 'credit_limit_extra_until', 'credit_control_policy', 'credit_hold',
    'credit_hold_reason', 'credit_limit_currency_id', 'credit_limit_in_currency', 'credit_group_id',
    'credit_limit_review_date',
)
CREDIT_KEEPERS = ','.join((
    'account.group_account_invoice',
    'account.group_account_readonly',
    'account_dunning.group_credit_manager',
))
# What makes a contact's terms those of another one
CREDIT_HOLDERS = frozenset(('parent_id', 'is_company', 'child_ids'))


class CreditTerms(NamedTuple):
    """What a company has agreed with a customer, as of a day."""

    policy: str  # off, warn, block
    own_policy: str  # the customer's own, if they have one
    limit: float  # in company currency, temporary extra included; 0: no limit
    hold: bool
    hold_reason: str
    stated_amount: float = 0.0  # the limit as it is stated, where that is in a currency of its own
    stated_currency_id: int = False
    group_id: int = False  # the limit is shared with the others of this group
    group_name: str = ''
    extra: float = 0.0  # the part of the limit that is temporary
    holder: tuple = ()  # whose limit it is: the key of what counts together

    @property
    def in_doubt(self):
        """There is a limit, and no rate for its currency."""
        return bool(self.stated_currency_id) and not self.limit

    @property
    def has_limit(self):
        return bool(self.limit) or self.in_doubt


class ResPartner(models.Model):
    _inherit = 'res.partner'

    # Read on the commercial entity, in the company of the order (a branch: also in its main company).
    # Everyone who sells may see them, see `_check_credit_control_rights()` for who may change them.

    credit_control_policy = fields.Selection(
        string="Credit policy",
        selection=[
            ('off', "No credit control"),
            ('warn', "Warn"),
            ('block', "Block: orders wait for a release"),
        ],
        company_dependent=True,
        copy=False,
        groups=CREDIT_READERS,
        help="Empty: the company's policy.",
    )
    credit_hold = fields.Boolean(
        string="Credit hold",
        company_dependent=True,
        copy=False,
        groups=CREDIT_READERS,
        help="New orders of the customer wait for a release by a credit manager.",
    )
    credit_hold_reason = fields.Char(
        string="Reason of the hold",
        company_dependent=True,
        copy=False,
        groups=CREDIT_READERS,
    )
    credit_limit_extra = fields.Float(
        string="Temporary extra",
        company_dependent=True,
        copy=False,
        groups=CREDIT_READERS,
        help="On top of the credit limit, in company currency, until its end date.",
    )
    credit_limit_extra_until = fields.Date(
        string="Extra until",
        company_dependent=True,
        copy=False,
        groups=CREDIT_READERS,
        help="The last day of the temporary extra; without an end date the extra does not count.",
    )
    credit_limit_in_currency = fields.Float(
        string="Limit in another currency",
        company_dependent=True,
        copy=False,
        groups=CREDIT_READERS,
        help="Instead of the credit limit in company currency; converted at the rate of the day.",
    )
    credit_limit_currency_id = fields.Many2one(
        comodel_name='res.currency',
        string="Currency of the limit",
        company_dependent=True,
        copy=False,
        groups=CREDIT_READERS,
    )
    credit_group_id = fields.Many2one(
        comodel_name='account.credit.group',
        string="Shares the limit of",
        company_dependent=True,
        copy=False,
        index='btree_not_null',
        groups=CREDIT_KEEPERS,
        help="The limit of the group counts for what all of its customers owe together, instead of their own limits.",
    )
    credit_cover_ids = fields.One2many(
        comodel_name='account.credit.cover', inverse_name='partner_id', string="Cover", groups=CREDIT_KEEPERS)
    credit_exposure = fields.Monetary(
        string="Credit exposure",
        compute='_compute_credit_exposure',
        compute_sudo=True,
        groups=CREDIT_READERS,
        help="What the customer owes and is about to owe: open items, draft invoices and confirmed orders not invoiced "
             "yet, with taxes, of all contacts and branches, in company currency.",
    )

    @api.depends_context('company')
    def _compute_credit_exposure(self):
        root = self.env.company.root_id
        customers = self.commercial_partner_id._origin
        amounts = self.env['account.credit.exposure']._get_amounts(
            {root: customers}, root.sudo()._get_dunning_today())
        for partner in self:
            key = (partner.commercial_partner_id._origin.id, root.id)
            partner.credit_exposure = amounts[key].total if key in amounts else 0.0

    @api.depends_context('company')
    def _compute_show_credit_limit(self):
        # EXTENDS 'account': the switch of the main company is that of its branches
        result = super()._compute_show_credit_limit()
        if self.env.company.root_id.sudo().account_use_credit_limit:
            self.show_credit_limit = True
        return result

    #=== CONSTRAINT METHODS ===#

    @api.constrains('credit_limit_currency_id', 'credit_limit_in_currency')
    def _check_credit_limit_in_currency(self):
        for partner in self.sudo():
            if partner.credit_limit_in_currency < 0:
                raise ValidationError(self.env._(
                    "The credit limit of %(customer)s can't be negative.", customer=partner.display_name))
            if bool(partner.credit_limit_in_currency) != bool(partner.credit_limit_currency_id):
                raise ValidationError(self.env._(
                    "A credit limit in another currency needs both an amount and a currency: %(customer)s.",
                    customer=partner.display_name))

    @api.constrains('credit_group_id')
    def _check_credit_group(self):
        for partner in self.sudo():
            if partner.credit_group_id and partner.credit_group_id.company_id != self.env.company:
                raise ValidationError(self.env._(
                    "%(group)s shares a limit of %(company)s: switch to that company to put %(customer)s in it.",
                    group=partner.credit_group_id.name, company=partner.credit_group_id.company_id.name,
                    customer=partner.display_name))

    #=== CRUD METHODS ===#

    @api.model_create_multi
    def create(self, vals_list):
        partners = super().create(vals_list)
        if not self._may_change_credit_terms():
            partners._with_contacts()._check_credit_terms({})
        return partners

    def write(self, vals):
        if self._may_change_credit_terms() or not self._get_guarded_terms().intersection(vals):
            return super().write(vals)
        before = self._with_contacts()._snapshot_credit_terms()
        result = super().write(vals)
        self._with_contacts()._check_credit_terms(before)
        return result

    #=== CREDIT TERMS ===#

    def _may_change_credit_terms(self):
        """Limits and holds are changed by credit managers and by administrators of accounting."""
        user = self.env.user
        return (
            self.env.su
            or user.has_group('account_dunning.group_credit_manager')
            or user.has_group('account.group_account_manager')
        )

    @api.model
    def _get_credit_terms_fields(self):
        """What is agreed with a customer, see `_check_credit_terms()`; for addons that agree on more.

        :return: names of company-dependent fields
        :rtype: tuple[str]
        """
        return CREDIT_TERMS_IN_ORDER

    @api.model
    def _get_guarded_terms(self):
        """The fields that may lead to other terms."""
        return CREDIT_HOLDERS.union(self._get_credit_terms_fields(), ('use_partner_credit_limit',))

    def _with_contacts(self):
        """The partners and all contacts below them: Odoo writes those of a form with all rights."""
        if not self.sudo().with_context(active_test=False).child_ids:
            return self
        return self | self.sudo().with_context(active_test=False).search([('id', 'child_of', self.ids)])

    def _snapshot_credit_terms(self):
        """Who holds the terms of each contact, and which these are, in the company of the environment.

        :rtype: dict[res.partner, tuple[res.partner, tuple]]
        """
        fnames = self._get_credit_terms_fields()
        return {
            partner: (holder, tuple(holder[fname] for fname in fnames))
            for partner in self.sudo()
            for holder in partner.commercial_partner_id
        }

    def _check_credit_terms(self, before):
        """The terms that count are those of the commercial entity, whatever way led to them: a form that sends all of
        its fields, a default, an import, a new parent. They must be what they were; a new customer has the usual ones.

        :param dict before: of `_snapshot_credit_terms`; empty for new contacts
        :raise AccessError: when the terms that count for a contact are others now
        """
        fnames = self._get_credit_terms_fields()
        usual = tuple(self._fields[fname].get_company_dependent_fallback(self) for fname in fnames)
        for partner, (holder, terms) in self._snapshot_credit_terms().items():
            old_holder, old_terms = before.get(partner, (holder.browse(), usual))
            if holder != partner and not old_holder:
                continue  # a new contact of a customer has no terms of its own
            if holder == partner and old_holder not in (partner, old_holder.browse()):
                # A contact that becomes a customer of its own begins as any new one.
                partner.write(dict(zip(fnames, usual, strict=True)))
            elif [value or False for value in terms] != [value or False for value in old_terms]:
                raise AccessError(self.env._(
                    "Only a credit manager or an accounting administrator can change the credit limit, policy or hold "
                    "of a customer, and %(customer)s would get others.", customer=partner.display_name))

    def _get_most_careful_terms(self):
        """The strictest of the customers' terms in the company of the environment, as values to write.

        :rtype: dict
        """
        strictness = [False, 'off', 'warn', 'block']
        held = self.filtered('credit_hold')
        extras = self.filtered('credit_limit_extra').sorted('credit_limit_extra')[:1]
        return {
            **self._get_lowest_limit(),
            'credit_group_id': self.credit_group_id._get_strictest().id,
            'credit_limit_extra': extras.credit_limit_extra,
            'credit_limit_extra_until': extras.credit_limit_extra_until,
            'credit_control_policy': max(self.mapped('credit_control_policy'), key=strictness.index),
            'credit_hold': bool(held),
            'credit_hold_reason': held[:1].credit_hold_reason,
        }

    def _with_limit_sharers(self):
        """The customers (`self`: commercial entities), and all that share a limit with one of them in any company.

        :return: with all rights
        :rtype: res.partner
        """
        partners = self.sudo()
        if not partners:
            return partners
        groups = self.env['account.credit.group'].sudo()
        for [company] in groups._read_group([], ['company_id']):
            groups |= partners.with_company(company).credit_group_id
        return partners.union(*groups._get_members().values())

    def _get_lowest_limit(self):
        """The lowest of the customers' own limits in the company of the environment, as values to write. One in a
        currency without a rate comes first: nobody can say that it is not the lowest.

        :rtype: dict
        """
        company = self.env.company
        rates = self.env['account.credit.exposure']._get_rates_of_day(
            self.credit_limit_currency_id, company, company._get_dunning_today())
        limits = []
        for partner in self:
            if currency := partner.credit_limit_currency_id:
                amount = partner.credit_limit_in_currency
                limits.append((amount * (rates[currency] or 0.0), {
                    'credit_limit': partner.credit_limit,
                    'credit_limit_currency_id': currency.id,
                    'credit_limit_in_currency': amount,
                }))
            elif partner.credit_limit > 0:
                limits.append((partner.credit_limit, {
                    'credit_limit': partner.credit_limit,
                    'credit_limit_currency_id': False,
                    'credit_limit_in_currency': 0.0,
                }))
        return min(limits, key=lambda limit: limit[0])[1] if limits else {
            'credit_limit': 0.0, 'credit_limit_currency_id': False, 'credit_limit_in_currency': 0.0}

    def _get_credit_terms(self, company, date):
        """What the company has agreed with customers.

        :param res.company company: the company that sells, may be a branch
        :param datetime.date date: the temporary extra counts until its end date; a limit in another currency counts at
            the rate of that day
        :return: the terms of each customer (`self`: commercial entities); the limit is in company currency
        :rtype: dict[res.partner, CreditTerms]
        """
        # A branch and its main company are one creditor: a limit or hold of either counts in the branch.
        chain = [self.sudo().with_company(branch) for branch in reversed(company.sudo().parent_ids)]
        company_policy = company.sudo().credit_control_policy or 'off'
        # Odoo's own switch rules: without it nothing is checked, whatever policy somebody has written.
        is_on = company.sudo().root_id.account_use_credit_limit
        currencies = self.env['res.currency'].sudo().union(
            chain[-1].credit_group_id.currency_id, *(views.credit_limit_currency_id for views in chain))
        rates = self.env['account.credit.exposure']._get_rates_of_day(currencies, company, date) if currencies else {}
        terms = {}
        for partner, *views in zip(self, *chain, strict=True):
            limit_view = next(
                (view for view in views if view.credit_limit_in_currency or view.credit_limit), views[0])
            group = views[-1].credit_group_id
            extra_view = next((view for view in views if view.credit_limit_extra), views[0])
            hold_view = next((view for view in views if view.credit_hold), None)
            stated_currency = (group or limit_view)[
                'currency_id' if group else 'credit_limit_currency_id']
            stated = group.amount if group else limit_view.credit_limit_in_currency
            limit = (
                company.currency_id.round(stated * (rates[stated_currency] or 0.0)) if stated_currency
                else limit_view.credit_limit)
            extra_until = extra_view.credit_limit_extra_until
            extra = 0.0
            if limit > 0 and extra_until and extra_until >= date and not group:
                extra = extra_view.credit_limit_extra
            own_policy = next((view.credit_control_policy for view in views if view.credit_control_policy), '')
            if not is_on:
                own_policy = 'off'
            terms[partner] = CreditTerms(
                policy=own_policy or company_policy,
                own_policy=own_policy,
                limit=max(limit + extra, 0.0),
                hold=bool(hold_view),
                hold_reason=hold_view.credit_hold_reason or '' if hold_view else '',
                stated_amount=stated if stated_currency else 0.0,
                stated_currency_id=stated_currency.id,
                extra=extra,
                group_id=group.id,
                group_name=group.name or '',
                holder=(group._name, group.id) if group else (partner._name, partner.id),
            )
        return terms

    def action_view_credit_exposure(self):
        """Show what the exposure of the customer is made of."""
        self.ensure_one()
        self.check_access('read')
        return self.env['account.credit.exposure']._open(self, self.env.company)
