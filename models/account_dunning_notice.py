from dateutil.relativedelta import relativedelta

from odoo import api, fields, models
from odoo.exceptions import AccessError, UserError
from odoo.tools import SQL
from odoo.tools.misc import get_lang

# What makes a customer's row in the follow-up stale
FOLLOWUP_CHANGES = {'state', 'level_id', 'is_bounced', 'is_letter_to_print'}

LIVE_STATES = ('draft', 'queued', 'failed')

# Hours until a failed notice is tried again: soon at first (the mail server restarts), then once a day.
RETRY_HOURS = (1, 4, 24, 24, 24, 24, 24)


class AccountDunningNotice(models.Model):
    """One reminder to one customer: the evidence of what was claimed, when, and how it went out.

    A run writes proposals (`draft`); sending puts them into the queue (`queued`), from which the scheduled action
    takes them (see account_dunning_notice_delivery.py). Lines move to their level only when the notice is `sent`.
    """

    _name = 'account.dunning.notice'
    _description = "Dunning notice"
    _inherit = ['account.dunning.guarded', 'mail.thread', 'mail.activity.mixin']
    _order = 'date desc, id desc'
    _check_company_auto = True
    _mail_post_access = 'read'

    name = fields.Char(string="Number", default='/', required=True, readonly=True, copy=False)
    run_id = fields.Many2one(
        comodel_name='account.dunning.run', readonly=True, index='btree_not_null', ondelete='set null')
    company_id = fields.Many2one(comodel_name='res.company', required=True, readonly=True, index=True)
    currency_id = fields.Many2one(related='company_id.currency_id')
    partner_id = fields.Many2one(
        comodel_name='res.partner', string="Customer", required=True, readonly=True, index=True, ondelete='restrict')
    contact_id = fields.Many2one(
        comodel_name='res.partner', string="Recipient", index='btree_not_null', ondelete='restrict')
    user_forced = fields.Boolean(readonly=True, copy=False, help="The collector was chosen by hand.")
    contact_forced = fields.Boolean(readonly=True, copy=False, help="The recipient was chosen by hand.")
    user_id = fields.Many2one(
        comodel_name='res.users', string="Collector", index='btree_not_null', ondelete='set null')
    procedure_id = fields.Many2one(
        comodel_name='account.dunning.procedure', required=True, readonly=True, index=True, ondelete='restrict')
    level_id = fields.Many2one(
        comodel_name='account.dunning.level', required=True, readonly=True, index=True, ondelete='restrict')
    level_forced = fields.Boolean(readonly=True, copy=False, help="The level was chosen by hand.")
    date = fields.Date(required=True, readonly=True, help="The day of the run.")
    deadline = fields.Date(readonly=True, help="The day until which the letter asks for payment.")
    state = fields.Selection(
        string="Status",
        selection=[
            ('draft', "Proposal"),
            ('queued', "Queued"),
            ('sent', "Sent"),
            ('failed', "Failed"),
            ('cancelled', "Cancelled"),
        ],
        required=True,
        default='draft',
        readonly=True,
        copy=False,
        index=True,
    )
    line_ids = fields.One2many(comodel_name='account.dunning.notice.line', inverse_name='notice_id', readonly=True)
    amount_due = fields.Monetary(
        string="Amount due",
        readonly=True,
        help="What the notice asks for: overdue, after set-off and pauses, in company currency.",
    )

    # What became of it
    sent_date = fields.Date(string="Sent on", readonly=True, copy=False)
    dropped_date = fields.Date(
        string="Dropped on",
        readonly=True,
        copy=False,
        help="Dropped by hand on this day: not proposed again before the next day.",
    )
    cancel_reason = fields.Char(string="Why it was dropped", readonly=True, copy=False)
    failure_reason = fields.Text(string="Why it failed", readonly=True, copy=False)
    attempts = fields.Integer(readonly=True, copy=False)
    next_attempt = fields.Datetime(
        string="Next attempt", readonly=True, copy=False, help="When a failed notice is tried again by itself.")

    _one_live_per_customer = models.UniqueIndex(
        "(company_id, partner_id) WHERE state IN ('draft', 'queued', 'failed')",
        "This customer already has a dunning notice on its way.",
    )
    # The engine asks when each customer was last reminded
    _last_sent_idx = models.Index("(company_id, partner_id, procedure_id, sent_date) WHERE state = 'sent'")

    #=== COMPUTE METHODS ===#

    @api.depends('name', 'level_id', 'partner_id')
    def _compute_display_name(self):
        for notice in self:
            if notice.name and notice.name != '/':
                notice.display_name = notice.name
            else:
                notice.display_name = self.env._(
                    "%(level)s for %(customer)s", level=notice.level_id.name, customer=notice.partner_id.display_name)

    #=== CRUD METHODS ===#

    @api.ondelete(at_uninstall=False)
    def _unlink_except_evidence(self):
        if any(notice.state == 'sent' for notice in self):
            raise UserError(self.env._("A notice that has gone out is evidence and can't be deleted."))

    def write(self, vals):
        result = super().write(vals)
        if 'contact_id' in vals and not self.env.su:
            self.sudo().contact_forced = True
        if 'user_id' in vals and not self.env.su:
            self.sudo().user_forced = True
        if not vals.keys().isdisjoint(FOLLOWUP_CHANGES):
            self.env['account.dunning.followup']._note_changed(self.partner_id)
        return result

    def _check_guarded_fields(self, vals):
        # EXTENDS 'account_dunning': to whom and from whom it went is part of the evidence, once it is out
        result = super()._check_guarded_fields(vals)
        if not self.env.su and not vals.keys().isdisjoint(('contact_id', 'user_id')) and any(
            notice.state == 'sent' for notice in self
        ):
            raise AccessError(self.env._("A notice that has gone out is evidence and can't be changed."))
        if not self.env.su and not vals.keys().isdisjoint(('letter_intro', 'letter_closing')) and any(
            notice.state not in ('draft', 'failed') for notice in self
        ):
            raise AccessError(self.env._(
                "The letter has gone out or is on its way: its words can't be changed any more."))
        return result

    #=== ACTION METHODS ===#

    def action_send(self):
        """Send the proposals, and the failed ones once more: they go into the queue, which is worked off at once.

        Nothing leaves in the user's own transaction: Odoo may run it a second time after a conflict, and a letter
        can't be taken back.

        :raise UserError: when none of the notices can be sent
        """
        self.check_access('write')
        notices = self.filtered(lambda notice: notice.state in ('draft', 'failed'))
        if not notices:
            raise UserError(self.env._("Only proposals and failed notices can be sent."))
        if len(self) > 1:
            notices = notices._leave_out_doubtful()
        notices._queue()
        return notices._notify_queued()

    def action_cancel(self):
        """Drop the notices: nothing goes out, and their lines may be proposed again from tomorrow on.

        :raise UserError: when one of them has been sent, or is just being handed to the mail server
        """
        self.check_access('write')
        if any(notice.state == 'sent' or notice.handover_date for notice in self):
            raise UserError(self.env._("A notice that has gone out can't be dropped."))
        notices = self.filtered(lambda notice: notice.state in LIVE_STATES)
        if len(self) > 1:
            notices = notices._leave_out_doubtful()
        for company, company_notices in notices.grouped('company_id').items():
            company_notices._cancel(
                self.env._("Dropped by %(user)s", user=self.env.user.name), dropped_date=company._get_dunning_today())

    def action_set_level(self, level):
        """Remind at another level than the one proposed.

        Lines that move go to that level; those that have been reminded at it before, or stand higher, stay where they
        are.

        :param account.dunning.level | int level: a level of the notice's procedure
        :raise UserError: when a notice is no proposal or in doubt, or the level belongs to another procedure
        """
        self.check_access('write')
        level = level if isinstance(level, models.BaseModel) else self.env['account.dunning.level'].browse(level)
        if any(notice.state not in ('draft', 'failed') for notice in self):
            raise UserError(self.env._("The level can only be changed before the notice goes out."))
        self.filtered('is_in_doubt')._leave_out_doubtful()
        if any(notice.procedure_id != level.procedure_id for notice in self):
            raise UserError(self.env._(
                "“%(level)s” is no level of the procedure of these notices.", level=level.display_name))
        self.sudo()._set_level(level.sudo())

    #=== BUSINESS METHODS ===#

    def _queue(self):
        self.sudo().write({
            'state': 'queued',
            'attempts': 0,
            'next_attempt': False,
            'failure_reason': False,
            'is_in_doubt': False,
            'handover_date': False,
        })
        self._wake_senders()

    def _leave_out_doubtful(self):
        """Whether a customer has got a reminder already is decided for each one, not by a click on a list.

        :raise UserError: when nothing but notices in doubt is left
        """
        notices = self.filtered(lambda notice: not notice.is_in_doubt)
        if self and not notices:
            raise UserError(self.env._(
                "Nobody knows whether these reminders went out: open each of them, and confirm that it was sent or "
                "send it again."))
        return notices

    def _notify_queued(self):
        return {
            'type': 'ir.actions.client',
            'tag': 'display_notification',
            'params': {
                'type': 'success',
                'message': self.env._("Reminders on their way: %(count)s", count=len(self)),
                'next': {'type': 'ir.actions.client', 'tag': 'soft_reload'},
            },
        }

    def _set_level(self, level):
        engine = self.env['account.dunning.engine']
        levels = engine._get_levels(level.procedure_id)
        verdicts = engine._judge(self.line_ids.move_line_id, self[:1].date)
        reminded = self.env['account.dunning.notice.line'].search([
            ('move_line_id', 'in', self.line_ids.move_line_id.ids),
            ('level_id', '=', level.id),
            ('live', '=', True),
            ('notice_id', 'not in', self.ids),
        ]).move_line_id
        self.write({'level_id': level.id, 'level_forced': True})
        for line in self.line_ids.filtered(lambda line: not line.is_coming_due):
            moves_up = (
                # A bill that follows another procedure than the notice stays where it is in its own.
                verdicts.get(line.move_line_id, {}).get('procedure_id') == level.procedure_id.id
                and level in levels[engine._count_levels_behind(levels, line.previous_level_id):]
                and line.move_line_id not in reminded
            )
            line.write({
                'level_id': level.id if moves_up else line.previous_level_id.id,
                'advances': moves_up,
                'live': moves_up,
            })
        for notice in self:
            notice.deadline = notice._get_deadline(notice.date)

    def _get_deadline(self, date):
        """The day until which a letter of that date asks for payment, or False."""
        self.ensure_one()
        days = self.level_id.deadline_days
        return date + relativedelta(days=days) if days else False

    def _cancel(self, reason, dropped_date=False):
        """Nothing goes out.

        :param str reason: shown on the notice
        :param datetime.date | bool dropped_date: the day on which a person dropped it
        """
        notices = self.sudo()
        notices._discard_charges()
        notices.line_ids.filtered('live').write({'live': False})
        notices.write({
            'state': 'cancelled',
            'cancel_reason': reason,
            'dropped_date': dropped_date,
            'next_attempt': False,
        })
        notices.run_id._update_state()

    def _fail(self, reason, in_doubt=False):
        """It did not go out: say why, tell the collector, and try again later unless it is in doubt.

        :param str reason: in the words of who has to mend it
        :param bool in_doubt: the mail server may have accepted it: never sent again without a person's decision
        """
        now = fields.Datetime.now()
        for notice in self.sudo():
            hours = RETRY_HOURS[notice.attempts] if notice.attempts < len(RETRY_HOURS) else None
            notice.write({
                'state': 'failed',
                'failure_reason': reason,
                'attempts': notice.attempts + 1,
                'next_attempt': now + relativedelta(hours=hours) if hours and not in_doubt else False,
                'is_in_doubt': in_doubt,
                'handover_date': False,
            })
            notice._notify_collector(
                notice._in_collector_language().env._("Reminder not sent: %(reason)s", reason=reason))

    def _notify_collector(self, summary):
        """One to-do for the collector, on the notice; not a new one at each attempt."""
        self.ensure_one()
        todo = self.env.ref('mail.mail_activity_data_todo')
        if not self.activity_ids.filtered(lambda activity: activity.activity_type_id == todo):
            self.with_context(mail_activity_quick_update=True).activity_schedule(
                activity_type_id=todo.id, summary=summary[:200], user_id=self._get_collector().id)

    def _in_collector_language(self):
        """The notice as its collector reads it: failures are told, and tasks are named, in their language and not in
        that of the scheduled action.

        :rtype: account.dunning.notice
        """
        self.ensure_one()
        return self.with_context(lang=self._get_collector_languages()[self.id])

    def _get_collector_languages(self):
        """The codes of the languages of the notices' collectors.

        :rtype: dict[int, str]
        """
        return {
            notice.id: get_lang(self.env, collector.sudo().lang).code
            for notice, collector in self._get_collectors().items()
        }

    def _get_collector(self):
        """Who looks after the notice today: the customer's collector, else the procedure's, or their deputy while they
        are away; else who manages accounting."""
        self.ensure_one()
        return self._get_collectors()[self]

    def _get_collectors(self):
        """Who looks after each of the notices today, see `_get_collector`.

        :rtype: dict[account.dunning.notice, res.users]
        """
        collectors = {}
        for company, notices in self.grouped('company_id').items():
            deputies = self.env['account.dunning.absence']._get_deputies(company._get_dunning_today())
            manager = None
            for notice in notices:
                collector = notice.user_id.filtered('active') or notice.procedure_id.user_id.filtered('active')
                collector = deputies.get(collector, collector)
                if not collector:
                    collector = manager = manager or self._get_accounting_manager(company)
                collectors[notice] = collector
        return collectors

    def _get_accounting_manager(self, company):
        """Who is there when nobody looks after a customer."""
        return self.env.ref('account.group_account_manager').sudo().all_user_ids.filtered(
            lambda user: not user.share and company in user.company_ids)[:1] or self.env.user

    #=== CHECK BEFORE SENDING ===#

    def _recheck(self, date):
        """Ask the engine once more (rules 1 to 3 and 7): what was paid, credited, disputed or promised leaves.

        Lines are never added here and a line never moves higher than it was proposed for: what a person has reviewed
        is what may go out, or less. A notice with nothing left cancels itself.

        :param datetime.date date: the day of sending
        :return: the notices that still stand, and those of them whose lines or sums have changed
        :rtype: tuple[account.dunning.notice, account.dunning.notice]
        """
        standing = changed = self.browse()
        engine = self.env['account.dunning.engine']
        for company, notices in self.grouped('company_id').items():
            rows = {
                row['id']: row
                for row in engine._execute(
                    company, date, SQL("SELECT * FROM verdict WHERE counts"),
                    notices.partner_id.commercial_partner_id.ids)
            }
            for notice in notices:
                is_changed = notice.line_ids._refresh(rows)
                reason = notice._get_obsolete_reason()
                if reason:
                    notice._cancel(reason)
                    continue
                standing += notice
                if is_changed:
                    notice._update_totals()
                    changed += notice
        return standing, changed

    def _get_obsolete_reason(self):
        """Why the notice need not go out any more, in words; empty when it must."""
        self.ensure_one()
        dunned = self.line_ids.filtered(lambda line: not line.is_coming_due)
        moving = dunned.filtered('advances')
        if not dunned or not (moving or self.level_forced):
            return self.env._("Nothing left to remind of today: paid, credited, paused or not yet due")
        level = self.level_id if self.level_forced else moving._get_highest_level()
        minimum = max(self.procedure_id.min_amount, level.min_amount)
        amount_due = sum(dunned.mapped('amount_due_company'))
        if self.currency_id.compare_amounts(amount_due, minimum) < 0:
            return self.env._("The open amount fell below the minimum")
        return False

    def _update_totals(self):
        """Sum and level follow the lines that are left."""
        for notice in self.sudo():
            values = {'amount_due': sum(notice.line_ids.mapped('amount_due_company'))}
            moving = notice.line_ids.filtered('advances')
            if moving and not notice.level_forced:
                values['level_id'] = moving._get_highest_level().id
            notice.write(values)

    #=== GONE OUT ===#

    def _mark_sent(self, date):
        """The notices have gone out on that date."""
        self._move_to_sent(date)
        self._follow_sent(date)

    def _move_to_sent(self, date, to_conclude=False):
        """What must be true from the moment on that notices have gone out: they are sent, their charges claimed, and
        their advancing lines at their level.

        Plain SQL: nothing of the accounting of journal items changes, and their own write would look at all of it.

        :param datetime.date date: the day of sending
        :param bool to_conclude: what follows (`_follow_sent` and more) is written later
        """
        self.env.flush_all()
        self.env.execute_query(SQL(
            """
            WITH sent AS (
                UPDATE account_dunning_notice
                   SET state = 'sent',
                       sent_date = %(date)s,
                       failure_reason = NULL,
                       next_attempt = NULL,
                       is_in_doubt = FALSE,
                       handover_date = NULL,
                       is_to_conclude = %(to_conclude)s,
                       write_date = NOW() AT TIME ZONE 'UTC',
                       write_uid = %(uid)s
                 WHERE id = ANY(%(notice_ids)s)
             RETURNING id
            ),
            claimed AS (
                UPDATE account_late_charge charge
                   SET state = 'claimed',
                       write_date = NOW() AT TIME ZONE 'UTC',
                       write_uid = %(uid)s
                  FROM account_late_charge_notice_rel rel
                 WHERE rel.notice_id = ANY(%(notice_ids)s)
                   AND rel.charge_id = charge.id
                   AND charge.state = 'proposed'
            ),
            advanced AS (
                UPDATE account_move_line aml
                   SET dunning_level_id = line.level_id,
                       dunning_last_date = %(date)s
                  FROM account_dunning_notice_line line
                 WHERE line.notice_id = ANY(%(notice_ids)s)
                   AND line.advances
                   AND aml.id = line.move_line_id
             RETURNING aml.id, aml.move_id, line.level_id
            ),
            highest AS (
                SELECT DISTINCT ON (reached.move_id) reached.move_id, reached.level_id
                  FROM (
                        SELECT move_id, level_id FROM advanced
                     UNION ALL
                        SELECT other.move_id, other.dunning_level_id
                          FROM account_move_line other
                         WHERE other.move_id IN (SELECT move_id FROM advanced)
                           AND other.id NOT IN (SELECT id FROM advanced)
                           AND other.dunning_level_id IS NOT NULL
                           AND other.reconciled IS NOT TRUE
                       ) reached
                  JOIN account_dunning_level level ON level.id = reached.level_id
              ORDER BY reached.move_id, level.sequence DESC, level.delay_days DESC, level.id DESC
            ),
            reminded AS (
                UPDATE account_move move
                   SET dunning_level_id = highest.level_id,
                       dunning_last_date = %(date)s
                  FROM highest
                 WHERE move.id = highest.move_id
            )
            SELECT id FROM sent
            """,
            date=date, uid=self.env.uid, to_conclude=to_conclude, notice_ids=self.ids,
        ))
        self.invalidate_recordset(flush=False)
        self.env['account.late.charge'].invalidate_model(['state'], flush=False)
        self.env['account.move.line'].invalidate_model(['dunning_level_id', 'dunning_last_date'], flush=False)
        self.env['account.move'].invalidate_model(['dunning_level_id', 'dunning_last_date'], flush=False)

    def _follow_sent(self, date):
        """What follows from notices having gone out, beside what must be true at once.

        :param datetime.date date: the day of sending
        """
        notices = self.sudo()
        notices._invoice_charges(date)
        notices._close_calls_before()
        notices._log_on_invoices()
        self.env['account.dunning.followup']._note_changed(notices.partner_id)

    def _log_on_invoices(self):
        """The life of the invoice is told on the invoice."""
        bodies = {}
        for line in self.line_ids.filtered(lambda line: line.advances and line.move_id):
            notice = line.notice_id
            is_written = notice.email_to or notice.is_letter_to_print or notice.level_id.send_sms
            text = self.env._("Reminder sent: %(level)s (%(notice)s)") if is_written else self.env._(
                "Planned: %(level)s (%(notice)s)")
            bodies[line.move_id.id] = text % {'level': line.level_id.name, 'notice': notice.display_name}
        if bodies:
            self.env['account.move'].browse(bodies).sudo()._message_log_batch(bodies)
