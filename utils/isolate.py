"""Work on many records in which a broken one holds up nobody."""
import logging

import psycopg2

from odoo.service.model import PG_CONCURRENCY_EXCEPTIONS_TO_RETRY

_logger = logging.getLogger(__name__)


def isolate(records, method):
    """Call `method(records)`; where that fails, with ever smaller parts of them, so that only the broken ones fail.

    :param records: any recordset
    :param method: called with a subset of the records
    :return: list of (record, exception) for those that failed
    """
    if not records:
        return []
    try:
        with records.env.cr.savepoint():
            method(records)
        return []
    except (*PG_CONCURRENCY_EXCEPTIONS_TO_RETRY, psycopg2.OperationalError):
        raise  # two transactions at once, or the connection: no record's fault
    except Exception as error:  # noqa: BLE001 - whatever is wrong with one record must not stop the others
        if len(records) == 1:
            _logger.warning("%s failed: %s", records, error, exc_info=True)
            return [(records, error)]
    half = len(records) // 2
    return isolate(records[:half], method) + isolate(records[half:], method)
