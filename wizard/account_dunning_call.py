from datetime import timedelta

from odoo import api, fields, models
from odoo.exceptions import UserError
from odoo.fields import Command

from ..utils.chatter import log_batch


class AccountDunningCall(models.TransientModel):
    """What the customer said on the phone, and what follows from it."""

    _name = 'account.dunning.call'
    _description = "Log a call"
    _check_company_auto = True

    partner_id = fields.Many2one(comodel_name='res.partner', string="Customer", required=True)
    company_id = fields.Many2one(
        comodel_name='res.company', required=True, default=lambda self: self.env.company)
    contact_id = fields.Many2one(
        comodel_name='res.partner',
        string="Spoke with",
        compute='_compute_contact_id',
        compute_sudo=False,
        store=True,
        readonly=False,
        domain="[('commercial_partner_id', '=', partner_id)]",
    )
    phone = fields.Char(related='contact_id.phone', related_sudo=False)
    outcome = fields.Selection(selection='_selection_outcome', required=True, default='promise')
    # Wrong number or person: put right at once
    new_phone = fields.Char(string="Right number")
    new_email = fields.Char(string="Right e-mail")
    call_sheet = fields.Html(compute='_compute_call_sheet', sanitize=False)
    note = fields.Text()
    open_move_ids = fields.Many2many(
        comodel_name='account.move',
        relation='account_dunning_call_open_move_rel',
        compute='_compute_open_move_ids',
        string="Open invoices",
    )
    move_ids = fields.Many2many(
        comodel_name='account.move',
        relation='account_dunning_call_move_rel',
        string="About",
        compute='_compute_move_ids',
        compute_sudo=False,
        store=True,
        readonly=False,
        domain="[('id', 'in', open_move_ids)]",
    )
    currency_id = fields.Many2one(comodel_name='res.currency', compute='_compute_currency_id')

    # Will pay
    promise_amount = fields.Monetary(
        string="Amount", compute='_compute_promise_amount', compute_sudo=False,
        store=True, readonly=False)
    promise_date = fields.Date(string="On", default=lambda self: self._default_promise_date())
    promise_method = fields.Selection(
        selection=lambda self: self.env['account.payment.promise']._fields['method']._description_selection(self.env),
        string="By",
        default='transfer',
    )

    # Disputes
    dispute_move_id = fields.Many2one(
        comodel_name='account.move',
        string="Invoice",
        compute='_compute_dispute_move_id',
        compute_sudo=False,
        store=True,
        readonly=False,
        domain="[('id', 'in', open_move_ids)]",
    )
    dispute_currency_id = fields.Many2one(
        related='dispute_move_id.currency_id', related_sudo=False, string="Invoice currency")
    dispute_amount = fields.Monetary(
        string="Disputed amount",
        currency_field='dispute_currency_id',
        compute='_compute_dispute_amount',
        compute_sudo=False,
        store=True,
        readonly=False,
    )
    dispute_reason = fields.Selection(
        string="Reason",
        selection=lambda self: self.env['account.dispute']._fields['reason']._description_selection(self.env),
        default='other',
    )
    dispute_user_id = fields.Many2one(
        comodel_name='res.users', string="Owner", default=lambda self: self.env.user)

    # What to do next
    activity_type_id = fields.Many2one(
        comodel_name='mail.activity.type',
        string="Next activity",
        domain=[('res_model', 'in', (False, 'res.partner'))],
    )
    activity_date = fields.Date(string="Due date", default=lambda self: self._default_activity_date())
    activity_summary = fields.Char(string="Summary")
    activity_user_id = fields.Many2one(
        comodel_name='res.users', string="For", default=lambda self: self.env.user)

    # Papers that the customer asks for on the phone
    email = fields.Char(
        string="To",
        compute='_compute_email',
        compute_sudo=False,
        store=True,
        readonly=False,
    )
    send_move_ids = fields.Many2many(
        comodel_name='account.move',
        relation='account_dunning_call_send_move_rel',
        string="Invoices to send",
        domain="[('id', 'in', open_move_ids)]",
    )
    send_statement = fields.Boolean(string="Statement of open items")
    documents_sent = fields.Char(readonly=True)

    @api.model
    def _selection_outcome(self):
        return self.env['account.dunning.contact']._selection_outcome()

    #=== DEFAULT METHODS ===#

    @api.model
    def default_get(self, fields_list):
        """From the invoices or the customer that the dialog is opened on."""
        values = super().default_get(fields_list)
        moves = self.env['account.move']
        if self.env.context.get('active_model') == 'account.move':
            moves = moves.browse(self.env.context.get('active_ids', []))
        elif self.env.context.get('active_model') == 'res.partner' and self.env.context.get('active_id'):
            values.setdefault('partner_id', self.env.context['active_id'])
        if moves:
            if len(moves.commercial_partner_id) > 1:
                raise UserError(self.env._("Choose invoices of one customer: a call is with one customer."))
            values.setdefault('partner_id', moves.commercial_partner_id.id)
            values['company_id'] = moves.company_id[:1].id
            values['move_ids'] = [Command.set(moves.ids)]
        if values.get('partner_id'):
            partner = self.env['res.partner'].browse(values['partner_id'])
            if partner != partner.commercial_partner_id:
                values.setdefault('contact_id', partner.id)
            values['partner_id'] = partner.commercial_partner_id.id
        return values

    def _default_promise_date(self):
        return self.env.company._get_dunning_today() + timedelta(days=7)

    def _default_activity_date(self):
        return self.env.company._get_dunning_today() + timedelta(days=1)

    #=== COMPUTE METHODS ===#

    @api.depends('partner_id')
    def _compute_contact_id(self):
        for call in self:
            if call.contact_id.commercial_partner_id != call.partner_id:
                children = call.partner_id.child_ids
                call.contact_id = (
                    children.filtered(lambda child: child.type == 'dunning')[:1]
                    or self.env['res.partner'].browse(call.partner_id.address_get(['invoice'])['invoice'])
                )

    @api.depends('partner_id', 'company_id')
    def _compute_open_move_ids(self):
        for call in self:
            call.open_move_ids = self.env['account.dunning.ledger']._find_open_lines(
                call.partner_id, call.company_id).move_id if call.partner_id else False

    @api.depends('open_move_ids')
    def _compute_move_ids(self):
        for call in self:
            today = (call.company_id or self.env.company)._get_dunning_today()
            if not call.move_ids:
                overdue = call.open_move_ids._origin.line_ids._filter_open_receivables().filtered(
                    lambda line, today=today: (line.date_maturity or line.date) < today)
                free = self.env['account.dunning.block']._leave_out_paused(overdue, today)
                call.move_ids = (free or overdue).move_id

    @api.depends('move_ids')
    def _compute_currency_id(self):
        for call in self:
            call.currency_id = call.move_ids[:1].currency_id or call.company_id.currency_id

    @api.depends('move_ids')
    def _compute_promise_amount(self):
        for call in self:
            lines = call._get_lines().filtered_domain([('currency_id', '=', call.currency_id.id)])
            call.promise_amount = sum(lines.mapped('amount_residual_currency'))

    @api.depends('move_ids')
    def _compute_dispute_move_id(self):
        for call in self:
            if not call.dispute_move_id:
                call.dispute_move_id = call.move_ids[:1]

    @api.depends('dispute_move_id')
    def _compute_dispute_amount(self):
        for call in self:
            call.dispute_amount = sum(
                call.dispute_move_id.line_ids._filter_open_receivables().mapped('amount_residual_currency'))

    @api.depends('contact_id')
    def _compute_email(self):
        for call in self:
            call.email = call.contact_id.email or call.partner_id.email

    @api.depends('partner_id', 'company_id')
    def _compute_call_sheet(self):
        """What to know before the customer answers: what is open and in which state, what was promised, last words."""
        for call in self:
            if not call.partner_id:
                call.call_sheet = False
                continue
            of_customer = [
                ('partner_id', 'child_of', call.partner_id.ids), ('company_id', '=', call.company_id.id)]
            today = call.company_id._get_dunning_today()
            lines = call.open_move_ids._origin.line_ids._filter_open_receivables()
            explanation = self.env['account.dunning.explanation']
            call.call_sheet = self.env['ir.qweb']._render('account_dunning.call_sheet', {
                'today': today,
                'lines': lines[:20],
                'more': len(lines[20:]),
                'pauses': {
                    line.id: explanation._describe_pauses(pause) for line in lines[:20]
                    if (pause := explanation._filter_pauses_of(
                        line, explanation._find_pauses(call.company_id, call.partner_id, today)))
                },
                'promises': self.env['account.payment.promise'].search(
                    of_customer, order='date desc, id desc', limit=4),
                'contacts': self.env['account.dunning.contact'].search(of_customer, limit=4),
            })

    #=== ACTION METHODS ===#

    def action_log(self):
        """Write the call to the customer's and the invoices' story, and open what the outcome asks for.

        :return: the dialog that makes a payment plan, or the action that closes this one
        """
        self.ensure_one()
        self._check_subject_access()
        self._log_call()
        if self.outcome == 'wrong_contact':
            self._mend_contact()
        if self.outcome == 'promise':
            self._create_promises()
        elif self.outcome == 'dispute':
            self._create_dispute()
        if self.activity_type_id:
            self._schedule_activity()
        if self.outcome == 'plan':
            return self._get_plan_action()
        return {'type': 'ir.actions.act_window_close'}

    def action_send_documents(self):
        """Send the invoices and the statement now, and stay in the dialog: the customer is on the phone.

        :return: the action that shows this dialog again
        :raise UserError: without an address, or with nothing to send
        """
        self.ensure_one()
        self._check_subject_access()
        if not self.email:
            raise UserError(self.env._("Give the e-mail address to send to."))
        if not self.send_move_ids and not self.send_statement:
            raise UserError(self.env._("Choose the invoices to send, or the statement."))
        self._send_documents()
        return {
            'type': 'ir.actions.act_window',
            'name': self.env._("Log a call"),
            'res_model': self._name,
            'res_id': self.id,
            'view_mode': 'form',
            'target': 'new',
        }

    #=== BUSINESS METHODS ===#

    def _check_subject_access(self):
        """:raise AccessError: when the call is about somebody, or about papers, that are not the user's to see"""
        self.partner_id.check_access('read')
        self.company_id.check_access('read')
        (self.move_ids + self.send_move_ids + self.dispute_move_id).check_access('read')

    def _get_lines(self):
        return self.move_ids._origin.line_ids._filter_open_receivables()

    def _log_call(self):
        outcome = dict(self._fields['outcome']._description_selection(self.env))[self.outcome]
        text = self.env._(
            "Call with %(contact)s: %(outcome)s.",
            contact=self.contact_id.name or self.partner_id.name, outcome=outcome)
        if self.note:
            text = f"{text} {self.note}"
        log_batch(self.env, [(self.partner_id, text)] + [(move, text) for move in self.move_ids])
        self.env['account.dunning.contact'].create({
            'partner_id': self.partner_id.id,
            'company_id': self.company_id.id,
            'contact_id': self.contact_id.id,
            'date': self.company_id._get_dunning_today(),
            'outcome': self.outcome,
            'note': self.note,
            'move_ids': [Command.set(self.move_ids.ids)],
            'next_date': self.activity_date if self.activity_type_id and self.outcome == 'no_answer' else False,
        })

    def _mend_contact(self):
        """The number or address that was wrong is put right, by whoever has found out.

        :raise UserError: when the contact is somebody else's
        """
        values = {'phone': self.new_phone, 'email': self.new_email}
        values = {name: value.strip() for name, value in values.items() if value and value.strip()}
        if not values:
            return
        contact = self.contact_id or self.partner_id
        contact.check_access('read')
        if contact.sudo().user_ids:
            # Whose e-mail is changed gets that user's password.
            raise UserError(self.env._(
                "%(contact)s has a login: ask an administrator to change the e-mail or number.",
                contact=contact.display_name))
        if contact.commercial_partner_id != self.partner_id:
            raise UserError(self.env._("%(contact)s does not belong to %(customer)s.",
                                       contact=contact.display_name, customer=self.partner_id.display_name))
        log_batch(self.env, [(contact, self.env._(
            "Put right after a call: %(values)s", values=", ".join(values.values())))])
        # Who calls customers may mend how they are reached, without being allowed to change them otherwise.
        contact.sudo().write(values)

    def _create_promises(self):
        """The promise, on what the call was about.

        :raise UserError: without amount or date, with a date that is over, or for invoices in several currencies
        """
        if not self.promise_date or self.promise_date < self.company_id._get_dunning_today():
            raise UserError(self.env._("Give the day of the promise; it can't be over."))
        if self.currency_id.compare_amounts(self.promise_amount, 0.0) <= 0:
            raise UserError(self.env._("Give the amount that is promised."))
        lines = self._get_lines()
        if len(lines.currency_id) > 1:
            raise UserError(self.env._("The invoices are in several currencies: log a promise for each."))
        return self.env['account.payment.promise'].create({
            'partner_id': self.partner_id.id,
            'company_id': self.company_id.id,
            'contact_id': self.contact_id.id,
            'currency_id': self.currency_id.id,
            'amount': self.promise_amount,
            'date': self.promise_date,
            'method': self.promise_method,
            'move_line_ids': [Command.set(lines.ids)],
            'note': self.note,
        })

    def _create_dispute(self):
        if not self.dispute_move_id:
            raise UserError(self.env._("Choose the invoice that is disputed."))
        return self.env['account.dispute'].create({
            'move_id': self.dispute_move_id.id,
            'amount': self.dispute_amount,
            'reason': self.dispute_reason or 'other',
            'note': self.note,
            'user_id': self.dispute_user_id.id,
        })

    def _schedule_activity(self):
        # Who may log a call may plan the next one, without being allowed to change the customer's record.
        self.partner_id.sudo().activity_schedule(
            activity_type_id=self.activity_type_id.id,
            date_deadline=self.activity_date,
            summary=self.activity_summary,
            note=self.note,
            user_id=self.activity_user_id.id or self.env.uid,
        )

    def _get_plan_action(self):
        action = self.env['ir.actions.act_window']._for_xml_id('account_dunning.account_payment_plan_prepare_action')
        action['context'] = {
            'default_partner_id': self.partner_id.id,
            'default_company_id': self.company_id.id,
            'default_contact_id': self.contact_id.id,
        }
        if lines := self._get_lines().filtered(lambda line: line.currency_id == self.currency_id):
            action['context']['default_move_line_ids'] = lines.ids
        return action

    def _send_documents(self):
        """E-mail the chosen papers in the customer's language."""
        names, attachments = [], []
        for move in self.send_move_ids:
            move.check_access('read')
            document = move._get_invoice_legal_documents('pdf', allow_fallback=True)
            if document:
                attachments.append((document['filename'], document['content']))
                names.append(move.name)
        if self.send_statement:
            content, report_type = self.env['ir.actions.report'].sudo().with_company(
                self.company_id)._render_qweb_pdf('account_dunning.action_report_statement', self.partner_id.ids)
            name = self.env._("Statement of open items")
            attachments.append((f"{name}.{report_type}", content))
            names.append(name)
        recipient = self.contact_id or self.partner_id
        template = self.env.ref('account_dunning.mail_template_requested_documents')
        template.with_company(self.company_id).send_mail(recipient.id, force_send=True, email_values={
            'email_to': self.email,
            'recipient_ids': [],
            'attachment_ids': self.env['ir.attachment'].create([
                {'name': name, 'raw': content, 'res_model': 'res.partner', 'res_id': recipient.id}
                for name, content in attachments
            ]).ids,
        })
        self.documents_sent = self.env._(
            "Sent to %(email)s: %(documents)s", email=self.email, documents=", ".join(names))
        log_batch(self.env, [(self.partner_id, self.documents_sent)])
        self.write({'send_move_ids': [Command.clear()], 'send_statement': False})
