"""Edit forms as a browser would send them, byte for byte: what was not changed goes back as it stands in the CRM.

The HTML parser turns line breaks into one kind (HTML, 13.2.3.5); an edit form that is posted back must not do that, so
carriage returns inside values are written as character references before parsing.
"""

import re
from dataclasses import dataclass, field

from selectolax.lexbor import LexborHTMLParser

from gateway.body.control import option_value, successful

_AREA = re.compile(rb"(<textarea\b[^>]*>)(.*?)(</textarea)", re.IGNORECASE | re.DOTALL)
_VALUE = re.compile(rb"=(?:\"[^\"]*\"|'[^']*')")
_TEXTS = frozenset({"text", "email", "tel", "url", "search", "textarea"})


@dataclass(frozen=True, slots=True)
class EditForm:
    """One form. pairs: every successful control in order; texts: names of those a person types text into; limits: their
    maxlength; shows: whether the page shows what the caller asked for (`skip` of the profile); choices: the first real
    choice of each select."""

    action: str
    pairs: tuple[tuple[str, str], ...] = field(repr=False)
    texts: frozenset[str]
    limits: dict[str, int]
    shows: bool
    choices: dict[str, str] = field(default_factory=dict, repr=False)

    def filled(self, new: dict[str, str]) -> list[tuple[str, str]]:
        """The pairs with some values replaced, the order kept."""
        return [(name, new.get(name, value)) for name, value in self.pairs]


def read_form(body: bytes, mark: str, shown: str = "") -> EditForm | None:
    """The form of a page that has a field named `mark`; None when there is none. shown: a CSS selector, or ""."""
    tree = LexborHTMLParser(_kept_breaks(body))
    for node in tree.css("form"):
        controls = node.css("input, textarea, select")
        if not any(control.attributes.get("name") == mark for control in controls):
            continue
        pairs: list[tuple[str, str]] = []
        texts: set[str] = set()
        limits: dict[str, int] = {}
        choices: dict[str, str] = {}
        for control in controls:
            sent = successful(control)
            pairs += sent
            if control.tag == "select":
                real = (option_value(option) for option in control.css("option"))
                choices.setdefault(control.attributes.get("name") or "", next((one for one in real if one), ""))
            kind = "textarea" if control.tag == "textarea" else (control.attributes.get("type") or "text").lower()
            if sent and control.tag != "select" and kind in _TEXTS:
                texts.add(sent[0][0])
                longest = control.attributes.get("maxlength") or ""
                if longest.isascii() and longest.isdecimal():
                    limits[sent[0][0]] = int(longest)
        shows = bool(shown) and tree.css_first(shown) is not None
        return EditForm(node.attributes.get("action") or "", tuple(pairs), frozenset(texts), limits, shows, choices)
    return None


def refused_fields(body: bytes) -> list[str]:
    """Names of the fields a form that was shown again complains about."""
    tree = LexborHTMLParser(body)
    marked = tree.css(".field-error input, .field-error textarea, .field-error select, [aria-invalid=true]")
    return sorted({node.attributes.get("name") or "" for node in marked} - {""})


def attribute_values(body: bytes, selector: str, attribute: str) -> list[str]:
    """Values of one attribute of all elements a selector finds, in order."""
    values = [node.attributes.get(attribute) or "" for node in LexborHTMLParser(body).css(selector)]
    return [value for value in values if value]


def _kept_breaks(body: bytes) -> bytes:
    if b"\r" not in body:
        return body
    body = _AREA.sub(lambda m: m[1] + _referenced(m[2]) + m[3], body)
    return _VALUE.sub(lambda m: m[0].replace(b"\r", b"&#13;"), body)


def _referenced(content: bytes) -> bytes:
    # The parser drops one line break at the very beginning, whichever kind: that one stays what it is.
    head = re.match(rb"\r\n|\r|\n|", content)
    lead = head[0] if head is not None else b""
    return (b"\n" if lead else b"") + content[len(lead) :].replace(b"\r", b"&#13;")
