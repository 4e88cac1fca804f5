from odoo import api, models


class AccountDunningCached(models.AbstractModel):
    """Configuration that the engine keeps in the server's memory: a change of it empties that memory everywhere."""

    _name = 'account.dunning.cached'
    _description = "Configuration that the dunning engine caches"

    @api.model_create_multi
    def create(self, vals_list):
        self.env.registry.clear_cache()
        return super().create(vals_list)

    def write(self, vals):
        self.env.registry.clear_cache()
        return super().write(vals)

    def unlink(self):
        self.env.registry.clear_cache()
        return super().unlink()
