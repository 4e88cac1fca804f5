from odoo import api, models


class AccountDunningCached(models.AbstractModel):
    """Configuration that decides who is dunned when: the engine keeps it in the server's memory, which a change of it
    empties everywhere, and the follow-up shows what follows from it."""

    _name = 'account.dunning.cached'
    _description = "Configuration that the dunning engine caches"

    @api.model_create_multi
    def create(self, vals_list):
        self._forget_configuration()
        return super().create(vals_list)

    def write(self, vals):
        self._forget_configuration()
        return super().write(vals)

    def unlink(self):
        self._forget_configuration()
        return super().unlink()

    @api.model
    def _forget_configuration(self):
        self.env.registry.clear_cache()
        self.env['account.dunning.followup']._note_configuration_changed()
