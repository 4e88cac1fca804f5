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
        groups='base.group_user',
    )
    dunning_last_date = fields.Date(string="Last reminder", copy=False, readonly=True, groups='base.group_user')

    def write(self, vals):
        # EXTENDS 'account': over RPC, too
        self.env['account.move']._check_dunning_history(vals)
        return super().write(vals)

    #=== PAUSES: blocks, promises, payment plans ===#

    payment_plan_id = fields.Many2one(
        comodel_name='account.payment.plan',
        string="Payment plan",
        copy=False,
        readonly=True,
        index='btree_not_null',
        ondelete='set null',
        groups='account.group_account_invoice,account.group_account_readonly',
        help="The running plan that the line is in; plans that are over are not shown here.",
    )

    def unlink(self):
        # EXTENDS 'account': a pause whose last line is gone must not become one of the whole customer
        blocks = self.env['account.dunning.block']._find_of_lines(self)
        result = super().unlink()
        blocks._end_without_lines()
        return result

    def _reconcile_post_hook(self, data):
        # EXTENDS 'account': agreements show at once what was paid
        result = super()._reconcile_post_hook(data)
        self.env['account.payment.plan']._follow_up_lines(self)
        self.env['account.payment.promise']._follow_up_lines(self)
        return result

    #=== End of pauses ===#
