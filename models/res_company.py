from odoo import fields, models


class ResCompany(models.Model):
    _inherit = 'res.company'

    dunning_procedure_id = fields.Many2one(
        comodel_name='account.dunning.procedure',
        string="Dunning procedure",
        ondelete='restrict',
        help="For customers and invoices that have no procedure of their own; empty: they are not dunned.",
    )
    dunning_followup_date = fields.Date(
        string="Follow-up as of",
        readonly=True,
        copy=False,
        help="The day that the figures of the follow-up were brought up to.",
    )

    def _get_dunning_today(self):
        """The company's own today: a server in another time zone must not remind a day too early.

        :rtype: datetime.date
        """
        self.ensure_one()
        return fields.Date.context_today(self.with_context(tz=self.partner_id.tz or self.env.user.tz or 'UTC'))
