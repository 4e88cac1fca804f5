from werkzeug.exceptions import NotFound

from odoo import http
from odoo.http import request
from odoo.tools.pdf import merge_pdf


class DunningLetters(http.Controller):

    @http.route('/account_dunning/letters/<int:batch_id>', type='http', auth='user', readonly=True)
    def letters(self, batch_id, **kwargs):
        """The letters of a batch as one PDF, for the printer.

        :param int batch_id: id of an `account.dunning.post.batch`
        """
        batch = request.env['account.dunning.post.batch'].sudo().search([('id', '=', batch_id)]).sudo(False)
        letters = batch and batch._get_letters()
        if not letters:
            raise NotFound()
        return request.make_response(merge_pdf(letters), headers=[
            ('Content-Type', 'application/pdf'),
            ('Content-Disposition', http.content_disposition('letters.pdf', disposition_type='inline')),
        ])
