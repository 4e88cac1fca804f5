from odoo.tests import TransactionCase, tagged
from odoo.tools import file_open
from odoo.tools.translate import PoFileReader, TranslationModuleReader


@tagged('post_install', '-at_install')
class TestTranslation(TransactionCase):

    def test_every_text_has_its_french(self):
        with file_open('account_dunning_stock/i18n/fr.po', 'rb') as source:
            french = {row['src'] for row in PoFileReader(source) if row['value']}
        texts = {row[4] for row in TranslationModuleReader(self.env.cr, modules=['account_dunning_stock'], lang=None)}
        self.assertTrue(texts)
        self.assertEqual(sorted(texts - french), [])
