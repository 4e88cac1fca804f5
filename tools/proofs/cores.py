"""Which core of the machine works for whom."""

import contextlib
import os


def share_core(cr):
    """Let this process and its connections to the database work on one core.

    They take turns anyway, and on a virtual machine it takes longer to wake another core (a quarter of a millisecond)
    than to run most of Odoo's queries. Where it is not possible, nothing changes.

    :param cr: a cursor of the process; connections that are made later are left out
    """
    core = {min(os.sched_getaffinity(0))} if hasattr(os, "sched_setaffinity") else set()
    cr.execute("SELECT pid FROM pg_stat_activity WHERE application_name = current_setting('application_name')")
    for pid in [0, *(pid for [pid] in cr.fetchall())] if core else ():
        with contextlib.suppress(OSError):  # the database server belongs to somebody else
            os.sched_setaffinity(pid, core)
