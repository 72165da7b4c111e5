"""Batches on their way in: one request that holds several is taken apart, and each part is an exchange of its own.

A part is classified, decided and protected as if it came alone; if one is refused, all of it is. What parts promise of
results of earlier ones stays as it is and names no record here. Parts that sign in, stand in another batch or have an
address that two servers could read differently are refused.
"""

import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import parse_qsl

from gateway.body import json, multipart_http
from gateway.body.leaf import Leaf
from gateway.body.limits import Limits
from gateway.collaborators import Outgoing, ProfileReader
from gateway.exchange import Exchange, Head
from gateway.facts import writing
from gateway.merged import require_one
from gateway.refusal import BODY_UNREADABLE, FIELD_NOT_WRITABLE, METHOD_REFUSED, WRITE_NOT_GRANTED, Refusal
from gateway.target import split_target
from policies.batch import BatchRule, BatchUnreadable, PartRead, split, under
from policies.condition import Unreadable, read_document, write_document
from policies.operation import Action, Operation, StorageForm, with_record
from policies.profile import Profile
from policies.selector import rule_for

JSON_TYPE = "application/json"
_ALONE_ONLY = frozenset({Action.LOGIN, Action.LOGOUT})
_WRITES = frozenset({Action.CREATE, Action.UPDATE})
# What a part may say beside its address and body; credentials and overrides of the method are the batch's own affair.
_KEPT = frozenset({"accept", "accept-language", "content-type", "if-match", "if-none-match", "prefer", "content-id"})
_KEPT_PREFIXES = ("odata-", "mscrm")
_OVERRIDES = frozenset({"x-http-method-override", "x-http-method", "x-method-override"})


@dataclass(slots=True)
class Part:
    """One part. path: of its address as it came, references included; read, message: where it came from."""

    exchange: Exchange
    path: str
    read: PartRead | None = None
    message: multipart_http.Http | None = None


@dataclass(slots=True)
class Batch:
    """A batch that was taken apart."""

    rule: BatchRule
    parts: list[Part] = field(default_factory=list)

    @property
    def exchanges(self) -> list[Exchange]:
        """The exchange of each part, in order."""
        return [part.exchange for part in self.parts]

    @property
    def labels(self) -> list[str]:
        """What names each part in the answer, in order; "" where nothing does."""
        return [part.read.label if part.read is not None else "" for part in self.parts]


class Protects(Protocol):
    """The part of gateway.inward that protects one request."""

    async def protect_request(
        self, exchange: Exchange, profile: Profile, content_type: str, body: bytes
    ) -> Outgoing: ...

    async def protect_document(self, exchange: Exchange, profile: Profile, document: json.JsonDocument) -> str:
        """Protect the leaves of a JSON document and the query; the target as it is now."""
        ...


def take_apart(
    exchange: Exchange, profile: ProfileReader, body: bytes, content_type: str, new_id: Callable[[], str]
) -> Batch:
    """The parts of a batch, classified; raises Refusal, BodyMalformed, BodyTooLarge."""
    operation = exchange.operation
    assert operation is not None
    assert operation.batch is not None
    rule = operation.batch
    batch = Batch(rule)
    if rule.kind == "json":
        for one in _split(rule, operation, body, content_type):
            given = write_document(one.value) if one.place is not None else b""
            part = _part(exchange, profile, rule, new_id(), one.method, one.url, JSON_TYPE if given else "", given)
            part.read = one
            batch.parts.append(part)
        return batch
    if not multipart_http.is_batch(content_type):
        raise Refusal(BODY_UNREADABLE, detail="batch")
    base = exchange.head.path.rpartition("/")[0] + "/"
    for message in multipart_http.read(content_type, body):
        method, url = message.request
        if any(name in _OVERRIDES for name, _ in message.fields):
            raise Refusal(METHOD_REFUSED)
        message.fields = [pair for pair in message.fields if pair[0] in _KEPT or pair[0].startswith(_KEPT_PREFIXES)]
        url = url if url.startswith("/") or "://" in url else base + url
        kind = message.first("content-type")
        if kind.lower().startswith("multipart/"):
            raise Refusal(BODY_UNREADABLE, detail="batch")
        part = _part(exchange, profile, rule, new_id(), method, url, kind, message.body)
        part.message = message
        batch.parts.append(part)
    return batch


def _split(rule: BatchRule, operation: Operation, body: bytes, content_type: str) -> list[PartRead]:
    if content_type.partition(";")[0].strip().lower() != JSON_TYPE:
        raise Refusal(BODY_UNREADABLE, detail="batch")
    try:
        return split(rule, read_document(body), dict(operation.placed))
    except (BatchUnreadable, Unreadable) as fault:
        raise Refusal(BODY_UNREADABLE, detail=f"batch {fault}") from None


def _part(
    outer: Exchange,
    profile: ProfileReader,
    rule: BatchRule,
    part_id: str,
    method: str,
    url: str,
    content_type: str,
    body: bytes,
) -> Part:
    blank = profile.blank_record
    plain = rule.reference.sub(blank, url) if rule.reference is not None else url
    target, path, query = split_target(plain, outer.head.host)
    raw = url if plain == url else url.partition("?")[0]
    if plain == url:
        raw = path
    fields = (("content-type", content_type),) if content_type else ()
    head = Head(method, target, path, query, outer.head.host, fields, bool(body), len(body) if body else None)
    operation = profile.classify(method, path, query, body if profile.needs_body(method, path) else None, content_type)
    if operation.batch is not None or operation.left_alone or operation.action in _ALONE_ONLY:
        raise Refusal(WRITE_NOT_GRANTED, detail="batch")
    if plain != url:
        if rule.reference is not None and rule.reference.search(url.partition("?")[2]):
            raise Refusal(BODY_UNREADABLE, detail="batch reference")  # it would compare values nobody here has seen
        operation = with_record(operation, None, binds=operation.binds)
    inner = Exchange(
        part_id,
        outer.received_at,
        head,
        outer.tenant,
        outer.client_address,
        outer.crm_user,
        operation,
    )
    inner.principal, inner.language = outer.principal, outer.language
    return Part(inner, raw)


async def protect(
    inward: Protects, exchange: Exchange, profile: Profile, content_type: str, body: bytes, limits: Limits
) -> Outgoing:
    """What the CRM gets instead of a batch; raises what protecting one request raises."""
    batch = exchange.batch
    assert batch is not None
    if batch.rule.kind == "json":
        document = json.open_json(body, limits)
        outgoing = await _protect_json(inward, exchange, batch, profile, document)
    else:
        outgoing = await _protect_multipart(inward, exchange, batch, profile)
    for inner in batch.exchanges:
        exchange.typed |= inner.typed
        exchange.own_words |= inner.own_words
        exchange.written += inner.written
        exchange.searched += [kind for kind in inner.searched if kind not in exchange.searched]
    return outgoing


async def _protect_multipart(inward: Protects, exchange: Exchange, batch: Batch, profile: Profile) -> Outgoing:
    messages = []
    for part in batch.parts:
        message = part.message
        assert message is not None
        outgoing = await inward.protect_request(part.exchange, profile, message.first("content-type"), message.body)
        require_one(part.exchange)
        if not isinstance(outgoing.body, bytes):
            raise Refusal(BODY_UNREADABLE, detail="batch")
        message.body = outgoing.body
        message.start = f"{part.exchange.head.method} {_address(part, outgoing.target)} HTTP/1.1".encode("ascii")
        messages.append(message)
    content_type, written = multipart_http.write(messages, secrets.token_hex)
    target = await inward.protect_document(exchange, profile, json.JsonDocument(b"", [], [], []))
    return Outgoing(target, written, content_type)


async def _protect_json(
    inward: Protects, exchange: Exchange, batch: Batch, profile: Profile, document: json.JsonDocument
) -> Outgoing:
    places = [part.read.place for part in batch.parts if part.read is not None and part.read.place is not None]
    own: dict[tuple[str, ...], list[Leaf]] = {place: [] for place in places}
    blank: dict[tuple[str, ...], list[Leaf]] = {place: [] for place in places}
    addresses = {part.read.url_at: part for part in batch.parts if part.read is not None and part.read.url_at}
    asked = {part.read.params_at: part for part in batch.parts if part.read is not None and part.read.params_at}
    rest = []
    urls: dict[tuple[str, ...], Leaf] = {}
    params: dict[tuple[str, ...], list[Leaf]] = {place: [] for place in asked}
    depths = sorted({len(place) for place in places}, reverse=True)  # a part inside another one comes first
    for leaf, target in [*((one, own) for one in document.leaves), *((one, blank) for one in document.blanks)]:
        if leaf.path in addresses:
            urls[leaf.path] = leaf
            continue
        if leaf.path[:-1] in params:
            params[leaf.path[:-1]].append(leaf)
            continue
        place = next((at for depth in depths if (at := leaf.path[:depth]) in target and under(at, leaf.path)), None)
        if place is None:
            if leaf.path and leaf.path[-1].lower() in _OVERRIDES:
                raise Refusal(METHOD_REFUSED)
            rest.append(leaf)
        else:
            target[place].append(leaf)
    for part in batch.parts:
        read = part.read
        assert read is not None
        place = read.place
        leaves = _relative(own[place], place) if place is not None else []
        leaves = [leaf for leaf in leaves if not _is_reference(batch.rule, part.exchange, leaf)]
        blanks = _relative(blank[place], place) if place is not None else []
        view = json.JsonDocument(b"", leaves, [], blanks)
        sent = await inward.protect_document(part.exchange, profile, view)
        if read.params_at is not None:
            sent, _, query = sent.partition("?")
            _fill(params[read.params_at], query)
            if sent == part.exchange.head.path:
                continue
        if read.url_at is not None and sent != part.exchange.head.target:
            leaf = urls[read.url_at]
            address = _address(part, sent)
            relative = not leaf.text.startswith("/") and "://" not in leaf.text
            leaf.new = address.removeprefix(batch.rule.base) if relative else address
    target_now = await inward.protect_document(exchange, profile, json.JsonDocument(b"", rest, [], []))
    return Outgoing(target_now, document.encode())


def _fill(leaves: Sequence[Leaf], query: str) -> None:
    """Put a query that was protected back into the members that it was made of; raises Refusal."""
    values = parse_qsl(query, keep_blank_values=True)
    by_name = dict(values)
    for leaf in leaves:
        if leaf.path[-1] not in by_name:
            raise Refusal(BODY_UNREADABLE, detail="batch params")
        if by_name[leaf.path[-1]] != leaf.text:
            leaf.new = by_name[leaf.path[-1]]
    if len(values) != len(leaves):
        raise Refusal(BODY_UNREADABLE, detail="batch params")  # a condition that no member of the part can take


def _relative(leaves: Sequence[Leaf], place: tuple[str, ...]) -> list[Leaf]:
    """The same leaves as the part sees them: only the document itself knows them by place."""
    for leaf in leaves:
        leaf.path = leaf.path[len(place) :]
    return list(leaves)


def _address(part: Part, target: str) -> str:
    """The address of a part with what was protected in it; references stay in its path."""
    head = part.exchange.head
    if part.path == head.path:
        return target
    return part.path + ("?" + target.partition("?")[2] if "?" in target else "")


def _is_reference(rule: BatchRule, exchange: Exchange, leaf: Leaf) -> bool:
    """Whether a written value is a result of an earlier part; raises Refusal where the person may not write there."""
    operation = exchange.operation
    assert operation is not None
    if rule.reference is None or operation.action not in _WRITES or not rule.reference.fullmatch(leaf.text):
        return False
    found = rule_for(operation.rules, leaf.path, leaf.siblings, text=leaf.text)
    spec = found[1] if found is not None else None
    if spec is not None:
        view = writing(exchange, spec.entity)
        kinds = view.by_kind if spec.kind is None else (str(spec.kind),)
        writable = all(view.rule(spec.entity, spec.name, kind).writable for kind in kinds)
        if not writable or spec.form is not StorageForm.SURROGATE:
            raise Refusal(FIELD_NOT_WRITABLE, fields=(spec.name,))
    return True


def names(exchanges: Sequence[Exchange]) -> Iterator[str]:
    """What the trail keeps of each part: its operation, and its record where the request names one."""
    for one in exchanges:
        if one.operation is not None:
            records = (one.operation.record,) if one.operation.record else one.operation.records
            named = (f"{one.operation.entity}.{record}" if ":" not in record else "~" for record in records[:20])
            yield ":".join((one.operation.id, *named))
