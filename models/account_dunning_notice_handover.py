import logging
import smtplib
from contextlib import suppress

from odoo import fields, models
from odoo.fields import Domain
from odoo.service.model import PG_CONCURRENCY_EXCEPTIONS_TO_RETRY
from odoo.tools import SQL, split_every

from ..utils.isolate import isolate

_logger = logging.getLogger(__name__)

# E-mails that are made together, and are in memory until they have been handed over
GROUP_SIZE = 25

# Answers of a mail server that has not taken a mail. (Anything else from the network, such as a connection that breaks
# off, leaves open whether it has; all errors of smtplib are OSErrors.)
SURE_REFUSALS = (smtplib.SMTPResponseException, smtplib.SMTPRecipientsRefused, smtplib.SMTPNotSupportedError)

# What the letter was made of. If the engine says the same of each line, nothing has come in between.
LOOK_COLUMNS = SQL(
    "id, partner_id, current_level_id, is_reached, days, date_maturity, residual, set_off, blocked, amount_net,"
    " amount_net_company")


class AccountDunningNotice(models.Model):
    """How the e-mails of a batch are handed to the mail server, each exactly once.

    A group of them is made beforehand, as they go over the wire (`SealedMail`). For each one, then,

    1. a mark that it is about to be handed over is committed;
    2. the last look asks the engine whether anything has come in since it was made;
    3. it is written that the notice is sent, the mail server gets the mail, and that is committed.

    What the mail server has answered decides, see `HandOver`: only a refusal, or a fault before handing over began, is
    tried again. Once the server has accepted the mail the notice is sent, whatever fails after that. A notice that is
    found queued with the mark of step 1 was cut off there: nobody knows whether the mail went out, so a person is asked
    and it is not sent again.

    Between mark and answer stand only a few statements, of plain SQL: each commit empties Odoo's cache, and what the
    ORM would read again for each mail is most of what sending costs. What follows from the sending and may wait some
    seconds (the invoices' chatter, tasks, SMS) is written for the group at its end; should the worker die before that,
    by the next one (`is_to_conclude`).
    """

    _inherit = 'account.dunning.notice'

    _to_conclude_idx = models.Index("(id) WHERE is_to_conclude")

    def _hand_over(self, date, commit):
        """Hand the prepared e-mails over. All of them go, even when the job's time is up: the next job would render
        them again, and a batch that takes longer to render than a job may last would leave one notice per job.

        :param datetime.date date: the company's today
        :param commit: `_commit_progress`
        :return: whether there is time for more
        """
        # What fails is told to the collector in their language. Known before: each commit empties the cache.
        languages = self._get_collector_languages()
        time_left, session = True, {}
        try:
            for ids in split_every(GROUP_SIZE, self.ids, list):
                group = self.browse(ids)
                sealed, errors = group._seal_mails(date, session)
                commit(len(group) - len(sealed) - len(errors))
                for notice_id, error in errors.items():
                    self.browse(notice_id).with_context(lang=languages[notice_id])._note_failure(error)
                    commit(1)
                for notice_id, mail in sealed.items():
                    notice = self.browse(notice_id).with_context(lang=languages[notice_id])
                    time_left = notice._hand_over_sealed(mail, date, session, commit)
                group._conclude_sent(commit)
        finally:
            for smtp in session.values():
                if smtp and not isinstance(smtp, Exception):
                    with suppress(Exception):
                        smtp.quit()
        return time_left

    #=== MAKING THE MAILS ===#

    def _seal_mails(self, date, session):
        """Make the mails as they will go over the wire.

        :param datetime.date date: the company's today
        :param dict session: the open SMTP sessions of this batch, by mail server
        :return: what is ready to go out, and what is not, by notice id; what need not go out any more is in neither
        :rtype: tuple[dict[int, SealedMail], dict[int, Exception]]
        """
        sealed, errors = {}, {}

        def seal(notices):
            standing, changed = notices.filtered(lambda notice: notice._is_still_prepared())._recheck(date)
            notices = standing - changed  # what has changed is rendered anew next time
            messages, reasons = notices._record_mails(session)
            made = {
                notice.id: SealedMail(notice, *messages[notice.id]) for notice in notices if notice.id not in reasons}
            if made:
                notices.browse(made)._keep_mail_sources(made)
                notices.browse(made)._take_first_look(made, date)
            sealed.update(made)
            errors.update((notice_id, DeliveryError(reason)) for notice_id, reason in reasons.items())

        for notice, error in isolate(self, seal):
            errors[notice.id] = error
        return sealed, errors

    def _record_mails(self, session):
        """Let Odoo send the mails to a `Recorder`, and take back what it writes about them: they are not sent yet.

        :return: the mail server and what goes to it; and why the mail can't be made, by notice id
        :rtype: tuple[dict[int, tuple], dict[int, str]]
        """
        messages, reasons = {}, {}
        is_disabled = self.env['ir.mail_server']._disable_send()  # Odoo runs tests, in which mail goes nowhere
        notice_by_mail = {notice.mail_id.id: notice for notice in self}
        with suppress(TakeBackError), self.env.cr.savepoint():
            mails = self.mail_id.sudo()
            mails.state = 'outgoing'
            mails.flush_recordset()
            for server_id, alias_domain_id, smtp_from, mail_ids in mails._split_by_mail_configuration():
                server, part = (server_id, smtp_from), mails.browse(mail_ids)
                try:
                    recorder = Recorder(self._open_smtp(session, *server))
                except DeliveryError as error:
                    reasons.update((notice_by_mail[mail_id].id, str(error)) for mail_id in mail_ids)
                    continue
                # Read for all at once what Odoo reads for each by itself
                part.mapped('recipient_ids')
                part.mapped('attachment_ids.raw')
                part._send(
                    smtp_session=recorder, alias_domain_id=alias_domain_id,
                    mail_server=self.env['ir.mail_server'].browse(server_id))
                for mail in part:
                    notice = notice_by_mail[mail.id]
                    recorded = recorder.messages.get(mail.message_id, [])
                    messages[notice.id] = (server, recorded)
                    if not recorded and not is_disabled:
                        reasons[notice.id] = self._describe(
                            mail.failure_reason or self.env._("The e-mail has no recipient."))
            raise TakeBackError
        return messages, reasons

    def _keep_mail_sources(self, made):
        """Keep e-mails without a letter exactly as they go out: they are the evidence.

        :param dict[int, SealedMail] made: by notice id
        """
        notices = self.filtered(lambda notice: not notice.attachment_id and made[notice.id].messages)
        sources = self.env['ir.attachment'].sudo().create([
            {
                'name': f"{notice.name.replace('/', '-')}.eml",
                'raw': made[notice.id].messages[0].source,
                'mimetype': 'message/rfc822',
                'res_model': self._name,
                'res_id': notice.id,
                'company_id': notice.company_id.id,
            }
            for notice in notices
        ])
        for notice, source in zip(notices.sudo(), sources, strict=True):
            notice.mail_source_id = source

    def _take_first_look(self, made, date):
        """What the engine says of the notices' lines now, and the query by which the last look will ask again.

        :param dict[int, SealedMail] made: by notice id
        """
        engine = self.env['account.dunning.engine']
        company, line_ids = self.company_id, self.line_ids.move_line_id.ids
        customers = self.partner_id.commercial_partner_id
        queries = engine._get_query_of_each(company, date, customers.ids)
        rows = {row[0]: row for row in self.env.execute_query(SQL(
            "%s SELECT %s FROM verdict WHERE counts AND id = ANY(%s)",
            engine._get_query(company, date, customers.ids), LOOK_COLUMNS, line_ids))}
        for notice in self:
            ids = sorted(notice.line_ids.move_line_id.ids)
            mail = made[notice.id]
            mail.verdicts = [rows.get(line_id) for line_id in ids]
            mail.look = SQL(
                "%s SELECT %s FROM verdict WHERE counts AND id = ANY(%s) AND EXISTS (%s) ORDER BY id",
                queries[notice.partner_id.commercial_partner_id.id], LOOK_COLUMNS, ids,
                SQL("SELECT FROM account_dunning_notice WHERE %s", notice._get_sealed_condition()))

    def _get_sealed_condition(self):
        """Whether a notice is as it was sealed: not dropped by somebody, neither mail nor letter deleted.

        :rtype: SQL
        """
        self.ensure_one()
        return SQL(
            "id = %s AND state = 'queued' AND mail_id = %s AND attachment_id IS NOT DISTINCT FROM %s",
            self.id, self.mail_id.id, self.attachment_id.id or None)

    #=== HANDING THEM OVER ===#

    def _hand_over_sealed(self, mail, date, session, commit):
        """Hand one mail over (steps 1 to 3).

        :param SealedMail mail: the notice's
        :param datetime.date date: the company's today
        :param dict session: the open SMTP sessions of this batch, by mail server
        :param commit: `_commit_progress`
        :return: whether there is time for more
        """
        self.ensure_one()
        handover = HandOver()
        try:
            smtp = self._open_smtp(session, *mail.server)
            if not self._mark_handing_over(mail):
                return commit(1)
            self.env.cr.commit()  # pylint: disable=invalid-commit
            if not self._is_unchanged(mail):
                self.handover_date = False
                self.filtered(lambda notice: notice._is_still_prepared())._recheck(date)
                return commit(1)
            self._move_to_sent(date, to_conclude=True)
            if mail.invoices_charges:
                self._invoice_charges(date)  # a letter that claims them does not go out without them
            self.env.flush_all()
            handover.send(smtp, mail)
            return commit(1)
        except Exception as error:
            self.env.cr.rollback()
            if handover.accepted:
                _logger.exception("Dunning notice %s: the mail is out, what followed failed", self.id)
                # What the rollback took back is written once more; should that fail, the mark makes a person look.
                self._move_to_sent(date, to_conclude=True)
                return commit(1)
            if handover.began:
                session.pop(mail.server, None)  # may be unusable now
            self._note_failure(handover.judge(error, self._describe(error)))
            return commit(1)

    def _mark_handing_over(self, mail):
        """Step 1.

        :return: whether it is still to be handed over
        """
        marked = self.env.execute_query(SQL(
            "UPDATE account_dunning_notice SET handover_date = %s WHERE %s RETURNING id",
            fields.Datetime.now(), mail.condition))
        self.invalidate_recordset(['handover_date'], flush=False)
        return bool(marked)

    def _is_unchanged(self, mail):
        """The last look, in the transaction that sends: has anything come in since the mail was made? What can't be
        looked at does not go out."""
        return bool(mail.verdicts) and self.env.execute_query(mail.look) == mail.verdicts

    def _open_smtp(self, session, server_id, smtp_from):
        """The batch's connection to the mail server; a server that has hung up meanwhile is called again, one that
        can't be reached is not.

        :raise DeliveryError: when it can't be reached
        """
        key = (server_id, smtp_from)
        smtp = session.get(key)
        if isinstance(smtp, Exception):
            raise smtp
        if smtp:
            with suppress(smtplib.SMTPException, OSError):
                if smtp.noop()[0] == 250:
                    return smtp
        try:
            session[key] = self.env['ir.mail_server']._connect__(mail_server_id=server_id, smtp_from=smtp_from)
        except Exception as error:
            session[key] = DeliveryError(self.env._("The mail server can't be reached: %(error)s", error=error))
            raise session[key] from error
        return session[key]

    #=== WHAT FOLLOWS ===#

    def _conclude_left(self, commit):
        """Write what a worker that was cut off has left to be written of notices that went out.

        :param commit: `_commit_progress`
        """
        domain = Domain('is_to_conclude', '=', True)
        for ids in split_every(GROUP_SIZE, self.search(domain, order='id').ids, list):
            notices = self.browse(ids)._lock(domain, commit)
            try:
                notices._conclude_sent(commit)
            except PG_CONCURRENCY_EXCEPTIONS_TO_RETRY:
                self.env.cr.rollback()  # somebody else was faster: next time
            except Exception:
                self.env.cr.rollback()  # a broken transaction could not give the locks back
                raise
            finally:
                notices._release()

    def _conclude_sent(self, commit):
        """Write what follows from the sending; what fails is told, and tried again by the next job.

        :param commit: `_commit_progress`
        """
        for notice, error in isolate(self.filtered('is_to_conclude'), lambda notices: notices._conclude()):
            notice = notice._in_collector_language()
            notice._notify_collector(notice.env._(
                "Reminder sent, but what follows from it can't be written yet: %(reason)s",
                reason=self._describe(error)))
        commit()

    def _conclude(self):
        """The notices have gone out, or do so with the end of this transaction."""
        mails = self.mail_id.sudo()
        if mails:
            mails.write({'state': 'sent', 'failure_reason': False, 'failure_type': False})
            mails._postprocess_sent_message(success_pids=mails.recipient_ids, success_emails=[])
        languages = self._get_collector_languages()
        for (date, lang), notices in self.grouped(lambda notice: (notice.sent_date, languages[notice.id])).items():
            notices.with_context(lang=lang)._follow_sent(date)
        for notice in self:
            notice._send_sms()
            notice._plan_activity()
        self.sudo().filtered('is_to_conclude').is_to_conclude = False
        self.env.flush_all()


class DeliveryError(Exception):
    """The mail server did not take the mail; the message says why."""


class InDoubtError(Exception):
    """The mail server may have taken the mail."""


class TakeBackError(Exception):
    """What was written since the savepoint is not meant to stay."""


class Message:
    """One mail on the wire: envelope, MIME source as smtplib writes it (which is not how Python prints a message), and
    SMTP options."""

    def __init__(self, sender, recipients, source, *options, **named_options):
        self.sender, self.recipients, self.source = sender, recipients, source
        self.options, self.named_options = options, named_options


class SealedMail:
    """A notice's e-mail as it is going to be handed over, and what was true when it was made.

    :param account.dunning.notice notice:
    :param tuple server: key of the mail server in the batch's sessions
    :param list[Message] messages: none under Odoo's tests, in which mail goes nowhere
    """

    def __init__(self, notice, server, messages):
        self.server = server
        self.messages = messages
        self.condition = notice._get_sealed_condition()
        self.invoices_charges = notice.level_id.charge == 'invoice' and bool(notice.charge_ids)
        self.look, self.verdicts = None, []  # see `_take_first_look`


class Recorder:
    """Stands before a connection to a mail server and writes down what would be sent.

    :param smtplib.SMTP | None smtp: the connection; None under Odoo's tests
    """

    def __init__(self, smtp):
        self._smtp = smtp
        self.messages = {}  # by Message-ID

    def __getattr__(self, name):
        return getattr(self._smtp, name)

    def send_message(self, message, *args, **kwargs):
        def write_down(*options, **named_options):
            self.messages.setdefault(message['Message-Id'], []).append(Message(*options, **named_options))

        self._smtp.sendmail = write_down
        try:
            self._smtp.send_message(message, *args, **kwargs)
        finally:
            del self._smtp.sendmail


class HandOver:
    """The moment of handing over: what the mail server has said."""

    def __init__(self):
        self.began = False  # the mail server may have it from here on
        self.accepted = False  # it has answered that it does
        self.error = None

    def send(self, smtp, mail):
        """Give a mail to the mail server.

        :param smtplib.SMTP smtp: an open connection
        :param SealedMail mail:
        """
        for message in mail.messages:
            self.began = True
            try:
                smtp.sendmail(
                    message.sender, message.recipients, message.source, *message.options, **message.named_options)
            except BaseException as error:
                self.error = error
                raise
            self.accepted = True

    def judge(self, error, description):
        """What an error means for the notice.

        :param Exception error: what has ended the handing over
        :param str description: in words
        :rtype: Exception
        """
        if not self.began:
            return error
        if isinstance(self.error, SURE_REFUSALS):
            return DeliveryError(description)
        return InDoubtError(description)
