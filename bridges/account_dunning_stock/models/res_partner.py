from odoo import api, fields, models
from odoo.tools import SQL, ormcache

from odoo.addons.account_dunning.models.res_partner_credit import CREDIT_READERS


class ResPartner(models.Model):
    _inherit = 'res.partner'

    delivery_credit_policy = fields.Selection(
        string="Deliveries",
        selection=[
            ('off', "Not checked"),
            ('warn', "Warn"),
            ('block', "Block: deliveries wait for a release"),
        ],
        company_dependent=True,
        copy=False,
        groups=CREDIT_READERS,
        help="Empty: the company's policy, or none where the customer has no credit control.",
    )

    _delivery_credit_policy_idx = models.Index("(id) WHERE delivery_credit_policy IS NOT NULL")

    #=== CRUD METHODS ===#

    @api.model_create_multi
    def create(self, vals_list):
        # EXTENDS 'account_dunning'
        partners = super().create(vals_list)
        if any('delivery_credit_policy' in vals for vals in vals_list):
            self.env.registry.clear_cache()
        return partners

    def write(self, vals):
        # EXTENDS 'account_dunning'
        result = super().write(vals)
        if 'delivery_credit_policy' in vals:
            self.env.registry.clear_cache()
        return result

    #=== CREDIT TERMS ===#

    @api.model
    def _get_credit_terms_fields(self):
        # EXTENDS 'account_dunning': changed by those who may change limits
        return (*super()._get_credit_terms_fields(), 'delivery_credit_policy')

    def _get_most_careful_terms(self):
        # EXTENDS 'account_dunning'
        strictness = [False, 'off', 'warn', 'block']
        return {
            **super()._get_most_careful_terms(),
            'delivery_credit_policy': max(self.mapped('delivery_credit_policy'), key=strictness.index),
        }

    @api.model
    @ormcache()
    def _has_delivery_policies(self):
        """Whether any customer has a policy for deliveries of their own, in any company: if nobody has one, where the
        company has none, nothing needs to be read of anybody."""
        self.env['res.partner'].flush_model(['delivery_credit_policy'])
        return bool(self.env.execute_query(SQL(
            "SELECT FROM res_partner WHERE delivery_credit_policy IS NOT NULL LIMIT 1")))

    def _get_delivery_terms(self, company, date):
        """What the company has agreed with customers, `policy` being that for deliveries.

        :param res.company company: the company that delivers, may be a branch
        :param datetime.date date: see `_get_credit_terms()`
        :return: the terms of each customer (`self`: commercial entities)
        :rtype: dict[res.partner, CreditTerms]
        """
        root = company.sudo().root_id
        chain = [self.sudo().with_company(branch) for branch in reversed(company.sudo().parent_ids)]
        agreed = self._get_credit_terms(company, date)
        terms = {}
        for partner, *views in zip(self, *chain, strict=True):
            own = next((view.delivery_credit_policy for view in views if view.delivery_credit_policy), '')
            if not root.account_use_credit_limit:
                policy = 'off'
            elif own:
                policy = own
            elif agreed[partner].own_policy == 'off':
                policy = 'off'
            else:
                policy = root.delivery_credit_policy or 'off'
            terms[partner] = agreed[partner]._replace(policy=policy, own_policy=policy)
        return terms
