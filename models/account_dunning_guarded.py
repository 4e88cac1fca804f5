from odoo import api, models
from odoo.exceptions import AccessError


class AccountDunningGuarded(models.AbstractModel):
    """Evidence and decisions: what the screens show as read-only is written by the flow alone, over RPC too."""

    _name = 'account.dunning.guarded'
    _description = "Fields that only the flow writes"

    @api.model_create_multi
    def create(self, vals_list):
        for vals in vals_list:
            self._check_guarded_fields(vals)
        return super(AccountDunningGuarded, self._without_guarded_defaults()).create(vals_list)

    def _without_guarded_defaults(self):
        """Without the defaults that the context has for guarded fields: anybody can send a context."""
        if self.env.su:
            return self
        guarded = {f'default_{fname}' for fname, field in self._fields.items() if field.readonly}
        if guarded.isdisjoint(self.env.context):
            return self
        context = {key: value for key, value in self.env.context.items() if key not in guarded}
        return self.with_env(self.env(context=context))

    def write(self, vals):
        self._check_guarded_fields(vals)
        return super().write(vals)

    def _check_guarded_fields(self, vals):
        """:raise AccessError: when a user sets a field that no screen lets them set"""
        if self.env.su:
            return
        guarded = [self._fields[fname] for fname in vals if fname in self._fields and self._fields[fname].readonly]
        if guarded:
            raise AccessError(self.env._(
                "You can't change %(fields)s by hand: use the buttons.",
                fields=", ".join(field._description_string(self.env) for field in guarded)))
