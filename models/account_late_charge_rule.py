import math
from collections import defaultdict
from datetime import date, timedelta

from dateutil.easter import easter

from odoo import api, fields, models
from odoo.exceptions import ValidationError
from odoo.tools import SQL, float_round, format_date, get_lang

# In these states a charge counts: its days and its compensation are not charged once more.
CHARGED_STATES = ('claimed', 'invoiced', 'waived')

YEAR_BASES = {'actual_365': 365, 'actual_360': 360}
ONE_DAY = timedelta(days=1)


class AccountLateChargeRule(models.Model):
    """What a delay costs: a country's statutory terms for companies or for consumers, or agreed terms.

    All interest is computed in one place, `_get_interest_query`, from the actual balance of each day; the notice, the
    invoice and the calculation sheet show its rows.
    """

    _name = 'account.late.charge.rule'
    _description = "Late charge rule"
    _order = 'sequence, id'
    _check_company_auto = True
    _check_company_domain = models.check_company_domain_parent_of

    name = fields.Char(required=True, translate=True)
    active = fields.Boolean(default=True)
    sequence = fields.Integer(default=10)
    company_id = fields.Many2one(
        comodel_name='res.company',
        help="Leave empty to share the rule between all companies.",
    )

    # To whom it applies
    customer_type = fields.Selection(
        string="Customer type",
        selection=[('company', "Companies"), ('person', "Consumers")],
        required=True,
        default='company',
        help="A customer is a company or a consumer as their contact says (Company or Person).",
    )
    country_id = fields.Many2one(
        comodel_name='res.country',
        help="Between companies: the country of the seller, whose law governs the sale unless agreed otherwise. For "
             "consumers: their own country (Rome I Regulation, articles 4 and 6). Another law by contract: choose the "
             "rule on the customer.",
    )
    country_group_id = fields.Many2one(
        comodel_name='res.country.group',
        string="Country group",
        help="For the countries of the group that have no rule of their own.",
    )
    is_checked = fields.Boolean(
        string="Checked",
        default=True,
        help="Somebody has checked the terms for the countries of the rule. A rule that is not checked is used for no "
             "customer by itself.",
    )
    on_charges = fields.Boolean(
        string="Also on charges",
        help="Invoices of late charges bear charges themselves when they are overdue. The law hardly ever allows it.",
    )

    # Interest
    series = fields.Selection(
        selection='_selection_series',
        string="Reference rate",
        help="The published rate that the interest follows. Empty: the margin alone is the rate; no margin either: no "
             "interest.",
    )
    margin = fields.Float(
        string="Margin (points)", digits=(9, 4), aggregator=False,
        help="Percentage points added to the reference rate.")
    rate_validity = fields.Selection(
        selection=[
            ('half_year', "1 January and 1 July"),
            ('year', "1 January"),
            ('open', "Each new value"),
        ],
        string="Rate changes on",
        required=True,
        default='half_year',
        help="When a new value of the reference rate counts. Interest stops where the value of a period is missing.",
    )
    rate_frozen = fields.Boolean(
        string="Rate of the first day",
        help="The rate of the first day of delay stays for the whole delay (United Kingdom).",
    )
    rate_rounding = fields.Float(
        string="Round rate up to",
        digits=(9, 4),
        help="The sum of reference rate and margin is rounded up to a multiple of this many points (Belgium: 0.5). "
             "0: not rounded.",
    )
    floor_rate = fields.Float(string="Lowest rate (%)", digits=(9, 4), help="0: none.")
    floor_series = fields.Selection(
        selection='_selection_series',
        string="Lowest rate follows",
        help="The rate is at least the factor times this rate (France: three times the legal interest rate).",
    )
    floor_factor = fields.Float(string="Factor", digits=(9, 4), default=1.0)
    cap_rate = fields.Float(string="Highest rate (%)", digits=(9, 4), help="0: none.")
    day_count = fields.Selection(
        string="Day count",
        selection=[
            ('actual_365', "Actual days / 365"),
            ('actual_actual', "Actual days / 365, in leap years 366"),
            ('actual_360', "Actual days / 360"),
        ],
        required=True,
        default='actual_365',
    )
    start_delay_days = fields.Integer(
        string="Interest-free days",
        help="Days after the due date that bear no interest.",
    )

    # Free first reminder
    free_reminder = fields.Boolean(
        string="Free first reminder",
        help="Nothing is charged before a first reminder has been sent free of charge and the customer has had the "
             "waiting days to pay.",
    )
    waiting_days = fields.Integer(
        string="Waiting days", help="Calendar days that the customer has after the first reminder.")
    waiting_post_working_days = fields.Integer(
        string="Count from working day (post)",
        default=1,
        help="The waiting days of a letter begin on this working day after the day it was posted.",
    )
    waiting_electronic_days = fields.Integer(
        string="Count from day (e-mail)",
        default=1,
        help="The waiting days of an e-mail begin this many days after it was sent.",
    )

    # Compensation
    currency_id = fields.Many2one(
        comodel_name='res.currency',
        required=True,
        default=lambda self: self.env.company.currency_id,
        help="The currency of the amounts below. For a bill in another currency they are converted at the exchange "
             "rate of its first day of delay.",
    )
    tier_ids = fields.One2many(
        comodel_name='account.late.charge.rule.tier',
        inverse_name='rule_id',
        string="Compensation",
        copy=True,
    )
    compensation_base = fields.Selection(
        selection=[('open', "What is open when it is claimed"), ('start', "What was owed when interest began")],
        string="Compensation for",
        required=True,
        default='open',
        help="United Kingdom, section 5A of the Act of 1998: the debt when statutory interest began to run.",
    )
    compensation_min = fields.Monetary(string="At least", help="0: none.")
    compensation_max = fields.Monetary(string="At most", help="0: none.")
    reminder_fee = fields.Monetary(
        string="Reminder fee",
        help="For each reminder after the first one, which is free. 0: none. The law often allows real costs only, or "
             "none at all.",
    )

    # Words
    legal_basis = fields.Char(
        string="Legal basis",
        required=True,
        translate=True,
        help="Printed in the letter and on the calculation sheet.",
    )
    source = fields.Char(help="Where the terms of this rule were read.")
    note = fields.Text(translate=True, help="What is doubtful or must be decided by whoever uses the rule.")

    # The rule explains itself
    explanation = fields.Text(compute='_compute_explanation')
    rate_warning = fields.Text(string="Missing rates", compute='_compute_rate_warning')
    rate_missing = fields.Boolean(string="A rate is missing", compute='_compute_rate_warning')

    _waiting_positive = models.Constraint(
        'CHECK (waiting_days >= 0 AND waiting_post_working_days >= 0 AND waiting_electronic_days >= 0'
        ' AND start_delay_days >= 0)',
        "Numbers of days can't be negative.",
    )
    _rates_positive = models.Constraint(
        'CHECK (rate_rounding >= 0 AND floor_rate >= 0 AND cap_rate >= 0 AND floor_factor >= 0)',
        "Rounding step, floor, factor and cap can't be negative.",
    )
    _compensation_positive = models.Constraint(
        'CHECK (compensation_min >= 0 AND compensation_max >= 0)',
        "The limits of the compensation can't be negative.",
    )
    _reminder_fee_positive = models.Constraint(
        'CHECK (reminder_fee >= 0)',
        "The reminder fee can't be negative.",
    )

    #=== DEFAULTS AND SELECTIONS ===#

    @api.model
    def _selection_series(self):
        return [(name, name) for name in self.env['account.reference.rate']._get_series()]

    #=== COMPUTE METHODS ===#

    @api.depends(
        'series', 'margin', 'rate_validity', 'rate_frozen', 'rate_rounding', 'floor_rate', 'floor_series',
        'floor_factor', 'cap_rate', 'day_count', 'start_delay_days', 'free_reminder', 'waiting_days',
        'compensation_min', 'compensation_max', 'reminder_fee', 'currency_id', 'tier_ids.amount_from',
        'tier_ids.amount_fixed',
        'tier_ids.percentage', 'tier_ids.percentage_from',
    )
    def _compute_explanation(self):
        today = fields.Date.context_today(self)
        for rule in self:
            rule.explanation = "\n".join(rule._get_explanation(today))

    @api.depends('series', 'floor_series', 'rate_validity')
    def _compute_rate_warning(self):
        today = fields.Date.context_today(self)
        for rule in self:
            rule.rate_warning = rule._get_rate_warning(today)
            rule.rate_missing = bool(rule.rate_warning)

    #=== CONSTRAINT METHODS ===#

    @api.constrains('cap_rate', 'floor_rate')
    def _check_cap(self):
        for rule in self:
            if rule.cap_rate and rule.cap_rate < rule.floor_rate:
                raise ValidationError(self.env._(
                    "%(rule)s: the highest rate is below the lowest rate.", rule=rule.name))

    @api.constrains('country_id', 'country_group_id')
    def _check_country(self):
        for rule in self:
            if rule.country_id and rule.country_group_id:
                raise ValidationError(self.env._(
                    "%(rule)s: choose a country or a group of countries, not both.", rule=rule.name))

    #=== ACTION METHODS ===#

    def action_view_rates(self):
        """Open the values of the rule's reference rates."""
        self.ensure_one()
        return {
            'type': 'ir.actions.act_window',
            'name': self.env._("Reference rates"),
            'res_model': 'account.reference.rate',
            'view_mode': 'list,form',
            'domain': [('series', 'in', [name for name in (self.series, self.floor_series) if name])],
            'context': {'default_series': self.series},
        }

    #=== BUSINESS METHODS: WHICH RULE ===#

    @api.model
    def _find_rules(self, company, partners):
        """Find the rule for each customer: the one agreed with them, else that of the country whose law governs.

        :param res.company company: the seller
        :param res.partner partners: customers
        :return: rule by customer; an empty rule where nothing may be charged
        :rtype: dict[res.partner, account.late.charge.rule]
        """
        # as superuser: whoever sends a reminder need not be allowed to read the terms
        rules = self.sudo().search(self._check_company_domain(company))
        seller_country = company.sudo().account_fiscal_country_id or company.sudo().country_id
        found, statutory = {}, {}
        for partner in partners:
            customer = partner.sudo().with_company(company).commercial_partner_id
            if customer.late_charge_rule_id:
                found[partner] = customer.late_charge_rule_id
                continue
            customer_type = 'company' if customer.is_company else 'person'
            country = seller_country if customer.is_company else (customer.country_id or seller_country)
            if (customer_type, country) not in statutory:
                statutory[customer_type, country] = rules._match(customer_type, country)
            found[partner] = statutory[customer_type, country]
        return found

    def _match(self, customer_type, country):
        """Return the first of the rules that fits: that of the country before that of a group before a general one."""
        fitting = self.filtered(lambda rule: rule.customer_type == customer_type and rule.is_checked)
        return (
            fitting.filtered(lambda rule: country and rule.country_id == country)
            or fitting.filtered(lambda rule: country and country in rule.country_group_id.country_ids)
            or fitting.filtered(lambda rule: not rule.country_id and not rule.country_group_id)
        )[:1]

    #=== BUSINESS METHODS: RATES ===#

    def _get_rate_periods(self):
        """Return, for each rule, the interest rate of each period for which one is known.

        A period whose reference value is missing or unchecked is absent: no interest is computed for its days, which
        can still be charged once the value is there. A missing value of the floor only leaves the floor out.

        :return: rule -> `(first day, last day, percent per year, source)`, oldest first, without overlap
        :rtype: dict[account.late.charge.rule, list[tuple[date, date, float, str]]]
        """
        Rate = self.env['account.reference.rate']
        values = Rate._get_values(
            {name for rule in self for name in (rule.series, rule.floor_series) if name})
        result = {}
        for rule in self:
            if rule.series:
                periods = Rate._get_periods(values[rule.series], rule.rate_validity)
            else:
                periods = [(date.min, date.max, 0.0, '')]
            floors = Rate._get_periods(values.get(rule.floor_series, []), rule.rate_validity)
            result[rule] = [
                (first, last, *rule._get_rate(value, source, floor, floor_source))
                for first, last, value, source, floor, floor_source in self._cut_by_floor(periods, floors)
            ]
        return result

    @staticmethod
    def _cut_by_floor(periods, floors):
        """Cut periods where the floor changes: `(first, last, value, source, floor, floor source)`."""
        for first, last, value, source in periods:
            starts = {first, *(
                day for floor_first, floor_last, *_floor in floors
                for day in (floor_first, floor_last + ONE_DAY if floor_last < date.max else None)
                if day and first < day <= last
            )}
            starts = sorted(starts)
            for start, following in zip(starts, [*starts[1:], None], strict=True):
                floor, floor_source = next((
                    (floor_value, floor_source) for floor_first, floor_last, floor_value, floor_source in floors
                    if floor_first <= start <= floor_last
                ), (None, ''))
                yield start, following - ONE_DAY if following else last, value, source, floor, floor_source

    def _get_rate(self, value, source, floor, floor_source):
        """Return the rate in percent per year and its source: margin, rounding up, floor, cap, in this order."""
        self.ensure_one()
        rate = float_round(value + self.margin, precision_digits=6)
        if self.rate_rounding:
            steps = math.ceil(float_round(rate / self.rate_rounding, precision_digits=6))
            rate = float_round(steps * self.rate_rounding, precision_digits=6)
        lowest = max(self.floor_rate, 0.0)
        if floor is not None and floor * self.floor_factor > lowest:
            lowest = float_round(floor * self.floor_factor, precision_digits=6)
        if rate < lowest:
            rate = lowest
            source = "; ".join(filter(None, [source, floor_source]))
        if self.cap_rate:
            rate = min(rate, self.cap_rate)
        return max(rate, 0.0), source

    def _get_rate_warning(self, day, since=None):
        """Say for which days a checked value of the reference rates is missing.

        :param date day: normally today
        :param date since: the first day that may bear interest; left out: that of the oldest known value
        :return: a few sentences, or an empty string
        :rtype: str
        """
        self.ensure_one()
        sentences = []
        Rate = self.env['account.reference.rate']
        names = [name for name in (self.series, self.floor_series) if name]
        values = Rate._get_values(names)
        for name in names:
            periods = Rate._get_periods(values[name], self.rate_validity)
            if name == self.floor_series and name != self.series:
                if not any(first <= day <= last for first, last, *_rest in periods):
                    sentences.append(self.env._(
                        "The value of %(series)s for today is missing: the lowest rate is not applied.", series=name))
                continue
            if not periods or periods[0][0] > day:
                sentences.append(self.env._("%(series)s has no checked value: no interest is charged.", series=name))
                continue
            for first, last, is_known in _cut(
                    min(since or periods[0][0], day), day, [period[:2] for period in periods], marked=True):
                if is_known:
                    continue
                if last == day:
                    sentences.append(self.env._(
                        "The checked value of %(series)s for today is missing: no interest is charged for days after "
                        "%(date)s until it is entered and checked.",
                        series=name, date=format_date(self.env, max(end for _, end, *_ in periods if end < first))))
                elif self.rate_frozen:
                    sentences.append(self.env._(
                        "The checked value of %(series)s from %(date_from)s to %(date_to)s is missing: bills that were "
                        "first late then bear no interest until it is entered and checked.",
                        series=name, date_from=format_date(self.env, first), date_to=format_date(self.env, last)))
                else:
                    sentences.append(self.env._(
                        "The checked value of %(series)s from %(date_from)s to %(date_to)s is missing: these days bear "
                        "no interest until it is entered and checked; the next letter then claims them.",
                        series=name, date_from=format_date(self.env, first), date_to=format_date(self.env, last)))
        return " ".join(sentences)

    @api.model
    def _format_number(self, value, percent='%g'):
        """A rate, or an amount that is not rounded, as the reader's language writes numbers: 12.15 or 12,15.

        :param float value:
        :param str percent: the format
        :rtype: str
        """
        return self.env['res.lang']._lang_get(get_lang(self.env).code).format(percent, value)

    def _get_explanation(self, day):
        """Say in plain sentences what the rule does, with an example.

        :param date day: the day of the example, normally today
        :rtype: list[str]
        """
        self.ensure_one()
        sentences = []
        current = [period for period in self._get_rate_periods()[self] if period[0] <= day]
        if current and (self.series or self.margin):
            first, last, rate, _source = current[-1]
            if last < day:
                sentences.append(self.env._(
                    "Interest until %(date)s: %(rate)s %% per year.", rate=self._format_number(rate),
                    date=format_date(self.env, last)))
            else:
                sentences.append(self.env._(
                    "Interest now: %(rate)s %% per year.", rate=self._format_number(rate)))
            basis = YEAR_BASES.get(self.day_count, 365)
            sentences.append(self.env._(
                "Example: 1,000 for 30 days at this rate costs %(amount)s.",
                amount=self.currency_id.format(1000 * rate * 30 / basis / 100)))
        elif not self.series and not self.margin:
            sentences.append(self.env._("No interest."))
        if self.free_reminder:
            sentences.append(self.env._(
                "Nothing is charged before a first, free reminder and the waiting time after it (in days: %(days)s).",
                days=self.waiting_days))
        if not self.is_checked:
            sentences.insert(0, self.env._("Not used by itself until somebody has checked and ticked it."))
        if self.tier_ids:
            sentences.append(self.env._("Compensation, once per invoice: %(examples)s.", examples=", ".join(
                self.env._(
                    "%(compensation)s on %(amount)s",
                    compensation=self.currency_id.format(self._get_compensation(amount)),
                    amount=self.currency_id.format(amount),
                ) for amount in (100.0, 1000.0, 10000.0))))
        else:
            sentences.append(self.env._("No compensation."))
        if self.reminder_fee:
            sentences.append(self.env._(
                "Each reminder after the first one costs %(amount)s.",
                amount=self.currency_id.format(self.reminder_fee)))
        return sentences

    #=== BUSINESS METHODS: FREE FIRST REMINDER ===#

    def _get_first_chargeable_day(self, sent_date, electronic):
        """Return the first day on which something may be charged after the free first reminder.

        Belgium, Code of economic law, article XIX.2: fourteen calendar days, which begin on the third working day
        after a letter was posted, or on the day after an electronic sending. Working days leave out Saturdays (they
        are days on which post offices hardly deliver: the later reading favours the customer), Sundays and, for a
        Belgian rule, the legal holidays.

        :param date sent_date: the day on which the reminder went out
        :param bool electronic: it went out by e-mail
        :rtype: date
        """
        self.ensure_one()
        if electronic:
            start = sent_date + timedelta(days=self.waiting_electronic_days)
        else:
            start = sent_date
            working_days = self.waiting_post_working_days
            while working_days:
                start += ONE_DAY
                if self._is_working_day(start):
                    working_days -= 1
        return start + timedelta(days=self.waiting_days)

    def _is_working_day(self, day):
        return day.weekday() < 5 and not (self.country_id.code == 'BE' and self._is_belgian_holiday(day))

    @staticmethod
    def _is_belgian_holiday(day):
        """The ten legal holidays (Act of 4 January 1974, royal decree of 18 April 1974)."""
        if (day.month, day.day) in {(1, 1), (5, 1), (7, 21), (8, 15), (11, 1), (11, 11), (12, 25)}:
            return True
        return (day - easter(day.year)).days in {1, 39, 50}

    #=== BUSINESS METHODS: COMPENSATION ===#

    def _get_compensation(self, amount):
        """Return the compensation for a debt, rounded to the rule's currency.

        :param float amount: the open debt, in the rule's currency
        :rtype: float
        """
        self.ensure_one()
        currency = self.currency_id
        if currency.compare_amounts(amount, 0.0) <= 0:
            return 0.0
        tier = self.tier_ids.sorted('amount_from').filtered(
            lambda tier: currency.compare_amounts(tier.amount_from, amount) <= 0)[-1:]
        if not tier:
            return 0.0
        compensation = tier.amount_fixed + max(amount - tier.percentage_from, 0.0) * tier.percentage / 100
        compensation = max(compensation, self.compensation_min)
        if self.compensation_max:
            compensation = min(compensation, self.compensation_max)
        return currency.round(compensation)

    @api.model
    def _get_compensations(self, company, debts):
        """Return the compensation for debts, each in its own currency.

        A debt is converted to the rule's currency to find the tier, the compensation back; both at the exchange rate
        of the debt's first day of delay. That is the day on which the compensation falls due, so that letter, sheet
        and invoice state the same sum, whenever they are made. Rounded once in each currency.

        :param res.company company: whose exchange rates count
        :param list debts: `(rule, open debt, its currency, first day of delay)` of each
        :return: the compensations, in the order of the debts; 0 where no exchange rate is on record
        :rtype: list[float]
        """
        factors = self._get_exchange_factors(
            company, {(rule.currency_id, currency, day) for rule, _amount, currency, day in debts})
        compensations = []
        for rule, amount, currency, day in debts:
            factor = factors[rule.currency_id, currency, day]
            compensations.append(currency.round(
                rule._get_compensation(rule.currency_id.round(amount / factor)) * factor) if factor else 0.0)
        return compensations

    @api.model
    def _get_exchange_factors(self, company, wanted):
        """Return what one unit of a currency is worth in another, in one query for all days.

        Odoo's own way of looking for a rate: the company's before the shared one, the latest until the day, else the
        first one after it, else 1. Where neither of two currencies has any rate on record, 1 would be a guess.

        :param res.company company: whose exchange rates count
        :param Iterable wanted: `(from currency, to currency, day)`
        :return: the factor by what was wanted; 0 where there is none
        :rtype: dict[tuple, float]
        """
        pairs = {(currency.id, day) for first, second, day in wanted if first != second
                 for currency in (first, second)}
        rates = {}
        if pairs:
            self.env['res.currency.rate'].flush_model()
            rates = {(currency_id, day): rate for currency_id, day, rate in self.env.execute_query(SQL(
                """
                SELECT wanted.currency_id, wanted.date, COALESCE(
                       (SELECT rate FROM res_currency_rate
                         WHERE currency_id = wanted.currency_id AND name <= wanted.date
                           AND (company_id IS NULL OR company_id = %(company)s)
                      ORDER BY company_id, name DESC LIMIT 1),
                       (SELECT rate FROM res_currency_rate
                         WHERE currency_id = wanted.currency_id
                           AND (company_id IS NULL OR company_id = %(company)s)
                      ORDER BY company_id, name LIMIT 1))
                  FROM %(wanted)s AS wanted(currency_id, date)
                """,
                company=company.root_id.id, wanted=_sql_rows(list(pairs), ('int', 'date')),
            ))}
        factors = {}
        for first, second, day in wanted:
            first_rate, second_rate = rates.get((first.id, day)), rates.get((second.id, day))
            if first == second:
                factors[first, second, day] = 1.0
            elif first_rate or second_rate:
                factors[first, second, day] = float(second_rate or 1.0) / float(first_rate or 1.0)
            else:
                factors[first, second, day] = 0.0
        return factors

    def _compute_compensation(self, move, date=None):
        """Return the compensation that may still be claimed for an invoice, in the invoice's currency.

        It is based on what is open on its receivable installments (with a date: on those due before it). 0 if nothing
        is open, if a compensation has ever been claimed for the invoice, or if the invoice is itself one of charges
        and the rule does not charge on charges. Directive 2011/7/EU, article 6: a fixed sum for each late payment.

        :param account.move move: one invoice
        :param date date: the day of what is due; everything when left out
        :rtype: float
        """
        rule = self._for_move(move)
        if not rule or (move.is_late_charge and not rule.on_charges):
            return 0.0
        if move.sudo().late_charge_ids.filtered(
                lambda charge: charge.kind == 'compensation' and charge.state in CHARGED_STATES):
            return 0.0
        lines = move.line_ids.filtered(
            lambda line: line.account_type == 'asset_receivable' and line.amount_residual_currency > 0
            and (not date or (line.date_maturity or line.date) < date))
        if not lines:
            return 0.0
        debts = self._get_debts_at_start(lines.ids) if rule.compensation_base == 'start' else {}
        return self._get_compensations(move.company_id, [(
            rule, sum(debts.get(line.id, line.amount_residual_currency) for line in lines), move.currency_id,
            min(line.date_maturity or line.date for line in lines) + ONE_DAY)])[0]

    @api.model
    def _get_debts_at_start(self, line_ids):
        """Return what was open on each line when interest began, on the day after it was due.

        :param list[int] line_ids: receivable lines
        :return: line id -> amount in its currency
        :rtype: dict[int, float]
        """
        if not line_ids:
            return {}
        self.env.flush_all()
        return {line_id: float(amount) for line_id, amount in self.env.execute_query(SQL(
            """
            SELECT line.id, line.amount_currency - COALESCE(SUM(partial.debit_amount_currency) FILTER (
                       WHERE move.move_type = 'out_refund'
                          OR partial.max_date <= COALESCE(line.date_maturity, line.date)), 0)
              FROM account_move_line line
         LEFT JOIN account_partial_reconcile partial ON partial.debit_move_id = line.id
         LEFT JOIN account_move_line credit ON credit.id = partial.credit_move_id
         LEFT JOIN account_move move ON move.id = credit.move_id
             WHERE line.id = ANY(%s)
          GROUP BY line.id
            """, list(line_ids)))}

    def _for_move(self, move):
        """The rule itself, or for an empty one that which the invoice's customer falls under."""
        move.ensure_one()
        if self:
            self.ensure_one()
            return self
        return self._find_rules(move.company_id, move.commercial_partner_id)[move.commercial_partner_id]

    #=== BUSINESS METHODS: INTEREST ===#

    def _compute_interest(self, line, date_to):
        """Return the interest on an open line up to a day, for the days that have not been charged yet.

        Simple interest on the balance that was open on each day, in the line's currency: percent per year times
        balance times days over the days of the year. A payment or credit note lowers the balance on its date; the
        first day that bears interest is the day after the due date, the last one is `date_to`.

        Rounding: the running total since the first day of delay is rounded to the currency's smallest unit, half up,
        and each period gets the difference of two rounded totals. So the interest of a period is exactly the sum over
        any split of it, and nothing is lost or gained by writing often.

        For a rule with a free first reminder, the days before the end of the waiting time bear nothing.

        :param account.move.line line: one installment of an invoice (a receivable line)
        :param date date_to: the last day that counts
        :return: amount in the line's currency
        :rtype: float
        """
        line.ensure_one()
        rows = self._for_move(line.move_id)._get_interest_rows(line, date_to)
        return line.currency_id.round(sum(row['amount'] for row in rows))

    def _get_interest_rows(self, lines, date_to):
        """Return the interest of some lines under this rule, period by period (see `_compute_interest`).

        :param account.move.line lines: receivable lines
        :param date date_to: the last day that counts
        :return: one dictionary per period of unchanged balance and rate: `line_id date_from date_to days base rate
            source basis exact amount`; `exact` is not rounded
        :rtype: list[dict]
        """
        if not self or not lines:
            return []
        self.ensure_one()
        return self._get_rows_of_claims([self._get_claim(line, date_to) for line in lines])

    @api.model
    def _get_rows_of_claims(self, claims):
        query = self._get_interest_query(self._prepare_claims(claims))
        if query is None:
            return []
        self.env.flush_all()
        columns = ('line_id', 'date_from', 'date_to', 'days', 'base', 'rate', 'source', 'basis', 'exact', 'amount')
        rows = self.env.execute_query(SQL(
            "SELECT %s FROM (%s) AS interest ORDER BY line_id, date_from",
            SQL(", ").join(SQL.identifier(column) for column in columns), query,
        ))
        return [
            {
                column: float(value) if column in ('base', 'rate', 'exact', 'amount') else value
                for column, value in zip(columns, row, strict=True)
            }
            for row in rows
        ]

    def _get_interest_rows_of_days(self, line, days):
        """As `_get_interest_rows`, for these days, charged or not.

        :param list days: `(first day, last day)`
        """
        self.ensure_one()
        return self._get_rows_of_claims([{
            **self._get_claim(line, max(last for _first, last in days)), 'days': days}])

    def _get_claim(self, line, date_to):
        """Return a claim of interest on one line under this rule, see `_prepare_claims`.

        :rtype: dict
        """
        self.ensure_one()
        return {
            'line_id': line.id,
            'date_maturity': line.date_maturity or line.date,
            'is_late_charge': line.move_id.is_late_charge,
            'rule': self,
            'date_to': date_to,
        }

    @api.model
    def _prepare_claims(self, claims):
        """Complete claims with the day from which interest runs and the days that are asked for.

        :param list[dict] claims: plain values, no records of lines, for there may be many: `line_id`, `date_maturity`,
            `is_late_charge` (its invoice is one of charges), `rule` (`account.late.charge.rule`), `date_to`, and
            optionally `days` (a list of `(first day, last day)`; left out: the days that have not been charged yet,
            between charged ones too, where the rate was missing then), `reduction` with `reduction_date` (amount in
            the line's currency that lowers the balance from that day on), `notice_id`, and anything the caller wants
            to keep
        :return: the claims that bear something, with `date_default` (first day of delay), `date_first` (first day
            that bears interest) and `parts` (`(first day, last day, asked for)`, without a gap, of all days since)
        :rtype: list[dict]
        """
        charged = defaultdict(list)
        for charge in self.env['account.late.charge'].sudo().search_fetch(
            [('move_line_id', 'in', [claim['line_id'] for claim in claims if 'days' not in claim]),
             ('kind', '=', 'interest'), ('state', 'in', CHARGED_STATES)],
            ['move_line_id', 'date_from', 'date_to'],
        ):
            charged[charge.move_line_id.id].append((charge.date_from, charge.date_to))
        reminders = self._get_first_reminders(
            [claim['line_id'] for claim in claims if claim['rule'].free_reminder])
        prepared = []
        for claim in claims:
            rule = claim['rule']
            if claim['is_late_charge'] and not rule.on_charges:
                continue
            date_default = claim['date_maturity'] + ONE_DAY
            date_first = date_default + timedelta(days=rule.start_delay_days)
            if rule.free_reminder:
                reminder = reminders.get(claim['line_id'])
                if not reminder:
                    continue
                date_first = max(date_first, rule._get_first_chargeable_day(*reminder))
            if date_first > claim['date_to']:
                continue
            days = claim['days'] if 'days' in claim else charged[claim['line_id']]
            prepared.append(claim | {
                'date_default': date_default,
                'date_first': date_first,
                'parts': _cut(date_first, claim['date_to'], days, marked='days' in claim),
            })
        return prepared

    @api.model
    def _get_first_reminders(self, line_ids):
        """Return when and how the first written reminder of each line after its due date went out.

        A telephone call is none, nor is an e-mail that came back, nor a letter that still waits to be posted.

        :param list[int] line_ids: receivable lines
        :return: line id -> (day of sending or posting, it went out by e-mail)
        :rtype: dict[int, tuple[date, bool]]
        """
        if not line_ids:
            return {}
        self.env.flush_all()
        return {
            line_id: (sent_date, electronic)
            for line_id, sent_date, electronic in self.env.execute_query(SQL(
                """
                SELECT DISTINCT ON (line.move_line_id) line.move_line_id, written.date, written.electronic
                  FROM account_dunning_notice_line line
                  JOIN account_dunning_notice notice ON notice.id = line.notice_id
                  CROSS JOIN LATERAL (
                       SELECT notice.sent_date AS date, TRUE AS electronic
                        WHERE notice.email_to IS NOT NULL AND notice.is_bounced IS NOT TRUE
                    UNION ALL
                       SELECT notice.posted_date, FALSE
                  ) AS written
                 WHERE line.move_line_id = ANY(%s)
                   AND notice.state = 'sent'
                   AND written.date > line.date_maturity
                   AND line.is_coming_due IS NOT TRUE
              ORDER BY line.move_line_id, written.date, written.electronic DESC
                """,
                list(line_ids),
            ))
        }

    @api.model
    def _get_interest_query(self, claims):
        """Return the query that computes interest, or None when there is nothing to compute.

        One statement for any number of lines and rules:

        - `movement`: the amount of each line and what was matched with it, on the later date of the two matched lines
          (Odoo's `max_date`), a credit note from the beginning, in the line's currency: exchange differences have no
          amount in it and change nothing;
        - `balance`: the balance of each line from each of these days on;
        - `segment`: the overlaps of a balance, a rate, a day-count year, and what is asked for or not;
        - `running`: the exact interest summed since the first day, rounded half up to the currency (after a rounding
          to ten decimals, so that the way of cutting never decides half a cent).

        :param list[dict] claims: see `_prepare_claims`; every one may have a `notice_id`
        :return: `notice_id line_id rule_id date_from date_to days base rate source basis exact amount`
        :rtype: SQL | None
        """
        if not claims:
            return None
        rules = self.browse({claim['rule'].id for claim in claims})
        first = min(claim['date_default'] for claim in claims)
        last = max(claim['date_to'] for claim in claims)
        rates, years = [], []
        for rule, periods in rules._get_rate_periods().items():
            rates += [(rule.id, *period) for period in periods if period[1] >= first and period[0] <= last]
            years += [(rule.id, *year) for year in rule._get_day_count_years(first, last)]
        if not rates:
            return None
        return SQL(
            """
            WITH claim AS MATERIALIZED (
                SELECT claim.*, line.amount_currency, currency.rounding
                  FROM %(claims)s AS claim(
                       notice_id, line_id, rule_id, date_rate, date_first, date_to, reduction, reduction_date)
                  JOIN account_move_line line ON line.id = claim.line_id
                  JOIN res_currency currency ON currency.id = line.currency_id
                 WHERE line.amount_currency > 0
            ), part AS (
                SELECT * FROM %(parts)s AS part(line_id, date_from, date_to, is_wanted)
            ), rate AS (
                SELECT * FROM %(rates)s AS rate(rule_id, date_from, date_to, rate, source)
            ), year AS (
                SELECT * FROM %(years)s AS year(rule_id, date_from, date_to, basis)
            ), movement AS (
                SELECT line_id, '0001-01-01'::date AS date, amount_currency AS amount
                  FROM claim
             UNION ALL
                -- what a credit note takes back was never owed
                SELECT claim.line_id,
                       CASE WHEN credit_move.move_type = 'out_refund' THEN '0001-01-01'::date ELSE partial.max_date END,
                       -partial.debit_amount_currency
                  FROM claim
                  JOIN account_partial_reconcile partial ON partial.debit_move_id = claim.line_id
                  JOIN account_move_line credit ON credit.id = partial.credit_move_id
                  JOIN account_move credit_move ON credit_move.id = credit.move_id
             UNION ALL
                SELECT line_id, reduction_date, -reduction
                  FROM claim
                 WHERE reduction > 0
            ), balance AS (
                SELECT line_id,
                       date AS date_from,
                       LEAD(date, 1, '9999-12-31'::date) OVER line AS date_next,
                       GREATEST(SUM(SUM(amount)) OVER line, 0) AS base
                  FROM movement
              GROUP BY line_id, date
                WINDOW line AS (PARTITION BY line_id ORDER BY date)
            ), segment AS (
                SELECT claim.notice_id, claim.line_id, claim.rule_id, claim.rounding, part.is_wanted,
                       bounds.date_from, bounds.date_to,
                       bounds.date_to - bounds.date_from + 1 AS days,
                       balance.base, rate.rate, rate.source, year.basis,
                       balance.base * rate.rate * (bounds.date_to - bounds.date_from + 1)
                       / (100 * year.basis) AS exact
                  FROM claim
                  JOIN balance ON balance.line_id = claim.line_id AND balance.base > 0
                       AND balance.date_from <= claim.date_to AND balance.date_next > claim.date_first
                  JOIN rate ON rate.rule_id = claim.rule_id AND rate.rate > 0
                       -- a frozen rate is that of one day, and counts for all days
                       AND COALESCE(claim.date_rate, LEAST(claim.date_to, balance.date_next - 1)) >= rate.date_from
                       AND COALESCE(claim.date_rate, GREATEST(claim.date_first, balance.date_from)) <= rate.date_to
                  JOIN year ON year.rule_id = claim.rule_id
                       AND year.date_from <= claim.date_to AND year.date_to >= claim.date_first
                  JOIN part ON part.line_id = claim.line_id
                  CROSS JOIN LATERAL (SELECT
                       GREATEST(part.date_from, balance.date_from, year.date_from,
                                CASE WHEN claim.date_rate IS NULL THEN rate.date_from END) AS date_from,
                       LEAST(part.date_to, balance.date_next - 1, year.date_to,
                             CASE WHEN claim.date_rate IS NULL THEN rate.date_to END) AS date_to
                  ) AS bounds
                 WHERE bounds.date_from <= bounds.date_to
            ), running AS (
                SELECT segment.*,
                       ROUND(ROUND(SUM(exact) OVER (PARTITION BY line_id ORDER BY date_from), 10) / rounding)
                       * rounding AS total
                  FROM segment
            ), share AS (
                SELECT running.*,
                       total - COALESCE(LAG(total) OVER (PARTITION BY line_id ORDER BY date_from), 0) AS amount
                  FROM running
            )
            SELECT notice_id, line_id, rule_id, date_from, date_to, days, base, rate, source, basis, exact, amount
              FROM share
             WHERE is_wanted
            """,
            claims=_sql_rows(
                [(
                    claim.get('notice_id'), claim['line_id'], claim['rule'].id,
                    claim['date_default'] if claim['rule'].rate_frozen else None,
                    claim['date_first'], claim['date_to'],
                    claim.get('reduction') or 0.0, claim.get('reduction_date'),
                ) for claim in claims],
                ('int', 'int', 'int', 'date', 'date', 'date', 'numeric', 'date'),
            ),
            parts=_sql_rows(
                [(claim['line_id'], *part) for claim in claims for part in claim['parts']],
                ('int', 'date', 'date', 'bool'),
            ),
            rates=_sql_rows(rates, ('int', 'date', 'date', 'numeric', 'text')),
            years=_sql_rows(years, ('int', 'date', 'date', 'int')),
        )

    def _get_day_count_years(self, first, last):
        """Return the periods in which a year has a number of days for this rule: `(first day, last day, days)`."""
        self.ensure_one()
        if basis := YEAR_BASES.get(self.day_count):
            return [(date.min, date.max, basis)]
        return [
            (date(year, 1, 1), date(year, 12, 31), (date(year, 12, 31) - date(year, 1, 1)).days + 1)
            for year in range(first.year, last.year + 1)
        ]


def _cut(first, last, days, marked):
    """Cut a span of time at some days.

    :param date first: the first day
    :param date last: the last day
    :param list days: `(first day, last day)`, in any order, maybe overlapping
    :param bool marked: how the parts that lie in `days` are marked; the others are marked the other way
    :return: `(first day, last day, mark)`, oldest first, without a gap
    :rtype: list[tuple[date, date, bool]]
    """
    parts = []
    for day_from, day_to in sorted(days):
        day_from, day_to = max(day_from, first), min(day_to, last)
        if day_from > day_to:
            continue
        if day_from > first:
            parts.append((first, day_from - ONE_DAY, not marked))
        parts.append((day_from, day_to, marked))
        first = day_to + ONE_DAY
    if first <= last:
        parts.append((first, last, not marked))
    return parts


def _sql_rows(rows, types):
    """Return `unnest(...)` over rows of plain values: one statement, whatever their number.

    :param list[tuple] rows: not empty
    :param tuple[str] types: PostgreSQL types of the columns, literals of this file
    """
    columns = zip(*rows, strict=True)
    return SQL("unnest(%s)", SQL(", ").join(
        SQL("%s::%s[]", list(column), SQL(column_type))
        for column, column_type in zip(columns, types, strict=True)
    ))
