from datetime import date

from lxml import html

from odoo.tests import TransactionCase, tagged

from odoo.addons.account_dunning.utils.days import format_day

FIRST, OTHER = date(2026, 12, 1), date(2026, 10, 11)


@tagged('post_install', '-at_install')
class TestDays(TransactionCase):
    """No reader takes the month for the day."""

    def _format(self, lang, day, **options):
        self.env['res.lang']._activate_lang(lang)
        return format_day(self.env(context={'lang': lang}), day, **options)

    def test_month_is_named_in_the_language_of_the_reader(self):
        for lang, first, other in (
            ('en_US', "December 1, 2026", "October 11, 2026"),
            ('en_GB', "1 December 2026", "11 October 2026"),
            ('de_DE', "1. Dezember 2026", "11. Oktober 2026"),
            ('fr_FR', "1er décembre 2026", "11 octobre 2026"),
            ('nl_NL', "1 december 2026", "11 oktober 2026"),
            ('es_ES', "1 de diciembre de 2026", "11 de octubre de 2026"),
            ('et_EE', "1. detsember 2026", "11. oktoober 2026"),
        ):
            with self.subTest(lang=lang):
                self.assertEqual(self._format(lang, FIRST), first)
                self.assertEqual(self._format(lang, OTHER), other)

    def test_short_days_name_the_month_too(self):
        for lang, with_year, without_year in (
            ('en_US', "Oct 11, 2026", "Oct 11"),
            ('en_GB', "11 Oct 2026", "11 Oct"),
            ('de_DE', "11. Okt. 2026", "11. Okt."),
            ('fr_FR', "11 oct. 2026", "11 oct."),
            ('fi_FI', "11. lokakuuta 2026", "11. lokakuuta 2026"),
            ('ja_JP', "2026年10月11日", "2026年10月11日"),
        ):
            with self.subTest(lang=lang):
                self.assertEqual(self._format(lang, OTHER, short=True), with_year)
                self.assertEqual(self._format(lang, OTHER, short=True, with_year=False), without_year)
        self.assertEqual(self._format('fr_FR', FIRST, short=True), "1er déc. 2026")

    def test_no_day_is_nothing(self):
        self.assertEqual(self._format('en_US', False), '')

    def test_day_in_a_template(self):
        view = self.env['ir.ui.view'].create({'type': 'qweb', 'key': 'account_dunning.test_days', 'arch': """
            <div><i t-out="day" t-options="{'widget': 'dunning_day'}"/>
               <i t-out="moment" t-options="{'widget': 'dunning_day', 'short': True}"/></div>"""})
        moment = self.env.cr.now().replace(2026, 10, 11, 23, 30, 0)
        text = html.fromstring(self.env['ir.qweb'].with_context(lang='en_US', tz='Europe/Brussels')._render(
            view.id, {'day': FIRST, 'moment': moment})).text_content()
        self.assertEqual(' '.join(text.split()), "December 1, 2026 Oct 12, 2026")
