import base64
import binascii
import io
import math

from PIL import Image

from odoo import http
from odoo.exceptions import AccessError, MissingError, UserError, ValidationError
from odoo.http import request

from odoo.addons.account_payment.controllers.payment import PaymentPortal
from odoo.addons.account_payment.controllers.portal import PortalAccount
from odoo.addons.portal.controllers.portal import pager as portal_pager

SIGNATURE_FORMATS = ('PNG', 'JPEG')


def check_picture(data):
    """A signature is a picture: nothing that a browser would run.

    :param str data: base64
    :raise ValueError: when it is none, or one of another kind
    """
    try:
        picture = Image.open(io.BytesIO(base64.b64decode(data, validate=True)))
        picture.verify()
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError("no picture") from error
    if picture.format not in SIGNATURE_FORMATS:
        raise ValueError(f"{picture.format} is no format of a signature")


class PaymentPlanPortal(PortalAccount):

    def _prepare_home_portal_values(self, counters):
        # EXTENDS 'portal'
        values = super()._prepare_home_portal_values(counters)
        if 'payment_plan_count' in counters:
            Plan = request.env['account.payment.plan']
            values['payment_plan_count'] = Plan.search_count(self._get_payment_plans_domain(), limit=1) \
                if Plan.has_access('read') else 0
        if 'payment_plan_to_sign_count' in counters:
            Plan = request.env['account.payment.plan']
            values['payment_plan_to_sign_count'] = Plan.search_count(
                self._get_payment_plans_domain() + [('state', '=', 'offered')]) if Plan.has_access('read') else 0
        return values

    def _get_payment_plans_domain(self):
        """Plans of the visitor's own company; drafts are nobody's business but ours."""
        return [
            ('partner_id', '=', request.env.user.partner_id.commercial_partner_id.id),
            ('state', '!=', 'draft'),
        ]

    @http.route(
        ['/my/payment_plans', '/my/payment_plans/page/<int:page>'], type='http', auth='user', website=True)
    def portal_my_payment_plans(self, page=1, **kwargs):
        Plan = request.env['account.payment.plan']
        readable = Plan.has_access('read')
        domain = self._get_payment_plans_domain()
        pager = portal_pager(
            url='/my/payment_plans',
            total=Plan.search_count(domain) if readable else 0,
            page=page,
            step=self._items_per_page,
        )
        plans = Plan.search(
            domain, limit=self._items_per_page, offset=pager['offset']) if readable else Plan
        request.session['my_payment_plans_history'] = plans.ids[:100]
        return request.render('account_dunning.portal_my_payment_plans', {
            **self._prepare_portal_layout_values(),
            # Found with the visitor's rights; the page shows fields of invoices and currencies too
            'plans': plans.sudo(),
            'page_name': 'payment_plan',
            'pager': pager,
            'default_url': '/my/payment_plans',
        })

    @http.route(['/my/payment_plans/<int(max=2147483647):plan_id>'], type='http', auth='public', website=True)
    def portal_payment_plan_page(
        self, plan_id, access_token=None, report_type=None, download=False, message=None, **kwargs
    ):
        try:
            plan_sudo = self._document_check_access('account.payment.plan', plan_id, access_token=access_token)
        except (AccessError, MissingError):
            return request.redirect('/my')
        if plan_sudo.state == 'draft':
            return request.redirect('/my')
        if report_type in ('html', 'pdf', 'text'):
            return self._show_report(
                model=plan_sudo,
                report_type=report_type,
                report_ref='account_dunning.action_report_payment_plan',
                download=download,
            )
        values = self._payment_plan_get_page_view_values(plan_sudo, access_token, message=message, **kwargs)
        return request.render('account_dunning.portal_payment_plan_page', values)

    def _payment_plan_get_page_view_values(self, plan, access_token, message=None, **kwargs):
        """What the page shows of a plan.

        :param plan: account.payment.plan, in sudo
        :param str access_token: the token that the visitor came with
        :return: dict
        """
        action = plan._get_portal_return_action()
        values = {
            'page_name': 'payment_plan',
            'plan': plan,
            'message': message,
            'report_type': 'html',
            'backend_url': f'/odoo/action-{action.id}/{plan.id}',
            'res_company': plan.company_id,
            'bank_account': plan.company_id._get_dunning_bank_account(plan.currency_id, plan.move_line_ids.move_id),
        }
        if plan.state in ('signed', 'active') and plan.next_installment_id and plan.next_amount > 0:
            # The pay button: the next installment, by the means that the company offers online
            values.update(self._get_common_page_view_values(
                invoices_data={
                    'partner': plan.contact_id or plan.partner_id,
                    'company': plan.company_id,
                    'total_amount': plan.next_amount,
                    'currency': plan.currency_id,
                    'amount_residual': plan.next_amount,
                    'payment_reference': plan.name,
                    'landing_route': plan.get_portal_url(),
                    'transaction_route': f'/my/payment_plans/{plan.id}/transaction',
                },
                access_token=plan._portal_ensure_token(),
            ))
            values.update(amount=plan.next_amount, reference_prefix=plan.name)
        return self._get_page_view_values(
            plan, access_token, values, 'my_payment_plans_history', False, **kwargs)

    @http.route(['/my/payment_plans/<int(max=2147483647):plan_id>/accept'], type='jsonrpc', auth='public', website=True)
    def portal_payment_plan_accept(self, plan_id, access_token=None, name=None, signature=None):
        """Take the customer's signature.

        :param int plan_id: account.payment.plan
        :param str access_token: opens the plan to those who have no account
        :param str name: who signs
        :param str signature: base64 image
        :return: dict with an error to show, or with the page to go to
        """
        # Not among the parameters when the form posts to the page's own address
        access_token = access_token or request.httprequest.args.get('access_token')
        try:
            plan_sudo = self._document_check_access('account.payment.plan', plan_id, access_token=access_token)
        except (AccessError, MissingError):
            return {'error': request.env._("Invalid payment plan.")}
        if not plan_sudo._has_to_be_signed():
            return {'error': request.env._("The payment plan can't be signed any more.")}
        if not isinstance(name, str) or not name.strip() or not signature:
            return {'error': request.env._("Signature is missing.")}
        try:
            check_picture(signature)
            with request.env.cr.savepoint():
                plan_sudo._sign(name.strip(), signature)
        except (TypeError, ValueError, binascii.Error):
            return {'error': request.env._("Invalid signature data.")}
        except UserError as error:
            return {'error': str(error)}
        author = plan_sudo.contact_id or plan_sudo.partner_id
        if not request.env.user._is_public():
            author = request.env.user.partner_id
        plan_sudo.message_post(
            attachments=[(plan_sudo.agreement_id.name, plan_sudo.agreement_id.raw)],
            author_id=author.id,
            body=request.env._("Payment plan signed by %s", name.strip()),
            message_type='comment',
            subtype_xmlid='mail.mt_comment',
        )
        return {
            'force_refresh': True,
            'redirect_url': plan_sudo.get_portal_url(query_string='&message=sign_ok'),
        }

    @http.route(
        ['/my/payment_plans/<int(max=2147483647):plan_id>/decline'], type='http', auth='public', methods=['POST'],
        website=True)
    def portal_payment_plan_decline(self, plan_id, access_token=None, decline_message=None, **kwargs):
        try:
            plan_sudo = self._document_check_access('account.payment.plan', plan_id, access_token=access_token)
        except (AccessError, MissingError):
            return request.redirect('/my')
        if plan_sudo._has_to_be_signed() and decline_message:
            plan_sudo.action_cancel()
            author = plan_sudo.contact_id or plan_sudo.partner_id
            plan_sudo.message_post(
                author_id=author.id if request.env.user._is_public() else request.env.user.partner_id.id,
                body=decline_message,
                message_type='comment',
                subtype_xmlid='mail.mt_comment',
            )
            plan_sudo._warn_responsible(
                request.env._("Payment plan declined by the customer"), plan_sudo.company_id._get_dunning_today())
        return request.redirect(plan_sudo.get_portal_url())


class PaymentPlanPayment(PaymentPortal):

    @http.route('/my/payment_plans/<int(max=2147483647):plan_id>/transaction', type='jsonrpc', auth='public')
    def payment_plan_transaction(self, plan_id, access_token, **kwargs):
        """Create the draft transaction that pays (a part of) a plan, and return its processing values.

        :param int plan_id: account.payment.plan
        :param str access_token: opens the plan to those who have no account
        :param dict kwargs: see `_create_transaction`
        :return: the values for the processing of the transaction
        :rtype: dict
        :raise ValidationError: when the plan or the token is wrong, or more than what is open would be paid
        """
        try:
            plan_sudo = self._document_check_access('account.payment.plan', plan_id, access_token)
        except MissingError as error:
            raise error
        except AccessError as error:
            raise ValidationError(request.env._("The access token is invalid.")) from error
        amount = self._cast_as_float(kwargs.get('amount')) or 0.0
        if (
            not math.isfinite(amount)
            or plan_sudo.state not in ('signed', 'active')
            or plan_sudo.currency_id.compare_amounts(amount, 0.0) <= 0
            or plan_sudo.currency_id.compare_amounts(amount, plan_sudo.amount_open) > 0
        ):
            raise ValidationError(request.env._("This amount is not open on the payment plan."))
        logged_in = not request.env.user._is_public()
        partner_sudo = request.env.user.partner_id if logged_in else plan_sudo.contact_id or plan_sudo.partner_id
        kwargs.pop('payment_reference', None)  # Odoo's payment form sends that of the page; the plan's own counts
        self._validate_transaction_kwargs(kwargs)
        invoices = plan_sudo._get_open_lines().move_id
        values = self._process_transaction(
            partner_sudo.id, plan_sudo.currency_id.id, invoices.ids, plan_sudo.name, **kwargs)
        request.env['payment.transaction'].sudo().search(
            [('reference', '=', values['reference'])], limit=1).payment_plan_id = plan_sudo
        return values
