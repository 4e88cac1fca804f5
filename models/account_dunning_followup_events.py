"""What makes a customer's row in the follow-up stale. Each event is only noted, nothing is computed here."""
from odoo import api, models


class AccountPartialReconcile(models.Model):
    _inherit = 'account.partial.reconcile'

    @api.model_create_multi
    def create(self, vals_list):
        # EXTENDS 'account'
        partials = super().create(vals_list)
        partials._note_dunning_change()
        return partials

    def unlink(self):
        # EXTENDS 'account'
        self._note_dunning_change()
        return super().unlink()

    def _note_dunning_change(self):
        self.env['account.dunning.followup']._note_changed(self.debit_move_id | self.credit_move_id)


class AccountMove(models.Model):
    _inherit = 'account.move'

    def write(self, vals):
        # EXTENDS 'account'
        result = super().write(vals)
        if not vals.keys().isdisjoint(('state', 'payment_state', 'no_followup', 'dunning_procedure_id')):
            self.env['account.dunning.followup']._note_changed(self)
            if vals.get('state', 'posted') != 'posted':
                # It may be deleted before the transaction ends.
                self.env['account.dunning.followup']._note_changed(self.partner_id)
        return result


class AccountMoveLine(models.Model):
    _inherit = 'account.move.line'

    def write(self, vals):
        # EXTENDS 'account'
        if 'partner_id' in vals:
            self.env['account.dunning.followup']._note_changed(self.partner_id)
        result = super().write(vals)
        if not vals.keys().isdisjoint((
            'account_id', 'date_maturity', 'dunning_last_date', 'dunning_level_id', 'no_followup', 'partner_id',
        )):
            self.env['account.dunning.followup']._note_changed(self)
        return result


class AccountPayment(models.Model):
    _inherit = 'account.payment'

    def write(self, vals):
        # EXTENDS 'account': a payment that is not booked yet counts, too
        result = super().write(vals)
        if 'state' in vals:
            self.env['account.dunning.followup']._note_changed(self.partner_id)
        return result


class AccountBankStatementLine(models.Model):
    _inherit = 'account.bank.statement.line'

    @api.model_create_multi
    def create(self, vals_list):
        # EXTENDS 'account': what has come in and is not matched yet counts, too
        lines = super().create(vals_list)
        self.env['account.dunning.followup']._note_changed(lines.partner_id)
        return lines

    def write(self, vals):
        # EXTENDS 'account'
        result = super().write(vals)
        if not vals.keys().isdisjoint(('amount', 'partner_id')):
            self.env['account.dunning.followup']._note_changed(self.partner_id)
        return result

    def unlink(self):
        # EXTENDS 'account'
        self.env['account.dunning.followup']._note_changed(self.partner_id)
        return super().unlink()


class AccountDunningBlock(models.Model):
    _inherit = 'account.dunning.block'

    @api.model_create_multi
    def create(self, vals_list):
        blocks = super().create(vals_list)
        self.env['account.dunning.followup']._note_changed(blocks.partner_id)
        return blocks

    def write(self, vals):
        result = super().write(vals)
        self.env['account.dunning.followup']._note_changed(self.partner_id)
        return result

    def unlink(self):
        self.env['account.dunning.followup']._note_changed(self.partner_id)
        return super().unlink()

    def _end(self, date, broken=False):
        self.env['account.dunning.followup']._note_changed(self.partner_id)
        return super()._end(date, broken=broken)


class AccountDunningNotice(models.Model):
    _inherit = 'account.dunning.notice'

    def write(self, vals):
        result = super().write(vals)
        if 'state' in vals or 'level_id' in vals:
            self.env['account.dunning.followup']._note_changed(self.partner_id)
        return result


class ResPartner(models.Model):
    _inherit = 'res.partner'

    def write(self, vals):
        # EXTENDS 'base'
        result = super().write(vals)
        if not vals.keys().isdisjoint(('dunning_procedure_id', 'dunning_user_id')):
            self.env['account.dunning.followup']._note_changed(self)
        return result
