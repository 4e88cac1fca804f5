from odoo import models


class AccountDunningNotice(models.Model):
    _inherit = 'account.dunning.notice'

    def _prepare_charges(self, date):
        """Compute the late charges that the notices claim, before they are rendered."""

    def _confirm_charges(self, date):
        """The notices have gone out: their charges are claimed, or invoiced."""

    def _discard_charges(self):
        """The notices do not go out: nothing is claimed."""
