from odoo import api, fields, models
from odoo.exceptions import ValidationError
from odoo.tools import formatLang

from ..utils.chatter import log_batch


class AccountDunningPausing(models.AbstractModel):
    """What pauses the dunning of certain lines of one customer: a dispute, a promise to pay, a payment plan.

    Each opens one pause (`account.dunning.block`) over its lines and keeps it in step with itself until its verdict.
    """

    _name = 'account.dunning.pausing'
    _description = "Dispute, promise or payment plan"
    _inherit = ['account.dunning.guarded']
    _check_company_auto = True

    # Why the pause is there: a value of the block's `reason`
    _pause_reason = None

    company_id = fields.Many2one(
        comodel_name='res.company',
        required=True,
        default=lambda self: self.env.company,
        index=True,
    )
    partner_id = fields.Many2one(
        comodel_name='res.partner',
        string="Customer",
        required=True,
        index=True,
        ondelete='restrict',
        check_company=True,
    )
    currency_id = fields.Many2one(
        comodel_name='res.currency',
        required=True,
        default=lambda self: self.env.company.currency_id,
    )
    move_line_ids = fields.Many2many(comodel_name='account.move.line', check_company=True)
    block_id = fields.Many2one(
        comodel_name='account.dunning.block',
        string="Pause",
        readonly=True,
        copy=False,
        index='btree_not_null',
        ondelete='set null',
    )

    #=== CONSTRAINT METHODS ===#

    @api.constrains('move_line_ids', 'partner_id', 'currency_id', 'company_id')
    def _check_move_lines(self):
        for record in self:
            customer = record.partner_id.commercial_partner_id
            for line in record.move_line_ids:
                if line.partner_id.commercial_partner_id != customer:
                    raise ValidationError(self.env._(
                        "%(invoice)s is not an invoice of %(customer)s.",
                        invoice=line.move_id.display_name, customer=record.partner_id.display_name))
                if line.currency_id != record.currency_id:
                    raise ValidationError(record._get_other_currency_message(line))
                if line.account_id.account_type != 'asset_receivable':
                    raise ValidationError(self.env._("%s is not what a customer owes.", line.display_name))

    def _get_other_currency_message(self, line):
        """:param account.move.line line: a line in another currency"""
        return self.env._(
            "%(invoice)s is in %(currency)s: only what is in %(own)s can be chosen here.",
            invoice=line.move_id.display_name, currency=line.currency_id.name, own=self.currency_id.name)

    #=== CRUD METHODS ===#

    @api.model_create_multi
    def create(self, vals_list):
        """They belong to the commercial partner, which is who the engine asks about; the person asked for is the
        contact."""
        return super().create([self._with_commercial_partner(vals) for vals in vals_list])

    def _with_commercial_partner(self, vals):
        """:return: a copy of the values that names the commercial partner, and the contact where there is one"""
        if not vals.get('partner_id'):
            return vals
        partner = self.env['res.partner'].browse(vals['partner_id'])
        vals = {**vals, 'partner_id': partner.commercial_partner_id.id}
        if 'contact_id' in self._fields and partner != partner.commercial_partner_id:
            vals.setdefault('contact_id', partner.id)
        return vals

    #=== THE PAUSE ===#

    def _get_open_lines(self):
        """The lines that it is about on which something is open.

        :rtype: account.move.line
        """
        return self.move_line_ids._filter_open_receivables()

    def _get_open_amount(self):
        """:return: what is open on the lines (float, in their currency)"""
        return sum(self._get_open_lines().mapped('amount_residual_currency'))

    def _get_paused_lines(self):
        """:return: the lines that the pause is over"""
        return self.move_line_ids

    def _get_paused_amount(self):
        """:return: how much of the lines is paused (float, in their currency); 0: all of it"""
        return 0.0

    def _get_pause_period(self):
        """:return: first and last day of the pause; False: without end
        :rtype: tuple[datetime.date, datetime.date | bool]
        """
        raise AssertionError(f"{self._name} says how long it pauses")

    def _prepare_block_values(self):
        self.ensure_one()
        date_from, date_until = self._get_pause_period()
        return {
            'company_id': self.company_id.id,
            'partner_id': self.partner_id.id,
            'move_line_ids': self._get_paused_lines().ids,
            'reason': self._pause_reason,
            'currency_id': self.currency_id.id,
            'amount': self._get_paused_amount(),
            'date_from': min(date_from, date_until) if date_until else date_from,
            'date_until': date_until,
        }

    def _open_block(self):
        """Pause what it is about now; a pause that was over goes on."""
        # Who agrees on it, such as the customer on the portal, need not have rights on pauses.
        for record in self.sudo():
            values = record._prepare_block_values()
            if record.block_id:
                record.block_id.write({**values, 'state': 'active', 'date_ended': False, 'broken': False})
            else:
                record.block_id = record.block_id.create(values)

    #=== TOOLING ===#

    def _format_amount(self, amount=None):
        """:param float | None amount: in the currency of the record; None: its own amount"""
        self.ensure_one()
        return formatLang(self.env, self.amount if amount is None else amount, currency_obj=self.currency_id)

    def _prepare_log_entries(self, sentence):
        """Where a sentence about the record is told.

        :param str sentence:
        :return: list of (record with a chatter, sentence)
        """
        self.ensure_one()
        return [(record, sentence) for record in (self.partner_id, *self.move_line_ids.move_id)]

    def _log(self, get_sentence):
        """Tell what happened in the chatters of customers and invoices.

        :param get_sentence: function of a record, returning a str
        """
        entries = []
        for record in self.sudo():
            entries += record._prepare_log_entries(get_sentence(record))
        log_batch(self.env, entries)
