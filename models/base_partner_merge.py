from odoo import models
from odoo.exceptions import UserError


class BasePartnerMergeAutomaticWizard(models.TransientModel):
    _inherit = 'base.partner.merge.automatic.wizard'

    def _update_foreign_keys(self, src_partners, dst_partner):
        # EXTENDS 'base', which gives the one customer what the others have
        self._check_credit_groups(src_partners | dst_partner)
        # Two notices on their way for one customer can't be, and Odoo would delete all of the merged
        # customer's notices to make room, the sent ones too, which are evidence.
        self.env['account.dunning.notice'].sudo().search([
            ('partner_id', 'in', src_partners.ids),
            ('state', 'in', ('draft', 'queued', 'failed')),
        ])._cancel(self.env._("The customer was merged with %(customer)s", customer=dst_partner.display_name))
        # Odoo does not see a unique index, only constraints: its statement would fail.
        self.env['account.dunning.followup'].sudo().search([('partner_id', 'in', src_partners.ids)]).unlink()
        self.env['account.credit.exposure'].sudo().search([('partner_id', 'in', src_partners.ids)]).unlink()
        self.env['account.payer.score'].sudo().search([('partner_id', 'in', src_partners.ids)]).unlink()
        result = super()._update_foreign_keys(src_partners, dst_partner)
        self.env['account.payer.change'].sudo()._note(dst_partner)
        return result

    def _update_values(self, src_partners, dst_partner):
        # EXTENDS 'base': whoever may merge customers must not loosen their credit terms by it, so the merged customer
        # gets the most careful of each; Odoo then finds them there already.
        partners = (src_partners | dst_partner).sudo()
        for company in self.env['res.company'].sudo().search([('active', 'in', (True, False))]):
            dst_partner.sudo().with_company(company).write(partners.with_company(company)._get_most_careful_terms())
        if any(partners.mapped('payer_is_excluded')):
            dst_partner.sudo().payer_is_excluded = True
        self.env.invalidate_all()
        return super()._update_values(src_partners, dst_partner)

    def _check_credit_groups(self, partners):
        """Of customers that share a limit with others and customers that do not, or with others, no answer is the most
        careful one: whatever becomes of them, somebody's limit is looser than before.

        :raise UserError: unless it is somebody who may change limits; then the strictest of the groups stays
        """
        if self.env['res.partner']._may_change_credit_terms():
            return
        for company in self.env['res.company'].sudo().search([('parent_id', '=', False)]):
            groups = [partner.credit_group_id for partner in partners.sudo().with_company(company)]
            if len(set(groups)) > 1:
                raise UserError(self.env._(
                    "These customers do not share the same credit limit (%(groups)s): a credit manager can merge them.",
                    groups=", ".join({group.name for group in groups if group})))
