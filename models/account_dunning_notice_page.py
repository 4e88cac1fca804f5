import re
from datetime import timedelta

from odoo import api, fields, models
from odoo.tools import SQL

# The address of a letter works for so many days after its date.
PAGE_DAYS = 180
# Without these the customer has not got the letter, or was told that it no longer counts.
HIDDEN_STATES = ('draft', 'cancelled')


class AccountDunningNotice(models.Model):
    """The page that a letter or e-mail leads to, without a login: it says what the letter says, as it stands today."""

    _inherit = 'account.dunning.notice'

    access_code = fields.Char(
        readonly=True, copy=False, groups='account.group_account_invoice',
        help="The end of the address that the letter names.")

    _access_code_unique = models.UniqueIndex("(access_code) WHERE access_code IS NOT NULL")

    def _ensure_portal_tokens(self):
        """The keys of the page and of the links to single invoices, for all notices at once: an invoice's own write
        would look at all of its accounting for each."""
        self._ensure_access_codes()
        invoices = self.line_ids.move_id
        invoices.flush_recordset(['access_token'])
        self.env.cr.execute(SQL(
            "UPDATE account_move SET access_token = gen_random_uuid() WHERE id = ANY(%s) AND access_token IS NULL",
            invoices.ids))
        invoices.invalidate_recordset(['access_token'])

    def _ensure_access_codes(self):
        notices = self.sudo()
        notices.flush_recordset(['access_code'])
        # 64 random bits of a UUID, in groups that can be typed: 4f7a-90bc-12de-8833
        self.env.cr.execute(SQL(
            """
            UPDATE account_dunning_notice
               SET access_code = left(uuid, 4) || '-' || substr(uuid, 5, 4) || '-' || substr(uuid, 9, 4)
                                 || '-' || right(uuid, 4)
              FROM (SELECT id AS notice_id, replace(gen_random_uuid()::text, '-', '') AS uuid
                      FROM account_dunning_notice
                     WHERE id = ANY(%s) AND access_code IS NULL) new
             WHERE id = notice_id
            """,
            self.ids))
        notices.invalidate_recordset(['access_code'])

    def _get_letter_portal_url(self):
        """Where the customer sees and pays what the letter asks for, without a login (str)."""
        self.ensure_one()
        notice = self.sudo()
        if not notice.access_code and notice.id:
            notice._ensure_access_codes()
        return f'{self.get_base_url()}/reminder/{notice.access_code or ""}'

    @api.model
    def _find_by_access_code(self, code):
        """The notice whose page an address opens.

        :param str code: as it was typed
        :return: account.dunning.notice, empty for an unknown, old or withdrawn one
        """
        code = re.sub(r"[^0-9a-f]", '', code.lower()) if isinstance(code, str) else ''
        if len(code) != 16:
            return self.browse()
        notice = self.search([
            ('access_code', '=', '-'.join(code[start:start + 4] for start in range(0, 16, 4))),
            ('state', 'not in', HIDDEN_STATES),
        ], limit=1)
        last_day = notice._get_letter_date() + timedelta(days=PAGE_DAYS) if notice else None
        return notice if notice and notice.company_id._get_dunning_today() <= last_day else self.browse()

    def _get_page_tables(self):
        """What is to be paid today of what the letter asked for, one table per currency, see `_get_letter_tables`."""
        self.ensure_one()
        asked = self.line_ids.filtered(lambda line: not line.is_coming_due) or self.line_ids
        # A courtesy before the due date asks for what will be due.
        least_days = min([1, *asked.mapped('days_overdue')])
        return self._prepare_letter_tables(self._get_hand_over_lines(least_days), self._get_letter_charges())

    def _get_page_settled_lines(self):
        """What the letter asked for and is paid or credited since."""
        self.ensure_one()
        return self.line_ids.filtered(lambda line: not line.is_coming_due and line.move_line_id.reconciled)


class AccountDunningNoticeLine(models.Model):
    _inherit = 'account.dunning.notice.line'

    def _get_invoice_url(self):
        """Where the customer sees the invoice, without a login (str); '' for what is no invoice any more."""
        self.ensure_one()
        move = self.move_id
        if not move or not move.is_sale_document(include_receipts=True) or move.state != 'posted':
            return ''
        return move.get_base_url() + move.get_portal_url()

    def _get_payment_url(self):
        """Where the customer pays what is asked for on this line, neither more nor less (str); '' when that can't be
        done online."""
        self.ensure_one()
        if not self._get_invoice_url():
            return ''
        return self.move_id._get_payment_url(self.currency_id.round(self._get_letter_due()))
