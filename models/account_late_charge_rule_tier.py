from odoo import fields, models


class AccountLateChargeRuleTier(models.Model):
    """A step of the compensation: from this debt on, a fixed sum and a share of the debt above a sum."""

    _name = 'account.late.charge.rule.tier'
    _description = "Late charge compensation tier"
    _order = 'rule_id, amount_from'

    rule_id = fields.Many2one(
        comodel_name='account.late.charge.rule', required=True, index=True, ondelete='cascade')
    currency_id = fields.Many2one(related='rule_id.currency_id')
    amount_from = fields.Monetary(string="Debt from", required=True, help="This amount is included.")
    amount_fixed = fields.Monetary(string="Fixed sum")
    percentage = fields.Float(string="Plus (%)", digits=(9, 4))
    percentage_from = fields.Monetary(string="of the debt above")

    _amounts_positive = models.Constraint(
        'CHECK (amount_from >= 0 AND amount_fixed >= 0 AND percentage >= 0 AND percentage_from >= 0)',
        "The amounts and percentages of a compensation can't be negative.",
    )
    _tier_unique = models.Constraint(
        'UNIQUE (rule_id, amount_from)',
        "Two steps of the compensation begin at the same debt.",
    )
