from odoo import api, fields, models


class AccountLateChargeWaive(models.TransientModel):
    """Asks why charges are waived, and says what else that means."""

    _name = 'account.late.charge.waive'
    _description = "Waive late charges"

    charge_ids = fields.Many2many(comodel_name='account.late.charge', string="Charges", required=True)
    reason = fields.Char(required=True)
    summary = fields.Text(compute='_compute_summary')

    @api.depends('charge_ids')
    def _compute_summary(self):
        for wizard in self:
            charges = wizard.charge_ids.filtered(lambda charge: charge.state not in ('waived', 'corrected'))
            invoices = charges.charge_move_id
            charges |= invoices.late_charge_row_ids.filtered(lambda charge: charge.state not in ('waived', 'corrected'))
            sentences = [self.env._(
                "%(amount)s will be waived and not charged again.",
                amount=self.env['account.dunning.notice']._format_charge_totals(charges))
            ] if charges else [self.env._("These charges have already been waived.")]
            if invoices:
                sentences.append(self.env._(
                    "The charge invoices are reversed as a whole: %(invoices)s.",
                    invoices=", ".join(invoices.mapped('display_name'))))
            wizard.summary = " ".join(sentences)

    def action_waive(self):
        """Waive; see `account.late.charge._waive` for who may and what is refused."""
        self.ensure_one()
        self.charge_ids._waive(self.reason)
        return {'type': 'ir.actions.act_window_close'}
