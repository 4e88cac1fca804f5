from datetime import date

from dateutil.relativedelta import relativedelta

from odoo import api, fields, models
from odoo.tools import SQL


class AccountReferenceRate(models.Model):
    """One published value of a rate that laws refer to, such as the European Central Bank's refinancing rate.

    A value counts from its date. How long it counts is the rule's business (see
    `account.late.charge.rule.rate_validity`): statutory interest looks at 1 January and 1 July only, so a value
    that nobody has entered for a half-year must stop the calculation and not silently live on.
    """

    _name = 'account.reference.rate'
    _description = "Reference rate"
    _order = 'series, date desc'
    _rec_names_search = ['series', 'source']

    series = fields.Char(
        required=True,
        index=True,
        help="Short name of the published rate, for example ECB. Rules refer to it by this name.",
    )
    date = fields.Date(
        string="Valid from",
        required=True,
        help="The first day for which the value counts. For statutory interest: 1 January or 1 July. The Bank of "
             "England's rate of 31 December is entered on 1 January.",
    )
    value = fields.Float(string="Rate (%)", digits=(9, 4), required=True, aggregator=False, help="Percent per year.")
    source = fields.Char(
        required=True,
        help="Where the value was published: it is printed on the calculation sheet.",
    )
    verified = fields.Boolean(
        string="Checked",
        default=True,
        help="Someone has compared the value with a publication. A value that is not checked is never used: interest "
             "stops at the last checked period.",
    )
    note = fields.Text(help="What whoever maintains the rates should know.")

    _series_date_unique = models.Constraint(
        'UNIQUE (series, date)',
        "This series already has a value from that day on.",
    )

    #=== COMPUTE METHODS ===#

    @api.depends('series', 'date', 'value')
    def _compute_display_name(self):
        for rate in self:
            rate.display_name = f"{rate.series or ''} {rate.date or ''}: {rate.value:g} %"

    #=== ACTION METHODS ===#

    def action_verify(self):
        """The user has compared the values with a publication: from now on they are used."""
        self.verified = True

    #=== BUSINESS METHODS ===#

    @api.model
    def _get_values(self, series):
        """Return the checked values of some series, oldest first.

        :param Iterable[str] series: names of series
        :return: for each series, its `(date, percent per year, source)`
        :rtype: dict[str, list[tuple[date, float, str]]]
        """
        values = {name: [] for name in series}
        for rate in self.sudo().search_fetch(
            [('series', 'in', list(values)), ('verified', '=', True)],
            ['series', 'date', 'value', 'source'],
            order='date',
        ):
            values[rate.series].append((rate.date, rate.value, rate.source))
        return values

    @api.model
    def _get_series(self):
        """Return the names of all series, in alphabetical order.

        :rtype: list[str]
        """
        return [
            name for (name,) in self.env.execute_query(SQL(
                "SELECT DISTINCT series FROM account_reference_rate ORDER BY series",
                to_flush=self._fields['series'],
            ))
        ]

    @api.model
    def _get_periods(self, values, validity):
        """Cut the published values of one series into the periods in which each of them counts.

        :param list values: `(date, percent, source)`, oldest first
        :param str validity: `half_year` (values of 1 January and 1 July, for that half-year), `year` (values of
            1 January, for that year) or `open` (each value until the next one)
        :return: `(first day, last day, percent, source)`, both days included, without overlap, oldest first
        :rtype: list[tuple[date, date, float, str]]
        """
        if validity == 'open':
            following = [day for day, _value, _source in values[1:]] + [None]
            return [
                (day, next_day - relativedelta(days=1) if next_day else date.max, value, source)
                for (day, value, source), next_day in zip(values, following, strict=False)
            ]
        months = (1, 7) if validity == 'half_year' else (1,)
        length = relativedelta(months=6 if validity == 'half_year' else 12, days=-1)
        return [
            (day, day + length, value, source)
            for day, value, source in values
            if day.day == 1 and day.month in months
        ]
