"""What the database says after a proof that sent reminders, beside what the mail server has taken."""
from collections import Counter

from ..environment import database
from . import bench_data


class Outcome:
    """Each due line once, each notice with the mail server, and no customer twice.

    :param str name: the database
    :param sink: the mail server, see `crash.SlowSink`
    """

    def __init__(self, name, sink):
        log = sink.message_ids()
        recipients = Counter(recipient for found in log.values() for recipient in found)
        with database.cursor(name) as cr:
            _partner, _move, _line, day = bench_data.template(cr)

            def ask(query, *values):
                cr.execute(query, values)
                return cr.fetchall()

            [[self.due]] = ask(
                """
                SELECT COUNT(*) FROM account_move_line aml JOIN account_account account ON account.id = aml.account_id
                 WHERE account.account_type = 'asset_receivable' AND aml.parent_state = 'posted'
                   AND aml.no_followup IS NOT TRUE AND aml.date_maturity <= %s
                """, day)  # fmt: skip
            # Lines by number of sent notices that moved them
            self.times = dict(ask(
                """
                SELECT times, COUNT(*)
                  FROM (
                        SELECT aml.id, COUNT(notice.id) AS times
                          FROM account_move_line aml
                          JOIN account_account account ON account.id = aml.account_id
                     LEFT JOIN account_dunning_notice_line line ON line.move_line_id = aml.id AND line.advances
                     LEFT JOIN account_dunning_notice notice ON notice.id = line.notice_id AND notice.state = 'sent'
                         WHERE account.account_type = 'asset_receivable' AND aml.parent_state = 'posted'
                           AND aml.no_followup IS NOT TRUE AND aml.date_maturity <= %s
                      GROUP BY aml.id
                       ) counted
              GROUP BY times
                """, day))  # fmt: skip
            self.states = dict(ask("SELECT state, COUNT(*) FROM account_dunning_notice GROUP BY state"))
            [[self.several]] = ask(
                """
                SELECT COUNT(*) FROM (
                    SELECT partner_id FROM account_dunning_notice WHERE state != 'cancelled'
                  GROUP BY partner_id HAVING COUNT(*) > 1
                ) twice
                """)  # fmt: skip
            sent = dict(ask("SELECT message_id, email_to FROM account_dunning_notice WHERE state = 'sent'"))
            [[self.level_without_notice]] = ask(
                """
                SELECT COUNT(*) FROM account_move_line aml
                 WHERE aml.dunning_level_id IS NOT NULL
                   AND NOT EXISTS (
                        SELECT FROM account_dunning_notice_line line
                          JOIN account_dunning_notice notice ON notice.id = line.notice_id
                         WHERE line.move_line_id = aml.id AND line.advances AND notice.state = 'sent'
                           AND line.level_id = aml.dunning_level_id
                   )
                """)  # fmt: skip
            [[self.notice_without_level]] = ask(
                """
                SELECT COUNT(*) FROM account_dunning_notice_line line
                  JOIN account_dunning_notice notice ON notice.id = line.notice_id
                  JOIN account_move_line aml ON aml.id = line.move_line_id
                 WHERE line.advances AND notice.state = 'sent' AND aml.dunning_level_id IS DISTINCT FROM line.level_id
                """)  # fmt: skip
            [[self.not_concluded]] = ask("SELECT COUNT(*) FROM account_dunning_notice WHERE is_to_conclude")
        self.mails = sum(recipients.values())
        self.doubled = sum(count - 1 for count in recipients.values())
        self.undelivered = len(set(sent) - set(log))
        self.unnoticed = len(set(log) - set(sent))

    def is_bad(self):
        return bool(
            self.several or self.doubled or self.undelivered or self.unnoticed or self.level_without_notice
            or self.notice_without_level or self.not_concluded or set(self.times) - {1}
            or set(self.states) - {"sent", "cancelled"}
        )  # fmt: skip

    def balance_lines(self):
        return [
            f"- Due lines: {self.due:,}; reminded of by exactly one sent notice: {self.times.get(1, 0):,}; by none: "
            f"{self.times.get(0, 0)}; by more: {sum(count for times, count in self.times.items() if times > 1)}.",
            f"- Notices: {self.states}; customers with more than one: {self.several}.",
            f"- Mails taken by the mail server: {self.mails:,}; second mails to a customer: {self.doubled}.",
            f"- Sent, but not with the mail server (lost): {self.undelivered}; with the mail server, but not sent: "
            f"{self.unnoticed}.",
            f"- Lines with a level but no sent notice: {self.level_without_notice}; lines of sent notices without "
            f"their level: {self.notice_without_level}.",
            f"- Sent, but what follows was never written: {self.not_concluded}.",
        ]
