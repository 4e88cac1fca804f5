from datetime import timedelta

from odoo import api, fields, models
from odoo.exceptions import UserError


class AccountDunningNotice(models.Model):
    """The way of a letter to the post: printed, posted, and back when it was not."""

    _inherit = 'account.dunning.notice'

    is_letter_to_print = fields.Boolean(
        string="Letter to post", readonly=True, copy=False, index='btree_not_null',
        help="The letter waits to be printed and posted.")
    printed_date = fields.Date(
        string="Printed on", readonly=True, copy=False, help="The day on which the letter was first printed.")
    posted_date = fields.Date(
        string="Posted on", readonly=True, copy=False,
        help="The day on which the letter went to the post, as somebody has confirmed. For the law a letter counts "
             "from this day on.")
    mail_tracking_number = fields.Char(
        string="Registered mail number", readonly=True, copy=False, help="What the post calls the letter.")

    #=== ACTION METHODS ===#

    def action_print_letters(self):
        """Open the letters as one PDF, for the printer. Printing is not posting: paper jams, and windows get closed.

        :return: the action that opens the file in a window of its own
        :raise UserError: when none of the notices has a letter
        """
        self.check_access('write')
        notices = self.filtered(lambda notice: notice.state == 'sent' and notice.attachment_id)
        if not notices:
            raise UserError(self.env._("None of these notices has a letter to print."))
        waiting = notices.filtered(lambda notice: notice.is_letter_to_print and not notice.printed_date)
        for company, printed in waiting.grouped('company_id').items():
            printed.sudo().printed_date = company._get_dunning_today()
        batch = self.env['account.dunning.post.batch'].sudo().create({'notice_ids': notices.ids})
        return {'type': 'ir.actions.act_url', 'url': f'/account_dunning/letters/{batch.id}', 'target': 'new'}

    def action_confirm_posted(self, date=None, mail_tracking_number=None):
        """The letters have gone to the post.

        :param datetime.date | str | None date: the day; None: the company's today
        :param str | None mail_tracking_number: of a registered letter, for one notice only
        :raise UserError: when none of the notices has a letter that waits, or the day is to come
        """
        self.check_access('write')
        notices = self.filtered(lambda notice: notice.state == 'sent' and notice.is_letter_to_print)
        if not notices:
            raise UserError(self.env._("None of these notices has a letter that waits to be posted."))
        if mail_tracking_number and len(notices) > 1:
            raise UserError(self.env._("A registered mail number belongs to one letter: confirm that one alone."))
        try:
            date = fields.Date.to_date(date) if date else None
        except (TypeError, ValueError) as error:
            raise UserError(self.env._("“%s” is no day.", date)) from error
        for company, posted in notices.grouped('company_id').items():
            today = company._get_dunning_today()
            if date and (date > today or any(date < (notice.sent_date or date) for notice in posted)):
                raise UserError(self.env._(
                    "A letter is posted on the day on which it was made or later, and no later than today."))
            posted.sudo().write({
                'is_letter_to_print': False,
                'posted_date': date or today,
                'mail_tracking_number': str(mail_tracking_number) if mail_tracking_number else False,
            })
        for notice in notices:
            notice._message_log(body=self.env._("Letter posted."))

    def action_undo_posted(self):
        """The letters did not go to the post after all: they wait again.

        :raise UserError: when none of them was posted
        """
        self.check_access('write')
        notices = self.filtered(lambda notice: notice.state == 'sent' and notice.posted_date)
        if not notices:
            raise UserError(self.env._("None of these letters was posted."))
        notices.sudo().write({
            'is_letter_to_print': True, 'posted_date': False, 'printed_date': False, 'mail_tracking_number': False})
        for notice in notices:
            notice._message_log(body=self.env._("The letter was not posted after all: it waits again."))


class AccountDunningPostBatch(models.Model):
    """Letters that somebody prints together. It exists so that no address has to name hundreds of them."""

    _name = 'account.dunning.post.batch'
    _description = "Letters printed together"
    _order = 'id desc'

    notice_ids = fields.Many2many(
        comodel_name='account.dunning.notice', string="Notices", readonly=True,
        relation='account_dunning_post_batch_notice_rel', column1='batch_id', column2='notice_id')

    def _get_letters(self):
        """The files, for who may see all of the notices.

        :return: list of PDFs (bytes)
        :raise AccessError: when one of the notices is not the user's to see
        """
        self.ensure_one()
        notices = self.sudo().notice_ids
        notices.sudo(False).check_access('read')
        return [
            attachment.raw for attachment in notices.attachment_id if attachment.mimetype == 'application/pdf'
        ]

    @api.autovacuum
    def _gc_batches(self):
        """A file is opened at once or not at all."""
        self.search([('create_date', '<', fields.Datetime.now() - timedelta(days=7))]).unlink()
