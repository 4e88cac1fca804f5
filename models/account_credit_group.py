from odoo import api, fields, models
from odoo.exceptions import ValidationError
from odoo.tools import SQL

from .res_partner_credit_limit import LIMIT_CHANGE


class AccountCreditGroup(models.Model):
    """Customers that share one credit limit: what all of them owe together is compared with it.

    Who is in it stands on the customers, per company as all of their terms, and is guarded there. The group's row also
    serialises credit checks, as the rows of `account.credit.exposure` do for each customer: of two orders of different
    customers of one group that are confirmed at the same moment the second fails to serialise and is tried again.
    """

    _name = 'account.credit.group'
    _description = "Customers that share a credit limit"
    _inherit = ['mail.thread']
    _order = 'name, id'
    _mail_post_access = 'read'

    name = fields.Char(required=True, tracking=True)
    company_id = fields.Many2one(
        comodel_name='res.company', required=True, index=True, ondelete='cascade',
        default=lambda self: self.env.company.root_id,
        help="Branches count for their main company: it is one creditor.")
    currency_id = fields.Many2one(
        comodel_name='res.currency', required=True, tracking=True, default=lambda self: self.env.company.currency_id)
    amount = fields.Monetary(
        string="Credit limit", required=True, tracking=True,
        help="In another currency than the company's: converted at the rate of the day.")
    note = fields.Text()
    partner_ids = fields.Many2many(
        comodel_name='res.partner', string="Customers", compute='_compute_partner_ids', inverse='_inverse_partner_ids',
        context={'active_test': False})
    partner_count = fields.Integer(string="Number of customers", compute='_compute_partner_ids')
    company_currency_id = fields.Many2one(related='company_id.currency_id', string="Company currency")
    amount_compared = fields.Monetary(
        string="Counts against the limit", compute='_compute_amount_compared', currency_field='company_currency_id',
        help="What all customers of the group owe and are about to owe, in company currency.")
    check_count = fields.Integer(string="Checks", readonly=True, copy=False)
    date_checked = fields.Datetime(string="Last check", readonly=True, copy=False)

    _amount_positive = models.Constraint(
        'CHECK(amount > 0)',
        "A shared credit limit must be more than zero.",
    )

    #=== COMPUTE METHODS ===#

    def _compute_partner_ids(self):
        members = self.sudo()._get_members()
        for group in self:
            group.partner_ids = members.get(group._origin, self.env['res.partner'])
            group.partner_count = len(group.partner_ids)

    def _inverse_partner_ids(self):
        # Who may change the group need not be allowed to change contacts.
        for group in self:
            customers = group.sudo().with_company(group.company_id)
            wanted = customers.partner_ids
            members = customers._get_members().get(group, wanted.browse())
            for partner in wanted:
                if partner != partner.commercial_partner_id:
                    raise ValidationError(self.env._(
                        "%(contact)s is a contact of %(customer)s: put that customer into the group.",
                        contact=partner.display_name, customer=partner.commercial_partner_id.display_name))
            elsewhere = (wanted - members).filtered('credit_group_id')
            if elsewhere:
                raise ValidationError(self.env._(
                    "%(customer)s shares the limit of %(group)s already.",
                    customer=elsewhere[0].display_name, group=elsewhere[0].credit_group_id.name))
            (members - wanted).write({'credit_group_id': False})
            (wanted - members).write({'credit_group_id': group.id})

    def _compute_amount_compared(self):
        # As the exposure of each customer: who may see the group need not be allowed to see the ledger.
        Exposure = self.env['account.credit.exposure'].sudo()
        members = self.sudo()._get_members()
        self.amount_compared = 0.0
        for company, groups in self.sudo().grouped('company_id').items():
            partners = self.env['res.partner'].sudo().union(*(members[group][:1] for group in groups))
            amounts = Exposure._get_amounts({company: partners}, company._get_dunning_today())
            for group in groups:
                for partner in members[group][:1]:
                    owed = amounts[partner.id, company.id]
                    group.with_env(self.env).amount_compared = Exposure._get_amount_compared(
                        company, owed, owed.total)

    #=== CONSTRAINT METHODS ===#

    @api.constrains('company_id')
    def _check_company_is_main(self):
        for group in self:
            if group.company_id.sudo().parent_id:
                raise ValidationError(self.env._(
                    "A shared limit belongs to the main company %(company)s: its branches count for it.",
                    company=group.company_id.sudo().root_id.name))
            strangers = group.sudo().with_context(active_test=False).env['res.partner'].search_count([
                ('credit_group_id', '=', group.id)], limit=1)
            if group.company_id != self.env.company and strangers:
                raise ValidationError(self.env._("A group with customers stays with its company."))

    #=== CRUD METHODS ===#

    @api.model_create_multi
    def create(self, vals_list):
        groups = super().create(vals_list)
        groups._keep_limit_changes({})
        return groups

    def write(self, vals):
        if {'amount', 'currency_id'}.isdisjoint(vals):
            return super().write(vals)
        before = self._get_limits()
        result = super().write(vals)
        self._keep_limit_changes(before)
        return result

    #=== BUSINESS METHODS ===#

    def _get_limits(self):
        """:return: the amount, its currency, and what it is in company currency today; 0: nobody knows"""
        limits = {}
        for company, groups in self.sudo().grouped('company_id').items():
            rates = self.env['account.credit.exposure']._get_rates_of_day(
                groups.currency_id, company, company._get_dunning_today())
            for group in groups:
                limits[group] = (
                    group.amount, group.currency_id,
                    company.currency_id.round(group.amount * (rates[group.currency_id] or 0.0)))
        return limits

    def _keep_limit_changes(self, before):
        """Keep who has changed the limit of the customers; refuse what needs a second approval.

        :param dict before: of `_get_limits()`; empty: new groups
        :raise UserError: see `res.company._check_limit_approved()`
        """
        reason, is_approved = self.env.cr.cache.get(LIMIT_CHANGE, (False, self.env.su))
        members = self.sudo()._get_members()
        for group, (amount, currency, limit) in self._get_limits().items():
            old_amount, old_currency, old_limit = before.get(group, (0.0, currency, 0.01))
            if (amount, currency) == (old_amount, old_currency):
                continue
            if not is_approved:
                group.company_id.with_env(self.env)._check_limit_approved(group.name, old_limit, limit)
            note = " · ".join(filter(None, (self.env._("Shared: %(group)s", group=group.name), reason)))
            if before:
                self.env['account.credit.event']._keep_limits(
                    group.company_id, {partner: (amount, currency, note) for partner in members[group]})
            members[group]._plan_limit_review(group.company_id)

    def _get_members(self):
        """The customers of each group, archived ones too: what they owe is still owed. A customer that has become a
        contact of another one has the terms of that one.

        :return: with all rights
        :rtype: dict[account.credit.group, res.partner]
        """
        members = {}
        Partner = self.env['res.partner'].sudo().with_context(active_test=False)
        for company, groups in self._origin.sudo().grouped('company_id').items():
            partners = Partner.with_company(company).search_fetch(
                [('credit_group_id', 'in', groups.ids)], ['credit_group_id', 'commercial_partner_id'], order='id')
            partners = partners.filtered(lambda partner: partner.commercial_partner_id == partner)
            found = partners.grouped('credit_group_id')
            members.update({group: found.get(group, Partner) for group in groups})
        return members

    def _lock(self):
        """Write the rows, always in one order; REPEATABLE READ refuses it when another transaction wrote one."""
        self.env.execute_query(SQL("""
            UPDATE account_credit_group AS credit_group
               SET check_count = COALESCE(credit_group.check_count, 0) + 1, date_checked = NOW() AT TIME ZONE 'UTC'
              FROM (SELECT id FROM account_credit_group WHERE id = ANY(%s) ORDER BY id FOR UPDATE) AS locked
             WHERE credit_group.id = locked.id
         RETURNING credit_group.id
            """, self.ids))

    def _get_strictest(self):
        """The group with the lowest limit; one in a currency without a rate comes first, as nobody can say that it is
        not the lowest.

        :rtype: account.credit.group
        """
        if len(self) < 2:
            return self
        company = self.company_id[0]
        rates = self.env['account.credit.exposure']._get_rates_of_day(
            self.currency_id, company, company._get_dunning_today())
        return self.sorted(lambda group: (group.amount * (rates[group.currency_id] or 0.0), group.id))[:1]

    def action_view_customers(self):
        """Show the customers that share the limit."""
        self.ensure_one()
        self.check_access('read')
        return {
            'type': 'ir.actions.act_window',
            'name': self.name,
            'res_model': 'res.partner',
            'view_mode': 'list,form',
            'domain': [('id', 'in', self.partner_ids.ids)],
            'context': {'create': False, 'active_test': False},
        }
