import base64
import io
import logging
import re
import subprocess
import tempfile
from collections import defaultdict
from copy import deepcopy
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import lxml.html
from lxml import etree

from odoo import api, models
from odoo.exceptions import AccessError, MissingError, UserError
from odoo.tools import file_open
from odoo.tools.mimetypes import guess_mimetype

from odoo.addons.base.models.ir_actions_report import _wkhtml

from ..utils import css, pagination
from ..utils.pdf import Letterheads, count_pages

_logger = logging.getLogger(__name__)

# Attributes by which HTML and SVG load something; links that a reader follows (`a`) are not among them.
LOADING_ATTRIBUTES = ('src', 'srcset', 'data', 'background', 'poster', 'href', '{http://www.w3.org/1999/xlink}href',
                      'xlink:href')
LOADING_ELEMENTS = ('script', 'iframe', 'frame', 'object', 'embed', 'applet', 'base', 'meta', 'audio', 'video')
STATIC_FILES = ('.png', '.jpg', '.jpeg', '.gif', '.svg', '.webp', '.ico', '.woff', '.woff2', '.ttf', '.otf')
LOGO_ROUTES = ('/logo', '/logo.png', '/web/binary/company_logo')
NO_ADDRESS = 'data:,'
# A network that nobody is on: whatever still asks for it fails, and so does the letter.
NO_NETWORK = ['--proxy', 'http://127.0.0.1:9']
PRINT_SECONDS = 600
# What wkhtmltopdf says when something that a page needs is missing; its exit code does not tell when it reads its
# arguments from its input.
PRINT_FAILURE = re.compile(r"Blocked access|Failed to load|Exit with code|Error:")


class IrActionsReport(models.Model):
    """This addon's documents are printed without a web server: always in their style, or not at all.

    Odoo lets wkhtmltopdf load style sheets, fonts and pictures from the server, once for each header and footer of each
    page, and goes on when they can't be had. Here all of it lies in one folder for the batch, the style sheet is cut
    down to what the documents use, and each distinct header and footer is printed once and laid over its pages.
    """

    _inherit = 'ir.actions.report'

    def _is_printed_without_server(self):
        """Whether the report is one of this addon's own."""
        return self.report_type == 'qweb-pdf' and (self.report_name or '').startswith('account_dunning.')

    def _render_qweb_pdf_prepare_streams(self, report_ref, data, res_ids=None):
        # OVERRIDE 'base'
        report = self._get_report(report_ref)
        if not res_ids or len(res_ids) != len(set(res_ids)) or not report._is_printed_without_server():
            return super()._render_qweb_pdf_prepare_streams(report_ref, data, res_ids=res_ids)
        records = self.env[report.model].browse(res_ids)
        streams = {record.id: {'stream': None, 'attachment': None} for record in records}
        if report.attachment and not self.env.context.get('report_pdf_no_attachment'):
            for record in records:
                attachment = report.retrieve_attachment(record)
                streams[record.id]['attachment'] = attachment
                if attachment and report.attachment_use:
                    streams[record.id]['stream'] = io.BytesIO(attachment.raw)
        missing = records.filtered(lambda record: not streams[record.id]['stream'])
        for record_id, document in self._print_documents(report, missing, data).items():
            streams[record_id]['stream'] = io.BytesIO(document)
        return streams

    @api.model
    def _print_documents(self, report, records, data=None):
        """Print one PDF per record. The place for another engine than wkhtmltopdf.

        :param ir.actions.report report: a report of this addon
        :param records: of the report's model
        :param dict data: further values for the template
        :return: the PDF (bytes) by the id of its record
        :rtype: dict[int, bytes]
        :raise UserError: when wkhtmltopdf is missing or ends with an error, or when a style sheet, picture or anything
            else that the document needs can't be had; nothing is printed then
        """
        if records and self.get_wkhtmltopdf_state() == 'install':
            raise UserError(self.env._("Wkhtmltopdf, which makes PDFs, is not installed on the server."))
        documents = {}
        # Paper format and layout are the company's; one print has one paper format.
        by_company = {self.env.company: records}
        if report.model != 'res.partner':  # a customer's statement is that of the company that prints it
            by_company = records.grouped('company_id')
        for company, batch in by_company.items():
            documents.update(self.with_company(company or self.env.company)._print_batch(report, batch, data))
        return documents

    @api.model
    def _print_batch(self, report, records, data):
        """See `_print_documents`; the records are of one company."""
        data = dict(data or {}, report_type='pdf', debug=False)
        printing = self.with_context(debug=False, webp_as_jpg=True)
        html = printing._render_qweb_html(report, records.ids, data=data)[0]
        bodies, record_ids, header, footer, paper = report.with_env(printing.env)._prepare_html(
            html, report_model=report.model)
        if set(record_ids) != set(records.ids):
            raise UserError(self.env._(
                "The template of “%s” does not tell its documents apart: it needs Odoo's layout around each.",
                report.name))
        paper_arguments = self._get_print_arguments(report, paper)
        with tempfile.TemporaryDirectory(prefix='dunning-print-') as folder:
            pages = PrintPages(self.env, Path(folder))
            parts = pages.print_bodies(bodies, paper_arguments)
            letterheads, numbers = pages.print_letterheads(header, footer, parts, paper_arguments)
        by_record = defaultdict(list)
        for record_id, part, part_numbers in zip(record_ids, parts, numbers, strict=True):
            by_record[record_id].append((part, part_numbers))
        return {record_id: letterheads.lay_over(documents) for record_id, documents in by_record.items()}

    @api.model
    def _get_print_arguments(self, report, paper):
        """Odoo's own arguments of wkhtmltopdf for the paper, without time for scripts: there are none."""
        arguments = self._build_wkhtmltopdf_args(
            report.get_paperformat(),
            self.env.context.get('landscape'),
            specific_paperformat_args=paper,
            set_viewport_size=self.env.context.get('set_viewport_size'),
        )
        arguments.remove('--quiet')  # what is missing must be heard of
        delay = arguments.index('--javascript-delay')
        del arguments[delay:delay + 2]
        return [*arguments, '--javascript-delay', '0', '--disable-javascript', *NO_NETWORK]

    #=== WHAT A DOCUMENT LOADS ===#

    @api.model
    def _get_style_sheet(self, address):
        """The style sheet that Odoo's server would answer with.

        :param str address: such as ``/web/assets/1a2b3c4/web.report_assets_common.min.css``
        :rtype: str
        """
        match = re.fullmatch(
            r"/web/assets/[^/]+/(?P<name>[\w.]+?)(?P<rtl>\.rtl)?(?P<prefixed>\.autoprefixed)?(?:\.min)?\.css",
            urlsplit(address).path)
        if not match:
            raise UserError(self.env._("The style sheet %s can't be printed: it is none of Odoo's own.", address))
        bundle = self.env['ir.qweb'].sudo()._get_asset_bundle(
            match['name'], css=True, js=False, rtl=bool(match['rtl']), autoprefix=bool(match['prefixed']))
        return bundle.css().raw.decode()

    @api.model
    def _load_for_print(self, address, own_addresses):
        """What a picture's or font's address stands for. Only what lies in Odoo and everybody may see: nothing of the
        network, no file of the server, no attachment that is not public or opened by its own key.

        :param str address:
        :param set[str] own_addresses: how Odoo's own server is called
        :rtype: bytes | None
        """
        for base in own_addresses:
            address = address.removeprefix(base.rstrip('/') + '/') if address.startswith(base) else address
        parts = urlsplit(address if address.startswith('/') or '://' in address else f'/{address}')
        if parts.scheme or parts.netloc:
            return None
        path, query = unquote(parts.path), {key: values[-1] for key, values in parse_qs(parts.query).items()}
        if '/static/' in path:
            return self._load_static_file(path)
        if path.startswith('/report/barcode'):
            return self._load_barcode(path, query)
        if path in LOGO_ROUTES:
            return self._load_logo(query)
        if path.startswith(('/web/image', '/web/content')):
            return self._load_record_picture(path, query)
        return None

    @api.model
    def _load_static_file(self, path):
        try:
            with file_open(path.lstrip('/'), 'rb', filter_ext=STATIC_FILES) as file:
                return file.read()
        except (OSError, ValueError):
            return None

    @api.model
    def _load_barcode(self, path, query):
        # /report/barcode?barcode_type=QR&value=… or /report/barcode/QR/…
        kind, value = query.pop('barcode_type', None), query.pop('value', None)
        if not kind:
            _empty, _report, _barcode, kind, value = path.split('/', 4)
        try:
            return self.barcode(kind, value, **query)
        except (ValueError, AttributeError):
            return None

    @api.model
    def _load_logo(self, query):
        number = query.get('company', '')
        company = self.env['res.company'].sudo().browse(int(number)).exists() if number.isdigit() else self.env.company
        return base64.b64decode(company.sudo().with_context(bin_size=False).logo_web or b'') or None

    @api.model
    def _load_record_picture(self, path, query):
        match = re.fullmatch(
            r"/web/(?:image|content)/(?:(?P<id>\d+)(?:-[^/]+)?|(?P<model>[a-z][\w.]*)/(?P<of>\d+)(?:-[^/]+)?/(?P<field>\w+))"
            r"(?:/.*)?", path)
        if match:
            model, field = match['model'] or 'ir.attachment', match['field'] or 'raw'
            number = int(match['id'] or match['of'])
        elif query.get('id', '').isdigit():
            model, field, number = query.get('model', 'ir.attachment'), query.get('field', 'raw'), int(query['id'])
        else:
            return None
        # As everybody: an HTML text can be written by people who may not see what it names.
        visitor = self.env['ir.binary'].with_user(self.env.ref('base.public_user')).sudo(False)
        try:
            record = visitor._find_record(
                res_model=model, res_id=number, access_token=query.get('access_token'), field=field)
            return visitor._get_stream_from(record, field).read()
        except (AccessError, MissingError, UserError, KeyError, OSError):
            return None


class PrintPages:
    """The files of one print, all in one folder; nothing else of the server can be loaded.

    :param odoo.api.Environment env:
    :param Path folder: an empty folder, which the caller removes
    """

    def __init__(self, env, folder):
        self.env = env
        self.report = env['ir.actions.report']
        self.folder = folder
        self.own_addresses = {self.report._get_report_url(), self.report.get_base_url()}
        self.files = {}  # address -> what stands for it in the documents
        self.names = set()

    #=== PRINTING ===#

    def print_bodies(self, bodies, arguments):
        """:return: a PDF (bytes) of each body, without header and footer
        :rtype: list[bytes]
        """
        # A line under the header belongs to the letterhead.
        arguments = [argument for argument in arguments if argument != '--header-line']
        trees = [lxml.html.document_fromstring(str(body)) for body in bodies]
        self.names.update(f'.{name}' for name in (pagination.COMPACT, pagination.CARRY, pagination.PAGE_TOP))
        self._prepare(trees)
        documents = self._print_trees(trees, arguments, 'body')
        self._fit_pages(trees, documents, arguments)
        return documents

    def _print_trees(self, trees, arguments, name):
        jobs = []
        for number, tree in enumerate(trees):
            source = self._write_page(f'{name}-{number}.html', lxml.html.tostring(tree, doctype='<!DOCTYPE html>'))
            jobs.append([*arguments, source, str(self.folder / f'{name}-{number}.pdf')])
        if jobs:
            self._run(jobs)
        return [(self.folder / f'{name}-{number}.pdf').read_bytes() for number in range(len(trees))]

    def _fit_pages(self, trees, documents, arguments):
        """Documents of several pages once more: on one page if that is nearly enough, else broken where it makes sense.

        :param list trees: the HTML of all documents
        :param list documents: how they were printed (bytes); those that can be better are replaced
        """
        counts = [count_pages(document) for document in documents]
        tight = [number for number, count in enumerate(counts) if count == 2]
        compact = self._print_trees([pagination.make_compact(trees[number]) for number in tight], arguments, 'compact')
        for number, document in zip(tight, compact, strict=True):
            if count_pages(document) == 1:
                documents[number], counts[number] = document, 1
        plans = {number: pagination.Pagination(trees[number]) for number, count in enumerate(counts) if count > 1}
        plans = {number: plan for number, plan in plans.items() if plan.units}
        if not plans:
            return
        endless = pagination.get_endless_arguments(arguments, documents[next(iter(plans))])
        measured = self._print_trees([plan.get_marked_tree() for plan in plans.values()], endless, 'measure')
        for (number, plan), document in zip(list(plans.items()), measured, strict=True):
            if plan.measure(document, pagination.get_margin(arguments, 'top')):
                plan.break_pages(pagination.get_room(arguments, documents[number]))
            else:
                del plans[number]
        broken = self._print_trees([plan.tree for plan in plans.values()], arguments, 'broken')
        for (number, plan), document in zip(plans.items(), broken, strict=True):
            if count_pages(document) == plan.page_count:
                documents[number] = document
            else:
                _logger.warning("A document of %s pages was planned for %s: it is broken where it is full.",
                                counts[number], plan.page_count)

    def print_letterheads(self, header, footer, parts, arguments):
        """Print each distinct pair of header and footer once.

        :param str header: a page with the headers of all bodies, as Odoo prepares it
        :param str footer: the same of the footers
        :param list parts: the printed bodies (bytes)
        :return: the letterheads, and for each part the number of the letterhead of each of its pages
        :rtype: tuple[Letterheads, list[list[int]]]
        """
        headers = Bands(header, 'minimal_layout_report_headers')
        footers = Bands(footer, 'minimal_layout_report_footers')
        numbers, pairs = [], {}
        for index, part in enumerate(parts):
            count = count_pages(part)
            numbers.append([
                pairs.setdefault((headers.get(index, page, count), footers.get(index, page, count)), len(pairs))
                for page in range(1, count + 1)
            ])
        for bands in (headers, footers):
            self._prepare([bands.page, *bands.nodes])
        blank = self._write_page('blank.html', b'<html><body>&nbsp;</body></html>')
        bands_files, jobs = {}, []
        for pair in pairs:
            options = []
            for bands, key, option in zip((headers, footers), pair, ('--header-html', '--footer-html'), strict=True):
                if key is None:
                    continue
                if (option, key) not in bands_files:
                    bands_files[option, key] = self._write_page(f'band-{len(bands_files)}.html', bands.to_html(key))
                options += [option, bands_files[option, key]]
            jobs.append([*arguments, *options, blank, str(self.folder / f'letterhead-{len(jobs)}.pdf')])
        self._run(jobs)
        return Letterheads([Path(job[-1]).read_bytes() for job in jobs]), numbers

    def _write_page(self, name, content):
        path = self.folder / name
        path.write_bytes(content)
        return str(path)

    def _run(self, jobs):
        """Let wkhtmltopdf do its jobs one after the other, in one process.

        :param list jobs: its arguments (list of str) for each
        :raise UserError: when one ended with an error
        """
        allowed = ['--allow', str(self.folder)]
        lines = '\n'.join(' '.join(f'"{argument}"' for argument in (*allowed, *job)) for job in jobs) + '\n'
        try:
            done = subprocess.run(
                [_wkhtml().bin, '--read-args-from-stdin'], input=lines, capture_output=True, encoding='utf-8',
                timeout=PRINT_SECONDS, check=False)
        except subprocess.TimeoutExpired as error:
            raise UserError(self.env._("Printing took longer than %s seconds.", PRINT_SECONDS)) from error
        errors = [line.strip() for line in re.split(r"[\r\n]+", done.stderr) if PRINT_FAILURE.search(line)]
        missing = [job[-1] for job in jobs if not Path(job[-1]).exists() or not Path(job[-1]).stat().st_size]
        if done.returncode or missing or errors:
            _logger.warning("wkhtmltopdf ended with %s: %s", done.returncode, errors or done.stderr[-2000:])
            raise UserError(self.env._(
                "The document could not be printed: wkhtmltopdf ended with code %(code)s. %(message)s",
                code=done.returncode, message=' '.join(errors)[:300]))

    #=== WHAT THE PAGES LOAD ===#

    def _prepare(self, trees):
        """Put style sheets into the pages, and files of the folder in the place of addresses."""
        sheets = defaultdict(list)
        for tree in trees:
            for element in list(tree.iter()):
                if not isinstance(element.tag, str):
                    continue
                self._note_names(element)
                if element.tag == 'link' and 'stylesheet' in (element.get('rel') or ''):
                    sheets[element.get('href')].append(element)
                elif element.tag in LOADING_ELEMENTS or element.tag == 'link':
                    self._remove(element)
                else:
                    self._localize(element)
        names = frozenset(self.names)
        for address, elements in sheets.items():
            sheet = css.purge(self.report._get_style_sheet(address), names)
            sheet = css.replace_urls(sheet, self._find_file_of_sheet)
            for element in elements:
                style = etree.Element('style', type='text/css')
                style.text = sheet
                element.getparent().replace(element, style)

    def _note_names(self, element):
        self.names.add(element.tag.lower())
        self.names.update(f'.{name}' for name in (element.get('class') or '').split())
        if element.get('id'):
            self.names.add(f"#{element.get('id')}")

    @staticmethod
    def _remove(element):
        parent = element.getparent()
        if parent is not None:
            element.drop_tree() if hasattr(element, 'drop_tree') else parent.remove(element)

    def _localize(self, element):
        for attribute in LOADING_ATTRIBUTES:
            address = element.get(attribute)
            if address and not (attribute == 'href' and element.tag in ('a', 'area')) and not address.startswith('#'):
                element.set(attribute, self._find_file(address))
        if 'url(' in (element.get('style') or ''):
            element.set('style', css.replace_urls(element.get('style'), self._find_file).replace('"', "'"))
        if element.tag == 'style' and element.text:
            element.text = css.replace_urls(element.text.replace('@import', '@no-import'), self._find_file)

    def _find_file(self, address):
        """:raise UserError: when there is no such thing, or none that may be printed"""
        found = self._find_file_or_none(address.strip())
        if not found:
            raise UserError(self.env._(
                "The document shows “%s”, which can't be printed: only pictures that lie in Odoo and are open to "
                "everybody can. Insert it again, or take it out.", address[:200]))
        return found

    def _find_file_of_sheet(self, address):
        # Odoo's style sheets name formats of fonts that it does not ship.
        return self._find_file_or_none(address.strip()) or NO_ADDRESS

    def _find_file_or_none(self, address):
        if address.startswith('data:'):
            return address
        if address not in self.files:
            content = self.report._load_for_print(address, self.own_addresses)
            if content:
                kind = guess_mimetype(content, default='').rpartition('/')[2].partition('+')[0]
                suffix = Path(urlsplit(address).path).suffix
                suffix = suffix if re.fullmatch(r"\.\w{1,5}", suffix) else f'.{kind or "bin"}'
                path = self.folder / f'file-{len(self.files)}{suffix}'
                path.write_bytes(content)
                content = path.as_uri()
            self.files[address] = content
        return self.files[address]


class Bands:
    """The headers or footers of a batch, as Odoo gathers them on one page.

    :param str page: HTML
    :param str holder_id: id of the element that holds one child per body
    """

    def __init__(self, page, holder_id):
        self.page = lxml.html.document_fromstring(str(page))
        self.holder = self.page.get_element_by_id(holder_id)
        self.nodes = list(self.holder)
        for node in self.nodes:
            self.holder.remove(node)
        body = self.page.find('body')
        body.attrib.pop('onload', None)  # the script that chose the band and wrote the page's number
        self.has_numbers = [
            bool(node.find_class('page') or node.find_class('topage')) for node in self.nodes
        ]
        self.keys = [lxml.html.tostring(node) for node in self.nodes]
        self.first = {}
        for index, key in enumerate(self.keys):
            self.first.setdefault(key, index)

    def get(self, index, page, pages):
        """What tells this band from others: which one, and the page's number where it shows one.

        :rtype: tuple | None
        """
        if index >= len(self.nodes):
            return None
        return (self.first[self.keys[index]], *((page, pages) if self.has_numbers[index] else ()))

    def to_html(self, key):
        """The page with one band alone (bytes)."""
        index, *numbers = key
        node = deepcopy(self.nodes[index])
        for name, number in zip(('page', 'topage'), numbers, strict=False):
            for element in node.find_class(name):
                element.text = str(number)
        self.holder.append(node)
        try:
            return lxml.html.tostring(self.page, doctype='<!DOCTYPE html>')
        finally:
            self.holder.remove(node)
