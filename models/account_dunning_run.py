import logging
import random
import time

import psycopg2

from odoo import api, fields, models
from odoo.exceptions import UserError
from odoo.service.model import PG_CONCURRENCY_EXCEPTIONS_TO_RETRY
from odoo.tools import SQL, format_date, split_every

from ..utils.isolate import isolate
from .account_dunning_notice import LIVE_STATES

_logger = logging.getLogger(__name__)

# Customers whose proposals are written by one statement, and committed together by the scheduled action
BATCH_SIZE = 1000

# How often the scheduled action tries a batch that conflicts with somebody else's transaction
CONFLICT_ATTEMPTS = 5

# Up to so many customers a run is prepared while the user waits, else in the background
FOREGROUND_CUSTOMERS = 5000


class AccountDunningRun(models.Model):
    """One execution of dunning, for one company and date: it writes the proposals that the engine calls for."""

    _name = 'account.dunning.run'
    _description = "Dunning run"
    _inherit = ['account.dunning.guarded', 'mail.thread']
    _order = 'date desc, id desc'
    _check_company_auto = True

    name = fields.Char(compute='_compute_name')
    company_id = fields.Many2one(
        comodel_name='res.company',
        required=True,
        default=lambda self: self.env.company,
        index=True,
    )
    currency_id = fields.Many2one(related='company_id.currency_id')
    date = fields.Date(required=True, default=fields.Date.context_today)
    state = fields.Selection(
        string="Status",
        selection=[
            ('draft', "New"),
            ('running', "In progress"),
            ('prepared', "Proposals ready"),
            ('done', "Done"),
        ],
        required=True,
        default='draft',
        readonly=True,
        copy=False,
        tracking=True,
    )
    queue_automatic = fields.Boolean(
        readonly=True, copy=False,
        help="Started by the scheduled action: what the procedure sends automatically goes into the queue.")
    notice_ids = fields.One2many(comodel_name='account.dunning.notice', inverse_name='run_id', readonly=True)
    # How far a run in progress is
    customers_total = fields.Integer(string="Customers to look at", readonly=True, copy=False)
    customers_done = fields.Integer(string="Customers looked at", readonly=True, copy=False)
    last_customer = fields.Integer(
        readonly=True, copy=False, help="A run that is interrupted goes on after the customer with this id.")
    progress = fields.Float(compute='_compute_progress', help="In percent.")
    failure_reason = fields.Text(string="Left out", readonly=True, copy=False)
    # What the screen shows
    notice_count = fields.Integer(string="Notices", compute='_compute_figures')
    amount_due = fields.Monetary(string="Amount due", compute='_compute_figures')
    statistics = fields.Html(compute='_compute_statistics', sanitize=False)

    #=== COMPUTE METHODS ===#

    @api.depends('date')
    @api.depends_context('lang')
    def _compute_name(self):
        for run in self:
            run.name = self.env._("Dunning of %(date)s", date=format_date(self.env, run.date))

    @api.depends('state', 'customers_total', 'customers_done')
    def _compute_progress(self):
        for run in self:
            if run.state in ('prepared', 'done'):
                run.progress = 100.0
            else:
                run.progress = 100.0 * run.customers_done / run.customers_total if run.customers_total else 0.0

    def _compute_figures(self):
        figures = {
            run: (count, amount)
            for run, count, amount in self.env['account.dunning.notice']._read_group(
                [('run_id', 'in', self.ids), ('state', '!=', 'cancelled')],
                groupby=['run_id'],
                aggregates=['__count', 'amount_due:sum'],
            )
        }
        for run in self:
            run.notice_count, run.amount_due = figures.get(run, (0, 0.0))

    @api.depends_context('lang')
    def _compute_statistics(self):
        """Notices by level and state, as a table."""
        states = self.env['account.dunning.notice']._fields['state']._description_selection(self.env)
        for run in self:
            rows = {}
            for level, state, count, amount in self.env['account.dunning.notice']._read_group(
                [('run_id', '=', run.id)],
                groupby=['level_id', 'state'],
                aggregates=['__count', 'amount_due:sum'],
            ):
                row = rows.setdefault(level, {'counts': {}, 'amount': 0.0})
                row['counts'][state] = count
                if state != 'cancelled':
                    row['amount'] += amount
            run.statistics = bool(rows) and self.env['ir.qweb']._render('account_dunning.dunning_run_statistics', {
                'states': [
                    (code, label) for code, label in states if any(code in row['counts'] for row in rows.values())
                ],
                'rows': sorted(rows.items(), key=lambda item: (item[0].sequence, item[0].id)),
                'currency': run.currency_id,
            })

    #=== CRUD METHODS ===#

    @api.ondelete(at_uninstall=False)
    def _unlink_except_with_notices(self):
        if any(notice.state in ('queued', 'sent') for notice in self.notice_ids):
            raise UserError(self.env._(
                "A run whose notices have gone out can't be deleted. How about dropping its proposals instead?"))

    #=== ACTION METHODS ===#

    def action_prepare(self):
        """Write the proposals of the run's company for its date; existing proposals are brought up to date.

        With many customers the scheduled action goes on with it in the background.
        """
        self.check_access('write')
        for run in self:
            partner_ids = run._start()
            if len(partner_ids) > FOREGROUND_CUSTOMERS:
                self.env.ref('account_dunning.ir_cron_dunning_run').sudo()._trigger()
                continue
            for batch in split_every(BATCH_SIZE, partner_ids, list):
                run._prepare_batch(batch)
            run._finish()

    def action_send(self):
        """Send all proposals of the run.

        :raise UserError: when there are none
        """
        self.check_access('write')
        notices = self.notice_ids.filtered(lambda notice: notice.state == 'draft')
        if not notices:
            raise UserError(self.env._("There are no proposals to send. Prepare the run first."))
        return notices.action_send()

    def action_view_notices(self):
        """Open the run's notices.

        :rtype: dict
        """
        self.ensure_one()
        self.check_access('read')
        action = self.env['ir.actions.act_window']._for_xml_id('account_dunning.account_dunning_notice_action')
        return {**action, 'domain': [('run_id', '=', self.id)], 'context': {}}

    #=== PREPARING ===#

    def _start(self):
        """Set out, or go on where an interrupted run has stopped.

        :return: the customers that are still to be looked at, ascending
        :rtype: list[int]
        """
        self.ensure_one()
        run = self.sudo()
        if run.state != 'running':
            run.write({'state': 'running', 'last_customer': 0, 'customers_done': 0, 'failure_reason': False})
        run._cancel_orphans()
        partner_ids = run._get_customer_ids()
        run.customers_total = run.customers_done + len(partner_ids)
        return partner_ids

    def _cancel_orphans(self):
        """A customer that has become the contact of another one is reminded together with it from now on."""
        Notice = self.env['account.dunning.notice']
        Notice.flush_model(['company_id', 'partner_id', 'state'])
        rows = self.env.execute_query(SQL(
            """
            SELECT notice.id
              FROM account_dunning_notice notice
              JOIN res_partner partner ON partner.id = notice.partner_id
             WHERE notice.company_id = %s
               AND notice.state IN ('draft', 'queued', 'failed')
               AND partner.commercial_partner_id != partner.id
            """,
            self.company_id.id,
        ))
        if rows:
            Notice.browse(notice_id for [notice_id] in rows)._cancel(
                self.env._("The customer now belongs to another company"))

    def _cancel_settled(self):
        """Notices that are not tried again by themselves, and of which nothing is left: nobody need look at them."""
        failed = self.env['account.dunning.notice'].search([
            ('company_id', '=', self.company_id.id), ('state', '=', 'failed'), ('next_attempt', '=', False),
            ('is_in_doubt', '=', False),
        ])
        isolate(failed, lambda notices: notices._recheck(self.date))

    def _get_customer_ids(self):
        """Customers with an open line that is due, or soon enough for a courtesy, or with a proposal to bring up to
        date; only those after the last one that the run has looked at."""
        self.env.flush_all()
        engine = self.env['account.dunning.engine']
        accounts = tuple(self.env['account.dunning.ledger']._get_receivable_account_ids(self.company_id)) or (0,)
        rows = self.env.execute_query(SQL(
            """
            SELECT DISTINCT partner.commercial_partner_id
              FROM account_move_line aml
              JOIN res_partner partner ON partner.id = aml.partner_id
             WHERE aml.account_id IN %(accounts)s
               AND aml.reconciled IS NOT TRUE
               AND aml.parent_state = 'posted'
               AND aml.company_id = %(company)s
               AND aml.amount_residual > 0
               AND COALESCE(aml.date_maturity, aml.date) <= %(date)s::date + %(courtesy)s
               AND partner.commercial_partner_id > %(after)s
             UNION
            SELECT notice.partner_id
              FROM account_dunning_notice notice
             WHERE notice.company_id = %(company)s
               AND notice.state = 'draft'
               AND notice.partner_id > %(after)s
          ORDER BY 1
            """,
            accounts=accounts,
            company=self.company_id.id,
            date=self.date,
            courtesy=engine._get_longest_courtesy(self.company_id),
            after=self.last_customer,
        ))
        return [partner_id for [partner_id] in rows]

    def _prepare_batch(self, partner_ids):
        """Write the proposals of these customers. Whoever makes the statement fail is left out and named; the others
        get theirs.

        :param list[int] partner_ids: commercial partners, ascending
        """
        self.ensure_one()
        try:
            with self.env.cr.savepoint():
                self._write_proposals(partner_ids)
        except PG_CONCURRENCY_EXCEPTIONS_TO_RETRY:
            raise  # somebody else was faster: Odoo tries the whole transaction again
        except psycopg2.Error:
            if len(partner_ids) > 1:
                middle = len(partner_ids) // 2
                self._prepare_batch(partner_ids[:middle])
                self._prepare_batch(partner_ids[middle:])
                return
            _logger.exception("Dunning run %s: no proposal for customer %s", self.id, partner_ids[0])
            customer = self.env['res.partner'].browse(partner_ids[0])
            self.sudo().failure_reason = "\n".join(filter(None, [
                self.failure_reason,
                self.env._(
                    "%(customer)s: the proposal could not be written. The server's log says why.",
                    customer=customer.display_name),
            ]))
        self.sudo().write({
            'customers_done': self.customers_done + len(partner_ids),
            'last_customer': partner_ids[-1],
        })

    def _retry_conflicts(self, method):
        """For the scheduled action, where nobody else tries again after a conflict with another transaction, such as
        that of a collector who edits a proposal.

        :param method: called without arguments, again after a conflict
        """
        for attempt in range(CONFLICT_ATTEMPTS):
            try:
                result = method()
                self.env.flush_all()
                return result
            except PG_CONCURRENCY_EXCEPTIONS_TO_RETRY:
                self.env.cr.rollback()
                if attempt == CONFLICT_ATTEMPTS - 1:
                    raise
                time.sleep(random.uniform(0, 0.1 * 2 ** attempt))  # as Odoo does: the other one is to get ready

    def _write_proposals(self, partner_ids):
        """Draft notices and their lines, straight from the engine's query: a constant number of statements."""
        Notice = self.env['account.dunning.notice']
        Line = self.env['account.dunning.notice.line']
        Notice.flush_model()
        Line.flush_model()
        parameters = {
            'run': self.id,
            'company': self.company_id.id,
            'date': self.date,
            'user': self.env.uid,
            'customers': partner_ids,
        }
        # Notices are named by their ids here and below: before the tables' first ANALYZE, in the night of the very
        # first run, PostgreSQL takes them for empty and would compare every notice with every line.
        rows = self.env.execute_query(SQL(
            """
            SELECT id
              FROM account_dunning_notice
             WHERE company_id = %(company)s
               AND state = 'draft'
               AND partner_id = ANY(%(customers)s)
            """,
            **parameters,
        ))
        if drafts := [notice_id for [notice_id] in rows]:
            self.env.cr.execute(SQL("DELETE FROM account_dunning_notice_line WHERE notice_id = ANY(%s)", drafts))
        self.env.cr.execute(SQL(
            """
            %(engine)s,
            proposal AS (
                SELECT partner_id,
                       (ARRAY_AGG(level_id ORDER BY rank DESC, delay_days DESC, level_id DESC)
                            FILTER (WHERE is_due))[1] AS level_id,
                       (ARRAY_AGG(procedure_id ORDER BY rank DESC, delay_days DESC, level_id DESC)
                            FILTER (WHERE is_due))[1] AS procedure_id,
                       (ARRAY_AGG(move_id ORDER BY date_maturity, id) FILTER (WHERE is_due))[1] AS oldest_move_id,
                       SUM(amount_net_company) FILTER (WHERE counts AND (is_due OR days > 0)) AS amount_due
                  FROM verdict
              GROUP BY partner_id
                HAVING BOOL_OR(is_due)
            ),
            notice AS (
                INSERT INTO account_dunning_notice (
                            name, run_id, company_id, partner_id, contact_id, user_id, procedure_id, level_id, date,
                            deadline, state, amount_due, create_uid, create_date, write_uid, write_date)
                     SELECT '/', %(run)s, %(company)s, customer.id,
                            COALESCE(address.id, biller.id, customer.id), %(collector)s,
                            proposal.procedure_id, proposal.level_id, %(date)s,
                            %(date)s::date + NULLIF(level.deadline_days, 0), 'draft', proposal.amount_due,
                            %(user)s, NOW() AT TIME ZONE 'UTC', %(user)s, NOW() AT TIME ZONE 'UTC'
                       FROM proposal
                       JOIN res_partner customer ON customer.id = proposal.partner_id
                       JOIN account_dunning_level level ON level.id = proposal.level_id
                  LEFT JOIN account_move invoice ON invoice.id = proposal.oldest_move_id
                  LEFT JOIN res_partner biller ON biller.id = invoice.partner_id AND biller.active
                  LEFT JOIN LATERAL (
                            SELECT contact.id
                              FROM res_partner contact
                             WHERE contact.commercial_partner_id = customer.id
                               AND contact.id != customer.id
                               AND contact.active
                               AND contact.type IN ('dunning', 'invoice')
                               AND (contact.company_id IS NULL OR contact.company_id = ANY(%(family)s))
                          -- of several addresses the one that the invoice went to
                          ORDER BY contact.type, contact.id != biller.id, contact.id
                             LIMIT 1
                            ) address ON TRUE
                ON CONFLICT (company_id, partner_id) WHERE state IN ('draft', 'queued', 'failed')
                  DO UPDATE SET run_id = EXCLUDED.run_id,
                                contact_id = CASE
                                    WHEN account_dunning_notice.contact_forced
                                    THEN COALESCE(account_dunning_notice.contact_id, EXCLUDED.contact_id)
                                    ELSE EXCLUDED.contact_id
                                END,
                                user_id = CASE
                                    WHEN account_dunning_notice.user_forced THEN account_dunning_notice.user_id
                                    ELSE EXCLUDED.user_id
                                END,
                                procedure_id = EXCLUDED.procedure_id,
                                level_id = CASE
                                    WHEN account_dunning_notice.level_forced
                                         AND account_dunning_notice.procedure_id = EXCLUDED.procedure_id
                                    THEN account_dunning_notice.level_id
                                    ELSE EXCLUDED.level_id
                                END,
                                level_forced = account_dunning_notice.level_forced
                                    AND account_dunning_notice.procedure_id = EXCLUDED.procedure_id,
                                date = EXCLUDED.date,
                                deadline = EXCLUDED.deadline,
                                amount_due = EXCLUDED.amount_due,
                                write_uid = EXCLUDED.write_uid,
                                write_date = EXCLUDED.write_date
                          WHERE account_dunning_notice.state = 'draft'
                  RETURNING id, partner_id
            ),
            line_of_notice AS (
            INSERT INTO account_dunning_notice_line (
                        notice_id, move_line_id, move_id, move_name, invoice_date, level_id, previous_level_id,
                        advances, live, is_coming_due, date_maturity, days_overdue, currency_id, amount_total,
                        amount_residual, amount_set_off, amount_blocked, amount_due, amount_due_company)
                 SELECT notice.id, verdict.id, verdict.move_id, move.name, COALESCE(move.invoice_date, move.date),
                        CASE WHEN is_due THEN verdict.level_id ELSE verdict.current_level_id END,
                        verdict.current_level_id, is_due, is_due, days <= 0 AND NOT is_due, verdict.date_maturity,
                        days, verdict.currency_id, verdict.total, verdict.residual, verdict.set_off, verdict.blocked,
                        CASE WHEN is_due OR days > 0 THEN amount_net ELSE 0 END,
                        CASE WHEN is_due OR days > 0 THEN amount_net_company ELSE 0 END
                   FROM verdict
                   JOIN notice ON notice.partner_id = verdict.partner_id
                   JOIN account_move move ON move.id = verdict.move_id
                  WHERE verdict.counts
            )
            SELECT id FROM notice
            """,
            engine=self.env['account.dunning.engine']._get_query(self.company_id, self.date, partner_ids),
            collector=self.env['account.dunning.collector.rule'].sudo()._get_collector_expression(
                self.company_id, 'customer', SQL("proposal.amount_due")),
            family=self.company_id.sudo().parent_ids.ids,
            **parameters,
        ))
        proposed = [notice_id for [notice_id] in self.env.cr.fetchall()]
        self._restore_chosen_levels(partner_ids)
        if drafts:
            Notice.invalidate_model()
            Notice.browse(set(drafts) - set(proposed))._cancel(
                self.env._("Nothing left to remind of today: paid, credited, paused or not yet due"))
        Notice.invalidate_model()
        Line.invalidate_model()

    def _restore_chosen_levels(self, partner_ids):
        """A level that a person has chosen for a proposal outlives bringing the proposal up to date."""
        # the SQL above has written what the cache does not know yet
        self.env['account.dunning.notice'].invalidate_model()
        self.env['account.dunning.notice.line'].invalidate_model()
        forced = self.env['account.dunning.notice'].sudo().search([
            ('company_id', '=', self.company_id.id),
            ('partner_id', 'in', partner_ids),
            ('state', '=', 'draft'),
            ('level_forced', '=', True),
        ])
        for level, notices in forced.grouped('level_id').items():
            notices._set_level(level)

    def _finish(self):
        """All customers have been looked at."""
        self._cancel_settled()
        while self._queue_automatic():
            pass
        self._close_preparing()

    def _queue_automatic(self):
        """Put a batch of what goes out by itself into the queue.

        :return: whether there was any
        """
        self.ensure_one()
        if not self.queue_automatic:
            return False
        proposals = self.env['account.dunning.notice'].sudo().search([
            ('run_id', '=', self.id), ('state', '=', 'draft'), ('procedure_id.mode', '=', 'automatic'),
        ], limit=BATCH_SIZE, order='id')
        proposals._queue()
        return bool(proposals)

    def _close_preparing(self):
        run = self.sudo()
        run.write({'state': 'prepared', 'last_customer': 0})
        # Proposals of earlier days have come to this run.
        run.search([('company_id', '=', run.company_id.id), ('state', '=', 'prepared')])._update_state()
        followups = self.env['account.dunning.followup']
        if self.queue_automatic:
            # The nightly run, which ends with the figures of the morning.
            followups._refresh(self.company_id, self.company_id._get_dunning_today())
        else:
            followups._note_changed(self.notice_ids.partner_id)

    def _update_state(self):
        """Done, once nothing of the run is on its way any more."""
        runs = self.sudo().filtered(lambda run: run.state in ('prepared', 'done'))
        live = runs.browse().union(*(run for [run] in self.env['account.dunning.notice'].sudo()._read_group(
            [('run_id', 'in', runs.ids), ('state', 'in', LIVE_STATES)], ['run_id'])))
        (runs - live).filtered(lambda run: run.state != 'done').state = 'done'
        (runs & live).filtered(lambda run: run.state != 'prepared').state = 'prepared'

    @api.model
    def _propose(self, company, partners):
        """Make today's proposals of some customers, by hand and out of turn: they wait for review.

        :param res.company company:
        :param res.partner partners: commercial partners
        """
        date = company._get_dunning_today()
        run = self.search([
            ('company_id', '=', company.id), ('date', '=', date), ('queue_automatic', '=', False),
            ('state', 'in', ('prepared', 'done')),
        ], limit=1)
        if not run:
            self.check_access('create')
            run = self.sudo().create({'company_id': company.id, 'date': date, 'state': 'prepared'}).sudo(False)
        run._cancel_orphans()
        run._prepare_batch(sorted(partners.ids))
        run._update_state()
        self.env['account.dunning.followup']._note_changed(partners)

    @api.model
    def _preview(self, company, date):
        """What a run would propose on any date, past or future. Writes nothing.

        :return: for each customer their procedure, highest level, number of lines and amount (company currency)
        :rtype: list[dict]
        """
        return self.env['account.dunning.engine']._execute(company, date, SQL(
            """
            SELECT partner_id,
                   (ARRAY_AGG(level_id ORDER BY rank DESC, delay_days DESC, level_id DESC)
                        FILTER (WHERE is_due))[1] AS level_id,
                   (ARRAY_AGG(procedure_id ORDER BY rank DESC, delay_days DESC, level_id DESC)
                        FILTER (WHERE is_due))[1] AS procedure_id,
                   COUNT(*) FILTER (WHERE is_due) AS line_count,
                   SUM(amount_net_company) FILTER (WHERE counts AND (is_due OR days > 0)) AS amount_due
              FROM verdict
          GROUP BY partner_id
            HAVING BOOL_OR(is_due)
          ORDER BY amount_due DESC, partner_id
            """
        ))

    #=== SCHEDULED ACTION ===#

    @api.model
    def _cron_run(self):
        """Each company's run of its own today.

        All runs are set out first, then worked off: when the time is up in between, the next call finds what is left
        to do. Made twice a day it brings the proposals up to date and sends nothing twice.
        """
        commit = self.env['ir.cron']._commit_progress
        runs = self.sudo()._set_out_runs()
        commit(remaining=len(runs))
        failure = None
        for run in runs:
            run = run.with_company(run.company_id)
            try:
                if not run._work_off(commit) or not commit(1):
                    break
            except Exception as error:
                # One company's trouble must not cost the others their night: this run is taken up again next time.
                self.env.cr.rollback()
                _logger.warning("Dunning run %s can't be made now", run.id, exc_info=True)
                failure = error
        if failure:
            raise failure

    def _work_off(self, commit):
        """Make one run, or as much of it as there is time for.

        :param commit: `_commit_progress`
        :return: whether it is ready
        :rtype: bool
        """
        for batch in split_every(BATCH_SIZE, self._start(), list):
            self._retry_conflicts(lambda batch=batch: self._prepare_batch(batch))
            if not commit():
                return False
        self._retry_conflicts(self._cancel_settled)
        while self._retry_conflicts(self._queue_automatic):
            if not commit():
                return False
        self._retry_conflicts(self._close_preparing)
        return True

    @api.model
    def _set_out_runs(self):
        """The runs in progress, and a run for each company that had none today; with nothing in progress and all of
        them made, today's are made again.

        Agreements are looked at first: a promise broken today is dunned today.
        """
        running = self.search([('state', '=', 'running')], order='id')
        made = self.browse()
        for company in self.env['res.company'].search([('active', '=', True)], order='id'):
            if not company._has_dunning():
                continue
            date = company._get_dunning_today()
            today = self.search([
                ('company_id', '=', company.id), ('date', '=', date), ('queue_automatic', '=', True),
            ], limit=1)
            if not today:
                self.env['account.dunning.block'].with_company(company)._update_pauses(company, date)
                running += self.create({
                    'company_id': company.id, 'date': date, 'queue_automatic': True, 'state': 'running'})
            made += today - running
        if running:
            return running
        for run in made:
            self.env['account.dunning.block'].with_company(run.company_id)._update_pauses(run.company_id, run.date)
        made.write({'state': 'running', 'last_customer': 0, 'customers_done': 0, 'failure_reason': False})
        return made
