import threading
from datetime import date
from http.server import BaseHTTPRequestHandler, HTTPServer
from unittest.mock import patch

from odoo.exceptions import AccessError, UserError
from odoo.tests import TransactionCase, freeze_time, new_test_user, tagged
from odoo.tools import mute_logger

from odoo.addons.account_dunning.models import account_reference_rate_fetch as fetch

# As the services answer: SDMX as CSV by commas and by semicolons, and a plain table
ECB = """KEY,FREQ,REF_AREA,CURRENCY,PROVIDER_FM,INSTRUMENT_FM,PROVIDER_FM_ID,TIME_PERIOD,OBS_VALUE,OBS_STATUS
FM.D.U2.EUR.4F.KR.MRR_FR.LEV,D,U2,EUR,4F,KR,MRR_FR,2026-06-29,2.15,A
FM.D.U2.EUR.4F.KR.MRR_FR.LEV,D,U2,EUR,4F,KR,MRR_FR,2026-06-30,2.15,A
FM.D.U2.EUR.4F.KR.MRR_FR.LEV,D,U2,EUR,4F,KR,MRR_FR,2026-07-01,2.4,A
FM.D.U2.EUR.4F.KR.MRR_FR.LEV,D,U2,EUR,4F,KR,MRR_FR,2026-07-02,2.65,A
"""
BUNDESBANK = """DATAFLOW;BBK_STD_FREQ;BBK_STD_AREA;TIME_PERIOD;OBS_VALUE;BBK_DIFF
BBK:BBIN1(1.0);M;DE;2026-06;1.27;
BBK:BBIN1(1.0);M;DE;2026-07;1,52;
"""
BOE = """DATE,IUDBEDR
29 Jun 2026,3.75
30 Jun 2026,3.75
01 Jul 2026,3.5
"""
ANSWERS = {'ECB': ECB, 'BUNDESBANK': BUNDESBANK, 'BOE': BOE}


class Bank(BaseHTTPRequestHandler):
    """A public statistics service on this machine."""

    def do_GET(self):
        answer = self.server.answers.get(self.path.partition('?')[0].strip('/'))
        if isinstance(answer, int):
            self.send_response(answer)
            self.send_header('Location', '/ECB')
            self.end_headers()
            return
        self.send_response(200)
        self.end_headers()
        self.wfile.write(answer.encode())

    def log_message(self, *_arguments):
        """Quiet."""


@tagged('post_install', '-at_install')
@freeze_time('2026-07-20 10:00:00')
class TestReferenceRateFetch(TransactionCase):
    """Rates from the central banks: what they publish, or nothing."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.Rate = cls.env['account.reference.rate']
        cls.server = HTTPServer(('127.0.0.1', 0), Bank)
        cls.addClassCleanup(cls.server.server_close)
        threading.Thread(target=cls.server.serve_forever, daemon=True).start()
        cls.addClassCleanup(cls.server.shutdown)
        cls.services = {
            name: service._replace(address=f'http://127.0.0.1:{cls.server.server_port}/{name}?start={{start}}')
            for name, service in fetch.SERVICES.items()
        }
        cls.Rate.search([('series', 'in', list(ANSWERS))]).filtered(
            lambda rate: rate.date >= date(2026, 7, 1)).unlink()
        for name in ANSWERS:  # everything before is known
            days = cls.Rate._get_days_to_fetch(name, date(2026, 6, 30))
            for day in days:
                cls.Rate._keep_fetched(name, day, 1.0, "Test")

    def setUp(self):
        super().setUp()
        self.server.answers = dict(ANSWERS)
        self.startPatcher(patch.object(
            self.registry['account.reference.rate'], '_get_services', lambda _self: self.services))

    def _get(self, series):
        return self.Rate.search([('series', '=', series), ('date', '=', '2026-07-01')])

    def test_value_of_the_day_that_the_law_looks_at(self):
        self.Rate.action_fetch()
        # the ECB's of 1 July; the Bundesbank's of that half-year; the Bank of England's of 30 June
        self.assertEqual([self._get(name).value for name in ('ECB', 'BUNDESBANK', 'BOE')], [2.4, 1.52, 3.75])
        self.assertTrue(all(self._get(name).verified for name in ANSWERS))
        self.assertIn('2026-06-30', self._get('BOE').source)
        self.assertIn('2026-07-20', self._get('BOE').source)

    def test_base_rate_that_is_not_published_yet_is_not_guessed(self):
        self.server.answers['BUNDESBANK'] = "\n".join(BUNDESBANK.splitlines()[:2])
        message = self.Rate.action_fetch()['params']['message']
        self.assertFalse(self._get('BUNDESBANK'))
        self.assertIn("no value", message)

    def test_checked_value_stays_and_unchecked_one_is_replaced(self):
        self.Rate.create({'series': 'ECB', 'date': '2026-07-01', 'value': 9.0, 'source': "Me"})
        self.Rate.create({
            'series': 'BOE', 'date': '2026-07-01', 'value': 9.0, 'source': "A newspaper", 'verified': False})
        self.Rate.action_fetch()
        self.assertEqual((self._get('ECB').value, self._get('BOE').value), (9.0, 3.75))
        self.assertTrue(self._get('BOE').verified)

    @mute_logger('odoo.addons.account_dunning.models.account_reference_rate_fetch')
    def test_odd_answers_change_nothing_and_are_told(self):
        odd = {
            'another status': 503,
            'a redirection': 302,
            'a page': "<html><body>Please accept our cookies</body></html>",
            'nothing': "",
            'a word for a rate': ECB.replace('2.4,A', 'high,A'),
            'an impossible rate': ECB.replace('2.4,A', '240,A'),
            'a day that is none': ECB.replace('2026-07-01', 'yesterday'),
            'too much': "DATE,V\n" + "01 Jul 2026,1\n" * 200_000,
        }
        for name, answer in odd.items():
            with self.subTest(answer=name):
                self.server.answers['ECB'] = answer
                action = self.Rate.action_fetch()
                self.assertFalse(self._get('ECB'))
                self.assertEqual(action['params']['type'], 'warning')
                self.assertIn("ECB", action['params']['message'])
        self.assertTrue(self._get('BOE'), "one bank's trouble leaves the others alone")

    @mute_logger('odoo.addons.account_dunning.models.account_reference_rate_fetch')
    def test_unreachable_bank_is_told(self):
        service = self.services['ECB']._replace(address='http://127.0.0.1:9/{start}')
        with self.assertRaisesRegex(UserError, "can't be reached"):
            self.Rate._fetch_series('ECB', service, [date(2026, 7, 1)], date(2026, 7, 20))

    def test_only_encrypted_addresses_of_the_banks(self):
        for service in fetch.SERVICES.values():
            self.assertRegex(service.address, r"^https://(data-api\.ecb\.europa\.eu|api\.statistiken\.bundesbank\.de|"
                                              r"www\.bankofengland\.co\.uk)/")
        self.assertFalse(self.env.ref('account_dunning.ir_cron_reference_rate').active)

    def test_who_may(self):
        for group in ('account.group_account_invoice', 'account.group_account_readonly', 'base.group_user'):
            user = new_test_user(self.env, login=f'fetch_{group}', groups=group)
            with self.subTest(group=group), self.assertRaises(AccessError):
                self.Rate.with_user(user).action_fetch()

    def test_rates_are_imported_from_a_file(self):
        header = ['series', 'date', 'value', 'source', 'verified']
        done = self.Rate.load(header, [
            ['XYZ', '2026-01-01', '2.15', "Gazette", '1'], ['XYZ', '2026-07-01', '2.4', "Gazette", '1']])
        self.assertEqual(len(done['ids'] or []), 2, done['messages'])
        with mute_logger('odoo.sql_db'):
            refused = self.Rate.load(header, [['XYZ', '2026-07-01', '3', "Again", '1']])
        self.assertFalse(refused['ids'])
        self.assertIn("already has a value", refused['messages'][0]['message'])
        refused = self.Rate.load(header, [['XYZ', 'soon', '3', "Again", '1']])
        self.assertIn("soon", refused['messages'][0]['message'])
