"""Clear values at declared places of an answer, while a CRM may hold values that are not protected yet.

A surrogate says itself what it is; a clear name or address does not. So for people who may not see everything, the
places where the profile says that declared fields are shown are read first: cells, links to records, controls of
forms, keys of JSON, columns of tables, properties of cards. What stands there in clear is shown in the form that the
person's role has for the field of a record of somebody else, there and wherever else it stands in the same answer.
"""

import json as stdlib_json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import urljoin, urlsplit

import orjson
from selectolax.lexbor import LexborHTMLParser

from gateway.body import charset as charsets
from gateway.body import csv, vcard, xlsx
from gateway.body.leaf import Leaf
from gateway.body.limits import Limits
from gateway.body.media import Media
from gateway.body.xls import XlsPage
from gateway.body.xml import texts_of
from gateway.exchange import Exchange
from gateway.places import rules_of
from gateway.verdict import PLACEHOLDER
from kms.marked_digits import Check, is_shaped
from kms.scanner import Scanner
from policies.decision import FieldView, Form
from policies.graphql.answer import clear_places
from policies.graphql.asked import Asked
from policies.operation import FieldSpec, Operation, StorageForm
from policies.profile import Profile
from policies.selector import rule_for
from policies.taxonomy import Kind
from privacy import mask
from privacy.known import full_names

FORM = "application/x-www-form-urlencoded"
_TYPED = frozenset({"text", "email", "tel", "search", "url", "hidden", ""})
_SEVERAL = re.compile(rb"[\n\x1e]")
_SEGMENT = re.compile("[^\0\n;]+")  # a card writes the parts of a name with semicolons between them
_PAIR = re.compile(r'"([^"\\\s]{1,80})"\s*:\s*"((?:[^"\\]|\\.)*)"')  # a key of JSON and its text
_LONG_HAN, _LONG = 2, 4
_BLANK = frozenset({"", "\u2014", "-", "\u2013"})


class Words:
    """Clear texts of one answer. shown: text → its kind and what is shown instead.

    printed: texts may stand in JSON that is printed on a page; there a short one is whole between quotation marks.
    """

    __slots__ = ("_long", "_shown")

    def __init__(self, shown: Mapping[str, tuple[str, str]], *, printed: bool = False) -> None:
        self._shown = shown
        # Some pages escape what they hold once more than it is read (JSON inside JSON).
        self._long = [
            (spelled, *shown[clear])
            for clear in sorted(shown, key=len, reverse=True)
            if _is_long(clear)
            for spelled in {clear, clear.upper(), stdlib_json.dumps(clear)[1:-1]}
        ]
        if printed:
            short = [clear for clear in shown if not _is_long(clear)]
            self._long += [(f': "{one}"', shown[one][0], f': "{shown[one][1]}"') for one in short]

    def find(self, text: str) -> Iterator[tuple[int, int, str, str]]:
        """(start, end, kind, what is shown) of every one of these texts in another; that may be several (layer.GAP).

        What is short counts only where it is a whole text. Two may overlap.
        """
        for segment in _SEGMENT.finditer(text):
            whole = segment[0].strip()
            if whole in self._shown:
                start = segment.start() + segment[0].index(whole)
                yield start, start + len(whole), *self._shown[whole]
        for spelled, kind, shown in self._long:
            at = text.find(spelled)
            while at >= 0:
                end = at + len(spelled)
                if _apart(text, at, end):
                    yield at, end, kind, shown
                at = text.find(spelled, at + 1)


class Unprotected:
    """Looks for clear values in answers; one per process. migrated: whether a tenant's CRM holds none any more."""

    def __init__(
        self, scanner: Callable[[str], Scanner], migrated: Callable[[str], bool], limits: Limits | None = None
    ) -> None:
        self._scanner = scanner
        self._migrated = migrated
        self._limits = limits or Limits()

    def watches(self, exchange: Exchange) -> bool:
        """Whether clear values have to be hidden from this person."""
        decision = exchange.decision
        return decision is not None and not decision.view.sees_everything and not self._migrated(exchange.tenant)

    def declares(self, exchange: Exchange, profile: Profile, labels: Iterable[str]) -> bool:
        """Whether a table with these labels may show this person clear values at declared places."""
        specs = (profile.field_for_label(label) for label in labels) if self.watches(exchange) else ()
        return any(spec is not None and _is_watched(spec) for spec in specs)

    def look(self, exchange: Exchange, profile: Profile, kind: Media, body: bytes, charset: str) -> None:
        """Note in the exchange what has to be hidden in its answer; raises BodyFault for what cannot be read."""
        decision, operation = exchange.decision, exchange.operation
        if decision is None or operation is None or not self.watches(exchange):
            return
        scanner = self._scanner(exchange.tenant)
        placed = _placed(profile, operation, kind)
        words: dict[str, tuple[str, str]] = {}
        for text, spec in _places(exchange, profile, kind, body, charset, self._limits):
            clear = text.strip()
            if (
                not _is_watched(spec)
                or (spec in placed and _may_be_sealed(spec, clear))
                or clear in _BLANK
                or clear == PLACEHOLDER
                or mask.looks_masked(clear)
            ):
                continue
            if scanner.find(clear.encode("utf-8", "surrogatepass")):
                continue
            for spelled in _spellings(spec, clear):
                shown = _shown(decision.view, spec, spelled, profile.mask_char)
                if shown is not None:
                    words[spelled] = (str(spec.kind), shown)
        printed = kind is Media.HTML and bool(profile.places.keys)
        exchange.unprotected = Words(words, printed=printed) if words else None


def _placed(profile: Profile, operation: Operation, kind: Media) -> frozenset[FieldSpec]:
    """Fields whose digits gateway.digit_sight opens in this answer; elsewhere digits that look sealed are hidden, too,
    because only the store knows whether they are."""
    if not profile.digit_fields:
        return frozenset()
    if kind in (Media.CSV, Media.XLSX):
        return frozenset(profile.digit_fields)
    rules = rules_of(profile.shown_rules, operation.id) if kind in (Media.HTML, Media.JSON) else ()
    return frozenset(rule.field for rule in rules)


def _is_watched(spec: FieldSpec) -> bool:
    """Whether values of this field are looked for in clear."""
    return spec.kind is not None and spec.form in (StorageForm.SURROGATE, StorageForm.FF1)


def _may_be_sealed(spec: FieldSpec, text: str) -> bool:
    """Whether they are digits that are no right number."""
    return spec.form is StorageForm.FF1 and text.isdecimal() and is_shaped(Check(spec.check), text)


def _spellings(spec: FieldSpec, clear: str) -> set[str]:
    """A text as it stands, and a name of two parts in every order that prose has for it."""
    parts = clear.split()
    if spec.kind is not Kind.NAME or len(parts) != 2:
        return {clear}
    return {clear, *full_names(*parts), *full_names(*reversed(parts))}


def _shown(view: FieldView, spec: FieldSpec, clear: str, mask_char: str) -> str | None:
    """What is shown instead of a clear value of somebody else's record; None when it may be seen."""
    form = view.form(spec.entity, spec.name, str(spec.kind), bound=True, owned=False)
    if form is Form.CLEAR:
        return None
    return mask.mask(str(spec.kind), clear, char=mask_char) if form is Form.MASKED else PLACEHOLDER


def _places(
    exchange: Exchange, profile: Profile, kind: Media, body: bytes, charset: str, limits: Limits
) -> Iterator[tuple[str, FieldSpec]]:
    operation = exchange.operation
    assert operation is not None
    match kind:
        case Media.HTML:
            codec = charsets.codec_of(charset) if charset else "utf-8"
            tree = LexborHTMLParser(charsets.to_utf8(body, codec))
            yield from _links(tree, profile)
            yield from _cells(tree, profile, operation)
            yield from _controls(tree, profile, exchange.head.path)
            yield from _changes(tree, profile)
            yield from _printed(tree, profile, operation)
        case Media.JSON if operation.graphql is not None:
            yield from _graphql(body, operation.graphql)
        case Media.JSON:
            yield from _json(body, profile, operation, exchange.columns)
        case Media.XML:
            yield from _elements(body, charset, profile, operation)
        case Media.CSV:
            yield from _columns(csv.open_csv(body, charset, limits).leaves, profile, {})
        case Media.XLSX:
            yield from _columns(xlsx.open_xlsx(body, limits).leaves, profile, {})
        case Media.XLS:
            leaves = [Leaf((label,), text) for label, text in XlsPage(body, limits).labelled]
            yield from _columns(leaves, profile, {})
        case Media.VCARD:
            yield from _columns(vcard.open_vcard(body, charset, limits).leaves, profile, vcard.LABELS)
        case _:
            return


def _links(tree: LexborHTMLParser, profile: Profile) -> Iterator[tuple[str, FieldSpec]]:
    rules = profile.places.links
    if not rules.fields:
        return
    named = {node.mem_id for node in tree.css(rules.css)} if rules.css else set()
    for node in tree.css("a[href]"):
        spec = _record_page(profile, node.attributes.get("href") or "")
        if spec is None:
            continue
        yield node.attributes.get("title") or "", spec
        if node.mem_id in named:
            yield from ((text, spec) for text in _own_texts(node))


def _changes(tree: LexborHTMLParser, profile: Profile) -> Iterator[tuple[str, FieldSpec]]:
    """What fields held before and after a change, by the label that names them."""
    for rule in profile.places.changes:
        for row in tree.css(rule.row):
            label = row.css_first(rule.label)
            spec = profile.field_for_label(label.text(deep=True)) if label is not None else None
            if spec is not None:
                for node in row.css(rule.values):
                    text = node.text(deep=True)
                    yield text, spec
                    yield from ((line, spec) for line in text.splitlines())


def _record_page(profile: Profile, address: str) -> FieldSpec | None:
    found = profile.record_pages.find(urlsplit(address).path)
    return profile.places.links.fields.get(found[0]) if found is not None else None


def _own_texts(node: Any) -> list[str]:
    """The texts right inside an element, not those of its children."""
    return [text for child in node.iter(include_text=True) if child.tag == "-text" and (text := child.text().strip())]


def _cells(tree: LexborHTMLParser, profile: Profile, operation: Operation) -> Iterator[tuple[str, FieldSpec]]:
    for cell in profile.places.cells:
        if cell.entity and cell.entity != operation.entity:
            continue
        for node in tree.css(cell.css):
            if cell.within:
                found = re.search(cell.within, node.text(deep=True))
                if found is not None:
                    yield found[1], cell.field
                continue
            yield from ((text, cell.field) for text in _texts(node))


def _texts(node: Any) -> Iterator[str]:
    """Every text in an element, but for those of buttons."""
    for child in node.iter(include_text=True):
        if child.tag == "-text":
            if text := child.text().strip():
                yield text
        elif "data-action" not in child.attributes and child.tag != "script":
            yield from _texts(child)


def _controls(tree: LexborHTMLParser, profile: Profile, path: str) -> Iterator[tuple[str, FieldSpec]]:
    """Values of controls that the request a form makes would declare."""
    for form in tree.css("form"):
        action = urlsplit(urljoin(path, form.attributes.get("action") or path))
        method = (form.attributes.get("method") or "get").upper()
        rules = profile.classify(method, action.path, action.query, b"", FORM).rules
        names: dict[str, tuple[str, FieldSpec]] = {}
        for node in form.css("input, textarea") if rules else ():
            found = rule_for(rules, (node.attributes.get("name") or "",))
            if found is None or found[1] is None or (node.attributes.get("type") or "").lower() not in _TYPED:
                continue
            spec = found[1]
            text = node.text(deep=True) if node.tag == "textarea" else node.attributes.get("value") or ""
            names.setdefault(spec.name, (text.strip(), spec))
            yield text, spec
            yield from ((line, spec) for line in text.splitlines())
        yield from _together(names)


def _together(names: Mapping[str, tuple[str, FieldSpec]]) -> Iterator[tuple[str, FieldSpec]]:
    """The whole name of one record, whose parts are known by their fields: a title may put them together."""
    first, last = names.get("first_name"), names.get("last_name")
    if first is None or last is None or not first[0] or not last[0]:
        return
    yield from ((name, last[1]) for name in (*full_names(first[0], last[0]), f"{first[0]} {last[0]}"))


def _printed(tree: LexborHTMLParser, profile: Profile, operation: Operation) -> Iterator[tuple[str, FieldSpec]]:
    """JSON that a page shows as text, as frameworks do for whoever looks at their interface with a browser."""
    for node in tree.css("pre") if profile.places.keys else ():
        text = node.text(deep=True)
        start = min((at for at in (text.find("{"), text.find("[")) if at >= 0), default=len(text))
        try:
            value = orjson.loads(text[start:])
        except orjson.JSONDecodeError:  # cut off, or with something around it: pair by pair
            value = _pairs(text)
        yield from _members(value, "", profile, operation)


def _pairs(text: str) -> list[dict[str, str]]:
    """Keys with their texts in what is no whole JSON; a key that comes again begins another record."""
    records: list[dict[str, str]] = [{}]
    for key, written in _PAIR.findall(text):
        if key in records[-1]:
            records.append({})
        records[-1][key] = _unescaped(written)
    return records


def _unescaped(written: str) -> str:
    try:
        return str(orjson.loads(f'"{written}"'))
    except orjson.JSONDecodeError:
        return written


def _json(
    body: bytes, profile: Profile, operation: Operation, columns: Sequence[str]
) -> Iterator[tuple[str, FieldSpec]]:
    if not profile.places.keys and not profile.places.links.url:
        return
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        for line in _SEVERAL.split(body):  # several documents, or none: then recognisers alone
            with suppress(orjson.JSONDecodeError):
                yield from _members(orjson.loads(line), "", profile, operation)
        return
    yield from _members(value, "", profile, operation)
    if columns:
        yield from _rows(value, columns, profile, operation)


def _graphql(body: bytes, asked: Asked) -> Iterator[tuple[str, FieldSpec]]:
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        return
    yield from clear_places(asked, answer)


def _rows(
    value: Any, columns: Sequence[str], profile: Profile, operation: Operation
) -> Iterator[tuple[str, FieldSpec]]:
    """Texts of bare rows, by the columns that the request named."""
    rule, keys = profile.places.rows_of(operation.id), profile.places.keys
    for step in rule.rows if rule is not None else ():
        value = value.get(step) if isinstance(value, dict) else None
    specs: list[FieldSpec | None] = []
    for column in columns:
        outer, _, key = column.partition(":")[0].rpartition(".")
        names = (f"{outer.rpartition('.')[2]}./{key}", key) if outer else (key,)
        found = (keys.get((operation.entity, name)) or keys.get(("", name)) for name in names)
        specs.append(next((spec for spec in found if spec is not None), None))
    for row in value if isinstance(value, list) else ():
        for spec, text in zip(specs, row if isinstance(row, list) else (), strict=False):
            if spec is not None and isinstance(text, str):
                yield text, spec
                yield from ((line, spec) for line in text.splitlines())


def _members(value: Any, outer: str, profile: Profile, operation: Operation) -> Iterator[tuple[str, FieldSpec]]:
    if isinstance(value, list):
        for one in value:
            yield from _members(one, outer, profile, operation)
    if isinstance(value, str):
        # Right in a list: the label of a pair (`"partner_id": [7, "Wei Zhang"]`), or one of several values of the key.
        yield from _keyed(value, (outer,), profile, operation)
    if not isinstance(value, dict):
        return
    links = profile.places.links
    address = value.get(links.url) if links.url else None
    if isinstance(address, str) and isinstance(value.get(links.label), str):
        spec = _record_page(profile, address)
        if spec is not None:
            yield value[links.label], spec
    names: dict[str, tuple[str, FieldSpec]] = {}
    for key, inner in value.items():
        if isinstance(inner, str):
            for text, spec in _keyed(inner, (f"{outer}/{key}", key), profile, operation):
                names.setdefault(spec.name, (inner.strip(), spec))
                yield text, spec
        else:
            yield from _members(inner, key, profile, operation)
    yield from _together(names)


def _keyed(text: str, names: Sequence[str], profile: Profile, operation: Operation) -> Iterator[tuple[str, FieldSpec]]:
    """A text and its lines, where one of these keys is that of a declared field."""
    keys = profile.places.keys
    for name in names:
        spec = keys.get((operation.entity, name)) or keys.get(("", name))
        if spec is not None:
            yield text, spec
            yield from ((line, spec) for line in text.splitlines())


def _elements(body: bytes, charset: str, profile: Profile, operation: Operation) -> Iterator[tuple[str, FieldSpec]]:
    """Texts of elements that are called like keys of a JSON object."""
    if not profile.places.keys:
        return
    for outer, key, text in texts_of(charsets.to_utf8(body, charsets.codec_of(charset) if charset else "utf-8")):
        yield from _keyed(text, (f"{outer}/{key}", key), profile, operation)


def _columns(leaves: Sequence[Leaf], profile: Profile, names: Mapping[str, str]) -> Iterator[tuple[str, FieldSpec]]:
    rows: dict[tuple[str, ...], dict[str, tuple[str, FieldSpec]]] = {}
    for leaf in leaves:
        label = leaf.path[0] if leaf.path else ""
        spec = profile.field_for_label(names.get(label, label)) if label else None
        if spec is not None:
            rows.setdefault(leaf.path[1:], {}).setdefault(spec.name, (leaf.text.strip(), spec))
            yield leaf.text, spec
            yield from ((line, spec) for line in leaf.text.splitlines())
    for row in rows.values():
        yield from _together(row)


def _is_long(text: str) -> bool:
    han = sum("\u3400" <= char <= "\u9fff" or char >= "\U00020000" for char in text)
    return han >= _LONG_HAN or sum(char.isalnum() for char in text) >= _LONG


def _apart(text: str, start: int, end: int) -> bool:
    """Whether no word goes on at either end; scripts without spaces have no such ends."""
    before, first = text[start - 1 : start], text[start]
    last, after = text[end - 1], text[end : end + 1]
    return not (_joins(before) and _joins(first)) and not (_joins(last) and _joins(after))


def _joins(char: str) -> bool:
    return bool(char) and char.isalnum() and not ("\u2e80" <= char <= "\u9fff" or char >= "\U00020000")
