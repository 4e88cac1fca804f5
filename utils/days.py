"""Days as people write them: with the month's name, in the order of the reader's language."""
import babel.dates

from odoo.tools import format_date
from odoo.tools.misc import babel_locale_parse, get_lang

# CLDR's names of what a day shows; each language has its own order and punctuation for them.
SHORT_SKELETONS = {True: 'yMMMd', False: 'MMMd'}


def format_day(env, day, short=False, with_year=True):
    """A day whose month nobody can take for its day: "October 11, 2026", "11. Oktober 2026", "1er décembre 2026".

    :param odoo.api.Environment env: its language is the reader's
    :param date day: '' for none
    :param bool short: for tables, the month's name cut down: "Oct 11, 2026"
    :param bool with_year: a short day may do without its year: "Oct 11"
    :rtype: str
    """
    if not day:
        return ''
    locale = babel_locale_parse(get_lang(env).code)
    text = format_date(env, day, date_format=_get_short_format(locale, with_year) if short else 'long')
    if locale.language == 'fr' and text.startswith('1 '):
        text = f'1er{text[1:]}'  # the first of a month is an ordinal; CLDR knows no such thing
    return text


def _get_short_format(locale, with_year):
    formats = locale.datetime_skeletons
    wanted = babel.dates.match_skeleton(SHORT_SKELETONS[with_year], formats)
    pattern = formats[wanted].pattern if wanted else ''
    # Some languages write the month as a number there: 1.12.2026 in Finnish. Year first is clear, anything else is not.
    return pattern if 'MMM' in pattern or pattern.startswith('y') else 'long'
