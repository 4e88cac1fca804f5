import html
import logging
import time
from contextlib import suppress

import psycopg2

from odoo import api, fields, models
from odoo.exceptions import UserError
from odoo.fields import Domain
from odoo.service.model import PG_CONCURRENCY_EXCEPTIONS_TO_RETRY
from odoo.tools import SQL, config, split_every

from odoo.addons.base.models.ir_cron import MIN_TIME_PER_JOB

from .account_dunning_notice_handover import DeliveryError, InDoubtError

_logger = logging.getLogger(__name__)

# Notices that are rendered together: one PDF run, one rendering of e-mails per template
BATCH_SIZE = 50

# Stands between two stacks, where one error has led to another
CAUSE = "The above exception was the direct cause"

# How much of Odoo's time limits one turn of a worker uses before its last batch
TURN_SHARE = 0.4

# First half of the advisory lock's key; the second is the notice's id. Any number that nobody else uses.
LOCK_SPACE = 1_145_001_998


class AccountDunningNotice(models.Model):
    """How a queued notice goes out, exactly once.

    A worker claims notices with advisory locks that last as long as its connection to the database, so that a worker
    that dies gives them back at once. It checks a batch with the engine, renders letters and mails, and commits.

    E-mails are then handed over one by one, see account_dunning_notice_handover.py. Notices without an e-mail need no
    mail server: those of a batch are written as sent in one transaction.
    """

    _inherit = 'account.dunning.notice'

    attachment_id = fields.Many2one(
        comodel_name='ir.attachment', string="Letter", readonly=True, copy=False, ondelete='set null',
        index='btree_not_null')
    mail_source_id = fields.Many2one(
        comodel_name='ir.attachment', string="E-mail as sent", readonly=True, copy=False, ondelete='set null',
        index='btree_not_null', help="The evidence of an e-mail that carries no letter.")
    mail_id = fields.Many2one(
        comodel_name='mail.mail', string="E-mail", readonly=True, copy=False, ondelete='set null',
        index='btree_not_null', groups='base.group_system')
    message_id = fields.Char(
        string="Message-ID", readonly=True, copy=False, help="Names the e-mail in the log of the mail server.")
    email_to = fields.Char(string="Sent to", readonly=True, copy=False)
    is_fallback_letter = fields.Boolean(
        readonly=True, copy=False, help="Posted, because the recipient has no e-mail address.")
    handover_date = fields.Datetime(readonly=True, copy=False)
    is_to_conclude = fields.Boolean(
        readonly=True, copy=False, help="The e-mail has gone out; what follows from that is still to be written.")
    is_in_doubt = fields.Boolean(
        string="In doubt", readonly=True, copy=False,
        help="The server stopped while the e-mail was being handed over: nobody knows whether it went out.")
    is_bounced = fields.Boolean(string="Bounced", readonly=True, copy=False)

    #=== ACTION METHODS ===#

    def action_confirm_sent(self):
        """A person has found that the notice in doubt did go out: its lines move to their level."""
        self.check_access('write')
        notices = self.filtered('is_in_doubt')
        if not notices:
            raise UserError(self.env._("Only notices in doubt can be confirmed as sent."))
        for company, company_notices in notices.grouped('company_id').items():
            company_notices._mark_sent(company._get_dunning_today())
        for notice in notices.sudo():
            notice._plan_activity()
        notices.run_id._update_state()

    #=== SCHEDULED ACTION ===#

    @api.model
    def _cron_send(self):
        """Work off the queue; as many workers on as many servers as there are may do so at the same time."""
        commit = self.env['ir.cron']._commit_progress
        commit(remaining=self.search_count(self._get_queue_domain()))
        self._conclude_left(commit)
        seen = self.browse()
        runs = self.env['account.dunning.run']
        while self._has_time_left() and (notices := self._claim(seen, commit)):
            seen += notices
            runs += notices.run_id
            try:
                if not notices._send_claimed(commit):
                    break
            except PG_CONCURRENCY_EXCEPTIONS_TO_RETRY:
                self.env.cr.rollback()  # somebody else was faster; what is left stays in the queue for the next time
            except Exception:
                self.env.cr.rollback()  # a broken transaction could not give the locks back
                raise
            finally:
                notices._release()
        with suppress(PG_CONCURRENCY_EXCEPTIONS_TO_RETRY):  # another worker does the same
            runs._update_state()
            commit()

    @api.model
    def _wake_senders(self):
        """Wake the scheduled action that works off the queue, and its copies: Odoo runs a scheduled action in one
        process at a time, so an administrator duplicates it to have several work at the same queue."""
        sender = self.env.ref('account_dunning.ir_cron_dunning_send').sudo()
        for action in sender | sender.search([('model_id', '=', sender.model_id.id), ('code', '=', sender.code)]):
            action._trigger()

    @api.model
    def _has_time_left(self):
        """Whether another batch fits into this turn of the worker.

        Odoo calls a job again and again, ten times at least, before its worker reports that it is alive, and kills a
        worker that is silent for too long: while a mail is handed over, perhaps. A turn takes a part of that time.
        """
        job_end = self.env.context.get('cron_end_time')
        if not job_end:
            return True  # no scheduled action: nobody waits for a report
        real = config['limit_time_real_cron']
        limits = [limit for limit in (
            config['limit_time_real'] if real is None or real < 0 else real, config['limit_time_cpu']) if limit]
        used = time.monotonic() - (job_end - MIN_TIME_PER_JOB)
        return not limits or used < min(limits) * TURN_SHARE

    @api.model
    def _get_queue_domain(self):
        """What is to go out now: queued, or failed some time ago."""
        return Domain('state', '=', 'queued') | (
            Domain('state', '=', 'failed')
            & Domain('next_attempt', '<=', fields.Datetime.now())
            & Domain('is_in_doubt', '=', False)
        )

    @api.model
    def _claim(self, seen, commit):
        """Notices of one company that no other worker has, and that nobody else gets until `_release`.

        :param account.dunning.notice seen: had their turn in this job
        :param commit: `_commit_progress`
        """
        candidates = self.search(
            self._get_queue_domain() & Domain('id', 'not in', seen.ids), order='company_id, id', limit=10 * BATCH_SIZE)
        for company_candidates in candidates.grouped('company_id').values():
            for chunk in split_every(BATCH_SIZE, company_candidates.ids, list):
                if still_queued := self.browse(chunk)._lock(self._get_queue_domain(), commit):
                    return still_queued
        return self.browse()

    def _lock(self, domain, commit):
        """Those of the notices that no other worker has and that are still in the domain: nobody else gets them until
        `_release`.

        :param Domain domain: what they were chosen by
        :param commit: `_commit_progress`
        """
        rows = self.env.execute_query(SQL(
            "SELECT id FROM unnest(%s::int[]) AS id WHERE pg_try_advisory_lock(%s, id)", self.ids, LOCK_SPACE))
        locked = self.browse(notice_id for [notice_id] in rows)
        if not locked:
            return locked
        try:
            # The locks are ours, but this transaction still sees the queue as it was before: look again.
            commit()
            wanted = locked.filtered_domain(domain)
        except Exception:
            self.env.cr.rollback()  # a broken transaction could not give the locks back
            locked._release()
            raise
        (locked - wanted)._release()
        return wanted

    def _release(self):
        with suppress(psycopg2.InterfaceError):  # the connection is gone, and the locks with it
            self.env.cr.execute(SQL(
                "SELECT pg_advisory_unlock(%s, id) FROM unnest(%s::int[]) AS id", LOCK_SPACE, self.ids))

    #=== SENDING ===#

    def _send_claimed(self, commit):
        """Send claimed notices of one company.

        :param commit: `_commit_progress`
        :return: whether there is time for more
        :rtype: bool
        """
        company = self.company_id
        date = company._get_dunning_today()
        in_doubt = self.filtered('handover_date')
        if in_doubt:
            in_doubt._fail_in_doubt()
        notices = (self - in_doubt).with_company(company)
        notices = notices._prepare_delivery(date)
        commit(len(self) - len(notices))
        mailed = notices.filtered('mail_id')
        time_left = (notices - mailed)._send_together(date, commit)
        if mailed:
            time_left = mailed._hand_over(date, commit)
        return bool(time_left)

    def _prepare_delivery(self, date):
        """Check and render; what can't be rendered fails alone.

        :return: the notices that are ready to go out
        """
        if len(self) == 1:
            self = self._in_collector_language()  # what fails is told to them
        try:
            with self.env.cr.savepoint():
                notices = self._recheck(date)[0]
                notices._render(date)
        except (*PG_CONCURRENCY_EXCEPTIONS_TO_RETRY, psycopg2.OperationalError, psycopg2.InterfaceError):
            raise  # two transactions at once, or the connection: not the notice's fault
        except Exception as error:
            self.invalidate_recordset()
            if len(self) == 1:
                _logger.warning("Dunning notice %s can't be rendered", self.id, exc_info=True)
                self._fail(self._describe(error))
                return self.browse()
            middle = len(self) // 2
            return self[:middle]._prepare_delivery(date) + self[middle:]._prepare_delivery(date)
        return notices.filtered(lambda notice: notice.state != 'failed')

    def _render(self, date):
        """Number, deadline, charges, letter and mail of the notices, kept as they will go out."""
        for notice in self:
            values = {'state': 'queued', 'deadline': notice._get_deadline(date), 'is_bounced': False}
            if notice.name == '/':
                values['name'] = self.env['ir.sequence'].with_context(
                    ir_sequence_date=date).next_by_code('account.dunning.notice')
            notice.write(values)
        self._discard_delivery()
        self._prepare_charges(date)
        unreachable = self.browse()
        for notice in self:
            notice._choose_channels()
            if not (notice.level_id.create_activity or notice.email_to or notice.is_letter_to_print
                    or notice._get_sms_number()):
                unreachable += notice
        for notice in unreachable:
            notice._fail(notice._in_collector_language().env._(
                "%(customer)s has no e-mail address, postal address or telephone number to send this reminder to.",
                customer=notice.contact_id.display_name or notice.partner_id.display_name))
        reachable = self - unreachable
        reachable -= reachable._fail_without_address()
        reachable -= reachable._fail_without_sender()
        reachable._ensure_portal_tokens()
        reachable._render_letters()
        reachable._render_mails()

    def _fail_without_address(self):
        """What the level wants to be posted needs somewhere to be posted to, e-mail or not.

        :return: the notices that fail for it
        """
        failed = self.filtered(lambda notice: notice.level_id.print_letter and not notice._get_postal_address())
        for notice in failed:
            notice = notice._in_collector_language()
            notice._fail(notice.env._(
                "The level “%(level)s” is posted, and %(customer)s has no postal address: enter the street or city of "
                "the contact or of the company.",
                level=notice.level_id.name, customer=(notice.contact_id or notice.partner_id).display_name))
        return failed

    def _fail_without_sender(self):
        """A customer must be able to answer: no mail goes out in the name of the scheduled action's robot.

        :return: the notices that fail for it
        """
        failed = self.filtered(lambda notice: notice.email_to and not notice._get_letter_sender()['email'])
        for notice in failed:
            notice._fail(notice._in_collector_language().env._(
                "There is no sender for this e-mail: enter an e-mail address for %(company)s, or give %(customer)s a "
                "collector who has one.",
                company=notice.company_id.name, customer=notice.partner_id.display_name))
        return failed

    def _discard_delivery(self):
        """What an attempt before this one has left behind."""
        mails = self.mail_id.sudo()
        # The invoices' copies made for the mail go with it; the invoices' own PDFs stay.
        copies = mails.attachment_ids.filtered(lambda attachment: attachment.res_model == self._name)
        mails.unlink()
        (self.attachment_id.sudo() | self.mail_source_id.sudo() | copies.exists()).unlink()

    def _choose_channels(self):
        """E-mail or letter, as the level says; without a usable e-mail address, the letter is posted instead."""
        self.ensure_one()
        level = self.level_id
        contact = self.contact_id or self.partner_id
        email = (contact.email_normalized or self.partner_id.email_normalized) if level.send_email else False
        is_fallback = level.send_email and not email
        is_posted = bool((level.print_letter or is_fallback) and self._get_postal_address())
        self.write({
            'email_to': email,
            'is_letter_to_print': is_posted,
            'is_fallback_letter': is_fallback and is_posted,
        })

    def _get_sms_number(self):
        """Telephone number for an SMS, when the level sends one."""
        self.ensure_one()
        if not (self.level_id.send_sms and self.level_id.sms_template_id):
            return False
        return (self.contact_id or self.partner_id).phone or self.partner_id.phone

    def _needs_letter(self):
        """Whether a letter is made: to be posted, or to go with the e-mail."""
        self.ensure_one()
        return bool(self.is_letter_to_print or (self.email_to and self.level_id.attach_letter))

    def _render_letters(self):
        """One PDF run for all letters; each is kept as the evidence of its notice."""
        notices = self.filtered(lambda notice: notice._needs_letter())
        if not notices:
            return
        report = self.env['ir.actions.report'].sudo()
        documents, kind = report._pre_render_qweb_pdf('account_dunning.action_report_dunning_notice', notices.ids)
        if kind == 'pdf':
            contents = {notice.id: documents[notice.id]['stream'].getvalue() for notice in notices}
        else:  # under test, Odoo renders no PDF unless it is told to
            contents = {
                notice.id: report._render_qweb_html('account_dunning.action_report_dunning_notice', notice.ids)[0]
                for notice in notices
            }
        attachments = self.env['ir.attachment'].sudo().create([
            {
                'name': f'{notice.with_context(lang=notice._get_letter_lang())._get_letter_print_name()}.{kind}',
                'raw': contents[notice.id],
                'mimetype': 'application/pdf' if kind == 'pdf' else 'text/html',
                'res_model': self._name,
                'res_id': notice.id,
                'company_id': notice.company_id.id,
            }
            for notice in notices
        ])
        for notice, attachment in zip(notices, attachments, strict=True):
            notice.attachment_id = attachment

    def _render_mails(self):
        """The mails of the notices, one rendering per template. They are kept out of Odoo's own mail queue: only
        `_hand_over` takes them."""
        mailed = self.filtered('email_to')
        templates = {level: notices[:1]._get_mail_template() for level, notices in mailed.grouped('level_id').items()}
        for template, notices in mailed.grouped(lambda notice: templates[notice.level_id]).items():
            mails = template.sudo().send_mail_batch(
                notices.ids, email_values={'state': 'cancel', 'auto_delete': False})
            invoice_pdfs = notices.filtered('level_id.attach_invoices')._get_invoice_pdfs()
            for notice, mail in zip(notices, mails, strict=True):
                mail.write({
                    'email_to': False,
                    'recipient_ids': [fields.Command.set(notice._get_mail_recipient().ids)],
                    'attachment_ids': [
                        fields.Command.link(attachment_id)
                        for attachment_id in [notice.attachment_id.id, *invoice_pdfs.get(notice.id, [])]
                        if attachment_id
                    ],
                })
                notice.write({'mail_id': mail.id, 'message_id': mail.message_id})

    def _get_mail_template(self):
        """The template of the level, else the standard one.

        :raise UserError: when there is neither
        """
        self.ensure_one()
        template = self.level_id.mail_template_id or self.env.ref(
            'account_dunning.mail_template_dunning_reminder', raise_if_not_found=False)
        if not template:
            raise UserError(self.env._(
                "The level “%(level)s” has no e-mail template, and the standard one has been deleted: choose one.",
                level=self.level_id.name))
        return template

    def _get_mail_recipient(self):
        """Who the mail is for: the contact, or the company when the contact has no e-mail address."""
        self.ensure_one()
        return self.contact_id if self.contact_id.email_normalized else self.partner_id

    def _get_invoice_pdfs(self):
        """The invoices' PDFs, as they were sent. Those that have none are rendered, in one PDF run; such a copy belongs
        to the notice, so that another attempt does not leave another one on the invoice.

        :return: attachment ids by notice id
        :rtype: dict[int, list[int]]
        """
        notice_by_move = {
            move: notice
            for notice in self
            for move in notice.line_ids.filtered(lambda line: not line.is_coming_due).move_id.sudo()
            if move.is_sale_document()
        }
        moves = self.env['account.move'].sudo().union(*notice_by_move)
        attachments = {move: move.invoice_pdf_report_id for move in moves if move.invoice_pdf_report_id}
        missing = moves.filtered(lambda move: move not in attachments)
        if missing:
            documents, kind = self.env['ir.actions.report'].sudo()._pre_render_qweb_pdf(
                'account.account_invoices', missing.ids)
            for move in missing:
                attachments[move] = self.env['ir.attachment'].sudo().create({
                    'name': move._get_invoice_report_filename(extension=kind),
                    'raw': documents[move.id]['stream'].getvalue() if kind == 'pdf' else documents,
                    'mimetype': 'application/pdf' if kind == 'pdf' else 'text/html',
                    'res_model': self._name,
                    'res_id': notice_by_move[move].id,
                })
        return {
            notice.id: [attachments[move].id for move in notice.line_ids.move_id if move in attachments]
            for notice in self
        }

    def _send_together(self, date, commit):
        """Letters to post, calls and SMS in the queue: a rollback takes all of it back, so they go out in one
        transaction. Where that fails, one by one.

        :param datetime.date date: the company's today
        :param commit: `_commit_progress`
        :return: whether there is time for more
        """
        if not self:
            return True
        try:
            standing, changed = self.filtered(lambda notice: notice._is_still_prepared())._recheck(date)
            gone_out = standing - changed
            gone_out._move_to_sent(date)
            gone_out._conclude()
            return commit(len(self))
        except Exception as error:
            self.env.cr.rollback()
            if len(self) > 1:
                time_left = True
                for notice in self:
                    time_left = notice[0]._send_together(date, commit)
                return time_left
            self._note_failure(error)
            return commit(1)

    def _note_failure(self, error):
        """After a rollback: tell why the notice has not gone out, unless it just goes out next time."""
        if isinstance(error, PG_CONCURRENCY_EXCEPTIONS_TO_RETRY):
            # A payment or another user came in between, before the mail was handed over: next time.
            self.handover_date = False
        elif isinstance(error, InDoubtError):
            self._fail_in_doubt()
        else:
            if not isinstance(error, UserError | DeliveryError):
                _logger.warning("Dunning notice %s can't be sent", self.id, exc_info=error)
            self._fail(self._describe(error))

    def _is_still_prepared(self):
        """Dropped by somebody, or its mail or letter deleted, since it was rendered: then it does not go out as it is;
        what is still queued is rendered anew next time."""
        self.ensure_one()
        return (
            self.state == 'queued'
            and bool(self.mail_id or not self.email_to)
            and bool(self.attachment_id or not self._needs_letter())
        )

    def _send_sms(self):
        """Into Odoo's own SMS queue: sent right here it could not be taken back when the mail fails."""
        number = self._get_sms_number()
        if number:
            contact = self.contact_id or self.partner_id
            body = self.level_id.sms_template_id._render_field('body', self.ids, compute_lang=True)[self.id]
            self._message_sms(
                body, sms_pid_to_number={contact.id: number}, partner_ids=contact.ids, put_in_queue=True)

    def _plan_activity(self):
        level = self.level_id
        if level.create_activity:
            level = self._in_collector_language().level_id
            activity_type = level.activity_type_id or self.env.ref('mail.mail_activity_data_call')
            # quick: no e-mail to the collector for each of tonight's calls, the list tells them
            self.with_context(mail_activity_quick_update=True).activity_schedule(
                activity_type_id=activity_type.id,
                summary=level.activity_summary or level.name,
                note=self.partner_id.phone or False,
                user_id=(level.activity_user_id or self._get_collector()).id,
            )

    #=== FAILURES ===#

    def _fail_in_doubt(self):
        for notice in self:
            notice._fail(notice._in_collector_language().env._(
                "The connection broke off while this e-mail was being handed to the mail server. Look for its "
                "Message-ID in the mail server's log, then confirm that it was sent, or send it again."),
                in_doubt=True)

    @api.model
    def _describe(self, error):
        """The error in one or two lines for who has to mend it."""
        # Odoo puts the whole stack into what it says about a broken template; its last line names the fault.
        sentence, *stack = str(error).split("Traceback (most recent call last)")
        if stack:
            sentence = f"{sentence.strip()}\n{stack[0].split(CAUSE)[0].strip().splitlines()[-1].strip()}"
        return html.unescape(sentence).strip()[:1000] or type(error).__name__

    #=== BOUNCES ===#

    def _message_receive_bounce(self, email, partner):
        # EXTENDS 'mail'
        result = super()._message_receive_bounce(email, partner)
        for notice in self.sudo().filtered(lambda notice: notice.state == 'sent'):
            notice.is_bounced = True
            notice._notify_collector(notice._in_collector_language().env._(
                "Reminder came back: %(email)s can't be reached", email=email))
        return result
