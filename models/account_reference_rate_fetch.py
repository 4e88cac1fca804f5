import csv
import io
import logging
import re
from collections import namedtuple
from datetime import date, datetime, timedelta

import requests
from dateutil.relativedelta import relativedelta

from odoo import api, models
from odoo.exceptions import AccessError, UserError
from odoo.tools import format_date

_logger = logging.getLogger(__name__)

TIMEOUT = 20  # seconds to connect, and between two pieces of the answer
MAX_SIZE = 2_000_000  # bytes of an answer
PLAUSIBLE = (-5.0, 50.0)  # percent per year

# Where a central bank publishes a series. `address` has {start}, the first day asked for. `day` is how many days before
# 1 January and 1 July the law looks at the rate; an observation of that day, or of at most `tolerance` days before it,
# counts (0: only one of that month itself).
Service = namedtuple('Service', 'address start_format day tolerance source')

SERVICES = {
    # Directive 2011/7/EU, art. 2 (7): main refinancing operations, in force on the first day of the half-year
    'ECB': Service(
        'https://data-api.ecb.europa.eu/service/data/FM/D.U2.EUR.4F.KR.MRR_FR.LEV?format=csvdata&startPeriod={start}',
        '%Y-%m-%d', 0, 10, "ECB Data Portal, FM.D.U2.EUR.4F.KR.MRR_FR.LEV"),
    # § 247 BGB: base rate, published by month, set on the first day of the half-year
    'BUNDESBANK': Service(
        'https://api.statistiken.bundesbank.de/rest/data/BBIN1/M.DE.BBK.BBKBAS2.EUR.ME'
        '?format=sdmx_csv&startPeriod={start}',
        '%Y-%m', 0, 0, "Deutsche Bundesbank, BBIN1.M.DE.BBK.BBKBAS2.EUR.ME"),
    # The Late Payment of Commercial Debts (Rate of Interest) (No. 3) Order 2002: Bank Rate of 31 December and 30 June
    'BOE': Service(
        'https://www.bankofengland.co.uk/boeapps/database/_iadb-fromshowcolumns.asp?csv.x=yes&Datefrom={start}'
        '&Dateto=now&SeriesCodes=IUDBEDR&CSVF=TN&UsingCodes=Y&VPD=Y&VFD=N',
        '%d/%b/%Y', 1, 10, "Bank of England, IUDBEDR"),
}


class AccountReferenceRate(models.Model):
    """Central banks publish their rates for programs, too: fetched on request, or by a scheduled action.

    What is fetched comes from the bank itself and counts as checked. A value that somebody has checked is never
    overwritten; where the bank says otherwise, that is told.
    """

    _inherit = 'account.reference.rate'

    #=== ACTION METHODS ===#

    @api.model
    def action_fetch(self):
        """Fetch the values of the half-years that are missing or unchecked from the central banks.

        :return: a notification that says what was found
        :raise AccessError: to who may not change rates
        """
        if not self.has_access('write'):
            raise AccessError(self.env._("Only an accounting administrator can fetch rates."))
        sentences, failures = self._fetch_all(date.today())
        return {
            'type': 'ir.actions.client',
            'tag': 'display_notification',
            'params': {
                'type': 'warning' if failures else 'success',
                'sticky': bool(failures),
                'message': "\n".join(failures + sentences) or self.env._("All rates are up to date."),
                'next': {'type': 'ir.actions.client', 'tag': 'soft_reload'},
            },
        }

    @api.model
    def _cron_fetch(self):
        """The scheduled action, off until somebody turns it on: what fails is told by its failing."""
        _sentences, failures = self._fetch_all(date.today())
        if failures:
            self.env['ir.cron']._commit_progress()  # what the other banks said is kept
            raise UserError("\n".join(failures))

    @api.model
    def get_import_templates(self):
        """:rtype: list[dict]"""
        return [{
            'label': self.env._("Import template for reference rates"),
            'template': '/account_dunning/static/csv/reference_rates.csv',
        }]

    #=== BUSINESS METHODS ===#

    @api.model
    def _get_services(self):
        """:return: where each series can be fetched
        :rtype: dict[str, Service]
        """
        return SERVICES

    @api.model
    def _fetch_all(self, today):
        """Fetch every series; one bank's trouble leaves the others alone.

        :param datetime.date today:
        :return: sentences about what has changed, and about what failed
        :rtype: tuple[list[str], list[str]]
        """
        sentences, failures = [], []
        for series, service in self._get_services().items():
            days = self._get_days_to_fetch(series, today)
            if not days:
                continue
            try:
                with self.env.cr.savepoint():
                    sentences += self._fetch_series(series, service, days, today)
            except UserError as error:
                failures.append(self.env._("%(series)s: %(error)s", series=series, error=error))
        return sentences, failures

    @api.model
    def _get_days_to_fetch(self, series, today):
        """The half-years, since the first value of the series, that have no checked value yet.

        :param str series:
        :param datetime.date today:
        :rtype: list[datetime.date]
        """
        checked = set(self.search([('series', '=', series), ('verified', '=', True)]).mapped('date'))
        day = min(checked, default=date(today.year - 2, 1, 1)).replace(day=1)
        day = day.replace(month=1 if day.month < 7 else 7)
        days = []
        while day <= today:
            if day not in checked:
                days.append(day)
            day += relativedelta(months=6)
        return days

    @api.model
    def _fetch_series(self, series, service, days, today):
        """Fetch the values of some half-years and keep them.

        :return: a sentence about each
        :rtype: list[str]
        :raise UserError: when the bank cannot be reached or answers something else than rates: nothing is changed
        """
        start = days[0] - timedelta(days=service.day + service.tolerance)
        observations = self._read_observations(
            self._download(service.address.format(start=start.strftime(service.start_format))))
        sentences = []
        for day in days:
            asked = day - timedelta(days=service.day)
            found = [
                (observed, value) for observed, value in observations
                if asked - timedelta(days=service.tolerance) <= observed <= asked
            ]
            if not found:
                sentences.append(self.env._(
                    "%(series)s: no value for %(date)s has been published yet.",
                    series=series, date=format_date(self.env, day)))
                continue
            observed, value = max(found)
            self._keep_fetched(series, day, value, self.env._(
                "%(service)s, value of %(observed)s, read on %(today)s",
                service=service.source, observed=observed.isoformat(), today=today.isoformat()))
            sentences.append(self.env._(
                "%(series)s: %(value)s %% from %(date)s on.",
                series=series, value=f"{value:g}", date=format_date(self.env, day)))
        return sentences

    @api.model
    def _keep_fetched(self, series, day, value, source):
        values = {'value': value, 'source': source, 'verified': True}
        known = self.search([('series', '=', series), ('date', '=', day)])
        if known:
            known.write(values)
        else:
            self.create({'series': series, 'date': day, **values})

    @api.model
    def _download(self, address):
        """The answer of a public service, as text.

        :raise UserError: when there is none, or one that is too long
        """
        try:
            with requests.get(
                address, timeout=TIMEOUT, stream=True, allow_redirects=False, headers={'Accept': 'text/csv, */*'},
            ) as answer:
                if answer.status_code != 200:
                    raise UserError(self.env._("The service answers with the status %s.", answer.status_code))
                content = b''
                for piece in answer.iter_content(65536):
                    content += piece
                    if len(content) > MAX_SIZE:
                        raise UserError(self.env._("The service answers with more than rates."))
        except requests.RequestException as error:
            _logger.warning("Reference rates: %s", error)
            raise UserError(self.env._("The service can't be reached.")) from error
        return content.decode('utf-8-sig', errors='replace')

    @api.model
    def _read_observations(self, text):
        """The observations in an answer: SDMX as CSV, or two columns with day and value.

        :param str text:
        :return: (day, percent per year); months count from their first day
        :rtype: list[tuple[datetime.date, float]]
        :raise UserError: when it has none, or odd ones
        """
        first_line = text.partition('\n')[0]
        delimiter = ';' if first_line.count(';') > first_line.count(',') else ','
        rows = list(csv.reader(io.StringIO(text), delimiter=delimiter))
        header = [name.strip() for name in rows[0]] if rows else []
        columns = (
            (header.index('TIME_PERIOD'), header.index('OBS_VALUE'))
            if {'TIME_PERIOD', 'OBS_VALUE'} <= set(header) else (0, 1))
        observations = []
        for row in rows[1:]:
            if len(row) <= max(columns):
                continue
            day, value = (row[column].strip() for column in columns)
            if not value or value in ('.', 'NaN', 'n/a'):
                continue  # a day without a value
            observations.append((self._read_day(day), self._read_value(value)))
        if not observations:
            raise UserError(self.env._("The service answers with something else than rates."))
        return observations

    @api.model
    def _read_day(self, text):
        for form in ('%Y-%m-%d', '%Y-%m', '%d %b %Y'):
            try:
                return datetime.strptime(text, form).date()
            except ValueError:
                continue
        raise UserError(self.env._("The service answers with “%s” where a day was expected.", text[:30]))

    @api.model
    def _read_value(self, text):
        if not re.fullmatch(r"[+-]?\d{1,3}([.,]\d+)?", text):
            raise UserError(self.env._("The service answers with “%s” where a rate was expected.", text[:30]))
        value = float(text.replace(',', '.'))
        if not PLAUSIBLE[0] <= value <= PLAUSIBLE[1]:
            raise UserError(self.env._("The service answers with a rate of %s %%, which can't be.", text))
        return value
