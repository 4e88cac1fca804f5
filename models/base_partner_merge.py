from odoo import models


class BasePartnerMergeAutomaticWizard(models.TransientModel):
    _inherit = 'base.partner.merge.automatic.wizard'

    def _update_foreign_keys(self, src_partners, dst_partner):
        # EXTENDS 'base': two notices on their way for one customer can't be, and Odoo would delete all of the merged
        # customer's notices to make room, the sent ones too, which are evidence.
        self.env['account.dunning.notice'].sudo().search([
            ('partner_id', 'in', src_partners.ids),
            ('state', 'in', ('draft', 'queued', 'failed')),
        ])._cancel(self.env._("The customer was merged with %(customer)s", customer=dst_partner.display_name))
        return super()._update_foreign_keys(src_partners, dst_partner)
