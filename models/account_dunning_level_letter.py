import re
from datetime import timedelta

from lxml import html
from markupsafe import Markup

from odoo import api, fields, models
from odoo.exceptions import UserError, ValidationError
from odoo.tools import format_amount, is_html_empty
from odoo.tools.misc import get_lang

from ..utils.days import format_day

# What the words of a letter may name. Fixed: the texts are filled in, never evaluated.
LETTER_PLACEHOLDERS = (
    'customer',
    'contact',
    'company',
    'date',
    'deadline',
    'amount_due',
    'last_reminder_date',
    'collector',
)
LETTER_TEXTS = ('letter_title', 'letter_intro', 'letter_closing')
PLACEHOLDER = re.compile(r'\{([^{}]*)\}')
HEADINGS = ('h1', 'h2', 'h3', 'h4', 'h5', 'h6')
BLOCKS = ('p', 'li', 'div', *HEADINGS)


class AccountDunningLevel(models.Model):
    """The words of the letter. {placeholders} in them are replaced by plain text; nothing is evaluated."""

    _inherit = 'account.dunning.level'

    letter_title = fields.Char(
        string="Title", translate=True, help="The heading of the letter; empty: the name of the level.")
    letter_intro = fields.Html(
        string="Words before the invoices",
        translate=True,
        help="You may write {customer}, {contact}, {company}, {date}, {deadline}, {amount_due}, {last_reminder_date} "
             "and {collector}. A paragraph whose placeholder has nothing to say, such as {last_reminder_date} in a "
             "first reminder, is left out.",
    )
    letter_closing = fields.Html(
        string="Words after the invoices",
        translate=True,
        help="The same placeholders as in the words before the invoices. The name of the collector and of the company "
             "follow by themselves.",
    )
    letter_preview = fields.Html(
        string="Preview", compute='_compute_letter_preview', sanitize=False,
        help="The words of the letter with sample values.")

    #=== COMPUTE METHODS ===#

    @api.depends(*LETTER_TEXTS, 'name', 'deadline_days')
    @api.depends_context('lang', 'uid')
    def _compute_letter_preview(self):
        for level in self:
            try:
                texts = level._render_letter_texts(level._get_sample_placeholders())
            except UserError as error:
                # While it is being typed: say what is wrong instead of failing.
                level.letter_preview = Markup('<p class="text-danger">%s</p>') % error.args[0]
            else:
                level.letter_preview = Markup(
                    '<h4>%(letter_title)s</h4>%(letter_intro)s<p>[...]</p>%(letter_closing)s') % texts

    #=== CONSTRAINT METHODS ===#

    @api.constrains(*LETTER_TEXTS, 'name')
    def _check_letter_placeholders(self):
        """In every language: a letter in another one than the user's must not fail when it is to go out."""
        values = dict.fromkeys(LETTER_PLACEHOLDERS, 'x')
        own_lang = get_lang(self.env).code
        languages = sorted(self.env['res.lang'].get_installed(), key=lambda language: language[0] != own_lang)
        for level in self:
            for lang, language in languages:
                try:
                    level._fill_letter_texts(level.with_context(lang=lang), values)
                except UserError as error:
                    fault = error.args[0]
                    if lang != own_lang:
                        fault = self.env._("%(language)s: %(fault)s", language=language, fault=fault)
                    raise ValidationError(fault) from None

    #=== BUSINESS METHODS ===#

    def _render_letter_texts(self, values, own=None):
        """Fill the placeholders of the level's words, in the language of the context.

        :param dict values: plain text (str) per name of ``LETTER_PLACEHOLDERS``; '' when there is nothing to say
        :param dict | None own: words (str) instead of the level's, by field name
        :return: the title (str) and the two texts (Markup, '' when empty), by field name
        :rtype: dict
        :raise UserError: for a placeholder that does not exist: better no letter than one with holes
        """
        self.ensure_one()
        return self._fill_letter_texts(self, values, own)

    def _render_letter_title(self, values):
        """The title alone (str); see `_render_letter_texts`."""
        self.ensure_one()
        return self._fill_placeholders(self.letter_title or self.name or '', values)

    def _fill_letter_texts(self, words, values, own=None):
        """See `_render_letter_texts`.

        :param account.dunning.level words: this level, in the language that is to be read
        """
        own = own or {}
        return {
            'letter_title': self._fill_placeholders(words.letter_title or words.name or '', values),
            'letter_intro': self._fill_html_placeholders(own.get('letter_intro', words.letter_intro), values),
            'letter_closing': self._fill_html_placeholders(own.get('letter_closing', words.letter_closing), values),
        }

    def _fill_placeholders(self, text, values):
        def replace(match):
            if match[1] not in LETTER_PLACEHOLDERS:
                raise UserError(self.env._(
                    "The level \"%(level)s\" uses the placeholder %(placeholder)s, which does not exist. "
                    "You may use %(known)s.",
                    level=self.name,
                    placeholder=match[0],
                    known=', '.join(f'{{{name}}}' for name in LETTER_PLACEHOLDERS),
                ))
            return values[match[1]]

        return PLACEHOLDER.sub(replace, text)

    def _fill_html_placeholders(self, source, values):
        """Fill the text of the document, node by node: a value can never become markup."""
        if is_html_empty(source):
            return ''
        root = html.fragment_fromstring(source, create_parent='div')
        self._check_placeholders_in_one_piece(root)
        # A paragraph that is about something that does not exist here says nothing.
        for block in list(root.iter(*BLOCKS)):
            if block is root or next(block.iterdescendants(*BLOCKS), None) is not None:
                continue
            if any(values.get(name) == '' for name in PLACEHOLDER.findall(block.text_content())):
                block.drop_tree()
        for node in root.iter():
            if node.tag in HEADINGS:
                # The headings of a PDF of many letters tell where each one begins: only the title may be one.
                node.tag = 'p'
                node.set('class', 'fw-bold')
            if isinstance(node.tag, str) and node.text:
                node.text = self._fill_placeholders(node.text, values)
            if node.tail:
                node.tail = self._fill_placeholders(node.tail, values)
        return Markup(html.tostring(root, encoding='unicode'))  # noqa: S704 -- serialised by lxml, values are text nodes

    def _check_placeholders_in_one_piece(self, root):
        whole = PLACEHOLDER.findall(root.text_content())
        pieces = [name for text in root.itertext() for name in PLACEHOLDER.findall(text)]
        if broken := [name for name in whole if name not in pieces]:
            raise UserError(self.env._(
                "The placeholder %(placeholder)s of the level \"%(level)s\" is formatted in parts: "
                "delete it and type it again in one go.",
                placeholder=f'{{{broken[0]}}}',
                level=self.name,
            ))

    def _get_sample_placeholders(self):
        today = fields.Date.context_today(self)
        currency = self.currency_id or self.env.company.currency_id
        return {
            'customer': "Azure Interior",
            'contact': "Brandon Freeman",
            'company': self.env.company.name,
            'date': format_day(self.env, today),
            'deadline': format_day(self.env, self.deadline_days and today + timedelta(self.deadline_days)),
            'amount_due': format_amount(self.env, 1250, currency),
            'last_reminder_date': format_day(self.env, today - timedelta(14)),
            'collector': self.env.user.name,
        }
