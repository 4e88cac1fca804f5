from datetime import datetime

from odoo import api, fields, models

from ..utils.days import format_day


class IrQwebFieldDunningDay(models.AbstractModel):
    """``t-options="{'widget': 'dunning_day'}"``: a date as the addon's letters, mails and pages write it.

    With ``'short': True`` for tables.
    """

    _name = 'ir.qweb.field.dunning_day'
    _description = "Date with the name of its month"
    _inherit = ['ir.qweb.field.date']

    @api.private
    @api.model
    def value_to_html(self, value, options):
        # OVERRIDE 'base'
        if isinstance(value, datetime):
            value = fields.Datetime.context_timestamp(self, value)
        return format_day(self.env, fields.Date.to_date(value), short=bool(options.get('short')))
