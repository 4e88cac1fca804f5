from collections import defaultdict

from odoo import api, fields, models
from odoo.exceptions import UserError
from odoo.tools import SQL, format_amount

from .account_dunning_notice import LIVE_STATES
from .account_late_charge_rule import CHARGED_STATES, ONE_DAY, _sql_rows


class AccountDunningNotice(models.Model):
    """What the charges add to a notice: three hooks that the notice flow calls, and what the letter shows."""

    _inherit = 'account.dunning.notice'

    charge_ids = fields.Many2many(
        comodel_name='account.late.charge',
        relation='account_late_charge_notice_rel',
        column1='notice_id',
        column2='charge_id',
        string="Late charges",
        readonly=True,
        copy=False,
        help="Charges that this notice states: new ones, and those of its invoices that earlier letters claimed.",
    )
    amount_charges = fields.Monetary(
        string="Charges",
        readonly=True,
        copy=False,
        help="Late charges that the notice states on top of the amount due, in company currency at the rate of the "
             "notice's date.",
    )
    level_charges = fields.Boolean(compute='_compute_level_charges')
    charge_warning = fields.Text(string="Missing rates", compute='_compute_charge_warning')

    #=== COMPUTE METHODS ===#

    @api.depends('level_id')
    def _compute_level_charges(self):
        for notice in self:
            notice.level_charges = notice.level_id.charge != 'none'

    def _compute_charge_warning(self):
        """Say on a notice that is still to be sent when a reference rate for its date is missing."""
        for notice in self:
            notice.charge_warning = False
            if notice.state in ('sent', 'cancelled') or notice.level_id.charge == 'none':
                continue
            rule = self.env['account.late.charge.rule']._find_rules(
                notice.company_id, notice.partner_id)[notice.partner_id]
            late = notice.line_ids.filtered(lambda line: line.date_maturity and not line.is_coming_due)
            since = min(late.mapped('date_maturity'), default=notice.date) + ONE_DAY
            if warnings := rule and [*filter(None, [rule._get_rate_warning(notice.date, since)]),
                                     *notice._get_exchange_warnings(rule)]:
                notice.charge_warning = f"{rule.name}: {' '.join(warnings)}"

    def _get_exchange_warnings(self, rule):
        """Say for which bills a sum of the rule can't be converted.

        :param account.late.charge.rule rule: the rule of the notice's customer
        :rtype: list[str]
        """
        self.ensure_one()
        if not (rule.tier_ids or rule.reminder_fee):
            return []
        factors = rule._get_exchange_factors(
            self.company_id, {(rule.currency_id, currency, self.date) for currency in self.line_ids.currency_id})
        return [
            self.env._(
                "There is no exchange rate between %(rule_currency)s and %(currency)s: bills in %(currency)s bear no "
                "compensation and no fee.",
                rule_currency=rule.currency_id.name, currency=currency.name)
            for (_rule_currency, currency, _day), factor in factors.items() if not factor
        ]

    #=== ACTION METHODS ===#

    def action_view_charges(self):
        """Open the charges that the notice states."""
        self.ensure_one()
        return {
            'type': 'ir.actions.act_window',
            'name': self.env._("Late charges"),
            'res_model': 'account.late.charge',
            'view_mode': 'list,form',
            'domain': [('notice_ids', 'in', self.ids)],
            'context': {'search_default_group_move': True},
        }

    def action_prepare_charges(self):
        """Show the charges of a proposal before it goes out; they are computed again at the moment of sending.

        :raise UserError: when none of the notices is a proposal
        """
        self.check_access('write')
        notices = self.filtered(lambda notice: notice.state in ('draft', 'failed') and not notice.is_in_doubt)
        if not notices:
            raise UserError(self.env._("Only the charges of a proposal can be computed again."))
        for company, group in notices.sudo().grouped('company_id').items():
            group._prepare_charges(company._get_dunning_today())

    def action_waive_charges(self):
        """Open the window that waives the notice's charges."""
        self.ensure_one()
        return self._get_stated_charges().sudo(False).action_waive()

    #=== HOOKS OF THE NOTICE FLOW ===#

    def _prepare_charges(self, date):
        """Compute the late charges that the notices claim, before they are rendered.

        Idempotent and set-based: what an earlier call proposed for these notices is thrown away, and the charges of
        all of them are computed in one statement. Lines are charged when their own level charges; the part that the
        notice sets off or that is paused bears nothing (set off: from the date of the customer's oldest open credit).

        :param date date: the last day that bears interest; the date of exchange rates
        :raise UserError: if a level invoices and the company has no journal or account for it
        """
        self._discard_charges()
        notices = self.filtered(lambda notice: notice.level_id.charge != 'none')
        if not notices:
            return
        notices.filtered(lambda notice: notice.level_id.charge == 'invoice').company_id._check_late_charge_settings()
        claims = notices._get_charge_claims(date)
        notices._insert_interest(claims, date)
        notices._insert_compensation(claims, date)
        notices._insert_fees(claims, date)
        notices._link_charges()
        notices._update_charges_amount()

    def _invoice_charges(self, date):
        """The notices have gone out: what they claim is invoiced where their level wants it. A second call changes
        nothing.

        :param datetime.date date: the date of the invoices
        """
        for notice in self.filtered(lambda notice: notice.level_id.charge == 'invoice'):
            charges = self.env['account.late.charge'].sudo().browse(notice.charge_ids.ids)
            charges.filtered(lambda charge: charge.state == 'claimed')._create_invoices(date)

    def _discard_charges(self):
        """The notices do not go out: nothing is claimed."""
        if not self:
            return
        self.env.flush_all()
        self.env.execute_query(SQL(
            "DELETE FROM account_late_charge WHERE notice_id = ANY(%s) AND state = 'proposed' RETURNING id", self.ids))
        # what a sent notice stated stays written
        self.env.execute_query(SQL(
            """
            DELETE FROM account_late_charge_notice_rel rel
                  USING account_dunning_notice notice
                  WHERE notice.id = rel.notice_id AND notice.id = ANY(%s) AND notice.state <> 'sent'
              RETURNING rel.charge_id
            """, self.ids))
        self.env['account.late.charge'].invalidate_model()
        self.invalidate_recordset(['charge_ids'])
        self.sudo().filtered(lambda notice: notice.state != 'sent' and notice.amount_charges).amount_charges = 0.0

    #=== BUSINESS METHODS ===#

    def _get_charge_claims(self, date):
        """Return a claim for every line of the notices that may bear charges, see `_prepare_claims` of the rule.

        :rtype: list[dict]
        """
        self.env.flush_all()
        rows = self.env.execute_query(SQL(
            """
            SELECT line.notice_id, item.id, item.move_id, move.name, COALESCE(item.date_maturity, item.date),
                   item.currency_id, COALESCE(move.is_late_charge, FALSE),
                   COALESCE(line.amount_due, 0), COALESCE(line.amount_set_off, 0), COALESCE(line.amount_blocked, 0),
                   CASE WHEN line.amount_set_off > 0 THEN (
                       SELECT MIN(credit.date)
                         FROM account_move_line credit
                         JOIN account_account account ON account.id = credit.account_id
                         JOIN res_partner partner ON partner.id = credit.partner_id
                        WHERE partner.commercial_partner_id = notice.partner_id
                          AND credit.company_id = notice.company_id
                          AND credit.currency_id = item.currency_id
                          AND account.account_type = 'asset_receivable'
                          AND credit.parent_state = 'posted'
                          AND credit.reconciled IS NOT TRUE
                          AND credit.amount_residual_currency < 0
                   ) END
              FROM account_dunning_notice_line line
              JOIN account_dunning_notice notice ON notice.id = line.notice_id
              JOIN account_dunning_level level ON level.id = line.level_id
              JOIN account_move_line item ON item.id = line.move_line_id
              JOIN account_move move ON move.id = item.move_id
             WHERE notice.id = ANY(%s)
               AND level.charge <> 'none'
               AND line.is_coming_due IS NOT TRUE
          ORDER BY line.notice_id, line.id
            """, self.ids))
        notices = {notice.id: notice for notice in self}
        rules = {
            company: self.env['account.late.charge.rule']._find_rules(company, group.partner_id)
            for company, group in self.grouped('company_id').items()
        }
        claims = []
        for (
            notice_id, line_id, move_id, move_name, date_maturity, currency_id, is_late_charge, amount_due, set_off,
            blocked, credit_date,
        ) in rows:
            notice = notices[notice_id]
            rule = rules[notice.company_id][notice.partner_id]
            if not rule:
                continue
            claims.append({
                'notice_id': notice_id,
                'line_id': line_id,
                'move_id': move_id,
                'move_name': move_name,
                'date_maturity': date_maturity,
                'currency_id': currency_id,
                'is_late_charge': is_late_charge,
                'rule': rule,
                'date_to': date,
                'amount_due': float(amount_due),
                # A paused part bears nothing at all; a credit counts from the day it came in. Both in the customer's
                # favour: which credit pays which bill is only known once they are matched.
                'reduction': set_off + blocked,
                'reduction_date': credit_date if not blocked and credit_date else date_maturity,
            })
        self.env['account.late.charge'].search([
            ('move_line_id', 'in', [claim['line_id'] for claim in claims]), ('state', '=', 'claimed'),
            ('kind', '=', 'interest'),
        ])._correct({claim['line_id']: (claim['reduction'], claim['reduction_date']) for claim in claims})
        return self.env['account.late.charge.rule']._prepare_claims(claims)

    def _insert_interest(self, claims, date):
        """Propose the interest of the claims: one statement for all of them."""
        query = self.env['account.late.charge.rule']._get_interest_query(claims)
        if query is None:
            return
        self.env.execute_query(SQL(
            """
            WITH interest AS MATERIALIZED (
                SELECT period.*, SUM(period.amount) OVER (PARTITION BY period.line_id) AS line_amount
                  FROM (%(interest)s) AS period
            ), text AS MATERIALIZED (
                SELECT * FROM %(texts)s AS text(notice_id, legal_basis)
            )
            INSERT INTO account_late_charge (
                   create_uid, create_date, write_uid, write_date, state, kind, date,
                   notice_id, company_id, partner_id, rule_id, move_id, move_name, move_line_id, date_maturity,
                   date_from, date_to, days, base, rate, year_days, amount_exact, amount, currency_id,
                   legal_basis, source)
            SELECT %(uid)s, now() AT TIME ZONE 'UTC', %(uid)s, now() AT TIME ZONE 'UTC', 'proposed', 'interest',
                   %(date)s,
                   notice.id, notice.company_id, notice.partner_id, interest.rule_id, line.move_id, move.name, line.id,
                   COALESCE(line.date_maturity, line.date),
                   interest.date_from, interest.date_to, interest.days, interest.base, interest.rate, interest.basis,
                   ROUND(interest.exact, 6), interest.amount, line.currency_id,
                   text.legal_basis, interest.source
              FROM interest
              JOIN text ON text.notice_id = interest.notice_id
              JOIN account_dunning_notice notice ON notice.id = interest.notice_id
              JOIN account_move_line line ON line.id = interest.line_id
              JOIN account_move move ON move.id = line.move_id
             -- nothing is written for a line whose interest does not make one cent yet
             WHERE interest.line_amount > 0
            RETURNING id
            """,
            uid=self.env.uid, date=date, interest=query,
            texts=_sql_rows(list(self._get_legal_texts(claims).items()), ('int', 'text')),
        ))
        self.env['account.late.charge'].invalidate_model()

    def _get_legal_texts(self, claims):
        """Return the legal basis of each notice's charges, in the language of its recipient.

        :rtype: dict[int, str]
        """
        texts, rows = {}, {}
        rules = {claim['notice_id']: claim['rule'] for claim in claims}
        for notice in self:
            if rule := rules.get(notice.id):
                lang = (notice.contact_id or notice.partner_id).lang
                if (rule, lang) not in texts:
                    texts[rule, lang] = rule.with_context(lang=lang).legal_basis
                rows[notice.id] = texts[rule, lang]
        return rows

    def _insert_compensation(self, claims, date):
        """Propose the compensation of each invoice of the claims that has never borne one."""
        amounts = defaultdict(float)
        first = {}
        at_start = self.env['account.late.charge.rule']._get_debts_at_start([
            claim['line_id'] for claim in claims if claim['rule'].compensation_base == 'start'])
        for claim in claims:
            if claim['rule'].tier_ids:
                amounts[claim['move_id']] += at_start.get(claim['line_id'], claim['amount_due'])
                if claim['date_default'] < first.setdefault(claim['move_id'], claim)['date_default']:
                    first[claim['move_id']] = claim
        had = {move.id for (move,) in self.env['account.late.charge'].sudo()._read_group(
            [('move_id', 'in', list(amounts)), ('kind', '=', 'compensation'), ('state', 'in', CHARGED_STATES)],
            ['move_id'])}
        self._insert_sums('compensation', [
            (claim, amounts[move_id]) for move_id, claim in first.items() if move_id not in had
        ], date, self.env['account.late.charge.rule']._get_compensations)

    def _insert_fees(self, claims, date):
        """Propose the fee of each notice that is not the first reminder of all it charges.

        It stands with the oldest of the invoices that have been reminded of before. Fees are in the invoice's
        currency, at the exchange rate of the day of the reminder that they are for.

        :param date date: the day of the notices
        """
        had = {notice.id for (notice,) in self.env['account.late.charge'].sudo()._read_group(
            [('notice_id', 'in', self.ids), ('kind', '=', 'fee')], ['notice_id'])}  # waived before it went out
        claims = [
            claim for claim in claims
            if claim['rule'].reminder_fee and claim['amount_due'] > 0 and claim['notice_id'] not in had
        ]
        reminders = self.env['account.late.charge.rule']._get_first_reminders([claim['line_id'] for claim in claims])
        oldest = {}
        for claim in sorted(claims, key=lambda claim: (claim['date_maturity'], claim['line_id'])):
            if claim['line_id'] in reminders and reminders[claim['line_id']][0] < date:
                oldest.setdefault(claim['notice_id'], claim)

        def get_fees(company, debts):
            factors = self.env['account.late.charge.rule']._get_exchange_factors(
                company, {(rule.currency_id, currency, date) for rule, _amount, currency, _day in debts})
            return [
                currency.round(rule.reminder_fee * factors[rule.currency_id, currency, date])
                for rule, _amount, currency, _day in debts
            ]

        self._insert_sums('fee', [(claim, None) for claim in oldest.values()], date, get_fees)

    def _insert_sums(self, kind, claims, date, get_sums):
        """Propose a sum for each claim, in one statement for all.

        :param str kind: 'compensation' or 'fee'
        :param list claims: `(claim, the debt that the sum is for, or None)`
        :param date date: the day on which it is claimed
        :param get_sums: function of a company and `(rule, debt, currency, first day of delay)` of each of its claims
        """
        notices = {notice.id: notice for notice in self}
        texts = self._get_legal_texts([claim for claim, _amount in claims])
        currencies = {
            currency.id: currency for currency in self.env['res.currency'].browse(
                {claim['currency_id'] for claim, _amount in claims})
        }
        by_company = defaultdict(list)
        for claim, amount in claims:
            by_company[notices[claim['notice_id']].company_id].append((claim, amount))
        rows = []
        for company, company_claims in by_company.items():
            sums = get_sums(company, [
                (claim['rule'], amount, currencies[claim['currency_id']], claim['date_default'])
                for claim, amount in company_claims
            ])
            rows += [
                (
                    claim['notice_id'], company.id, notices[claim['notice_id']].partner_id.id, claim['rule'].id,
                    claim['move_id'], claim['move_name'], claim['line_id'], claim['date_maturity'], amount, charge,
                    claim['currency_id'], texts[claim['notice_id']], kind, date,
                )
                for (claim, amount), charge in zip(company_claims, sums, strict=True)
                if currencies[claim['currency_id']].compare_amounts(charge, 0.0) > 0
            ]
        if not rows:
            return
        self.env.execute_query(SQL(
            """
            INSERT INTO account_late_charge (
                   create_uid, create_date, write_uid, write_date, state,
                   notice_id, company_id, partner_id, rule_id, move_id, move_name, move_line_id, date_maturity,
                   base, amount, currency_id, legal_basis, kind, date)
            SELECT %(uid)s, now() AT TIME ZONE 'UTC', %(uid)s, now() AT TIME ZONE 'UTC', 'proposed', row.*
              FROM %(rows)s AS row
         RETURNING id
            """,
            uid=self.env.uid,
            rows=_sql_rows(rows, (
                'int', 'int', 'int', 'int', 'int', 'text', 'int', 'date', 'numeric', 'numeric', 'int', 'text', 'text',
                'date')),
        ))
        self.env['account.late.charge'].invalidate_model()

    def _link_charges(self):
        """State on each notice its own charges, and those that earlier letters claimed for its invoices."""
        self.env.execute_query(SQL(
            """
            INSERT INTO account_late_charge_notice_rel (notice_id, charge_id)
            SELECT notice_id, id FROM account_late_charge WHERE notice_id = ANY(%(ids)s) AND state = 'proposed'
             UNION
            SELECT line.notice_id, charge.id
              FROM account_dunning_notice_line line
              JOIN account_late_charge charge ON charge.move_id = line.move_id AND charge.state = 'claimed'
             WHERE line.notice_id = ANY(%(ids)s) AND line.is_coming_due IS NOT TRUE
                ON CONFLICT DO NOTHING
         RETURNING charge_id
            """, ids=self.ids))
        self.invalidate_recordset(['charge_ids'])
        self.env['account.late.charge'].invalidate_model(['notice_ids'])

    def _update_charges_amount(self):
        """Write the notices' totals, in company currency at the rate of each notice's date."""
        if not self:
            return
        self.env.flush_all()
        totals = defaultdict(float)
        Currency = self.env['res.currency']
        notices = {notice.id: notice for notice in self}
        for notice_id, currency_id, amount in self.env.execute_query(SQL(
            """
            SELECT rel.notice_id, charge.currency_id, SUM(charge.amount)
              FROM account_late_charge_notice_rel rel
              JOIN account_late_charge charge ON charge.id = rel.charge_id
                   AND charge.state NOT IN ('waived', 'corrected')
             WHERE rel.notice_id = ANY(%s)
          GROUP BY rel.notice_id, charge.currency_id
            """, self.ids)):
            notice = notices[notice_id]
            totals[notice_id] += Currency.browse(currency_id)._convert(
                float(amount), notice.currency_id, notice.company_id, notice.date)
        self.env.execute_query(SQL(
            """
            UPDATE account_dunning_notice notice
               SET amount_charges = row.amount
              FROM %s AS row(id, amount)
             WHERE notice.id = row.id AND notice.amount_charges IS DISTINCT FROM row.amount
         RETURNING notice.id
            """,
            _sql_rows([(notice.id, totals[notice.id]) for notice in self], ('int', 'numeric')),
        ))
        self.invalidate_recordset(['amount_charges'])

    #=== TOOLING: THE LETTER ===#

    def _get_stated_charges(self):
        """Return the charges that the letter states, in the order of its tables.

        :rtype: account.late.charge
        """
        self.ensure_one()
        charges = self.sudo().charge_ids
        if self.state != 'sent':
            charges = charges.filtered(lambda charge: charge.state not in ('waived', 'corrected'))
        return charges.sorted()

    def _get_charge_totals(self):
        """Return the totals of the charges, one for each currency.

        :rtype: list[tuple[res.currency, float]]
        """
        return [
            (currency, currency.round(sum(charges.mapped('amount'))))
            for currency, charges in self._get_stated_charges().grouped('currency_id').items()
        ]

    def _get_late_charge_sheets(self):
        """Return the calculation sheets of the invoices that the notice charges, see `account.move`.

        :rtype: list[dict]
        """
        self.ensure_one()
        charges = self._get_stated_charges()
        return [
            move._get_late_charge_sheet(max(group.mapped('date')), group)
            for move, group in charges.grouped('move_id').items()
            if move
        ]

    def _format_charge_totals(self, charges):
        return ", ".join(
            format_amount(self.env, sum(group.mapped('amount')), currency)
            for currency, group in charges.grouped('currency_id').items())

    def _get_charge_announcement(self):
        """Return what the first, free reminder must announce where the law asks for one (Belgian consumers).

        :return: None, or `rule`, `deadline` (the last free day, by the channel that was chosen for the notice) and
            `invoices`: (number, compensation, currency) of each
        :rtype: dict | None
        """
        self.ensure_one()
        rule = self.env['account.late.charge.rule']._find_rules(
            self.company_id, self.partner_id)[self.partner_id]
        lines = self.line_ids.filtered(lambda line: not line.is_coming_due and line.move_line_id and line.amount_due)
        if not rule.free_reminder or not lines:
            return None
        reminded = rule._get_first_reminders(lines.move_line_id.ids)
        date = self.sent_date or self.date
        lines = lines.filtered(
            lambda line: reminded.get(line.move_line_id.id, (date, False))[0] >= date)
        if not lines:
            return None
        groups = list(lines.grouped('move_id').items())
        compensations = rule._get_compensations(self.company_id, [
            (rule, sum(group.mapped('amount_due')), group.currency_id[:1],
             fields.Date.add(min(group.mapped('date_maturity')), days=1))
            for _move, group in groups
        ])
        invoices = [
            (move.name or group[0].move_name, compensation, group.currency_id[:1])
            for (move, group), compensation in zip(groups, compensations, strict=True)
        ]
        first_chargeable_day = rule._get_first_chargeable_day(date, self._is_electronic())
        return {
            'rule': rule,
            'deadline': fields.Date.subtract(first_chargeable_day, days=1),
            'invoices': invoices,
        }

    def _is_electronic(self):
        """Whether the notice went out by e-mail and did not come back: a letter's waiting time begins later."""
        self.ensure_one()
        return bool(self.email_to) and not self.is_bounced


class AccountDunningRun(models.Model):
    _inherit = 'account.dunning.run'

    charge_warning = fields.Text(string="Missing rates", compute='_compute_charge_warning')

    def _compute_charge_warning(self):
        """Say for which days of the run's bills a reference rate is missing."""
        for run in self:
            notices = self.env['account.dunning.notice'].sudo()
            domain = [('run_id', '=', run.id), ('state', 'in', LIVE_STATES), ('level_id.charge', '!=', 'none')]
            [[first]] = notices.line_ids._read_group(
                [('notice_id', 'in', notices._search(domain)), ('is_coming_due', '=', False)], [],
                ['date_maturity:min'])
            # Customers of one country, kind and agreed rule are charged alike: one of each is asked about.
            customers = notices._search(domain).subselect(SQL.identifier(notices._table, 'partner_id'))
            examples = notices.partner_id.browse(
                number for *_group, number in notices.partner_id.with_company(run.company_id)._read_group(
                    [('id', 'in', customers)], ['late_charge_rule_id', 'is_company', 'country_id'], ['id:min']))
            rules = self.env['account.late.charge.rule']._find_rules(run.company_id, examples)
            run.charge_warning = first and "\n".join(
                f"{rule.name}: {warning}" for rule in dict.fromkeys(rules.values())
                if rule and (warning := rule._get_rate_warning(run.date, first + ONE_DAY)))
