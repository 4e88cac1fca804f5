from odoo import fields, models


class AccountMoveLine(models.Model):
    _inherit = 'account.move.line'

    # Plain columns, written when a notice goes out: nothing to compute on the old lines at installation.
    dunning_level_id = fields.Many2one(
        comodel_name='account.dunning.level',
        string="Dunning level",
        copy=False,
        readonly=True,
        index='btree_not_null',
        ondelete='restrict',
    )
    dunning_last_date = fields.Date(string="Last reminder", copy=False, readonly=True)
