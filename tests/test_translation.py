from odoo.tests import TransactionCase, tagged
from odoo.tools import file_open
from odoo.tools.translate import PoFileReader, TranslationModuleReader


@tagged('post_install', '-at_install')
class TestTranslation(TransactionCase):

    def test_every_text_has_its_french(self):
        """What Odoo's own export finds, texts of e-mails too, stands in the French file."""
        with file_open('account_dunning/i18n/fr.po', 'rb') as source:
            french = {row['src'] for row in PoFileReader(source) if row['value']}
        texts = {
            row[4] for row in TranslationModuleReader(self.env.cr, modules=['account_dunning'], lang=None)
            if '/bridges/' not in str(row[2])  # addons of their own, with their own French
        }
        self.assertGreater(len(texts), 1500)
        self.assertEqual(sorted(texts - french), [])
