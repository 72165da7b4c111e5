"""What an HTML page tells: forms with their controls and labels, values at named elements, links to records."""

import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple
from urllib.parse import urljoin, urlsplit

from selectolax.lexbor import LexborHTMLParser

from gateway.learn.evidence import Control
from gateway.learn.route import template_of
from gateway.learn.vocabulary import vocabulary

_NAMING = ("name", "data-key", "data-field", "data-name", "data-column", "data-attr", "headers", "itemprop")
_PLAIN = re.compile(r"[A-Za-z][\w-]{0,60}")
# How libraries of tables and forms mark the element of a column: `field-email`, `column-get_full_name`.
_COLUMN = re.compile(r"(?:field|column|col|cell)[-_](?:(?:the|get|display|show)[-_])?([A-Za-z][\w-]*)")
_SKIPPED = frozenset({"script", "style", "option", "noscript", "template", "svg", "title"})
_CONTROLS = "input, textarea, select"
MOST_NODES, MOST_TEXT = 6000, 400


class Shown(NamedTuple):
    """A text of a page: where it stands (a CSS selector), and what it says."""

    selector: str
    text: str


class Form(NamedTuple):
    """A form. key: "METHOD template"; controls by name; values: what stands in the typed ones; chosen: the
    option that each list of them has chosen."""

    key: str
    controls: dict[str, Control]
    values: dict[str, str]
    chosen: dict[str, str]


class Link(NamedTuple):
    """A link to another page: template of its path and its own text."""

    template: str
    path: str
    text: str


def parse(body: bytes) -> LexborHTMLParser:
    """The page as a tree."""
    return LexborHTMLParser(body)


def forms_of(tree: LexborHTMLParser, path: str) -> Iterator[Form]:
    """Every form with what it would send, and where."""
    labels = {
        node.attributes["for"]: _label(node.text(deep=True))
        for node in tree.css("label[for]")
        if node.attributes.get("for")
    }
    for form in tree.css("form"):
        action = urlsplit(urljoin(path, form.attributes.get("action") or path)).path or "/"
        method = (form.attributes.get("method") or "get").upper()
        controls: dict[str, Control] = {}
        values: dict[str, str] = {}
        chosen: dict[str, str] = {}
        for node in form.css(_CONTROLS):
            name = node.attributes.get("name") or ""
            if not name or len(name) > 120:
                continue
            kind = (node.attributes.get("type") or "text").lower() if node.tag == "input" else str(node.tag)
            label = labels.get(node.attributes.get("id") or "", "") or _label(node.attributes.get("aria-label") or "")
            longest = node.attributes.get("maxlength") or ""
            controls[name] = Control(
                kind, label, int(longest) if longest.isdecimal() else 0, marked=_marked(node, name)
            )
            if kind == "textarea":
                values[name] = node.text(deep=True)
            elif kind == "select" and (picked := node.css_first("option[selected]")) is not None:
                chosen[name] = picked.attributes.get("value") or ""
            elif kind in ("text", "email", "tel", "search", "url"):
                values[name] = node.attributes.get("value") or ""
        if controls:
            yield Form(f"{method} {template_of(action)}", controls, values, chosen)


def _marked(node: Any, name: str) -> str:
    """The class of an element around a control that holds the control's own name."""
    above = node.parent
    for _ in range(5):
        if above is None or above.tag in ("body", "form"):
            break
        for one in (above.attributes.get("class") or "").split():
            column = _COLUMN.fullmatch(one)
            if column is not None and column[1] == name and one.isascii():
                return one
        above = above.parent
    return ""


def _label(text: str) -> str:
    """A label as it is shown, without marks of required fields; "" when it is too long to be one."""
    text = " ".join(text.replace("\u00a0", " ").split()).strip(" *:：")
    return text if 1 < len(text) <= 60 else ""


def nodes_in(tree: LexborHTMLParser, selectors: Iterable[str]) -> frozenset[int]:
    """Elements that any of these selectors picks, with everything inside them."""
    picked = (node for selector in selectors for node in tree.css(selector))
    return frozenset(inner.mem_id for node in picked for inner in node.traverse(include_text=False))


def shown_in(tree: LexborHTMLParser, known: frozenset[int] = frozenset()) -> Iterator[Shown]:
    """Texts in elements that are named, or stand in one that is; known: elements to leave out."""
    left = MOST_NODES
    root = tree.body
    if root is None:
        return
    for node in root.traverse(include_text=False):
        if node.mem_id in known or node.tag in _SKIPPED or node.tag in ("form", "label", "input", "textarea", "select"):
            continue
        texts = [
            text for child in node.iter(include_text=True) if child.tag == "-text" and (text := child.text().strip())
        ]
        if not texts:
            continue
        left -= 1
        if left < 0:
            return
        selector = selector_of(node)
        if selector:
            yield from (Shown(selector, text) for text in texts if len(text) <= MOST_TEXT)


def selector_of(node: Any) -> str:
    """How an element is found again: by its own name, or by that of one around it; "" when nothing names it."""
    own = _naming(node)
    if own:
        return f"{node.tag}{own}"
    above = node.parent
    for _ in range(4):
        if above is None or above.tag in ("body", "html", "form"):
            break
        naming = _naming(above)
        if naming:
            if above.tag == "td":
                return f"td{naming}"
            return f"{naming if naming[0] == '[' else above.tag + naming} {_step(node)}"
        above = above.parent
    return ""


def _naming(node: Any) -> str:
    for attribute in _NAMING:
        value = node.attributes.get(attribute) or ""
        if _PLAIN.fullmatch(value):
            return f"[{attribute}={value}]"
    for name in (node.attributes.get("class") or "").split():
        if _PLAIN.fullmatch(name) and name.isascii():
            column = _COLUMN.fullmatch(name)
            found = vocabulary().meaning(column[1] if column else name)
            if found is not None and found.weight > 0.8 and found.kind in ("name", "email", "phone", "address"):
                return f".{name}"
    return ""


def _step(node: Any) -> str:
    for name in (node.attributes.get("class") or "").split():
        if _PLAIN.fullmatch(name) and name.isascii():
            return f"{node.tag}.{name}"
    return str(node.tag)


def links_of(tree: LexborHTMLParser, path: str) -> Iterator[Link]:
    """Links to other pages of the same CRM."""
    for node in tree.css("a[href]")[:MOST_NODES]:
        parts = urlsplit(urljoin(path, node.attributes.get("href") or ""))
        if parts.netloc or parts.scheme not in ("", "http", "https") or not parts.path.startswith("/"):
            continue
        own = [
            text for child in node.iter(include_text=True) if child.tag == "-text" and (text := child.text().strip())
        ]
        yield Link(template_of(parts.path), parts.path, own[0] if own and len(own[0]) <= MOST_TEXT else "")
