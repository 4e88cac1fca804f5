from io import BytesIO

from pypdf import PdfReader, PdfWriter

from odoo import fields
from odoo.exceptions import AccessError, UserError
from odoo.tests import Form, HttpCase, freeze_time, new_test_user, tagged

from .common import DunningCommon


def make_pdf():
    writer, stream = PdfWriter(), BytesIO()
    writer.add_blank_page(width=100, height=100)
    writer.write(stream)
    return stream.getvalue()


@tagged('post_install', '-at_install')
@freeze_time('2024-03-10 08:00:00')
class TestPost(DunningCommon, HttpCase):
    """A letter is posted when a person says so, and not before."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.biller = new_test_user(
            cls.env, login='post_biller', password='post_biller', groups='account.group_account_invoice',
            company_id=cls.company.id, company_ids=[fields.Command.set(cls.company.ids)])

    def _create_letters(self, count=2):
        partners = self.env['res.partner'].create([{'name': f"Posted to {i}"} for i in range(count)])
        for partner in partners:
            self._create_due_invoice('2024-02-01', partner=partner)
        notices = self._prepare('2024-03-10').notice_ids
        notices._mark_sent(fields.Date.to_date('2024-03-10'))
        for notice in notices.sudo():
            notice.write({
                'is_letter_to_print': True,
                'attachment_id': self.env['ir.attachment'].create({
                    'name': "Letter.pdf", 'raw': make_pdf(), 'mimetype': 'application/pdf',
                    'res_model': notice._name, 'res_id': notice.id}).id,
            })
        return notices.with_user(self.biller)

    def test_printing_posts_nothing(self):
        notices = self._create_letters()
        notices.action_print_letters()
        self.assertEqual(notices.mapped('is_letter_to_print'), [True, True])
        self.assertEqual(set(notices.mapped('printed_date')), {fields.Date.to_date('2024-03-10')})
        self.assertFalse(any(notices.mapped('posted_date')))

    def test_printed_file_has_all_letters_and_a_short_address(self):
        notices = self._create_letters(30)
        url = notices.action_print_letters()['url']
        self.assertLess(len(url), 60)
        self.authenticate('post_biller', 'post_biller')
        response = self.url_open(url)
        self.assertEqual(response.status_code, 200)
        self.assertEqual(len(PdfReader(BytesIO(response.content)).pages), 30)

    def test_letters_of_another_company_are_not_shown(self):
        notices = self._create_letters()
        url = notices.action_print_letters()['url']
        other = self.setup_other_company()['company']
        new_test_user(
            self.env, login='post_stranger', password='post_stranger', groups='account.group_account_invoice',
            company_id=other.id, company_ids=[fields.Command.set(other.ids)])
        self.authenticate('post_stranger', 'post_stranger')
        self.assertNotEqual(self.url_open(url).status_code, 200)
        self.authenticate('post_biller', 'post_biller')
        self.assertEqual(self.url_open('/account_dunning/letters/2147483647').status_code, 404)

    def test_confirmed_with_day_and_number(self):
        notice = self._create_letters(1)
        with freeze_time('2024-03-12 08:00:00'):
            wizard = Form(self.env['account.dunning.post.confirm'].with_user(self.biller).with_context(
                default_notice_ids=notice.ids))
            wizard.date = '2024-03-11'
            wizard.mail_tracking_number = "RR 123"
            wizard.save().action_confirm()
        self.assertRecordValues(notice, [{
            'is_letter_to_print': False, 'posted_date': fields.Date.to_date('2024-03-11'),
            'mail_tracking_number': "RR 123"}])

    def test_undone(self):
        notices = self._create_letters()
        notices.action_confirm_posted()
        self.assertFalse(any(notices.mapped('is_letter_to_print')))
        notices.action_undo_posted()
        self.assertEqual(notices.mapped('is_letter_to_print'), [True, True])
        self.assertFalse(any(notices.mapped('posted_date')))
        with self.assertRaises(UserError):
            notices.action_undo_posted()

    def test_refused_days_and_numbers(self):
        notices = self._create_letters()
        for arguments in (('2024-03-11',), ('2024-03-09',), ('soon',), (None, "RR 1")):
            with self.subTest(arguments=arguments), self.assertRaises(UserError):
                notices.action_confirm_posted(*arguments)
        self.assertFalse(any(notices.mapped('posted_date')))

    def test_dates_are_not_written_by_hand(self):
        notice = self._create_letters(1)
        for values in ({'posted_date': '2024-03-01'}, {'printed_date': '2024-03-01'}, {'mail_tracking_number': "1"}):
            with self.subTest(values=values), self.assertRaises(AccessError):
                notice.write(values)
