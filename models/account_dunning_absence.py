from odoo import api, fields, models
from odoo.exceptions import ValidationError


class AccountDunningAbsence(models.Model):
    """While a collector is away, a deputy sees their customers as their own and gets the tasks that come up. Nothing is
    moved: after the last day everything is the collector's again, but for tasks that the deputy was given meanwhile."""

    _name = 'account.dunning.absence'
    _description = "Absence of a collector"
    _order = 'date_from desc, id desc'
    _rec_name = 'user_id'

    user_id = fields.Many2one(
        comodel_name='res.users', string="Collector", required=True, index=True, ondelete='cascade',
        default=lambda self: self.env.user, domain=[('share', '=', False)])
    deputy_id = fields.Many2one(
        comodel_name='res.users', required=True, index=True, ondelete='cascade', domain=[('share', '=', False)])
    date_from = fields.Date(
        string="First day", required=True, default=lambda self: self.env.company._get_dunning_today())
    date_until = fields.Date(string="Last day", required=True)

    _dates_ordered = models.Constraint('CHECK(date_until >= date_from)', "An absence can't end before it begins.")

    @api.constrains('user_id', 'deputy_id')
    def _check_deputy(self):
        for absence in self:
            if absence.user_id == absence.deputy_id:
                raise ValidationError(self.env._("Nobody can stand in for themselves."))
            if (absence.user_id | absence.deputy_id).sudo().filtered('share'):
                raise ValidationError(self.env._("Only internal users look after customers."))

    @api.model
    def _get_deputies(self, date):
        """Who stands in for whom on a day; a deputy who is away has one, too. Where all of them are away, or nobody is
        left, each keeps their own work.

        :param datetime.date date:
        :return: the user who does the work, by the absent one
        :rtype: dict[res.users, res.users]
        """
        away = {}
        for absence in self.sudo().search([('date_from', '<=', date), ('date_until', '>=', date)], order='id'):
            if absence.deputy_id.active:
                away[absence.user_id] = absence.deputy_id
        deputies = {}
        for user in away:
            deputy, seen = user, set()
            while deputy in away and deputy not in seen:
                seen.add(deputy)
                deputy = away[deputy]
            if deputy not in seen:
                deputies[user] = deputy
        return deputies

    @api.model
    def _get_represented(self, user, date):
        """Whose work a user does on a day: their own, and that of those whom they stand in for.

        :param res.users user:
        :param datetime.date date:
        :rtype: res.users
        """
        return user.union(*(absent for absent, deputy in self._get_deputies(date).items() if deputy == user))
