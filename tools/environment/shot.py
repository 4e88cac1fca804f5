"""shot PATH OUT.png   pictures of screens (more pairs may follow; ./dev shot --help)
"""
import argparse
import contextlib
import json
import tempfile
import urllib.request
from http.cookiejar import CookieJar
from pathlib import Path

from . import database
from .browser import Browser
from .server import Server
from .smtp_sink import SmtpSink
from .ui import Failure, say

LANGUAGE = """
lang = {lang!r}
if not env['res.lang'].search([('code', '=', lang)]):
    env['res.lang']._activate_lang(lang)
    env['ir.module.module'].search([('state', '=', 'installed')])._update_translations([lang])
    env.cr.commit()
"""
READY = ".o_action_manager > *, body:not(.o_web_client) #wrapwrap, body > img"


def main(env, arguments):
    parser = argparse.ArgumentParser(prog="./dev shot", description="Pictures of screens of a database, as PNG files.")
    parser.add_argument("pairs", nargs="+", metavar="PATH OUT.png", help="path of the address and file to write")
    parser.add_argument("--db", default="demo", help="the database (demo)")
    parser.add_argument("--url", help="address of a running server; else one is started")
    parser.add_argument("--login", default="admin", help="login of the user (admin); an empty one is a visitor")
    parser.add_argument("--password", help="the password (the same as the login)")
    parser.add_argument("--lang", help="language of the user for these pictures, such as fr_FR")
    parser.add_argument("--wait-for", default=READY, metavar="CSS", help="element to wait for")
    parser.add_argument("--js", action="append", default=[], help="JavaScript to run first; may be repeated")
    parser.add_argument("--size", default="1366x768", help="width and height (1366x768)")
    parser.add_argument("--full", action="store_true", help="the whole page, as high as it is")
    options = parser.parse_args(arguments)
    if len(options.pairs) % 2:
        parser.error("each path needs the file to write")
    with contextlib.ExitStack() as stack:
        if options.lang:
            database.run_script(env, options.db, LANGUAGE.format(lang=options.lang))
        url = options.url
        if not url:
            sink = stack.enter_context(SmtpSink(tempfile.mkdtemp(prefix="dunning_mails_")))
            url = stack.enter_context(Server(env, options.db, options=sink.odoo_options)).url
        size = tuple(int(part) for part in options.size.split("x"))
        browser = stack.enter_context(Browser(env, size))
        if options.login:
            session = Session(url, options.db, options.login, options.password or options.login)
            if options.lang:
                stack.callback(session.language, session.language(options.lang))
            browser.cookie(url, "session_id", session.cookie)
        for path, out in zip(options.pairs[::2], options.pairs[1::2], strict=True):
            browser.go(url + path, options.wait_for)
            for script in options.js:
                browser.evaluate(script)
                browser.settle()
            browser.picture(Path(out).absolute(), options.full)
            say(f"  {out}")


class Session:
    """A user's session on a served database, by JSON-RPC."""

    def __init__(self, url, name, login, password):
        self.url, self._jar = url, CookieJar()
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self._jar))
        answer = self.call("/web/session/authenticate", db=name, login=login, password=password)
        self.user = answer.get("uid")
        if not self.user:
            raise Failure(f"The user {login} cannot log in on the database {name}: name another with --login.")

    @property
    def cookie(self):
        return next(cookie.value for cookie in self._jar if cookie.name == "session_id")

    def call(self, path, **parameters):
        body = json.dumps({"jsonrpc": "2.0", "method": "call", "params": parameters}).encode()
        request = urllib.request.Request(self.url + path, body, {"Content-Type": "application/json"})
        with self._opener.open(request, timeout=120) as answer:
            result = json.load(answer)
        if "error" in result:
            raise Failure(f"Odoo refuses: {result['error']['data'].get('message') or result['error']['message']}")
        return result["result"]

    def model(self, model, method, *arguments, **keywords):
        """Call a method of a model as this user."""
        return self.call(f"/web/dataset/call_kw/{model}/{method}", model=model, method=method,
                         args=list(arguments), kwargs=keywords)  # fmt: skip

    def language(self, code):
        """Set the user's language; returns the one before."""
        before = self.model("res.users", "read", [self.user], ["lang"])[0]["lang"]
        self.model("res.users", "write", [self.user], {"lang": code})
        return before
