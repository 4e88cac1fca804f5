import re

from odoo import api, fields, models
from odoo.exceptions import UserError, ValidationError
from odoo.tools import SQL, format_amount, format_list, is_html_empty
from odoo.tools.misc import get_lang

from ..utils.days import format_day

# A SEPA transfer carries at most so many characters of free text (EPC implementation guidelines, AT-T009).
REMITTANCE_TEXT_LENGTH = 140
LETTER_SUMS = ('amount_total', 'amount_paid', 'amount_residual', 'amount_set_off', 'amount_blocked', 'amount_due')
LONG_TABLE = 4  # lines: one that may go on to another page
FORBIDDEN_IN_FILE_NAMES = re.compile(r'[\x00-\x1f\\/:*?"<>|]+')  # by any of today's file systems
FILE_TITLE_LENGTH = 60
OWN_TEXTS = ('letter_intro', 'letter_closing')


class AccountDunningNotice(models.Model):
    """What the letter and the e-mail say. Templates only read what is built here."""

    _inherit = 'account.dunning.notice'

    earlier_notice_ids = fields.Many2many(
        comodel_name='account.dunning.notice',
        string="Earlier reminders",
        compute='_compute_earlier_notice_ids',
        help="The reminders already sent in writing about one of these lines, oldest first.",
    )

    # The words of this one letter, instead of the level's
    letter_intro = fields.Html(
        string="Words before the invoices", copy=False,
        help="For this letter only, in the language of its reader; empty: the words of the level. The same "
             "placeholders as there.")
    letter_closing = fields.Html(
        string="Words after the invoices", copy=False,
        help="For this letter only, in the language of its reader; empty: the words of the level. The same "
             "placeholders as there.")

    letter_level_id = fields.Many2one(
        comodel_name='account.dunning.level', readonly=True, copy=False, ondelete='set null',
        help="The level for which the words were written: at another one they are not used.")

    #=== COMPUTE METHODS ===#

    @api.depends('line_ids.move_line_id')
    def _compute_earlier_notice_ids(self):
        lines = self.line_ids.filtered(lambda line: line.move_line_id and not line.is_coming_due)
        groups = self.env['account.dunning.notice.line']._read_group(
            [
                ('move_line_id', 'in', lines.move_line_id.ids),
                ('is_coming_due', '=', False),
                ('notice_id.state', '=', 'sent'),
                '|', '|',
                ('notice_id.level_id.send_email', '=', True),
                ('notice_id.level_id.print_letter', '=', True),
                ('notice_id.level_id.is_formal_notice', '=', True),
            ],
            ['move_line_id'],
            ['notice_id:recordset'],
        )
        sent_by_line = dict(groups)
        no_notice = self.browse()
        for notice in self:
            earlier = no_notice.union(*(
                sent_by_line.get(line.move_line_id, no_notice)
                for line in notice.line_ids
                if not line.is_coming_due
            ))
            notice.earlier_notice_ids = earlier.filtered(
                # Proposals are made one at a time, so the numbers of the records follow the time.
                lambda other, notice=notice: not notice._origin.id or other.id < notice._origin.id
            ).sorted(lambda other: (other.sent_date or other.date, other.id))

    #=== BUSINESS METHODS ===#

    def _get_letter_lang(self):
        """The code of the language of the letter (str): the recipient's, else the customer's, else the company's."""
        self.ensure_one()
        lang = self.contact_id.lang or self.partner_id.lang or self.company_id.partner_id.lang
        return get_lang(self.env, lang).code

    def _get_letter_date(self):
        """The day that the letter bears: it was sent, or would be if it went out now."""
        self.ensure_one()
        return self.sent_date or self.company_id._get_dunning_today()

    def _get_letter_print_name(self):
        """What the printed PDF is called (str), without extension: the letter's title in the recipient's language, and
        its number."""
        self.ensure_one()
        notice = self.with_context(lang=self._get_letter_lang())
        number = self.name if self.name != '/' else fields.Date.to_string(self._get_letter_date())
        title = notice.level_id._render_letter_title(notice._get_letter_placeholders())
        return FORBIDDEN_IN_FILE_NAMES.sub('-', f"{title[:FILE_TITLE_LENGTH].strip()} {number}")

    def _get_letter_recipient(self):
        self.ensure_one()
        return self.contact_id or self.partner_id

    def _get_postal_address(self):
        """Where a letter is posted to: the contact, or the customer's company when the contact has no address.

        :return: res.partner, empty when neither has a street, postcode or town
        """
        self.ensure_one()
        for partner in (self._get_letter_recipient(), self.partner_id):
            if partner.street or partner.zip or partner.city:
                return partner
        return self.partner_id.browse()

    def _get_letter_sender(self):
        """Whom to answer: the collector or, while they are away, their deputy; the company when they have left.

        :return: ``name``, ``phone`` and ``email`` (str or False), ``email_formatted`` (str)
        :rtype: dict
        """
        self.ensure_one()
        company = self.company_id.sudo()
        # The recipient must be able to reach someone, whoever prints the letter: details of the user, with all rights.
        user = self.user_id.sudo().filtered('active')
        if user:
            deputies = self.env['account.dunning.absence']._get_deputies(self._get_letter_date())
            user = deputies.get(user, user).sudo()
        return {
            'name': user.name or company.name,
            'phone': user.phone or company.phone,
            'email': user.email or company.email,
            'email_formatted': user.email and user.email_formatted or company.email_formatted,
        }

    def _get_letter_texts(self):
        """The words of the level for this notice, in the language of the context.

        :return: ``letter_title`` (str), ``letter_intro`` and ``letter_closing`` (Markup or '')
        :rtype: dict
        :raise UserError: for an unknown placeholder
        """
        self.ensure_one()
        own = {}
        if self.letter_level_id == self.level_id:
            own = {name: self[name] for name in OWN_TEXTS if not is_html_empty(self[name])}
        return self.level_id._render_letter_texts(self._get_letter_placeholders(), own)

    #=== CONSTRAINT METHODS ===#

    @api.constrains(*OWN_TEXTS)
    def _check_own_texts(self):
        """What a person has written for one letter is refused at once when it can't be printed."""
        for notice in self.filtered(lambda notice: notice.letter_intro or notice.letter_closing):
            notice.sudo().letter_level_id = notice.level_id
            try:
                notice._get_letter_texts()
            except UserError as error:
                raise ValidationError(error.args[0]) from None

    #=== ACTION METHODS ===#

    def action_edit_letter(self):
        """Take over the words of the level, in the reader's language, to change them for this letter only.

        :raise UserError: when the notice is no proposal any more
        """
        self.ensure_one()
        self.check_access('write')
        if self.state not in ('draft', 'failed'):
            raise UserError(self.env._(
                "The letter has gone out or is on its way: its words can't be changed any more."))
        level = self.level_id.with_context(lang=self._get_letter_lang())
        for name in OWN_TEXTS:
            if is_html_empty(self[name]):
                self[name] = level[name]

    def action_preview_letter(self):
        """The letter as it would go out now.

        :rtype: dict
        """
        self.check_access('read')
        return self.env.ref('account_dunning.action_report_dunning_notice').report_action(self)

    #=== BUSINESS METHODS - WORDS ===#

    def _get_letter_placeholders(self):
        """Plain text per placeholder, in the language of the context; '' when there is nothing to say."""
        self.ensure_one()
        recipient = self._get_letter_recipient()
        last_reminder = self.earlier_notice_ids[-1:]
        return {
            'customer': self.partner_id.name or '',
            'contact': recipient.name or recipient.commercial_partner_id.name or '',
            'company': self.company_id.name,
            'date': format_day(self.env, self._get_letter_date()),
            'deadline': format_day(self.env, self.deadline),
            'amount_due': self._get_letter_amount(),
            'last_reminder_date': last_reminder._format_sent_date() if last_reminder else '',
            'collector': self._get_letter_sender()['name'],
        }

    def _format_sent_date(self):
        self.ensure_one()
        return format_day(self.env, self.sent_date or self.date)

    def _get_letter_earlier_dates(self):
        """The days of the earlier written reminders, as text: "November 1, 2026 and November 15, 2026"."""
        self.ensure_one()
        return format_list(self.env, [notice._format_sent_date() for notice in self.earlier_notice_ids])

    def _get_letter_repeat_date(self):
        """When the same reminder was sent before about one of these lines, as text; '' when it was not, or when the
        level's own words name the last reminder.

        :rtype: str
        """
        self.ensure_one()
        before = self.earlier_notice_ids.filtered(lambda notice: notice.level_id == self.level_id)[-1:]
        if not before or self.level_id.is_formal_notice or '{last_reminder_date}' in (self.level_id.letter_intro or ''):
            return ''
        return before._format_sent_date()

    def _get_letter_amount(self):
        """What is to be paid, charges included, as text: "1,200.00 €", or "1,200.00 € and $ 300.00"."""
        self.ensure_one()
        return format_list(self.env, [
            format_amount(self.env, table['to_pay'], table['currency']) for table in self._get_letter_tables()
        ])

    def _get_letter_charges(self):
        """The late charges to be paid together with the invoices, by currency; those that get an invoice of their own
        are paid with that.

        :rtype: dict[res.currency, float]
        """
        self.ensure_one()
        return dict(self._get_charge_totals()) if self.level_id.charge == 'print' else {}

    def _get_letter_tables(self):
        """What is overdue, one table per currency; what is not yet due, when the notice is a courtesy before that.

        :return: dicts of ``currency``, ``lines`` (account.dunning.notice.line), the totals ``amount_total``,
            ``amount_paid``, ``amount_residual``, ``amount_set_off``, ``amount_blocked``, ``amount_due``, ``charges``
            and ``to_pay`` (floats, in the table's currency), and in a table that may need several pages the
            ``subtotals`` (a list of dicts of the same sums) down to each line; the company's own currency comes first
        :rtype: list[dict]
        """
        self.ensure_one()
        lines = self.line_ids.filtered(lambda line: not line.is_coming_due) or self.line_ids
        return self._prepare_letter_tables(lines, self._get_letter_charges())

    def _prepare_letter_tables(self, lines, charges):
        """See `_get_letter_tables`.

        :param account.dunning.notice.line lines: what is claimed
        :param dict charges: amounts (float) by currency
        """
        self.ensure_one()
        company_currency = self.company_id.currency_id
        lines_by_currency = lines.grouped(lambda line: line.currency_id or company_currency)
        for currency in charges:
            lines_by_currency.setdefault(currency, lines.browse())
        return [
            self._prepare_letter_table(currency, currency_lines, charges.get(currency, 0.0))
            for currency, currency_lines in sorted(
                lines_by_currency.items(), key=lambda item: (item[0] != company_currency, item[0].name))
        ]

    def _prepare_letter_table(self, currency, lines, charges):
        lines = lines.sorted(lambda line: (line.date_maturity or line.invoice_date or self.date, line.id))
        subtotals = [dict.fromkeys(LETTER_SUMS, 0.0)]
        for line in lines:
            amounts = {
                'amount_total': line.amount_total,
                'amount_paid': line.amount_total - line.amount_residual,
                'amount_residual': line.amount_residual,
                'amount_set_off': line.amount_set_off,
                'amount_blocked': line.amount_blocked,
                'amount_due': line._get_letter_due(),
            }
            subtotals.append({name: currency.round(total + amounts[name]) for name, total in subtotals[-1].items()})
        return {
            'currency': currency,
            'lines': lines,
            'subtotals': subtotals[1:] if len(lines) >= LONG_TABLE else [],
            **subtotals[-1],
            'charges': currency.round(charges),
            'to_pay': currency.round(subtotals[-1]['amount_due'] + charges),
        }

    def _get_letter_coming_due_lines(self):
        """The lines listed apart, because they are not yet due, sorted by due date."""
        self.ensure_one()
        coming_due = self.line_ids.filtered('is_coming_due')
        return coming_due.sorted('date_maturity') if coming_due != self.line_ids else coming_due.browse()

    def _get_letter_payment(self, table):
        """How to pay what a table asks for.

        :param dict table: one of ``_get_letter_tables``
        :return: ``bank`` (res.partner.bank, maybe empty), ``reference`` (str), ``qr_code`` (data URL of an image, or
            False)
        :rtype: dict
        """
        self.ensure_one()
        bank = self.company_id._get_dunning_bank_account(table['currency'], table['lines'].move_id)
        reference, structured_reference = self._get_letter_payment_reference(table['lines'].move_id)
        qr_code = False
        if self.company_id.qr_code and bank and table['currency'].compare_amounts(table['to_pay'], 0) > 0:
            qr_code = bank.build_qr_code_base64(
                table['to_pay'], reference, structured_reference, table['currency'], self.partner_id,
                silent_errors=True)
        return {'bank': bank, 'reference': reference, 'qr_code': qr_code or False}

    def _get_letter_payment_reference(self, moves):
        """What to write on the transfer, so that the payment finds its invoices.

        :return: the text to write (str), and the structured reference or '' when there is none for the whole
        :rtype: tuple[str, str]
        """
        if len(moves) == 1:
            return moves.payment_reference or moves.name, moves.payment_reference or ''
        number = self.name if self.name != '/' else ''
        invoices = ', '.join(moves.mapped('name'))
        if not number or len(invoices) <= REMITTANCE_TEXT_LENGTH:
            return invoices[:REMITTANCE_TEXT_LENGTH], ''
        return number, ''

    def _get_pauses(self):
        """What the letter says about pauses: what runs, and what was broken since the customer's last notice.

        :return: dict of recordsets: plans, promises, disputes (running), broken_plans, broken_promises
        :rtype: dict
        """
        self.ensure_one()
        of_customer = [('partner_id', '=', self.partner_id.id), ('company_id', '=', self.company_id.id)]
        Plan, Promise, Dispute = (
            self.env[model] for model in ('account.payment.plan', 'account.payment.promise', 'account.dispute'))
        if not self._has_agreements():  # as most customers: one question instead of six
            return {
                'plans': Plan, 'promises': Promise, 'disputes': Dispute, 'broken_plans': Plan,
                'broken_promises': Promise}
        last_notice = self.search([
            *of_customer, ('state', '=', 'sent'), ('id', '!=', self.id), ('date', '<=', self.date),
        ], order='date desc, id desc', limit=1)
        broken = [*of_customer, ('state', '=', 'broken'), ('date_closed', '<=', self.date)]
        if last_notice:
            broken.append(('date_closed', '>=', last_notice.date))
        dunned = [('move_line_ids', 'in', self.line_ids.move_line_id.ids)]
        return {
            'plans': Plan.search([*of_customer, ('state', '=', 'active')]),
            'promises': Promise.search([
                *of_customer, ('state', '=', 'open'), ('block_id.state', '=', 'active'),
            ]),
            'disputes': Dispute.search([
                *of_customer, ('state', '=', 'open'), ('block_id.state', '=', 'active'),
            ]),
            'broken_plans': Plan.search(broken + dunned),
            'broken_promises': Promise.search(broken + dunned),
        }

    def _has_agreements(self):
        """Whether the customer has, or ever had, a plan, a promise or a dispute."""
        models = ('account.payment.plan', 'account.payment.promise', 'account.dispute')
        for model in models:
            self.env[model].flush_model(['partner_id', 'company_id'])
        [[found]] = self.env.execute_query(SQL("SELECT %s", SQL(" OR ").join(
            SQL("EXISTS (SELECT FROM %s WHERE partner_id = %s AND company_id = %s)",
                SQL.identifier(self.env[model]._table), self.partner_id.id, self.company_id.id)
            for model in models)))
        return found

    def _get_mail_summary(self):
        """The table of invoices, how to pay and where, for the body of an e-mail (Markup), in the language of the
        context."""
        self.ensure_one()
        return self.env['ir.qweb']._render('account_dunning.dunning_notice_mail_summary', {'o': self})


class AccountDunningNoticeLine(models.Model):
    _inherit = 'account.dunning.notice.line'

    def _get_letter_due(self):
        """What the letter asks for on this line (float, in the line's currency)."""
        self.ensure_one()
        if self.is_coming_due:
            # A courtesy before the due date: what will be due.
            return self.amount_residual - self.amount_set_off - self.amount_blocked
        return self.amount_due
