"""The HTTP forward proxy: the CRM calls a listed service, and gets the person's values opened for it, and only those.

The CRM sends plain HTTP to us (as to a proxy, or to /to/NAME/…); we talk TLS to the service. What is not listed is
refused and counted into the trail. Header fields go on with their surrogates. The answer comes back without the values
that were opened: a service that repeats the number it was given must not put it into the CRM in clear.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

import orjson
import structlog

from audit.entry import AuditEntry
from audit.log import AuditUnavailable
from gateway import headers
from gateway.body import media
from gateway.body.fault import BodyFault
from gateway.body.limits import Limits
from gateway.collaborators import AuditTrail, Receive, Scope, Send
from gateway.egress.call import Call
from gateway.egress.config import DestinationSettings
from gateway.egress.judge import Counts
from gateway.egress.letter import CLOSED, open_whole
from gateway.egress.listener import Count
from gateway.egress.recipient import Ages, Recipient, Standing, Vault, is_own
from gateway.egress.relay import COLLABORATOR_S
from gateway.egress.scanning import Scans
from gateway.exchange import Head
from gateway.network import Allowlist, canonical
from gateway.refusal import (
    ADDRESS_NOT_ALLOWED,
    BODY_MALFORMED,
    BODY_TOO_LARGE,
    BODY_UNREADABLE,
    INTERNAL_FAULT,
    METHOD_REFUSED,
    NOT_ALLOWED,
    STORE_UNAVAILABLE,
    Refusal,
)
from gateway.target import check_path
from gateway.upstream import AnswerTooLarge, Pool, UpstreamError, UpstreamSlow
from kms.provider import KeysUnavailable
from kms.tokens import StoreUnavailable, VaultEntry
from privacy import recognise

OPERATION = "egress.http"
PREFIX = "/to/"
# Of the CRM's fields these are between it and us, or are written anew.
_DROPPED = headers.HOP_BY_HOP | {"host", "content-length", "accept-encoding", "forwarded", "via", "content-encoding"}
_TEXTS = {
    "connect": "CONNECT is refused: crmgate has to read the call to open values in it. "
    "Call http:// through this proxy; crmgate talks TLS to the service.",
    "unlisted": "This service, path or method is not in [[egress.http]].",
}
T = TypeVar("T")
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Destination:
    """A listed service with its connections."""

    settings: DestinationSettings
    pool: Pool
    host: str


class Forward:
    """The ASGI application of the proxy."""

    def __init__(
        self,
        tenant: str,
        destinations: Sequence[Destination],
        vault: Vault,
        ages: Ages,
        scanner: Scans,
        audit: AuditTrail,
        *,
        allowlist: Allowlist,
        size: int,
        limits: Limits,
        rest: timedelta,
        clock: Callable[[], datetime],
        new_id: Callable[[], str],
        count: Count,
        collaborator_s: float = COLLABORATOR_S,
    ) -> None:
        self._tenant, self._vault, self._ages, self._scanner, self._audit = tenant, vault, ages, scanner, audit
        self._by_host = {host: one for one in destinations for host in one.settings.hosts}
        self._by_name = {one.settings.name: one for one in destinations}
        self._allowlist, self._size, self._limits, self._rest = allowlist, size, limits, rest
        self._clock, self._new_id, self._count, self._collaborator_s = clock, new_id, count, collaborator_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One call."""
        exchange, client = self._new_id(), ""
        try:
            client = canonical((scope.get("client") or ("",))[0])
            if not self._allowlist.permits(client):
                raise Refusal(ADDRESS_NOT_ALLOWED)
            if scope["method"] == "CONNECT":
                raise Refusal(METHOD_REFUSED, detail="connect")
            status, fields, body = await self._handle(exchange, client, headers.parse(scope), receive)
        except Refusal as refusal:
            self._count(client, f"call-{refusal.reason.id}")
            status, fields, body = refused(refusal, exchange)
        except BodyFault:
            status, fields, body = refused(Refusal(BODY_MALFORMED), exchange)
        except UpstreamSlow:
            status, fields, body = _said(504, "service-slow", exchange)
        except (UpstreamError, AnswerTooLarge):
            status, fields, body = _said(502, "service-down", exchange)
        except (StoreUnavailable, KeysUnavailable, AuditUnavailable, TimeoutError) as fault:  # nothing was sent
            log.error("egress-call", exchange=exchange, fault=type(fault).__name__)
            status, fields, body = refused(Refusal(STORE_UNAVAILABLE), exchange)
        except Exception as fault:
            log.error("egress-call", exchange=exchange, fault=type(fault).__name__)
            status, fields, body = refused(Refusal(INTERNAL_FAULT), exchange)
        raw = [(name.encode(), value.encode("latin-1", "replace")) for name, value in fields]
        raw.append((b"content-length", str(len(body)).encode()))
        await send({"type": "http.response.start", "status": status, "headers": raw})
        await send({"type": "http.response.body", "body": body, "more_body": False})

    async def _handle(
        self, exchange: str, client: str, head: Head, receive: Receive
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        destination, path = self._destination(head)
        body = await read_body(receive, self._size)
        if head.first("content-encoding") not in (None, "", "identity"):
            raise Refusal(BODY_UNREADABLE, detail="content-encoding")
        call = Call(path, head.query, head.first("content-type") or "", body, self._limits)
        opened, counts, recipient = await self._within(self._open(destination.settings, call))
        await self._record(exchange, client, head.method, destination, "decision", 0, counts, recipient)
        request_head = _head_for(head, destination, call.target, len(call.body))
        status = 502
        try:
            answer = await destination.pool.request(head.method.encode(), request_head, call.body)
            content = await answer.read(self._size)
            fields = dict(headers.answer_fields(answer.fields))
            if fields.get("content-encoding", "identity") != "identity":
                raise UpstreamError("an answer in a coding that nobody asked for")
            content_type = fields.get("content-type", "")
            content = self._closed(content_type, content, opened)
            status = answer.status
        finally:
            await self._outcome(exchange, client, head.method, destination, status, recipient)
        return status, [("content-type", content_type)] if content_type else [], content

    async def _outcome(
        self, exchange: str, client: str, method: str, to: Destination, status: int, recipient: Recipient | None
    ) -> None:
        """The decision is in the trail and the service was called: the CRM must not call again because of this."""
        try:
            await self._record(exchange, client, method, to, "outcome", status, {}, recipient)
        except Exception as fault:
            log.error("egress-outcome-not-recorded", exchange=exchange, fault=type(fault).__name__)

    def _destination(self, head: Head) -> tuple[Destination, str]:
        """The listed service and the path there; raises Refusal(NOT_ALLOWED)."""
        found, path = self._by_host.get(head.host), head.path
        if found is None and path.startswith(PREFIX):
            name, slash, rest = path.removeprefix(PREFIX).partition("/")
            found, path = self._by_name.get(name), slash + rest
        if found is None or not path.startswith("/"):
            raise Refusal(NOT_ALLOWED, detail="unlisted")
        check_path(path)
        allowed = any(path == one or path.startswith(one.rstrip("/") + "/") for one in found.settings.paths)
        if not allowed or head.method not in found.settings.methods:
            raise Refusal(NOT_ALLOWED, detail="unlisted")
        return found, path

    async def _open(
        self, settings: DestinationSettings, call: Call
    ) -> tuple[dict[str, VaultEntry], Counts, Recipient | None]:
        """Open what may be opened; the entries by surrogate, what is counted, and whose call it is."""
        places = call.places(self._scanner, settings.fields)
        recipient = await self._recipient(settings, call) if settings.recipient else None
        entries = await self._vault.resolve(self._tenant, {place.surrogate for place in places}) if places else {}
        ages = await self._ages.since(self._tenant, entries) if recipient is not None else {}
        opened: dict[str, VaultEntry] = {}
        counts: Counts = {}
        for place in places:
            entry = entries.get(place.surrogate)
            if entry is None or entry.kind not in settings.kinds:
                continue
            origin = entry.origins[0] if entry.origins else None
            key = (origin.entity, origin.field, origin.record or "") if origin is not None else ("", "", "")
            if settings.recipient:
                own = is_own(recipient, ages, entry, self._rest, self._clock()) if recipient is not None else None
                if own is None:
                    continue
                key = own
            opened[place.surrogate] = entry
            counts[(*key, "clear")] = counts.get((*key, "clear"), 0) + 1
        call.open(places, lambda one: opened[one].clear if one in opened else None)
        return opened, counts, recipient

    async def _recipient(self, settings: DestinationSettings, call: Call) -> Recipient | None:
        """The person the recipient field names, alone; None for clear values, several, or nobody."""
        leaves = call.named(settings.recipient)
        surrogate = self._scanner.whole(leaves[0].text) if len(leaves) == 1 else None
        if surrogate is None:
            return None
        entry = (await self._vault.resolve(self._tenant, [surrogate])).get(surrogate)
        if entry is None:
            return None
        bound = {(one.entity, one.record) for one in entry.origins if one.record is not None}
        ages = await self._ages.since(self._tenant, [surrogate])
        records = {(e, r): at for (_, e, r), at in ages.items() if (e, r) in bound}
        return Recipient(Standing.PERSON, surrogate, "", records)

    def _closed(self, content_type: str, content: bytes, opened: Mapping[str, VaultEntry]) -> bytes:
        """The answer without the values that were opened; raises UpstreamError where nobody can look into it."""
        if not content or not opened:
            return content
        kind = media.sniff(content_type, None, content)
        if kind in CLOSED:
            raise UpstreamError("an answer that cannot be looked into")
        back = {entry.clear: surrogate for surrogate, entry in opened.items()}
        digits = {_digits(clear): surrogate for clear, surrogate in back.items() if len(_digits(clear)) >= 7}

        def net(text: str) -> list[tuple[int, int, str]]:
            out = [
                (one.start, one.end, digits[_digits(one.text)])
                for one in recognise.find(text)
                if _digits(one.text) in digits and "@" not in one.text
            ]
            folded = text.casefold()
            for clear, surrogate in back.items():
                at = folded.find(clear.casefold()) if len(folded) == len(text) and clear else -1
                while at >= 0:
                    if all(at + len(clear) <= start or at >= end for start, end, _ in out):
                        out.append((at, at + len(clear), surrogate))
                    at = folded.find(clear.casefold(), at + len(clear))
            return out

        page = open_whole(kind, content, media.charset_of(content_type, kind, content), self._limits)
        page.surrogates(self._scanner)
        return page.render(lambda _: None, net)

    async def _record(
        self,
        exchange: str,
        client: str,
        method: str,
        destination: Destination,
        kind: str,
        status: int,
        counts: Counts,
        recipient: Recipient | None,
    ) -> None:
        shown: dict[str, dict[str, dict[str, int]]] = {}
        for (entity, name, record, form), count in counts.items():
            shown.setdefault(f"{entity}.{name}", {}).setdefault(record, {})[form] = count
        entity, record = next(iter(recipient.records), ("", "")) if recipient is not None else ("", "")
        entry = AuditEntry(
            at=self._clock(),
            client=client,
            entity=entity,
            exchange=exchange,
            fields={"target": destination.host, "detail": destination.settings.name}
            | ({"shown": shown} if shown else {}),
            id=self._new_id(),
            kind=kind,
            method=method,
            operation=OPERATION,
            path_shape=OPERATION,
            reason="listed",
            record=record,
            status=status,
            tenant=self._tenant,
        )
        index = await self._within(self._audit.append(entry))
        if not isinstance(index, int) or isinstance(index, bool) or index < 0:
            raise TypeError("audit")

    async def _within(self, work: Awaitable[T]) -> T:
        async with asyncio.timeout(self._collaborator_s):
            return await work


async def read_body(receive: Receive, size: int) -> bytes:
    """The whole body of a call; raises Refusal(BODY_TOO_LARGE, BODY_MALFORMED)."""
    parts, taken = [], 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise Refusal(BODY_MALFORMED)
        part = message.get("body", b"")
        taken += len(part)
        if taken > size:
            raise Refusal(BODY_TOO_LARGE)
        parts.append(part)
        if not message.get("more_body"):
            return b"".join(parts)


def _digits(text: str) -> str:
    """The last 11 digits: country codes come and go."""
    return "".join(char for char in text if char.isdigit())[-11:]


def _head_for(head: Head, destination: Destination, target: str, length: int) -> bytes:
    """The request head for the service; header fields go on as the CRM sent them, surrogates and all."""
    if not (target.isascii() and target.isprintable()):
        raise ValueError("a target that would not stay on its line")
    named = {token.strip().lower() for text in head.all("connection") for token in text.split(",")}
    lines = [f"{head.method} {target} HTTP/1.1", f"host: {destination.host}", "accept-encoding: identity"]
    lines += [f"{name}: {value}" for name, value in head.headers if name not in _DROPPED and name not in named]
    lines.append(f"content-length: {length}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def refused(refusal: Refusal, exchange: str) -> tuple[int, list[tuple[str, str]], bytes]:
    """What a refusal is answered with."""
    return _said(refusal.reason.status, refusal.reason.id, exchange, _TEXTS.get(refusal.detail, ""))


def _said(status: int, reason: str, exchange: str, text: str = "") -> tuple[int, list[tuple[str, str]], bytes]:
    """problem+json (RFC 9457)."""
    document = {"type": "about:blank", "status": status, "title": reason, "exchange": exchange}
    if text:
        document["detail"] = text
    return status, [("content-type", "application/problem+json")], orjson.dumps(document)
