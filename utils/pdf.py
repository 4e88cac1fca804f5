"""Pages printed in two parts, a letter and the letterheads of its pages, laid one over the other. No records here."""
import io
import zlib

from odoo.tools.pdf import (
    ArrayObject,
    DecodedStreamObject,
    DictionaryObject,
    NameObject,
    PdfFileReader,
    PdfFileWriter,
    generic,
)

LETTERHEAD = NameObject('/Letterhead')


def count_pages(document):
    """:param bytes document: a PDF"""
    return PdfFileReader(io.BytesIO(document), strict=False).getNumPages()


class Letterheads:
    """Pages to be laid over the pages of letters.

    :param list documents: PDFs (bytes) of one page each
    """

    def __init__(self, documents):
        self.pages = [PdfFileReader(io.BytesIO(document), strict=False).getPage(0) for document in documents]

    def lay_over(self, documents):
        """One PDF of several, with a letterhead over each page.

        :param documents: list of (a PDF as bytes, list of the number of the letterhead of each of its pages)
        :rtype: bytes
        """
        writer, forms = PdfFileWriter(), {}
        for document, numbers in documents:
            reader = PdfFileReader(io.BytesIO(document), strict=False)
            for page_number, number in enumerate(numbers):
                writer.addPage(reader.getPage(page_number))
                if number not in forms:
                    forms[number] = writer._addObject(self._make_form(writer, self.pages[number]))
                self._add_form(writer, writer.getPage(writer.getNumPages() - 1), forms[number])
        stream = io.BytesIO()
        writer.write(stream)
        return stream.getvalue()

    def _make_form(self, writer, page):
        """A page as an object that other pages can show."""
        content = page['/Contents'].getObject()
        parts = content if isinstance(content, ArrayObject) else [content]
        data = b'\n'.join(part.getObject().getData() for part in parts)
        form = generic.EncodedStreamObject()
        form._data = zlib.compress(data)
        form.update({
            NameObject('/Filter'): NameObject('/FlateDecode'),
            NameObject('/Type'): NameObject('/XObject'),
            NameObject('/Subtype'): NameObject('/Form'),
            NameObject('/BBox'): page['/MediaBox'],
            NameObject('/Resources'): page['/Resources'].clone(writer),
        })
        return form

    def _add_form(self, writer, page, form):
        resources = DictionaryObject(page['/Resources'].getObject())
        objects = resources.get('/XObject')
        objects = DictionaryObject(objects.getObject() if objects else {})
        objects[LETTERHEAD] = form
        resources[NameObject('/XObject')] = objects
        page[NameObject('/Resources')] = resources
        content = page.raw_get('/Contents')
        parts = content.getObject() if isinstance(content.getObject(), ArrayObject) else [content]
        page[NameObject('/Contents')] = ArrayObject([
            writer._addObject(_operators(b'q\n')), *parts,
            writer._addObject(_operators(b'\nQ q /Letterhead Do Q\n')),
        ])


def _operators(data):
    stream = DecodedStreamObject()
    stream.setData(data)
    return stream
