from odoo import api, fields, models
from odoo.tools import SQL


class AccountPayerChange(models.Model):
    """Customers about whom something has happened since they were scored. The follow-up notes what has happened within
    each transaction and hands on what it has taken off its own list."""

    _name = 'account.payer.change'
    _description = "Customer to score anew"
    _log_access = False

    company_id = fields.Many2one(comodel_name='res.company', required=True, ondelete='cascade')
    partner_id = fields.Many2one(comodel_name='res.partner', required=True, ondelete='cascade')

    @api.model
    def _note(self, partners):
        """Have customers scored anew in all companies that know them.

        :param res.partner partners: commercial partners
        """
        self.env.cr.execute(SQL(
            """
            INSERT INTO account_payer_change (company_id, partner_id)
            SELECT DISTINCT company_id, partner_id FROM account_payer_settlement WHERE partner_id = ANY(%s)
            """,
            partners.ids))

    @api.model
    def _take(self, company):
        """Take the customers off the list, and those off the follow-up's list that nobody has looked at yet.

        :param res.company company:
        :return: ids of commercial partners
        :rtype: list[int]
        """
        self.env['account.dunning.followup']._bring_up_to_date(company)
        rows = self.env.execute_query(SQL(
            "DELETE FROM account_payer_change WHERE company_id = %s RETURNING partner_id", company.id))
        return sorted({partner_id for (partner_id,) in rows})
