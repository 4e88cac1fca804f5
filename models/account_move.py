from odoo import fields, models


class AccountMove(models.Model):
    _inherit = 'account.move'

    dunning_procedure_id = fields.Many2one(
        comodel_name='account.dunning.procedure',
        string="Dunning procedure",
        copy=False,
        index='btree_not_null',
        check_company=True,
        ondelete='restrict',
        help="Empty: the customer's procedure, else the company's.",
    )
    # Plain columns, written when a notice goes out: nothing to compute on the old invoices at installation.
    dunning_level_id = fields.Many2one(
        comodel_name='account.dunning.level',
        string="Dunning level",
        copy=False,
        readonly=True,
        index='btree_not_null',
        ondelete='restrict',
    )
    dunning_last_date = fields.Date(string="Last reminder", copy=False, readonly=True)
