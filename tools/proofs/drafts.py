"""The invoices of a file as drafts in Odoo, made by a process of its own while `replay` walks through earlier days.

To the dunning a draft does not exist; it begins to when it is posted. So drafts may be made while earlier days pass.
"""

import multiprocessing

from ..environment import database
from ..environment.ui import Failure
from .days import keep_quiet

BATCH = 100  # invoices made at once


class Drafts:
    """A process that makes the drafts in the order of their dates; a context manager.

    Enter it before this process has a connection to the database: the other one begins as its copy.

    :param str name: the database
    :param list bills: receivables.Bill
    """

    def __init__(self, env, name, bills):
        self.env, self.name = env, name
        self.bills = sorted(bills, key=lambda bill: bill.date)
        self._ids = {}  # by number of the invoice

    def __enter__(self):
        context = multiprocessing.get_context("fork")
        self._pipe, pipe = context.Pipe()
        self._process = context.Process(target=self._work, args=(pipe,), daemon=True)
        self._process.start()
        pipe.close()
        return self

    def __exit__(self, *error):
        self._pipe.close()
        self._process.terminate()
        self._process.join()

    def begin(self, company_id, contacts):
        """Let the process begin.

        :param int company_id: whose invoices these are
        :param dict contacts: the contact's id of each bill by its customer and ``is_paperless``
        """
        self._pipe.send((company_id, contacts))

    def get(self, bills):
        """The ids of the drafts of these bills, waiting until they are made.

        :raises Failure: the process that makes them has failed
        """
        while any(bill.number not in self._ids for bill in bills):
            try:
                made = self._pipe.recv()
            except EOFError:
                made = "it has ended"
            if isinstance(made, str):
                raise Failure(f"The process that makes the invoices' drafts failed: {made}.")
            self._ids.update(made)
        return [self._ids[bill.number] for bill in bills]

    # === IN THE OTHER PROCESS === #

    def _work(self, pipe):
        self._pipe.close()
        try:
            company_id, contacts = pipe.recv()
            with database.environment(self.env, self.name, "--log-level=warn") as odoo:
                keep_quiet(self.env.logs / f"replay-{self.name}-drafts.log")
                odoo = odoo(context={"tracking_disable": True, "mail_create_nolog": True})
                for start in range(0, len(self.bills), BATCH):
                    chunk = self.bills[start : start + BATCH]
                    moves = odoo["account.move"].create([self._values(bill, company_id, contacts) for bill in chunk])
                    made = dict(zip((bill.number for bill in chunk), moves.ids, strict=True))
                    odoo.cr.commit()
                    pipe.send(made)
        except (EOFError, BrokenPipeError):
            return  # nobody waits for them any more
        except Exception as error:
            pipe.send(f"{type(error).__name__}: {error}".strip())

    def _values(self, bill, company_id, contacts):
        return {
            "move_type": "out_invoice",
            "company_id": company_id,
            "partner_id": contacts[bill.customer][bill.is_paperless],
            "ref": bill.number,
            "invoice_date": bill.date,
            "invoice_date_due": bill.due,
            "invoice_payment_term_id": False,
            "invoice_line_ids": [
                (0, 0, {"name": "As delivered", "quantity": 1, "price_unit": float(bill.amount), "tax_ids": []})
            ],
        }
