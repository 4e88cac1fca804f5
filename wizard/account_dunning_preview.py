from odoo import api, fields, models
from odoo.tools import format_amount

# A screen shows so many customers, the highest amounts first; the totals count them all
SHOWN_CUSTOMERS = 200


class AccountDunningPreview(models.TransientModel):
    """Who would be reminded on any day, past or future. Nothing is prepared."""

    _name = 'account.dunning.preview'
    _description = "Preview of a dunning run"
    _check_company_auto = True

    company_id = fields.Many2one(
        comodel_name='res.company',
        required=True,
        default=lambda self: self.env.company,
        domain=lambda self: [('id', 'in', self.env.companies.ids)],
    )
    date = fields.Date(required=True, default=lambda self: self.env.company._get_dunning_today())
    preview = fields.Html(compute='_compute_preview', sanitize=False)

    @api.depends('company_id', 'date')
    @api.depends_context('lang')
    def _compute_preview(self):
        for preview in self:
            preview.preview = preview._render_preview() if preview.company_id and preview.date else False

    def _render_preview(self):
        """The proposals that a run would make, as a table.

        :rtype: Markup
        """
        self.ensure_one()
        # Only of companies that the user works in: the engine itself reads every ledger.
        company = self.company_id & self.env.companies
        if not company:
            return False
        rows = self.env['account.dunning.run']._preview(company, self.date)
        partners = self.env['res.partner'].browse(row['partner_id'] for row in rows[:SHOWN_CUSTOMERS])
        level = self.env['account.dunning.level']
        totals = {}
        for row in rows:
            count, amount = totals.get(row['level_id'], (0, 0))
            totals[row['level_id']] = (count + 1, amount + row['amount_due'])

        def money(amount):
            return format_amount(self.env, amount, company.currency_id)

        return self.env['ir.qweb']._render('account_dunning.dunning_preview', {
            'levels': [
                (level.browse(level_id).name, count, money(amount))
                for level_id, (count, amount) in sorted(
                    totals.items(), key=lambda item: (level.browse(item[0]).sequence, item[0]))
            ],
            'total': (len(rows), money(sum(row['amount_due'] for row in rows))),
            'customers': [
                (partner.display_name, level.browse(row['level_id']).name, row['line_count'], money(row['amount_due']))
                for partner, row in zip(partners, rows, strict=False)
            ],
            'more': max(len(rows) - SHOWN_CUSTOMERS, 0),
        })
