from odoo import Command, fields, models
from odoo.exceptions import UserError
from odoo.tools import SQL
from odoo.tools.pdf import merge_pdf


class AccountDunningNotice(models.Model):
    """The file for a collection agency: a statement of the claims, the letters sent, and the invoices, as one PDF."""

    _inherit = 'account.dunning.notice'

    is_hand_over = fields.Boolean(related='level_id.hand_over')

    #=== ACTION METHODS ===#

    def action_hand_over_file(self):
        """Put the file together as it stands today, keep it on the notice, and download it.

        :return: an action that downloads the PDF
        :raise AccessError: when the user may not work on the notice
        :raise UserError: when the notice is no hand-over, or nothing of it is owed any more
        """
        self.ensure_one()
        self.check_access('write')
        if not self.is_hand_over:
            raise UserError(self.env._(
                "Only a notice whose level hands over to collection has a file for the agency."))
        if not self._get_hand_over_lines():
            raise UserError(self.env._(
                "There is nothing to hand over: what the notice claims was paid, credited or paused meanwhile."))
        # Letters and invoices are read as the notice's own evidence, whatever the user's access to attachments.
        attachment = self.env['ir.attachment'].sudo().create({
            'name': self.env._("Collection file %s", self.name if self.name != '/' else self.partner_id.name) + '.pdf',
            'raw': self._get_hand_over_file(),
            'mimetype': 'application/pdf',
            'res_model': self._name,
            'res_id': self.id,
            'company_id': self.company_id.id,
        })
        return {
            'type': 'ir.actions.act_url',
            'url': f'/web/content/{attachment.id}?download=true',
            'target': 'download',
        }

    def action_collection_case(self):
        """Prepare a collection case over what the notice claims as of today.

        :return: an action that opens the case
        :raise UserError: when nothing of it is owed any more
        """
        self.ensure_one()
        self.check_access('write')
        lines = self._get_hand_over_lines().move_line_id
        if not lines:
            raise UserError(self.env._(
                "There is nothing to hand over: what the notice claims was paid, credited or paused meanwhile."))
        cases = self.env['account.collection.case'].create([
            {
                'partner_id': self.partner_id.id, 'company_id': self.company_id.id, 'currency_id': currency.id,
                'move_line_ids': [Command.set(of_currency.ids)],
            }
            for currency, of_currency in lines.grouped('currency_id').items()
        ])
        return cases._get_records_action(name=self.env._("Collection case"))

    #=== BUSINESS METHODS ===#

    def _get_hand_over_file(self):
        """The whole file (bytes, PDF): statement, letters in the order in which they were sent, invoices by date.

        :raise UserError: when the PDF engine is not there
        """
        self.ensure_one()
        report = self.env['ir.actions.report'].sudo()
        statement, kind = report._render_qweb_pdf('account_dunning.action_report_dunning_hand_over', self.ids)
        if kind != 'pdf':
            return statement  # under test, Odoo renders no PDF unless it is told to
        letters = (self.earlier_notice_ids + self).sudo().attachment_id
        invoices = self._get_hand_over_invoices()
        documents = [statement, *letters.filtered(lambda letter: letter.mimetype == 'application/pdf').mapped('raw')]
        kept = invoices.filtered('invoice_pdf_report_id')
        documents += kept.invoice_pdf_report_id.mapped('raw')
        if missing := invoices - kept:
            documents.append(report._render_qweb_pdf('account.account_invoices', missing.ids)[0])
        return merge_pdf(documents)

    def _get_hand_over_lines(self, least_days=1):
        """The claims as they stand today: what was paid, credited or paused since the notice is not an agency's to ask
        for. What was only excluded from further reminders is. The notice's own lines stay as they went out.

        :param int least_days: how many days late a line is at least; negative: days to go
        :return: new records over the notice's lines
        :rtype: account.dunning.notice.line
        """
        self.ensure_one()
        engine = self.env['account.dunning.engine']
        rows = {
            row['id']: row
            for row in engine._execute(
                self.company_id, self.company_id._get_dunning_today(),
                SQL("SELECT * FROM verdict WHERE days >= %s", least_days), self.partner_id.commercial_partner_id.ids)
            if engine._get_amount_asked(row) > 0
        }
        lines = self.line_ids.browse()
        for line in self.line_ids.filtered(lambda line: line._is_in(rows)):
            row = rows[line.move_line_id.id]
            values = {**line._prepare_amounts(row), 'is_coming_due': False, 'amount_due': engine._get_amount_asked(row)}
            lines += line.new(values, origin=line)
        return lines

    def _get_hand_over_tables(self):
        """The claims of today, one table per currency, see `_get_letter_tables`."""
        return self._prepare_letter_tables(self._get_hand_over_lines(), {})

    def _get_hand_over_invoices(self):
        """The invoices on which something is still claimed, oldest first."""
        self.ensure_one()
        moves = self._get_hand_over_lines().move_id.sudo()
        return moves.filtered(lambda move: move.is_sale_document(include_receipts=True)).sorted('invoice_date')
