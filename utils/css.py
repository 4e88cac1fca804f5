"""A style sheet without the rules that a document can't use. Pure functions, no Odoo."""
import re
from functools import lru_cache

# What may contain braces, commas and semicolons that are none of the sheet's structure.
OPAQUE = re.compile(
    r"""/\*.*?\*/|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|\((?:"(?:\\.|[^"\\])*"|[^()"']|\([^()]*\))*\)""", re.S)
STRUCTURE = re.compile(OPAQUE.pattern + r"|[{};]", re.S)
NAME = re.compile(r"(?P<kind>[.#]?)(?P<name>(?:\\.|[\w-])+)")
FONT_FAMILY = re.compile(r"""font-family\s*:\s*["']?([^"';,}]+)""")
URL = re.compile(r"""url\(\s*(?:"([^"]*)"|'([^']*)'|([^)\s"']*))\s*\)""")


@lru_cache(maxsize=32)
def purge(sheet, names):
    """The sheet without rules whose selectors name a class, id or tag that no document has, and without fonts that no
    rule asks for. When in doubt, a rule stays.

    :param str sheet: CSS
    :param frozenset names: classes as ``.name``, ids as ``#name``, tags as ``name``, of all documents
    :rtype: str
    """
    fonts, rules = [], []
    for prelude, block in split_rules(sheet):
        if prelude.startswith('@font-face'):
            fonts.append(f"{prelude}{{{block}}}")
        elif prelude.startswith(('@media', '@supports')):
            if inner := purge(block, names):
                rules.append(f"{prelude}{{{inner}}}")
        elif prelude.startswith('@page'):
            rules.append(f"{prelude}{{{block}}}")
        elif not prelude.startswith('@'):
            selectors = [selector for selector in split_selectors(prelude) if can_match(selector, names)]
            if selectors:
                rules.append(f"{','.join(selectors)}{{{block}}}")
    purged = ''.join(rules)
    used = purged.lower()
    return ''.join(
        font for font in fonts if (family := FONT_FAMILY.search(font)) and family[1].strip().lower() in used
    ) + purged


def split_rules(sheet):
    """The rules of a sheet as pairs of what stands before the block and what stands in it; `@import` and its like,
    which have no block, are left out."""
    depth, start, block_start, prelude = 0, 0, 0, ''
    for token in STRUCTURE.finditer(sheet):
        text = token.group()
        if text == '{':
            if not depth:
                prelude, block_start = sheet[start:token.start()], token.end()
            depth += 1
        elif text == '}':
            depth = max(depth - 1, 0)
            if not depth:
                yield re.sub(r'/\*.*?\*/', '', prelude, flags=re.S).strip(), sheet[block_start:token.start()]
                start = token.end()
        elif text == ';' and not depth:
            start = token.end()


def split_selectors(prelude):
    parts, start = [], 0
    for token in re.finditer(OPAQUE.pattern + '|,', prelude, re.S):
        if token.group() == ',':
            parts.append(prelude[start:token.start()])
            start = token.end()
    return [part.strip() for part in (*parts, prelude[start:])]


def can_match(selector, names):
    """Whether all names in the selector occur; what stands in brackets (attributes, arguments) is not looked at."""
    bare = re.sub(r"\[[^\]]*\]", '', re.sub(r"\([^()]*(?:\([^()]*\)[^()]*)*\)", '', selector))
    bare = re.sub(r"::?[\w-]+", '', bare)
    for match in NAME.finditer(bare):
        name = re.sub(r"\\(.)", r"\1", match['name'])
        if not match['kind']:
            name = name.lower()
        if match['kind'] + name not in names:
            return False
    return True


def replace_urls(sheet, replace):
    """The sheet with each address `url(…)` replaced.

    :param function replace: from the address (str) to the new one (str)
    """
    def new(match):
        address = next(group for group in match.groups() if group is not None)
        return f'url("{replace(address)}")'

    return URL.sub(new, sheet)
