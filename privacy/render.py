"""How one value is written into one place: contexts, encoders, and the forms in which a value is shown.

Surrogates carry no dangerous characters, so the escaping done by a CRM no longer protects the page once a real value
stands in their place: the gateway is the output encoder. Every function here is pure and total: it returns text that
cannot leave its context, whatever the value holds. Where the context is uncertain, characters that could open markup
or close a string are replaced by look-alikes instead of being escaped.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import quote

from policies.decision import Form


class Context(StrEnum):
    """Where a value is written; the name says which parser reads it next."""

    HTML_TEXT = "html-text"
    HTML_ATTRIBUTE = "html-attribute"
    HTML_INPUT = "html-input"
    HTML_UNQUOTED = "html-unquoted"
    HTML_TOOLTIP = "html-tooltip"
    HTML_NESTED = "html-nested"
    SCRIPT_STRING = "script-string"
    SCRIPT_ATTRIBUTE = "script-attribute"
    URL = "url"
    URL_OPAQUE = "url-opaque"
    JSON_STRING = "json-string"
    JSON_SCRIPT = "json-script"
    CSV_CELL = "csv-cell"
    XML_TEXT = "xml-text"
    XML_ATTRIBUTE = "xml-attribute"
    CDATA = "cdata"
    VCARD_TEXT = "vcard-text"
    HEADER = "header"
    PLAIN = "plain"
    UNCERTAIN = "uncertain"


# Letters and digits of every script, the space, and punctuation that means nothing in HTML, JSON or script strings.
# A double hyphen is left out because it can close a comment.
_INERT = re.compile(r"[\w ,.+@!?·・•‧’，。、（）-]+")


def is_inert(text: str) -> bool:
    """Whether the text means nothing to any parser of quoted or running text (not URLs, CSV, unquoted attributes)."""
    return _INERT.fullmatch(text) is not None and "--" not in text


@dataclass(frozen=True, slots=True)
class Shown:
    """How one value is shown to one principal.

    text: for people (clear, readable mask or placeholder); wire: what goes where a program or a form may post it back
    (clear, valid-shaped mask, or the surrogate itself). inert: UTF-8 of a clear inert text, which may be spliced into
    text without looking at the place, else empty; quoted: UTF-8 of `wire` as the inside of a JSON string. Both are
    derived once, so keep and reuse the object.
    """

    form: Form
    text: str
    wire: str
    inert: bytes = field(init=False, compare=False, repr=False)
    quoted: bytes = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        text = self.text
        clear = self.form is Form.CLEAR and text == self.wire and is_inert(text)
        quoted = text if clear else encode(self.wire, Context.JSON_STRING)
        object.__setattr__(self, "quoted", quoted.encode("utf-8", "replace"))
        object.__setattr__(self, "inert", self.quoted if clear else b"")


# A carriage return would be read as a line feed and NUL as nothing, so both are written as what survives.
_HTML = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;", "`": "&#96;", "\r": "&#13;", "\0": "�"}
)
_LOOKALIKE = str.maketrans({"<": "＜", ">": "＞", '"': "＂", "'": "＇", "&": "＆", "`": "｀", "\\": "＼"})
_TOOLTIP = re.compile(r"[<>]|&(?=[A-Za-z#])")
_TOOLTIP_TO = {"<": "＜", ">": "＞", "&": "＆"}
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_BIDI = re.compile("[\u202a-\u202e\u2066-\u2069\u200e\u200f\u061c]")
# XML 1.0 (5th edition), production 2: what is not a Char cannot be written at all.
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")
_LONE = re.compile("[\ud800-\udfff]")
_NUMBER_LIKE = re.compile(r"[+-]?[0-9][0-9 ().,/-]*|[+-]?\([0-9][0-9 ().,/-]*")
_BLANKS = " \u00a0\u3000"
_FORMULA_START = "=+-@|%\t\r\n＝＋－＠"
_SIGNS = frozenset(_FORMULA_START)


def _unit(match: re.Match[str]) -> str:
    """One character as `\\uNNNN`, or two of them outside the basic plane; read alike by JSON and JavaScript."""
    code = ord(match.group())
    if code > 0xFFFF:
        code -= 0x10000
        return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"
    return f"\\u{code:04x}"


_JSON_SPECIAL = re.compile(r"""[\x00-\x1f\x7f"\\<>&'\u2028\u2029]""")
_SCRIPT_SPECIAL = re.compile(r"""[\x00-\x1f\x7f-\x9f"\\<>&'`/$={}()\-\u2028\u2029]""")
_NOT_ALPHANUMERIC = re.compile(r"[^0-9A-Za-z]")


def _csv(text: str) -> str:
    """Guards a cell that a spreadsheet would take for a formula; plain numbers and phone numbers stay as they are.

    A cell that looks guarded already gets another guard, so that `unguarded` gives back every text as it was.
    """
    start = text.lstrip("'").lstrip(_BLANKS)
    if start and start[0] in _FORMULA_START and (text[0] == "'" or _NUMBER_LIKE.fullmatch(start) is None):
        return "'" + text
    return text


def guarded(text: str) -> str:
    """A cell as a program that guards numbers with a sign, too, writes it: with one apostrophe in front."""
    written = encode(text, Context.CSV_CELL)
    return written if written.startswith("'") else "'" + written


def needs_guard(text: str) -> bool:
    """Whether a cell begins like a formula, or a number with a sign."""
    return text.lstrip("'").lstrip(_BLANKS)[:1] in _SIGNS


def unguarded(text: str) -> str:
    """The text of a table's cell without the guard that `encode`, or the CRM, put before it."""
    return text[1:] if text.startswith("'") and needs_guard(text) else text


def _vcard(text: str) -> str:
    """RFC 6350, section 3.4: backslash, comma, semicolon and newline are escaped in text values."""
    text = text.replace("\\", "\\\\").replace(",", "\\,").replace(";", "\\;")
    return _CONTROL.sub(" ", text.replace("\r\n", "\\n").replace("\n", "\\n").replace("\r", "\\n"))


def _html(text: str) -> str:
    return text.translate(_HTML)


def _unquoted(text: str) -> str:
    return _NOT_ALPHANUMERIC.sub(lambda m: f"&#{ord(m.group())};", text.replace("\0", "�"))


def _tooltip(text: str) -> str:
    """An attribute that a script may put into the page as markup: nothing in it can open a tag after decoding."""
    return _html(_TOOLTIP.sub(lambda m: _TOOLTIP_TO[m.group()], text))


def _xml(text: str) -> str:
    return _html(_NOT_XML.sub("�", text))


def _uncertain(text: str) -> str:
    return _CONTROL.sub(" ", text.translate(_LOOKALIKE)).replace("--", "‐‐")


def _url(text: str) -> str:
    return quote(text, safe="")


_ENCODERS: dict[Context, Callable[[str], str]] = {
    Context.HTML_TEXT: _html,
    Context.HTML_ATTRIBUTE: _html,
    Context.HTML_INPUT: _html,
    Context.HTML_UNQUOTED: _unquoted,
    Context.HTML_TOOLTIP: _tooltip,
    Context.HTML_NESTED: lambda text: _html(_html(text)),
    Context.SCRIPT_STRING: lambda text: _SCRIPT_SPECIAL.sub(_unit, text),
    Context.SCRIPT_ATTRIBUTE: lambda text: _NOT_ALPHANUMERIC.sub(_unit, text),
    Context.URL: _url,
    Context.URL_OPAQUE: lambda text: quote(text, safe="@+"),
    Context.JSON_STRING: lambda text: _JSON_SPECIAL.sub(_unit, text),
    Context.JSON_SCRIPT: lambda text: _SCRIPT_SPECIAL.sub(_unit, text),
    Context.CSV_CELL: _csv,
    Context.XML_TEXT: _xml,
    Context.XML_ATTRIBUTE: _xml,
    Context.CDATA: lambda text: _NOT_XML.sub("�", text).replace("]]>", "]]]]><![CDATA[>"),
    Context.VCARD_TEXT: _vcard,
    Context.HEADER: lambda text: _BIDI.sub("", _CONTROL.sub(" ", text)),
    Context.PLAIN: lambda text: text,
    Context.UNCERTAIN: _uncertain,
}
_BACKSLASH = frozenset({Context.SCRIPT_STRING, Context.SCRIPT_ATTRIBUTE, Context.JSON_STRING, Context.JSON_SCRIPT})
_ENTITY = frozenset(
    {
        Context.HTML_TEXT,
        Context.HTML_ATTRIBUTE,
        Context.HTML_INPUT,
        Context.HTML_UNQUOTED,
        Context.HTML_TOOLTIP,
        Context.HTML_NESTED,
        Context.XML_TEXT,
        Context.XML_ATTRIBUTE,
    }
)


def encode(text: str, context: Context, charset: str = "utf-8") -> str:
    """The text as it must be written in `context`; characters the charset lacks become escapes of that context."""
    if not text.isascii() and _LONE.search(text):
        text = _LONE.sub("�", text)
    written = _ENCODERS[context](text)
    return written if charset == "utf-8" or written.isascii() else narrow(written, context, charset)


def narrow(written: str, context: Context, charset: str) -> str:
    """Already encoded text with the characters that `charset` lacks replaced: `&#N;`, `\\uNNNN`, or a question mark."""
    if context in _ENTITY:
        return written.encode(charset, "xmlcharrefreplace").decode(charset)
    if context in _BACKSLASH:
        return "".join(c if _has(c, charset) else re.sub(r"(?s).", _unit, c) for c in written)
    return written.encode(charset, "replace").decode(charset)


def _has(character: str, charset: str) -> bool:
    try:
        character.encode(charset)
    except UnicodeEncodeError:
        return False
    return True
