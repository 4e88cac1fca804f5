"""What happened, told where people look for it."""
from collections import defaultdict

from markupsafe import Markup, escape


def log_batch(env, entries):
    """Write sentences into the chatter of records, in one batch per model; several of one record become one message.

    :param odoo.api.Environment env: who writes
    :param list entries: of (record with a chatter, sentence as str or Markup)
    """
    sentences = defaultdict(lambda: defaultdict(list))
    for record, sentence in entries:
        sentences[record._name][record.id].append(escape(sentence))
    for model, by_record in sentences.items():
        env[model].browse(by_record)._message_log_batch({
            record_id: Markup('<br/>').join(texts) for record_id, texts in by_record.items()
        })
