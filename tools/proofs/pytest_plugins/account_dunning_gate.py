"""What the runs of `./dev test` add to pytest-odoo: a skipped test fails the run, and pages are prepared once."""
import pytest

# Styles and scripts of the pages that browser tests open. A test makes the missing ones in its transaction, which is
# rolled back: without this each test would spend seconds on making them anew.
SCRIPTS = (
    "web.assets_web", "web.assets_tests", "web.assets_frontend_minimal", "web.assets_frontend_lazy",
    "web_tour.automatic", "bus.websocket_worker_assets",
)  # fmt: skip
STYLES = ("web.assets_web", "web.assets_web_print", "web.assets_frontend")


@pytest.fixture(scope="session", autouse=True)
def account_dunning_pages(request, load_registry):
    from odoo.api import SUPERUSER_ID, Environment
    from odoo.modules.registry import Registry
    from odoo.tests.common import HttpCase, get_db_name

    if not request.config.getoption("--odoo-http"):
        return
    if not any(item.cls and issubclass(item.cls, HttpCase) for item in request.session.items):
        return
    with Registry(get_db_name()).cursor() as cr:
        qweb = Environment(cr, SUPERUSER_ID, {})["ir.qweb"]
        for bundle in SCRIPTS:
            qweb._get_asset_bundle(bundle, css=False, js=True).js()
        for bundle in STYLES:
            qweb._get_asset_bundle(bundle, css=True, js=False).css()


def _skipped(config):
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    return reporter.stats.get("skipped", []) if reporter else []


def pytest_sessionfinish(session, exitstatus):
    if exitstatus == 0 and not hasattr(session.config, "workerinput") and _skipped(session.config):
        session.exitstatus = 1


def pytest_terminal_summary(terminalreporter, config):
    for report in _skipped(config):
        reason = report.longrepr[-1] if isinstance(report.longrepr, tuple) else report.longrepr
        terminalreporter.write_line(f"SKIPPED, which counts as failed here: {report.nodeid}: {reason}", red=True)
