"""The way in, container by container: opens a request, says what each leaf is, and puts the protected values back.

The profile decides what is declared, what is searched and what is left alone; recognisers judge everything else. What
cannot be opened is refused when its type promises structure (broken JSON, broken multipart) and passed as it is when
nothing in it can be looked at (pictures, sound, PDF).
"""

import re
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Protocol
from urllib.parse import unquote

from gateway import attached, batch, graphql, narrow, opaque
from gateway.body import csv, data_file, form, json, json_lines, media, multipart, text, vcard, xlsx, xml_request
from gateway.body.leaf import Container
from gateway.body.media import Media
from gateway.body.path import open_path
from gateway.collaborators import Limits, Outgoing
from gateway.digits import DigitFields
from gateway.exchange import Exchange
from gateway.facts import look, require_kept
from gateway.files import Files
from gateway.merged import combinations, require_one
from gateway.refusal import BODY_UNREADABLE, VALUE_INVALID, Refusal
from gateway.search import Operand, Search
from gateway.sorting import Part, Sorting
from gateway.tokenise import Tokeniser
from gateway.treatment import Target
from gateway.unchanged import in_doubt
from kms.scanner import Scanner
from policies import element
from policies.operation import UNMATCHED_READ, with_record
from policies.owner import POSTED, posted_owner
from policies.profile import Action, FieldSpec, Operation, Profile, Where
from privacy import recognise

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
        await look(exchange, profile)
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
        await look(exchange, profile)
        opened = _address(exchange)
        await self._protect(exchange, profile, [*opened, Part(Where.JSON, document)])
        require_one(exchange)
        return _target(exchange.head.path, opened)

    def _open(self, content_type: str, body: bytes) -> Part | None:
        """The body as the CRM will read it; None for what holds nothing that can be looked at."""
        sniffed = media.sniff_upload(content_type, None, body)
        kind = data_file.kind_of(_DECLARED.get(media.essence(content_type), sniffed), body)
        if kind in (Media.IMAGE, Media.OPAQUE) and media.essence(content_type).startswith("text/"):
            kind = Media.TEXT
        if media.is_xml(content_type):
            kind = Media.XML
        if media.essence(content_type) in media.JSON_LINES:
            return Part(Where.JSON, json_lines.open_lines(body, self._limits.bodies))
        charset = media.charset_of(content_type, kind, body)
        limits = self._limits.bodies
        match kind:
            case Media.JSON:
                return Part(Where.JSON, json.open_json(body, limits))
            case Media.FORM:
                return Part(Where.FORM, form.open_form(body, charset, limits))
            case Media.CSV:
                return Part(Where.FORM, csv.open_csv(body, charset, limits), labels=True)
            case Media.XLSX:
                return Part(Where.FORM, xlsx.open_xlsx(body, limits), labels=True)
            case Media.VCARD:
                return Part(Where.FORM, vcard.open_vcard(body, charset, limits), labels=True)
            case Media.XML:
                return Part(Where.XML, xml_request.open_xml(body, content_type, limits))
            case Media.ZIP | Media.HTML:
                opened = data_file.open_data(kind, body, content_type, limits)
                return None if opened is None else Part(Where.FORM, opened, labels=True)
            case Media.TEXT | Media.SCRIPT | Media.CSS:
                return Part(Where.FORM, text.open_text(body, charset, limits))
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
        opened: list[Part],
    ) -> Outgoing:
        """A multipart body: fields and data files are leaves, other files stream past into the spool."""
        upload = await multipart.read(body, content_type, self._limits.bodies)
        try:
            parts = [*opened, Part(Where.FORM, upload.fields)]
            await attached.seal_upload(self._files, exchange, upload)
            opaque.sift(opaque.rule_of(exchange), upload)
            for file in upload.files:
                if file.transform is not None:
                    continue
                if file.container is not None:
                    parts.append(Part(Where.FORM, file.container, labels=True))
                elif file.length:
                    attached.require_opaque(file.media, (file.name,))
            await self._protect(exchange, profile, parts)
            require_one(exchange)
            spool = await upload.assemble()
        except BaseException:
            await upload.close()
            raise
        return Outgoing(_target(exchange.head.path, opened), spool, upload.content_type)

    async def _protect(self, exchange: Exchange, profile: Profile, parts: Sequence[Part]) -> None:
        operation = exchange.operation
        assert operation is not None
        if self._digits is not None and profile.digit_fields:
            await self._digits.require_no_gain(exchange, profile.digit_fields)
        clear = bool(operation.columns) and self.search.comparing.stands_clear(exchange.tenant)
        sorting = Sorting(exchange, operation, profile, self._limits.bodies, clear=clear)
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
        require_kept(exchange, profile, [*((one.container, one.labels) for one in parts), *_inside(sorting)])
        exchange.columns = tuple(sorting.columns)
        self.search.comparing.require(exchange, sorting.compared)
        await self.protect_leaves(exchange, profile, sorting.targets, sorting.operands)
        for nested in sorting.nested:
            nested.close()
        for file, spec in sorting.sealing:
            await attached.seal_enclosed(self._files, exchange, file, spec)
        if exchange.narrowed:
            _narrow(exchange, parts)


def _inside(sorting: Sorting) -> list[tuple[Container, bool]]:
    return [(one.container, False) for one in sorting.nested if one.container is not None]


def _is_list(part: Part, body: bytes) -> bool:
    """Whether a body is several JSON documents: one a line, or an array."""
    if isinstance(part.container, json_lines.JsonLines):
        return True
    return isinstance(part.container, json.JsonDocument) and body.lstrip(_BEFORE_JSON)[:1] == b"["


def _require_rows(operation: Operation) -> None:
    """Several documents, where the profile describes a single one: its rules would cover nothing in them."""
    if operation.rules and not any(rule.selector[0] in ("*", "**") for rule in operation.rules):
        raise Refusal(BODY_UNREADABLE, detail="json-lines")


def _require_fixed(operation: Operation, part: Part) -> None:
    """A field whose other values would change what is protected, such as which column of a table is what."""
    name, _, allowed = operation.extra.get("fixed", "").partition("=")
    if name and any(leaf.path == (name,) and leaf.text != allowed for leaf in part.container.leaves):
        raise Refusal(VALUE_INVALID, detail="fixed", fields=(name,))


async def _whole(body: bytes) -> AsyncIterator[bytes]:
    yield body


def _narrow(exchange: Exchange, parts: Sequence[Part]) -> None:
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


def _target(path: str, opened: Sequence[Part]) -> str:
    """The request target with its query, and the value in its path, as they are now."""
    query = ""
    for part in opened:
        text = part.container.encode().decode("latin-1")
        if part.where is Where.PATH:
            path = text
        else:
            query = "?" + text
    return path + query


def _address(exchange: Exchange) -> list[Part]:
    """What the address of a request holds: its query, and the values in its path that are searched for."""
    head, operation = exchange.head, exchange.operation
    opened = [Part(Where.QUERY, form.open_query(head.query))] if head.query else []
    if operation is None or operation.batch is not None:
        return opened
    templates = [
        rule.selector for rule in operation.searches if rule.where is Where.PATH and "{}" in str(rule.selector)
    ]
    placed = operation.placed or (_bare(head.path) if operation.id == UNMATCHED_READ.id else ())
    if templates or placed:
        opened.append(Part(Where.PATH, open_path(head.path, templates, placed)))
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
