"""Where a long document goes on to the next page. HTML trees and PDFs, no records.

wkhtmltopdf breaks a page wherever it is full. Here the document is printed once on a page without end, with a mark at
each row and block. From their places follows where it has to break, so that neither a total nor a signature stands
alone on a page, and each page of a long table ends and begins with what is carried forward.
"""
import io
from copy import deepcopy
from itertools import pairwise, zip_longest

from lxml import etree

from odoo.tools.pdf import PdfFileReader

LETTER = 'o_dunning_letter'  # what is looked at; other documents break as they like
PAGE_TOP = 'o_dunning_page_top'  # where a page begins; the layout "folder" has its title there
COMPACT = 'o_dunning_compact'  # a little tighter, when that saves a page
CARRY = 'o_dunning_carry'  # hidden rows with the sums down to each row: shown where the table goes on
CARRIED, BROUGHT = 'o_dunning_carried', 'o_dunning_brought'  # its two labels
WITH_PREVIOUS = 'o_dunning_with_previous'  # never first on a page
WITH_ROWS = 'o_dunning_with_rows'  # brings the last rows of the table before along
WHOLE = ('o_dunning_keep_together', 'o_dunning_payment')
FLOW_TABLES = ('o_main_table', 'o_late_charges')
HEADINGS = ('h1', 'h2', 'h3', 'h4', 'h5', 'h6')
CONTAINERS = ('div', 'section', 'ul', 'ol')
LAST_ROWS = 3  # stay together: two lines and the total
ENDLESS = 15000  # mm
MARK = 'http://mark.invalid/'
# What rounding, and margins that a page begins with, may add to a page (points).
TOLERANCE = 10
FOLDER_TITLE = 26  # points: 2 rem, see the style sheet
POINTS_PER_MM = 72 / 25.4


class Unit:
    """What is never broken: a row of a table, a paragraph, a block.

    :param element: of the document
    :param table: for a row, its table
    :param carry: for a row, the hidden one with the sums down to it, if there is one
    """

    def __init__(self, element, table=None, carry=None):
        self.element = element
        self.table = table
        self.carry = carry
        self.is_first_row = self.is_last_row = False
        self.top = self.bottom = self.head = 0.0
        self.with_next = False

    def has_class(self, name):
        return name in get_classes(self.element)


class Pagination:
    """The pages of one document.

    :param tree: its HTML, which ``break_pages`` changes
    """

    def __init__(self, tree):
        self.tree = tree
        pages = tree.find_class(LETTER)
        self.page = pages[0] if len(pages) == 1 else None
        self.units = list(find_units(self.page)) if self.page is not None else []
        self.page_count = 0
        self.page_top = FOLDER_TITLE if tree.find_class('o_report_layout_folder') else 0

    #=== MEASURING ===#

    def get_marked_tree(self):
        """The document with a mark at the top of each unit and table, and at its end; marks take no room."""
        for number, unit in enumerate(self.units):
            unit.element.set('data-unit', str(number))
            if unit.is_first_row:
                unit.table.set('data-table', str(number))
        tree = deepcopy(self.tree)
        for element in tree.xpath('//*[@data-table]'):
            element.addprevious(make_mark('table', element.get('data-table')))
            for column, cell in enumerate(element.xpath('./thead/tr[1]/th')):
                put_first(cell, make_mark('column', f"{element.get('data-table')}-{column}"))
        for element in tree.xpath('//*[@data-unit]'):
            mark = make_mark('unit', element.get('data-unit'))
            if element.tag == 'tr':
                put_first(element[0], mark)
            elif element.tag == 'li':
                put_first(element, mark)
            else:
                element.addprevious(mark)
        tree.find_class(LETTER)[0].append(make_mark('end', '0'))
        for element in self.tree.xpath('//*[@data-unit or @data-table]'):
            element.attrib.pop('data-unit', None)
            element.attrib.pop('data-table', None)
        return tree

    def measure(self, document, margin_top):
        """Read the marks.

        :param bytes document: the marked tree as a PDF, on one page
        :param float margin_top: in points
        :return: whether all marks have been found
        :rtype: bool
        """
        tops, widths = read_marks(document, margin_top)
        needed = [f'unit/{number}' for number in range(len(self.units))] + ['end/0']
        if not self.units or any(name not in tops for name in needed):
            return False
        for number, unit in enumerate(self.units):
            unit.top = tops[f'unit/{number}']
            if unit.is_first_row:
                start = tops.get(f'table/{number}', unit.top)
                unit.head, unit.top = unit.top - start, start
                cells = unit.table.xpath('./thead/tr[1]/th')
                set_widths(cells, [widths.get(f'column/{number}-{column}', 0.0) for column in range(len(cells))])
        for unit, following in pairwise(self.units):
            unit.bottom = following.top
        self.units[-1].bottom = tops['end/0']
        head = 0.0
        for unit in self.units:
            if unit.is_first_row:
                head = unit.head
            elif unit.table is not None:
                unit.head = head
        return True

    #=== BREAKING ===#

    def break_pages(self, height):
        """Break the document into pages.

        :param float height: of what a page can hold, in points
        """
        height -= TOLERANCE
        self._link_units(height)
        start, offset, self.page_count = None, 0.0, 1
        breaks = []
        for group in self._get_groups(height):
            first, last = group[0], group[-1]
            room = height - (self._get_carry_height(last) if not last.is_last_row else 0.0)
            if last.bottom - offset > room and first is not start and first is not self.units[0]:
                breaks.append(first)
                start, offset = first, first.top - self.page_top
                if first.table is not None and not first.is_first_row:
                    offset -= first.head + self._get_carry_height(first)
                self.page_count += 1
            while last.bottom - offset > height and first is last:
                # One paragraph longer than a page: it breaks where it is full.
                offset += height
                self.page_count += 1
        for unit in breaks:
            self._break_before(unit)

    def _link_units(self, height):
        for unit, following in pairwise(self.units):
            unit.with_next = (
                unit.element.tag in HEADINGS or unit.has_class('o_dunning_caption')
                or following.has_class(WITH_PREVIOUS)
                or unit.is_first_row and not unit.is_last_row
            )
        last_rows = [number for number, unit in enumerate(self.units) if unit.is_last_row]
        for number in last_rows:
            for unit in self.units[max(0, number - LAST_ROWS + 1):number]:
                unit.with_next = unit.with_next or unit.table is self.units[number].table
        for number, unit in enumerate(self.units):
            if not unit.has_class(WITH_ROWS) or not number:
                continue
            begin = max((row for row in last_rows if row < number), default=number - 1)
            while begin and self.units[begin - 1].with_next:
                begin -= 1
            if unit.bottom - self.units[begin].top + self.units[begin].head > height:
                begin = number - 1  # it is too much: not alone, at least
            for linked in self.units[begin:number]:
                linked.with_next = True

    def _get_groups(self, height):
        """The units that stay on one page, unless there are too many for a page."""
        groups, group = [], []
        for unit in self.units:
            group.append(unit)
            if not unit.with_next:
                groups.append(group)
                group = []
        groups.append(group)
        for group in groups:
            if group and group[-1].bottom - group[0].top + group[0].head > height:
                yield from ([unit] for unit in group)
            elif group:
                yield group

    def _get_carry_height(self, unit):
        """What the row takes that carries sums forward; 0 where none does."""
        if unit.carry is None:
            return 0.0
        return min(
            row.bottom - row.top - (row.head if row.is_first_row else 0.0)
            for row in self.units if row.table is unit.table and not row.is_last_row)

    def _break_before(self, unit):
        if unit.element.tag == 'li':
            add_style(unit.element, 'page-break-before: always')
            return
        page_top = etree.Element('div', {'class': PAGE_TOP, 'style': 'page-break-before: always'})
        if unit.table is None or unit.is_first_row:
            (unit.element if unit.table is None else unit.table).addprevious(page_top)
            return
        body, row = unit.element.getparent(), unit.element
        table = body.getparent()
        rest = etree.SubElement(table.getparent(), table.tag, dict(table.attrib))
        table.addnext(rest)
        rest.tail, table.tail = table.tail, None
        for part in table:
            if part.tag in ('colgroup', 'thead'):
                rest.append(deepcopy(part))
        rest_body = etree.SubElement(rest, 'tbody', dict(body.attrib))
        carry = self.units[self.units.index(unit) - 1].carry
        for element in [row, *row.itersiblings()]:
            rest_body.append(element)
        if carry is not None:
            body.append(make_carry_row(carry, CARRIED))
            rest_body.insert(0, make_carry_row(carry, BROUGHT))
        rest.addprevious(page_top)
        for other in self.units:
            if other.element.getparent() is rest_body:
                other.table = rest


#=== PAPER ===#


def make_compact(tree):
    """The document a little tighter, for another print."""
    tree = deepcopy(tree)
    for page in tree.find_class(LETTER):
        page.set('class', f"{page.get('class')} {COMPACT}")
    return tree


def get_margin(arguments, side):
    """A margin of the paper in points, from wkhtmltopdf's arguments."""
    option = f'--margin-{side}'
    return float(arguments[arguments.index(option) + 1]) * POINTS_PER_MM if option in arguments else 0.0


def get_size(document):
    """Width and height of the first page in points."""
    box = PdfFileReader(io.BytesIO(document), strict=False).getPage(0)['/MediaBox']
    return float(box[2]), float(box[3])


def get_room(arguments, document):
    """The height in points that the pages of a document have for it."""
    return get_size(document)[1] - get_margin(arguments, 'top') - get_margin(arguments, 'bottom')


def get_endless_arguments(arguments, document):
    """wkhtmltopdf's arguments for paper of the same width as the document's, and without end."""
    endless, options = [], iter(arguments)
    for option in options:
        if option in ('--page-size', '--page-width', '--page-height', '--orientation'):
            next(options)
        else:
            endless.append(option)
    width = get_size(document)[0] / POINTS_PER_MM
    return [*endless, '--page-width', f'{width:.2f}mm', '--page-height', f'{ENDLESS}mm']


#=== HELPERS ===#


def find_units(parent):
    for child in parent:
        if not isinstance(child.tag, str):
            continue
        classes = get_classes(child)
        if child.tag == 'table' and not classes.isdisjoint(FLOW_TABLES):
            carries = [row for body in child.find_class(CARRY) for row in body]
            rows = [
                Unit(row, child, carry)
                for row, carry in zip_longest(child.xpath(f'./tbody[not(contains(@class, "{CARRY}"))]/tr'), carries)
                if row is not None
            ]
            if rows:
                rows[0].is_first_row = rows[-1].is_last_row = True
            yield from rows
        elif (
            child.tag in CONTAINERS and len(child) and not (child.text or '').strip() and 'row' not in classes
            and classes.isdisjoint((*WHOLE, WITH_ROWS, WITH_PREVIOUS))
        ):
            yield from find_units(child)
        elif child.tag != 'div' or len(child) or (child.text or '').strip():
            yield Unit(child)


def get_classes(element):
    return set((element.get('class') or '').split())


def add_style(element, style):
    element.set('style', '; '.join(filter(None, [(element.get('style') or '').strip('; '), style])))


def put_first(element, child):
    child.tail, element.text = element.text, None
    element.insert(0, child)


def make_mark(kind, name):
    return etree.Element('a', href=f'{MARK}{kind}/{name}', style='display: block; height: 0; margin: 0; padding: 0')


def make_carry_row(carry, label):
    """The hidden row, to be seen, with one of its labels."""
    row = deepcopy(carry)
    row.set('class', CARRY)
    for other in row.find_class(BROUGHT if label == CARRIED else CARRIED):
        other.drop_tree()
    return row


def read_marks(document, margin_top):
    """Where marks are.

    :return: of each name its distance from the top of the page's content, and its width, in points
    :rtype: tuple[dict[str, float], dict[str, float]]
    """
    reader = PdfFileReader(io.BytesIO(document), strict=False)
    tops, widths = {}, {}
    if reader.getNumPages() == 1:
        page = reader.getPage(0)
        height = float(page['/MediaBox'][3])
        for annotation in page.get('/Annots') or []:
            annotation = annotation.getObject()
            action = annotation.get('/A')
            address = str(action.getObject().get('/URI', '')) if action is not None else ''
            if address.startswith(MARK):
                left, _bottom, right, top = (float(place) for place in annotation['/Rect'])
                tops[address.removeprefix(MARK)] = height - margin_top - top
                widths[address.removeprefix(MARK)] = right - left
    return tops, widths


def set_widths(cells, widths):
    """Fix the columns, so that they stay as wide where the table goes on."""
    if not all(widths):
        return
    padding = sum(widths) / 100  # a cell is wider than what is in it
    whole = sum(widths) + padding * len(widths)
    for cell, width in zip(cells, widths, strict=True):
        add_style(cell, f'width: {100 * (width + padding) / whole:.2f}%')
