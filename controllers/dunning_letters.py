from werkzeug.exceptions import NotFound

from odoo import http
from odoo.http import request
from odoo.tools.pdf import merge_pdf


class DunningLetters(http.Controller):

    @http.route('/account_dunning/letters/<string:notice_ids>', type='http', auth='user', readonly=True)
    def letters(self, notice_ids, **kwargs):
        """The letters of these notices as one PDF, for the printer.

        :param str notice_ids: ids of notices, with commas between them
        """
        numbers = notice_ids.split(',')
        if not all(number.isdecimal() and int(number[:20]) < 2**31 for number in numbers):
            raise NotFound()
        notices = request.env['account.dunning.notice'].browse(map(int, numbers)).exists()
        notices.check_access('read')
        letters = [
            attachment.raw for attachment in notices.sudo().attachment_id if attachment.mimetype == 'application/pdf'
        ]
        if not letters:
            raise NotFound()
        return request.make_response(merge_pdf(letters), headers=[
            ('Content-Type', 'application/pdf'),
            ('Content-Disposition', http.content_disposition('letters.pdf', disposition_type='inline')),
        ])
