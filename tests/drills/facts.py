"""Answers as facts that can be compared: every text and every attribute of a page, every cell of a file.

Only what must differ between two installations is evened out: their addresses, form tokens, and the time of day.
"""

import csv
import html
import io
import json
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote

import openpyxl
from python_calamine import CalamineWorkbook
from selectolax.lexbor import LexborHTMLParser, LexborNode

from gateway.demo.browser import Answer, Browser

# Headers that a person or a program notices; the others belong to each server.
HEADERS = ("content-type", "location", "content-language")
_EVEN = (
    (re.compile(r"\b[A-Z][a-z]{2,8}\.? \d{1,2}, \d{4}, (?:\d{1,2}(?::\d\d)? [ap]\.m\.|noon|midnight)"), "{time}"),
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d)?(?:\.\d+)?(?:Z|\+00:00)?"), "{time}"),
    (re.compile(r"\b\d{1,2}:\d\d [ap]\.m\."), "{time}"),
    (re.compile(r"Seconds: \d+"), "{seconds}"),
    (re.compile(r"background-color:#[0-9a-f]{6}"), "background-color:{any}"),  # drawn at random for a new calendar
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"), "{uuid}"),
    (re.compile(r"(userhf_|userfilter_)([a-z]+-[a-z]+-)?\d+"), r"\1\2{number}"),  # views: a number drawn at random
    (re.compile(r"^\s*\d{1,2}:\d\d\s*$"), "{time}"),
)
_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")
# Addresses stay without clear values: the same search by surrogate stands in links behind the gateway.
_SEARCHED = re.compile(r"([?&](?:search-[a-z_]+-[a-z_]+|research|value)=)[^&]*")
# A number is dialled alike with or without percent-encoding.
_CALL = re.compile(r"(?:tel:|viber://|https://wa\.me/)[^\s\"'<>]+")
_TOKEN = "csrfmiddlewaretoken"


def even(text: str, browser: Browser) -> str:
    """A text without what must differ between the two sides."""
    text = text.replace("\r\n", "\n")  # a browser sends and shows both alike
    text = text.replace(browser.base, "{site}").replace(browser.base.partition("://")[2], "{host}")
    text = _CALL.sub(lambda match: unquote(match.group()), text)
    for pattern, name in _EVEN:
        text = pattern.sub(name, text)
    return text


def head(answer: Answer, browser: Browser) -> tuple[str, ...]:
    """Status and the headers that count."""
    told = [f"{name}: {even(answer.header(name), browser)}" for name in HEADERS if answer.header(name)]
    if answer.header("content-disposition"):
        told.append(f"file {even(file_name(answer.header('content-disposition')), browser)}")
    cookies = sorted(value.partition("=")[0] for name, value in answer.headers if name == "set-cookie")
    return (f"status {answer.status}", *told, *(f"cookie {name}" for name in cookies if name.find("crmgate") < 0))


def file_name(disposition: str) -> str:
    """Under which name a browser saves a download (RFC 6266, section 4.3), and whether it does."""
    kind, _, rest = disposition.partition(";")
    extended = re.search(r"filename\*=UTF-8''([^;]+)", rest, re.IGNORECASE)
    plain = re.search(r'filename="?([^";]*)', rest)
    return f"{kind} {unquote(extended[1]) if extended else plain[1] if plain else ''}"


def page(answer: Answer, browser: Browser) -> tuple[str, ...]:
    """Everything of an answer: of HTML every tag, attribute and text; of anything else its lines."""
    if answer.header("content-type").startswith("application/json"):
        return (*head(answer, browser), *even(structure(answer.json()), browser).splitlines())
    if b"<" not in answer.body[:2000] or "html" not in answer.header("content-type"):
        return (*head(answer, browser), *even(answer.text, browser).splitlines())
    return (*head(answer, browser), *nodes(LexborHTMLParser(answer.body).root, browser))


def nodes(root: LexborNode | None, browser: Browser) -> list[str]:
    """Tags with sorted attributes, and texts, in the order of the document."""
    facts: list[str] = []
    script = False
    for node in root.traverse(include_text=True) if root is not None else ():
        if node.tag == "-text":
            text = even(_unescaped(node) if script else node.text_content or "", browser)
            facts += [line for line in text.split("\n") if line.strip()]
            continue
        if node.tag == "br":
            continue  # a line ends here or there: layout
        script = node.tag == "script"
        attributes = {name: _steady_attribute(name, value or "") for name, value in node.attributes.items()}
        if attributes.get("name") == _TOKEN:
            attributes.pop("value", None)
        told = " ".join(f"{name}={even(value, browser)!r}" for name, value in sorted(attributes.items()))
        facts.append(f"<{node.tag} {told}>")
    return facts


def _unescaped(node: LexborNode) -> str:
    """A script with its `\\uNNNN` read, also those inside a string that is inside a string."""
    text = node.text_content or ""
    for _ in range(3):
        text = _ESCAPE.sub(lambda match: chr(int(match.group(1), 16)), text)
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return html.unescape(text).replace("\\r", "").replace("\\n", "\n")


def _steady_attribute(name: str, value: str) -> str:
    """Sets that Creme writes in the order of the machine's memory; rows that are striped by their number."""
    if name.startswith("data-brick") and value[:1] in ("{", "["):
        return json.dumps(_sorted_lists(json.loads(value)), sort_keys=True)
    value = _SEARCHED.sub(r"\1{searched}", value) if "url" in name or name == "href" else value
    if "exclude=" in value:
        path, _, query = value.partition("?")
        return f"{path}?{'&'.join(sorted(query.split('&')))}"
    return " ".join(one for one in value.split(" ") if one != "odd") if name == "class" else value


def _sorted_lists(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted_lists(inner) for key, inner in value.items()}
    return sorted(map(_sorted_lists, value), key=str) if isinstance(value, list) else value


def without_rows(answer: Answer, browser: Browser, selector: str) -> tuple[str, ...]:
    """The page with the matching parts taken out and put behind it in an order of their own."""
    tree = LexborHTMLParser(answer.body)
    rows = sorted("\n".join(nodes(node, browser)) for node in tree.css(selector))
    for node in tree.css(selector):
        node.decompose()
    return (*head(answer, browser), *nodes(tree.root, browser), *rows)


def texts(answer: Answer, selector: str) -> list[str]:
    """Visible text of every match, white space collapsed."""
    return [" ".join((node.text(deep=True) or "").split()) for node in LexborHTMLParser(answer.body).css(selector)]


def values(fields: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """Form fields as facts, exactly as a browser would send them."""
    return tuple(f"{name} = {_even_line_ends(value)!r}" for name, value in fields if name != _TOKEN)


def _even_line_ends(value: str) -> str:
    return value.replace("\r\n", "\n")


def csv_rows(body: bytes, delimiter: str = ",") -> list[list[str]]:
    """Cells of a CSV file."""
    return list(csv.reader(io.StringIO(body.decode("utf-8-sig")), delimiter=delimiter))


def sheet_rows(body: bytes) -> list[list[str]]:
    """Cells of the first sheet of an XLS or XLSX file, as text."""
    sheet = CalamineWorkbook.from_filelike(io.BytesIO(body)).get_sheet_by_index(0)
    rows = [
        ["" if cell is None else _even_line_ends(str(cell)) for cell in row]
        for row in sheet.to_python(skip_empty_area=False)
    ]
    if body[:2] == b"PK":  # a second reader has to agree with the first
        openpyxl.load_workbook(io.BytesIO(body), read_only=True).close()
    return rows


def cells(rows: Iterable[list[str]]) -> tuple[str, ...]:
    """Rows as facts."""
    return tuple(" | ".join(map(repr, row)) for row in rows)


def structure(value: Any, moving: Iterable[str] = ()) -> str:
    """JSON in one order of keys; fields that tell the time are left out."""
    return json.dumps(_steady(value, frozenset(moving)), ensure_ascii=False, sort_keys=True, indent=1)


def _steady(value: Any, moving: frozenset[str]) -> Any:
    if isinstance(value, dict):
        return {key: "{time}" if key in moving else _steady(inner, moving) for key, inner in value.items()}
    return [_steady(inner, moving) for inner in value] if isinstance(value, list) else value
