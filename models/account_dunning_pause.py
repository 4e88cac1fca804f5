from odoo import models


class AccountDunningNotice(models.Model):
    _inherit = 'account.dunning.notice'

    def _get_pauses(self):
        """What the letter says about pauses: what runs, and what was broken since the customer's last notice.

        :return: dict of recordsets: plans, promises, disputes (running), broken_plans, broken_promises
        :rtype: dict
        """
        self.ensure_one()
        of_customer = [('partner_id', '=', self.partner_id.id), ('company_id', '=', self.company_id.id)]
        last_notice = self.search([
            *of_customer, ('state', '=', 'sent'), ('id', '!=', self.id), ('date', '<=', self.date),
        ], order='date desc, id desc', limit=1)
        broken = [*of_customer, ('state', '=', 'broken'), ('date_closed', '<=', self.date)]
        if last_notice:
            broken.append(('date_closed', '>=', last_notice.date))
        dunned = [('move_line_ids', 'in', self.line_ids.move_line_id.ids)]
        Plan, Promise = self.env['account.payment.plan'], self.env['account.payment.promise']
        return {
            'plans': Plan.search([*of_customer, ('state', '=', 'active')]),
            'promises': Promise.search([
                *of_customer, ('state', '=', 'open'), ('block_id.state', '=', 'active'),
            ]),
            'disputes': self.env['account.dispute'].search([
                *of_customer, ('state', '=', 'open'), ('block_id.state', '=', 'active'),
            ]),
            'broken_plans': Plan.search(broken + dunned),
            'broken_promises': Promise.search(broken + dunned),
        }
