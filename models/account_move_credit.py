from odoo import api, models


class AccountMove(models.Model):
    _inherit = 'account.move'

    # The few that a customer has among all invoices, for the exposure.
    _draft_partner_idx = models.Index("(partner_id) WHERE state = 'draft'")

    @api.depends_context('uid', 'lang')
    def _compute_partner_credit_warning(self):
        # OVERRIDE of 'account': the banner counts what the check of orders counts, in the company of the invoice
        self.partner_credit_warning = ''
        drafts = self.filtered(
            lambda move: move.state == 'draft' and move.move_type == 'out_invoice' and move.partner_id)
        if not drafts or not self.env.user._is_internal():
            return
        Exposure = self.env['account.credit.exposure'].sudo()
        for company, moves in drafts.sudo().grouped('company_id').items():
            date = company.root_id._get_dunning_today()
            partners = moves.partner_id.commercial_partner_id._origin
            terms = partners._get_credit_terms(company, date)
            partners = partners.filtered(
                lambda partner, terms=terms, company=company:
                    terms[partner].policy != 'off' or company.account_use_credit_limit)
            amounts = Exposure._get_amounts({company.root_id: partners}, date)
            for move in moves:
                partner = move.partner_id.commercial_partner_id._origin
                owed = amounts.get((partner.id, company.root_id.id))
                if not owed:
                    continue
                # The draft is counted as it is stored; what is on the screen may differ.
                stored, amount = move._origin, move._get_credit_amount()
                if stored.state == 'draft' and stored.commercial_partner_id == partner:
                    owed = owed._replace(draft=company.currency_id.round(owed.draft - stored.amount_total_signed))
                total = company.currency_id.round(owed.total + amount)
                move.with_env(self.env).partner_credit_warning = '\n'.join(Exposure._explain(
                    company, partner, terms[partner], owed, total, with_document=amount > 0).values())

    def _get_credit_amount(self):
        """:return: what the invoice on the screen comes to, in company currency"""
        totals = self.tax_totals or {}
        return totals.get(
            'total_amount_currency' if self.currency_id == self.company_currency_id else 'total_amount', 0.0)

    def _post(self, soft=True):
        # EXTENDS 'account': payments and credit notes free credit when they are posted
        posted = super()._post(soft)
        credits = posted.line_ids.filtered(
            lambda line: line.account_type == 'asset_receivable' and line.balance < 0)
        self.env['sale.order']._recheck_held_orders(credits.partner_id)
        return posted


class AccountMoveLine(models.Model):
    _inherit = 'account.move.line'

    def _reconcile_post_hook(self, data):
        # EXTENDS 'account': a paid bill ends the holds that it caused
        result = super()._reconcile_post_hook(data)
        receivables = self.filtered(lambda line: line.account_type == 'asset_receivable')
        self.env['sale.order']._recheck_held_orders(receivables.partner_id)
        return result
