from werkzeug.exceptions import NotFound

from odoo import http
from odoo.http import request


class DunningNoticePage(http.Controller):

    @http.route(
        '/reminder/<string:code>', type='http', auth='public', methods=['GET'], website=True, multilang=False,
        sitemap=False)
    def dunning_notice_page(self, code, **kwargs):
        """What a letter asks for, as it stands today, for whoever has got the letter.

        :param str code: of the notice
        """
        notice = request.env['account.dunning.notice'].sudo()._find_by_access_code(code)
        if not notice:
            raise NotFound()
        lang = notice._get_letter_lang()
        request.update_context(lang=lang)
        notice = notice.with_context(lang=lang).with_company(notice.company_id)
        response = request.render('account_dunning.dunning_notice_page', {
            'o': notice,
            'tables': notice._get_page_tables(),
            'settled': notice._get_page_settled_lines(),
            'title': notice._get_letter_texts()['letter_title'],
            'sender': notice._get_letter_sender(),
            'res_company': notice.company_id,
            'page_name': 'dunning_notice',
            'no_breadcrumbs': True,
        })
        response.headers.update({
            'X-Robots-Tag': 'noindex, nofollow', 'Referrer-Policy': 'same-origin', 'Cache-Control': 'no-store'})
        return response
