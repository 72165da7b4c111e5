"""The way in, container by container: opens a request, says what each leaf is, and puts the protected values back.

The profile decides what is declared, what is searched and what is left alone; recognisers judge everything else. What
cannot be opened is refused when its type promises structure (broken JSON, broken multipart) and passed as it is when
nothing in it can be looked at (pictures, sound, PDF).
"""

import json as lax_json
import re
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol
from urllib.parse import unquote

from gateway import attached, batch, graphql, narrow, opaque
from gateway.body import csv, data_file, form, json, json_lines, media, multipart, text, vcard, xlsx, xml_request
from gateway.body.archive import ArchiveDocument
from gateway.body.enclosed import EnclosedFile, open_enclosed
from gateway.body.fault import BodyFault, BodyMalformed
from gateway.body.leaf import Container, Leaf
from gateway.body.limits import Limits as BodyLimits
from gateway.body.media import Media
from gateway.body.path import open_path
from gateway.collaborators import Limits, Outgoing
from gateway.columns import require_columns
from gateway.digits import DigitFields
from gateway.exchange import Exchange
from gateway.files import Files
from gateway.merged import combinations, require_one
from gateway.parts import Question
from gateway.refusal import BODY_UNREADABLE, FIELD_RESPELLED, VALUE_INVALID, Refusal
from gateway.search import Operand, Search
from gateway.table_rows import row_of
from gateway.tokenise import Tokeniser
from gateway.treatment import UNDECLARED, Target, Treatment
from gateway.unchanged import in_doubt
from kms.scanner import Scanner
from policies import comparison, element, form_row, import_row, selector
from policies.comparison import Compared
from policies.operation import UNMATCHED_READ, WRITES, StorageForm, with_record
from policies.owner import POSTED, posted_owner
from policies.profile import Action, FieldSpec, Operation, Profile, SearchRule, Where
from policies.record_id import RecordIds
from policies.spelling import respelled
from privacy import recognise

Path = tuple[str, ...]
_MOST_READINGS = 20  # of one name that stands several times, where columns are named
FREE_TEXT_CHARS = 65_000  # what a note of an undeclared field may hold in every CRM tried
_STORES = frozenset({Action.CREATE, Action.UPDATE})
UNTOUCHED = frozenset({Action.LOGIN, Action.LOGOUT, Action.ASSET})
_ENLARGED = re.compile(r"@[0-9](?:\.[0-9])?x\.[a-z]+$")  # pictures for finer screens: logo@2x.png
_BEFORE_JSON = b"\xef\xbb\xbf \t\r\n"
_ADDRESSED = re.compile("@|%40|[+]|%2[bB]")
# Frameworks read these by their declared type alone, whatever the first bytes look like: `BM=1&phone=…` is a form.
_DECLARED = {
    "application/x-www-form-urlencoded": Media.FORM,
    "application/json": Media.JSON,
    "text/json": Media.JSON,
}


@dataclass(frozen=True, slots=True)
class Found:
    """One string of a request with the whole path to it, and where it came from."""

    where: Where
    path: Path
    leaf: Leaf


class Leaving(Protocol):
    """The part of gateway.kept that hears of deletions."""

    async def leaving(self, exchange: Exchange, fields: Iterable[FieldSpec]) -> None:
        """Records are asked to be deleted."""


class Inward:
    """Protects requests of one gateway; all methods take the exchange."""

    def __init__(
        self,
        tokeniser: Tokeniser,
        search: Search,
        scanner: Callable[[str], Scanner],
        limits: Limits,
        files: Files | None = None,
        kept: Leaving | None = None,
        digits: DigitFields | None = None,
    ) -> None:
        self._digits = digits
        self._tokeniser = tokeniser
        self.search = search
        self.scanner = scanner
        self._limits = limits
        self._files = files
        self._kept = kept

    async def protect_request(
        self,
        exchange: Exchange,
        profile: Profile,
        content_type: str,
        body: bytes | AsyncIterator[bytes] | None,
    ) -> Outgoing:
        """What the CRM gets instead; raises Refusal, BodyMalformed, KeysUnavailable, StoreUnavailable."""
        operation = exchange.operation
        head = exchange.head
        if operation is None:
            raise RuntimeError("a request is looked at only after it was classified")
        if isinstance(exchange.batch, graphql.GraphqlBatch):
            return await graphql.protect(self, exchange, profile, exchange.batch)
        await self.leaving(exchange, profile)
        if operation.left_alone or operation.action in UNTOUCHED:
            if isinstance(body, bytes) or body is None:
                exchange.body = body or b""
                return Outgoing(head.target, body)
            return Outgoing(head.target, await multipart.spool(body, self._limits.bodies))
        if exchange.batch is not None and isinstance(body, bytes):
            return await batch.protect(self, exchange, profile, content_type, body, self._limits.bodies)
        bare = not (operation.searches or operation.placed or operation.id == UNMATCHED_READ.id)
        if body == b"" and not head.query and bare:
            return Outgoing(head.path, body)  # nothing in it that could be a value
        if isinstance(body, bytes) and body and media.essence(content_type).startswith("multipart/"):
            body = _whole(body)  # the profile had to read it first, to tell what is asked for
        opened = _address(exchange)
        if body is not None and not isinstance(body, bytes):
            return await self._upload(exchange, profile, content_type, body, opened)
        inside = self._open(content_type, body) if body else None
        if head.has_body and body != b"":
            opaque.require_body(operation.opaque, None if inside is None else inside.container)
        if inside is not None and inside.where is Where.XML and not element.is_described(operation):
            # The profile says where values stand in bodies of another kind.
            raise Refusal(BODY_UNREADABLE, detail="xml")
        if inside is not None and body is not None and _is_list(inside, body):
            _require_rows(operation)
        parts = opened if inside is None else [*opened, inside]
        await self._protect(exchange, profile, parts)
        if exchange.several:

            def written() -> tuple[str, bytes]:
                return _target(head.path, opened), inside.container.encode() if inside is not None else b""

            own = {id(leaf) for part in parts for leaf in part.container.leaves}
            legs = combinations(exchange, own, written)
            return Outgoing(legs[0][0], legs[0][1], legs=legs)
        return Outgoing(_target(head.path, opened), inside.container.encode() if inside is not None else body)

    async def leaving(self, exchange: Exchange, profile: Profile) -> None:
        """Note what a deletion takes away."""
        operation = exchange.operation
        if operation is not None and operation.action is Action.DELETE and self._kept is not None:
            await self._kept.leaving(exchange, profile.field_specs.values())

    async def protect_leaves(
        self, exchange: Exchange, profile: Profile, targets: Sequence[Target], operands: Sequence[Operand]
    ) -> None:
        """Protect leaves whose meaning is known; raises Refusal, KeysUnavailable, StoreUnavailable."""
        operation = exchange.operation
        assert operation is not None
        scanner = self.scanner(exchange.tenant)
        for operand in operands:
            await self.search.rewrite(exchange, scanner, operand, profile.field_specs)
        records = (operation.record,) if operation.record is not None else operation.records
        try:
            await self._tokeniser.protect(exchange, targets, records=records, mask_char=profile.mask_char)
        except Refusal as refusal:
            raise in_doubt(exchange, refusal) from None

    async def protect_document(self, exchange: Exchange, profile: Profile, document: json.JsonDocument) -> str:
        """Protect the leaves of a JSON document and what the address holds; the target as it is now."""
        await self.leaving(exchange, profile)
        opened = _address(exchange)
        await self._protect(exchange, profile, [*opened, _Part(Where.JSON, document)])
        require_one(exchange)
        return _target(exchange.head.path, opened)

    def _open(self, content_type: str, body: bytes) -> "_Part | None":
        """The body as the CRM will read it; None for what holds nothing that can be looked at."""
        sniffed = media.sniff_upload(content_type, None, body)
        kind = data_file.kind_of(_DECLARED.get(media.essence(content_type), sniffed), body)
        if kind in (Media.IMAGE, Media.OPAQUE) and media.essence(content_type).startswith("text/"):
            kind = Media.TEXT
        if media.is_xml(content_type):
            kind = Media.XML
        if media.essence(content_type) in media.JSON_LINES:
            return _Part(Where.JSON, json_lines.open_lines(body, self._limits.bodies))
        charset = media.charset_of(content_type, kind, body)
        limits = self._limits.bodies
        match kind:
            case Media.JSON:
                return _Part(Where.JSON, json.open_json(body, limits))
            case Media.FORM:
                return _Part(Where.FORM, form.open_form(body, charset, limits))
            case Media.CSV:
                return _Part(Where.FORM, csv.open_csv(body, charset, limits), labels=True)
            case Media.XLSX:
                return _Part(Where.FORM, xlsx.open_xlsx(body, limits), labels=True)
            case Media.VCARD:
                return _Part(Where.FORM, vcard.open_vcard(body, charset, limits), labels=True)
            case Media.XML:
                return _Part(Where.XML, xml_request.open_xml(body, content_type, limits))
            case Media.ZIP | Media.HTML:
                opened = data_file.open_data(kind, body, content_type, limits)
                return None if opened is None else _Part(Where.FORM, opened, labels=True)
            case Media.TEXT | Media.SCRIPT | Media.CSS:
                return _Part(Where.FORM, text.open_text(body, charset, limits))
            case Media.IMAGE | Media.OPAQUE:
                return None
            case _:
                raise Refusal(BODY_UNREADABLE, detail=str(kind))

    async def _upload(
        self,
        exchange: Exchange,
        profile: Profile,
        content_type: str,
        body: AsyncIterator[bytes],
        opened: list["_Part"],
    ) -> Outgoing:
        """A multipart body: fields and data files are leaves, other files stream past into the spool."""
        upload = await multipart.read(body, content_type, self._limits.bodies)
        try:
            parts = [*opened, _Part(Where.FORM, upload.fields)]
            await attached.seal_upload(self._files, exchange, upload)
            opaque.sift(opaque.rule_of(exchange), upload)
            for file in upload.files:
                if file.transform is not None:
                    continue
                if file.container is not None:
                    parts.append(_Part(Where.FORM, file.container, labels=True))
                elif file.length:
                    attached.require_opaque(file.media, (file.name,))
            await self._protect(exchange, profile, parts)
            require_one(exchange)
            spool = await upload.assemble()
        except BaseException:
            await upload.close()
            raise
        return Outgoing(_target(exchange.head.path, opened), spool, upload.content_type)

    async def _protect(self, exchange: Exchange, profile: Profile, parts: Sequence["_Part"]) -> None:
        operation = exchange.operation
        assert operation is not None
        if self._digits is not None and profile.digit_fields:
            await self._digits.require_no_gain(exchange, profile.digit_fields)
        clear = bool(operation.columns) and self.search.comparing.stands_clear(exchange.tenant)
        sorting = _Sorting(exchange, operation, profile, self._limits.bodies, clear=clear)
        chooser = operation.extra.get("redirect_part")
        for part in parts:
            sorting.take(part)
            if chooser and part.where is Where.FORM and part.fills(chooser):
                # Whoever chooses the page the CRM redirects to would choose the record that is bound.
                exchange.operation = with_record(operation, operation.record, operation.records, binds=False)
            if part.where is Where.FORM and not part.labels:
                _require_fixed(operation, part)
                exchange.owner = profile.owner_from_body(operation, part.named()) or exchange.owner
                exchange.posted |= part.named_of(profile.posted_fields)
            elif operation.owners and part.where in (Where.JSON, Where.XML):
                named = ((leaf.path, leaf.text, leaf.siblings) for leaf in part.container.leaves)
                if (owner := posted_owner(operation.owners, named, profile.record_ids)) is not None:
                    exchange.posted[POSTED] = owner
        exchange.columns = tuple(sorting.columns)
        self.search.comparing.require(exchange, sorting.compared)
        await self.protect_leaves(exchange, profile, sorting.targets, sorting.operands)
        for nested in sorting.nested:
            nested.close()
        for file, spec in sorting.sealing:
            await attached.seal_enclosed(self._files, exchange, file, spec)
        if exchange.narrowed:
            _narrow(exchange, parts)


def _require_spelled(operation: Operation, part: "_Part") -> None:
    """A CRM that takes names in any case would fill a declared field by a name that no rule covers."""
    if part.where not in (Where.JSON, Where.FORM, Where.XML):
        return
    blanks = part.container.blanks if isinstance(part.container, json.JsonDocument | json_lines.JsonLines) else ()
    name = respelled(operation, (leaf.path for leaf in (*part.container.leaves, *blanks)))
    if name is not None:
        raise Refusal(FIELD_RESPELLED, fields=(name,))


def doubled(found: Sequence[Found], leaves: Mapping[Path, str]) -> list[dict[Path, str]]:
    """Other readings of leaves of which several have one path: the first of each, the second, and so on."""
    ranks: list[dict[Path, str]] = []
    seen: dict[Path, int] = {}
    for one in found:
        rank = seen[one.path] = seen.get(one.path, -1) + 1
        if rank == len(ranks):
            ranks.append({})
        ranks[rank][one.path] = one.leaf.text
    if len(ranks) > _MOST_READINGS:
        raise BodyMalformed("field-repeated")
    return [{**leaves, **rank} for rank in ranks]


@dataclass(slots=True)
class _Part:
    """One opened container of a request."""

    where: Where
    container: Container
    labels: bool = False

    def named(self) -> dict[str, str]:
        """Form fields by name; of several with one name the last counts, as frameworks have it."""
        return {leaf.path[0]: leaf.text for leaf in self.container.leaves if len(leaf.path) == 1}

    def fills(self, name: str) -> bool:
        """Whether a field of this name has a value, wherever it stands."""
        return any(leaf.path[0] == name and leaf.text for leaf in self.container.leaves if leaf.path)

    def named_of(self, names: Sequence[str]) -> dict[str, str]:
        """Those of these names that stand in the form."""
        return {name: value for name, value in self.named().items() if name in names} if names else {}


@dataclass(slots=True)
class _Nested:
    """JSON inside a form field or parameter: written back into its leaf when something in it changed."""

    outer: Leaf
    container: Container

    def close(self) -> None:
        if any(leaf.new is not None for leaf in self.container.leaves):
            self.outer.new = self.container.encode().decode("utf-8")


@dataclass(slots=True)
class _Sorting:
    """Says of every string of a request what it is."""

    exchange: Exchange
    operation: Operation
    profile: Profile
    limits: BodyLimits
    targets: list[Target] = field(default_factory=list)
    operands: list[Operand] = field(default_factory=list)
    nested: list[_Nested | EnclosedFile] = field(default_factory=list)
    sealing: list[tuple[EnclosedFile, FieldSpec]] = field(default_factory=list)
    compared: list[Compared] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)
    clear: bool = False

    def take(self, part: _Part) -> None:
        """Sort the strings of one container; raises Refusal for a table whose labels are values."""
        files = self._files(part)
        found = [one for one in self._found(part) if id(one.leaf) not in files]
        if part.labels:
            self._require_labels(found)
            self.targets += [self._labelled(one) for one in found]
            # A column of empty cells has no strings, but an import may empty what stands there.
            labels = part.container.columns if isinstance(part.container, xlsx.XlsxDocument | ArchiveDocument) else ()
            self.targets += [self._labelled(Found(part.where, (one,), Leaf((one,), ""))) for one in labels]
            return
        if self.profile.names_in_any_case:
            _require_spelled(self.operation, part)
        leaves = {one.path: one.leaf.text for one in found}
        # Which of several values of one name a CRM reads is its own affair, so each is judged.
        others: Sequence[Mapping[Path, str]] = ()
        if len(leaves) < len(found) and (self.operation.columns or self.profile.comparisons):
            others = doubled(found, leaves)
        rows = self.profile.places.rows_of(self.operation.id) if part.where is Where.JSON else None
        if rows is not None:
            self.columns += [text for path, text in leaves.items() if selector.matches(rows.header, path)]
        compared: list[Compared] = []
        if self.operation.action not in WRITES:
            compared = list(comparison.find(self.profile.comparisons, self.operation.id, part.where, leaves))
            for other in others:
                self.compared += comparison.find(self.profile.comparisons, self.operation.id, part.where, other)
        self.compared += compared
        for one_reading in (leaves, *others) if self.operation.columns else ():
            require_columns(self.exchange, self.operation, part.where, one_reading, clear=self.clear)
        searching = {
            path: (operator, spec, rule)
            for path, operator, spec, rule in selector.search_operands(self.operation, part.where, leaves)
        }
        by_path = {one.path: one.leaf for one in found} if searching else {}
        by_row = form_row.has_rows(self.operation)
        rows_brought = (
            import_row.rows_of(self.operation, leaves, self.profile.record_ids) if part.where is Where.JSON else {}
        )
        for one in found:
            if one.path in searching:
                spec, rule = searching[one.path][1:]
                if rule.language:
                    self.operands.append(Operand(one.leaf, query=rule, tables=self.profile.tables))
                    continue
                if spec is None:
                    # The column says what an operand is, so that nobody hidden makes a difference.
                    spec = next((asked.fields[0] for asked in compared if asked.asks_with(one.path)), None)
                if part.where is Where.PATH and self.operation.action in _STORES and spec is not None:
                    # A write to a key that no record has yet makes one: the value is stored, not looked up.
                    self.targets.append(Target(one.leaf, Treatment.VALUE, spec, (), path=None))
                    continue
                if not one.leaf.bare or (spec is not None and spec.kind is not None):  # else an id or an amount
                    question = self._question(part, one, searching[one.path], by_path)
                    self.operands.append(
                        Operand(
                            one.leaf,
                            spec,
                            question=question,
                            at_least=rule.at_least,
                            operator=searching[one.path][0],
                        )
                    )
                continue
            treatment, spec = selector.treatment(
                self.operation, one.path, one.leaf.siblings, text=one.leaf.text, leaves=leaves
            )
            if part.where in (Where.QUERY, Where.PATH):
                if treatment is not selector.Treatment.LEAVE:
                    self.operands.append(Operand(one.leaf, None, declared=False))
                continue
            ids = self.profile.record_ids
            records = self._row(part, one, leaves, ids) if by_row else None
            if records == () and not one.leaf.text.strip():
                treatment = selector.Treatment.LEAVE  # nothing in a new row, or in the row that scripts copy
            target = self._target(one, treatment, spec, records)
            brought = rows_brought.get(one.path[:-1]) if rows_brought else None
            if brought is not None:
                target = replace(target, row=brought.key)
                if brought.record is not None and spec is not None and spec.entity == self.operation.entity:
                    target = replace(target, records=(brought.record,))
            self.targets.append(target)
        if isinstance(part.container, json.JsonDocument | json_lines.JsonLines):
            self.targets += self._emptied(part.container)
        elif part.where is Where.XML:
            self.targets += self._emptied_by_name(found)

    def _row(self, part: _Part, one: Found, leaves: Mapping[Path, str], ids: RecordIds) -> tuple[str, ...] | None:
        """The record of the row or element a value stands in."""
        if part.where is Where.XML:
            return element.records_beside(self.operation, one.path, one.leaf.siblings, ids)
        return form_row.row_records(self.operation, one.path, leaves, ids)

    def _emptied_by_name(self, found: Iterable[Found]) -> Iterator[Target]:
        """Fields that an XML body empties by naming them, as if an empty text stood there."""
        for one in found:
            for spec in element.emptied(self.operation.rules, one.path, one.leaf.text):
                records = element.records_beside(self.operation, one.path, one.leaf.siblings, self.profile.record_ids)
                free = spec.kind is None and spec.form is StorageForm.SURROGATE
                treatment = Treatment.TEXT if free else Treatment.VALUE
                yield Target(Leaf(one.path, ""), treatment, spec, records, alone=True, path=one.path)

    def _emptied(self, document: json.JsonDocument | json_lines.JsonLines) -> Iterator[Target]:
        """Declared fields that a JSON document empties with null or false, as if an empty text stood there."""
        for leaf in document.blanks:
            found = selector.rule_for(self.operation.rules, leaf.path, leaf.siblings)
            spec = found[1] if found is not None else None
            if spec is not None and not self.operation.left_alone:
                free = spec.kind is None and spec.form is StorageForm.SURROGATE
                alone = selector.names_one_place(self.operation, leaf.path, leaf.siblings)
                yield Target(leaf, Treatment.TEXT if free else Treatment.VALUE, spec, alone=alone, path=leaf.path)

    def _question(
        self,
        part: _Part,
        one: Found,
        asked: tuple[str, FieldSpec | None, SearchRule],
        leaves: Mapping[Path, Leaf],
    ) -> Question | None:
        """What is asked, where the profile says how the CRM compares."""
        operator, spec, rule = asked
        if not rule.compare:
            return None
        if rule.compare != "operator":
            if not isinstance(part.container, form.FormDocument) and self.operation.merge is None:
                return None
            return Question(one.leaf, rule, spec, operator, several=self.operation.extra.get("several", "q_filter"))
        many = operator in selector.LISTS
        place = one.path[: -2 if many else -1]
        column, operator_leaf = leaves.get((*place, "0")), leaves.get((*place, "1"))
        bounded = (*place, "3") not in leaves
        return Question(one.leaf, rule, spec, operator, column, operator_leaf, bounded, many)

    def _found(self, part: _Part) -> Iterator[Found]:
        """Every string of a container; a form field or parameter that holds JSON gives the strings inside it."""
        for leaf in part.container.leaves:
            inside = None
            if part.where in (Where.QUERY, Where.FORM) and not part.labels and not self._declared(part.where, leaf):
                inside = _open_nested(leaf)
            if inside is None:
                yield Found(part.where, leaf.path, leaf)
                continue
            self.nested.append(_Nested(leaf, inside))
            for inner in inside.leaves:
                yield Found(part.where, (*leaf.path, *inner.path), inner)

    def _files(self, part: _Part) -> set[int]:
        """Take the files that stand in the strings of a JSON document, as if they were uploaded; the ids of those."""
        if part.where is not Where.JSON:
            return set()
        leaves = {leaf.path: leaf.text for leaf in part.container.leaves}
        taken: set[int] = set()
        rules = attached.marked(self.operation)
        for leaf in part.container.leaves:
            file = open_enclosed(leaf, leaves, self.limits)
            if file is None:
                attached.require_file(rules, leaf)
                continue
            taken.add(id(leaf))
            spec = attached.seal_of(attached.rule_at(rules, file.keys), file.media, file.container)
            if spec is not None:
                self.sealing.append((file, spec))
                continue
            opaque.require_passing(self.operation.opaque, file.media, file.container)
            if file.container is not None:
                self.take(_Part(Where.FORM, file.container, labels=True))
                self.nested.append(file)
            else:
                attached.require_opaque(file.media)
        return taken

    def _declared(self, where: Where, leaf: Leaf) -> bool:
        """Whether the profile says what the string itself is, so that brackets around it change nothing."""
        if selector.rule_for(self.operation.rules, leaf.path, text=leaf.text) is not None:
            return True
        queries = (rule for rule in self.operation.searches if rule.language and rule.where is where)
        return any(selector.matches(rule.selector, leaf.path) for rule in queries)

    def _target(
        self,
        found: Found,
        treatment: selector.Treatment,
        spec: FieldSpec | None,
        records: tuple[str, ...] | None = None,
    ) -> Target:
        """records: of the row it stands in, where the form has rows."""
        leaf = found.leaf
        path = leaf.path if found.path == leaf.path else None
        if treatment is selector.Treatment.LEAVE:
            return Target(leaf, Treatment.LEAVE, path=path)
        if treatment is selector.Treatment.WHOLE:
            # A number without quotes is an id or an amount; only a profile can say that it is a phone.
            return Target(leaf, Treatment.LEAVE if leaf.bare else Treatment.WHOLE, path=path)
        alone = spec is not None and selector.names_one_place(self.operation, found.path, leaf.siblings, text=leaf.text)
        alone = alone or bool(records and spec is not None)  # its row is one place, though the rule names many
        spec = spec or FieldSpec(self.operation.entity, UNDECLARED, None, FREE_TEXT_CHARS)
        if treatment is selector.Treatment.TEXT and spec.form is StorageForm.SURROGATE:
            return Target(leaf, Treatment.TEXT, spec, records, alone, path)
        return Target(leaf, Treatment.VALUE, spec, records, alone, path)

    def _labelled(self, found: Found) -> Target:
        """A cell of an imported file: its column label says what it is, in any language the profile knows."""
        if not found.path:  # a whole text, read by people as a note is
            note = FieldSpec(self.operation.entity, UNDECLARED, None, FREE_TEXT_CHARS)
            return Target(found.leaf, Treatment.TEXT, note, ())
        label = found.path[0]
        spec = self.profile.field_for_label(vcard.LABELS.get(label, label)) if label else None
        if spec is None:
            return Target(found.leaf, Treatment.WHOLE, None, ())
        free = spec.kind is None and spec.form is StorageForm.SURROGATE
        row = row_of(found.leaf) if found.leaf.siblings else ""
        return Target(found.leaf, Treatment.TEXT if free else Treatment.VALUE, spec, (), row=row)

    def _require_labels(self, found: Sequence[Found]) -> None:
        """A table without a header row would keep its first person in clear, as labels."""
        if any(recognise.whole(label) is not None for label in {one.path[0] for one in found if one.path}):
            raise Refusal(BODY_UNREADABLE, detail="header-row")


def _is_list(part: "_Part", body: bytes) -> bool:
    """Whether a body is several JSON documents: one a line, or an array."""
    if isinstance(part.container, json_lines.JsonLines):
        return True
    return isinstance(part.container, json.JsonDocument) and body.lstrip(_BEFORE_JSON)[:1] == b"["


def _require_rows(operation: Operation) -> None:
    """Several documents, where the profile describes a single one: its rules would cover nothing in them."""
    if operation.rules and not any(rule.selector[0] in ("*", "**") for rule in operation.rules):
        raise Refusal(BODY_UNREADABLE, detail="json-lines")


def _require_fixed(operation: Operation, part: "_Part") -> None:
    """A field whose other values would change what is protected, such as which column of a table is what."""
    name, _, allowed = operation.extra.get("fixed", "").partition("=")
    if name and any(leaf.path == (name,) and leaf.text != allowed for leaf in part.container.leaves):
        raise Refusal(VALUE_INVALID, detail="fixed", fields=(name,))


async def _whole(body: bytes) -> AsyncIterator[bytes]:
    yield body


def _narrow(exchange: Exchange, parts: Sequence["_Part"]) -> None:
    """Put the conditions that search boxes became into the parameter that takes them, beside what is in it."""
    for part in parts:
        container = part.container
        if not isinstance(container, form.FormDocument):
            continue
        names = part.named()
        mine = [one for one in exchange.narrowed if one.box in names]
        for parameter in dict.fromkeys(one.parameter for one in mine):
            leaf = next((leaf for leaf in reversed(container.leaves) if leaf.path == (parameter,)), None)
            given = (leaf.text if leaf.new is None else leaf.new) if leaf is not None else ""
            sent = narrow.joined(given, [dict(one.condition) for one in mine if one.parameter == parameter])
            exchange.restored[parameter] = (sent, (leaf.text if leaf is not None else "") or narrow.EMPTY_Q)
            if leaf is not None:
                leaf.new = sent
            else:
                container.added.append((parameter, sent))


def _target(path: str, opened: Sequence[_Part]) -> str:
    """The request target with its query, and the value in its path, as they are now."""
    query = ""
    for part in opened:
        text = part.container.encode().decode("latin-1")
        if part.where is Where.PATH:
            path = text
        else:
            query = "?" + text
    return path + query


def _address(exchange: Exchange) -> list[_Part]:
    """What the address of a request holds: its query, and the values in its path that are searched for."""
    head, operation = exchange.head, exchange.operation
    opened = [_Part(Where.QUERY, form.open_query(head.query))] if head.query else []
    if operation is None or operation.batch is not None:
        return opened
    templates = [
        rule.selector for rule in operation.searches if rule.where is Where.PATH and "{}" in str(rule.selector)
    ]
    placed = operation.placed or (_bare(head.path) if operation.id == UNMATCHED_READ.id else ())
    if templates or placed:
        opened.append(_Part(Where.PATH, open_path(head.path, templates, placed)))
    return opened


def _bare(path: str) -> tuple[tuple[str, str], ...]:
    """Segments of a path nobody described that are an e-mail address or an international phone number.

    Other numbers are left as they are: ids of records are digits, too.
    """
    if not _ADDRESSED.search(path):
        return ()
    texts = (unquote(segment) for segment in path.split("/"))
    return tuple(
        (f"segment {number}", text)
        for number, text in enumerate(texts)
        if ("@" in text or text.startswith("+")) and not _ENLARGED.search(text) and recognise.whole(text) is not None
    )


def _open_nested(leaf: Leaf) -> Container | None:
    stripped = leaf.text.strip()
    if len(stripped) < 2 or stripped[0] + stripped[-1] not in ("{}", "[]"):
        return None
    try:
        return json.open_json(stripped.encode("utf-8"), None)
    except (BodyFault, UnicodeEncodeError):
        if _is_lax_json(stripped):
            raise BodyMalformed("json-nested") from None
        return None  # text that merely looks like JSON; it is judged as text


def _is_lax_json(text: str) -> bool:
    """Whether a more lenient reader takes it for JSON (the same key twice, NaN): it would read what was not judged."""
    try:
        lax_json.loads(text)
    except ValueError:
        return False
    except RecursionError:
        return True
    return True
