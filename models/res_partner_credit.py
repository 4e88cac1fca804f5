from typing import NamedTuple

from odoo import api, fields, models
from odoo.exceptions import AccessError

CREDIT_READERS = ','.join((
    'account.group_account_invoice',
    'account.group_account_readonly',
    'sales_team.group_sale_salesman',
    'account_dunning.group_credit_manager',
))
CREDIT_TERMS_IN_ORDER = (
    'credit_limit', 'credit_limit_extra', 'credit_limit_extra_until', 'credit_control_policy', 'credit_hold',
    'credit_hold_reason',
)
# What makes a contact's terms those of another one
CREDIT_HOLDERS = frozenset(('parent_id', 'is_company', 'child_ids'))


class CreditTerms(NamedTuple):
    """What a company has agreed with a customer, as of a day."""

    policy: str  # off, warn, block
    own_policy: str  # the customer's own, if they have one
    limit: float  # in company currency, temporary extra included; 0: no limit
    hold: bool
    hold_reason: str


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
            'credit_limit': min((limit for limit in self.mapped('credit_limit') if limit > 0), default=0.0),
            'credit_limit_extra': extras.credit_limit_extra,
            'credit_limit_extra_until': extras.credit_limit_extra_until,
            'credit_control_policy': max(self.mapped('credit_control_policy'), key=strictness.index),
            'credit_hold': bool(held),
            'credit_hold_reason': held[:1].credit_hold_reason,
        }

    def _get_credit_terms(self, company, date):
        """What the company has agreed with customers.

        :param res.company company: the company that sells, may be a branch
        :param datetime.date date: the temporary extra counts until its end date
        :return: the terms of each customer (`self`: commercial entities); the limit is in company currency
        :rtype: dict[res.partner, CreditTerms]
        """
        # A branch and its main company are one creditor: a limit or hold of either counts in the branch.
        chain = [self.sudo().with_company(branch) for branch in reversed(company.sudo().parent_ids)]
        company_policy = company.sudo().credit_control_policy or 'off'
        # Odoo's own switch rules: without it nothing is checked, whatever policy somebody has written.
        is_on = company.sudo().root_id.account_use_credit_limit
        terms = {}
        for partner, *views in zip(self, *chain, strict=True):
            limit_view = next((view for view in views if view.credit_limit), views[0])
            extra_view = next((view for view in views if view.credit_limit_extra), views[0])
            hold_view = next((view for view in views if view.credit_hold), None)
            limit = limit_view.credit_limit
            extra_until = extra_view.credit_limit_extra_until
            if limit > 0 and extra_until and extra_until >= date:
                limit += extra_view.credit_limit_extra
            own_policy = next((view.credit_control_policy for view in views if view.credit_control_policy), '')
            if not is_on:
                own_policy = 'off'
            terms[partner] = CreditTerms(
                policy=own_policy or company_policy,
                own_policy=own_policy,
                limit=max(limit, 0.0),
                hold=bool(hold_view),
                hold_reason=hold_view.credit_hold_reason or '' if hold_view else '',
            )
        return terms

    def action_view_credit_exposure(self):
        """Show what the exposure of the customer is made of."""
        self.ensure_one()
        self.check_access('read')
        return self.env['account.credit.exposure']._open(self, self.env.company)
