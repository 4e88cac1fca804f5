from odoo import api, fields, models


class AccountLateChargeSheet(models.TransientModel):
    """The calculation sheet of an invoice on screen: the same template as the PDF."""

    _name = 'account.late.charge.sheet'
    _description = "Late charge calculation sheet"

    move_id = fields.Many2one(comodel_name='account.move', string="Invoice", required=True, readonly=True)
    date = fields.Date(
        string="Until", required=True, default=lambda self: self._default_date(),
        help="What could be charged is computed until this day. Nothing is written.")
    sheet = fields.Html(compute='_compute_sheet', sanitize=False)

    def _default_date(self):
        return self.env.company._get_dunning_today()

    @api.depends('move_id', 'date')
    def _compute_sheet(self):
        for wizard in self:
            wizard.sheet = self.env['ir.qweb']._render('account_dunning.late_charge_sheet_table', {
                'sheet': wizard.move_id._get_late_charge_sheet(wizard.date) if wizard.date else {},
            })

    def action_print(self):
        """Print the sheet as a PDF."""
        self.ensure_one()
        return self.env.ref('account_dunning.action_report_late_charge_sheet').report_action(self)
