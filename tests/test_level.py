from odoo.exceptions import ValidationError
from odoo.tests import tagged

from .common import DunningCommon


@tagged('post_install', '-at_install')
class TestLevel(DunningCommon):
    """What can't go out is refused when the level is saved."""

    def test_level_does_something(self):
        with self.assertRaisesRegex(ValidationError, "“Level 1” would do nothing"):
            self.level_1.send_email = False
        with self.assertRaisesRegex(ValidationError, "would do nothing"):
            self._create_procedure([3], level_values={'send_email': False, 'hand_over': True})
        for fname in ('print_letter', 'create_activity', 'send_email'):
            with self.subTest(channel=fname):
                self.level_1.write({
                    'send_email': False, 'print_letter': False, 'create_activity': False, fname: True})

    def test_sms_needs_its_template(self):
        with self.assertRaisesRegex(ValidationError, "choose its SMS template"):
            self.level_1.write({'send_email': False, 'send_sms': True})
        self.level_1.write({
            'send_email': False, 'send_sms': True,
            'sms_template_id': self.env.ref('account_dunning.sms_template_dunning_reminder').id})

    def test_templates_are_those_of_notices(self):
        """One for another document would be filled with another customer's data."""
        partner_model = self.env['ir.model']._get_id('res.partner')
        values = {'name': "Greetings", 'model_id': partner_model}
        for fname, template in (
            ('mail_template_id', self.env['mail.template'].sudo().create(values)),
            ('sms_template_id', self.env['sms.template'].sudo().create({**values, 'body': "Hello"})),
        ):
            with self.subTest(field=fname), self.assertRaisesRegex(ValidationError, "“Greetings”"):
                self.level_1[fname] = template

    def test_words_are_checked_in_every_language(self):
        self.env['res.lang'].sudo()._activate_lang('fr_FR')
        self.level_1.letter_title = "Reminder for {customer}"
        with self.assertRaisesRegex(ValidationError, r"^French.*“?Level 1.*\{cliant\}"), self.env.cr.savepoint():
            self.level_1.update_field_translations('letter_title', {'fr_FR': "Rappel pour {cliant}"})
        self.level_1.invalidate_recordset()
        self.level_1.update_field_translations('letter_title', {'fr_FR': "Rappel pour {customer}"})
        with self.assertRaisesRegex(ValidationError, r"^Le niveau|^The level"), self.env.cr.savepoint():
            self.level_1.with_context(lang='fr_FR').letter_title = "Rappel pour {cliant}"
