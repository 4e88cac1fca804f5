from odoo import api, fields, models


class ResPartner(models.Model):
    _inherit = 'res.partner'

    payer_is_excluded = fields.Boolean(
        string="Do not score",
        tracking=True,
        copy=False,  # whoever duplicates a contact need not be allowed to read it
        groups='account.group_account_invoice,account.group_account_readonly',
        help="How this customer pays is not turned into a score; what is foretold of their invoices is that of the "
             "average customer.",
    )
    payer_score_id = fields.Many2one(
        comodel_name='account.payer.score',
        string="Payer score record",
        compute='_compute_payer_score_id',
        groups='account.group_account_invoice,account.group_account_readonly',
    )
    payer_score = fields.Integer(
        compute='_compute_payer_score_id',
        groups='account.group_account_invoice,account.group_account_readonly',
        help="How late this customer is expected to pay: 1 (on time) to 5 (very late). 0: no score.",
    )
    payer_reasons = fields.Text(
        string="Reasons of the score",
        compute='_compute_payer_score_id',
        groups='account.group_account_invoice,account.group_account_readonly',
    )

    @api.depends_context('company', 'lang')
    @api.depends('commercial_partner_id')
    def _compute_payer_score_id(self):
        scores = self.env['account.payer.score'].search([
            ('company_id', '=', self.env.company.id), ('partner_id', 'in', self.commercial_partner_id.ids)])
        by_customer = scores.grouped('partner_id')
        for partner in self:
            score = by_customer.get(partner.commercial_partner_id, scores.browse())
            partner.payer_score_id, partner.payer_score, partner.payer_reasons = score, score.score, score.reasons

    def write(self, vals):
        # EXTENDS 'base': what must not be known is forgotten at once
        result = super().write(vals)
        if not vals.keys().isdisjoint(('payer_is_excluded', 'is_company', 'parent_id')):
            self.env['account.payer.score'].sudo()._forget_unscored(self.commercial_partner_id)
        return result
