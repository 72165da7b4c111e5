"""Forms of the company's web site on their way into the CRM: tokenised like a form posted through the gateway.

Each listed path becomes one operation of the CRM profile that creates a record. The visitor has no rights: nothing of
the CRM's answer goes back but whether it was taken, and a surrogate typed into a form opens nothing and binds nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol, TypeVar

import structlog

from audit.log import AuditUnavailable
from gateway import headers
from gateway.body.fault import BodyFault
from gateway.collaborators import AuditTrail, Fields, Outgoing, Receive, Scope, Send
from gateway.egress.forward import read_body, refused
from gateway.egress.listener import Count
from gateway.egress.relay import COLLABORATOR_S
from gateway.entries import describe
from gateway.exchange import Exchange, Head
from gateway.network import Allowlist, canonical
from gateway.refusal import (
    ADDRESS_NOT_ALLOWED,
    BODY_MALFORMED,
    CRM_DOWN,
    CRM_SLOW,
    INTERNAL_FAULT,
    NOT_ALLOWED,
    STORE_UNAVAILABLE,
    VALUE_INVALID,
    Refusal,
)
from gateway.upstream import AnswerTooLarge, Pool, UpstreamError, UpstreamSlow
from kms.provider import KeysUnavailable
from kms.tokens import StoreUnavailable
from policies.decision import Decision, FieldRule, FieldView
from policies.profile import Action, Profile
from policies.taxonomy import Kind

ANSWER_BYTES = 4 * 1024 * 1024
# Writes what it is given and sees nothing: a form's sender is nobody.
VIEW = FieldView("lead", {}, {kind.value: FieldRule(writable=True) for kind in Kind})
T = TypeVar("T")
log = structlog.get_logger(__name__)


class Protects(Protocol):
    """gateway.inward.Inward."""

    async def protect_request(
        self, exchange: Exchange, profile: Profile, content_type: str, body: bytes | None
    ) -> Outgoing:
        """What the CRM gets instead."""


class Learns(Protocol):
    """gateway.binding.Binding."""

    async def learn(self, exchange: Exchange, profile: Profile, status: int, fields: Fields, body: bytes) -> None:
        """Bind the record that was created."""


@dataclass(frozen=True, slots=True)
class Lead:
    """One form: where it goes in the CRM, with which Authorization, and where the visitor goes then."""

    to: str
    authorization: str = field(default="", repr=False)
    thanks: str = ""


class Leads:
    """The ASGI application that takes the forms of one tenant; forms: path → lead."""

    def __init__(
        self,
        tenant: str,
        forms: Mapping[str, Lead],
        inward: Protects,
        binding: Learns,
        profile: Callable[[], Profile],
        pool: Pool,
        host: str,
        audit: AuditTrail,
        *,
        allowlist: Allowlist,
        size: int,
        clock: Callable[[], datetime],
        new_id: Callable[[], str],
        count: Count,
        collaborator_s: float = COLLABORATOR_S,
    ) -> None:
        self._tenant, self._forms, self._inward, self._binding = tenant, forms, inward, binding
        self._profile, self._pool, self._host, self._audit = profile, pool, host, audit
        self._allowlist, self._size, self._clock, self._new_id = allowlist, size, clock, new_id
        self._count, self._collaborator_s = count, collaborator_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One form."""
        client, number = "", self._new_id()
        try:
            client = canonical((scope.get("client") or ("",))[0])
            if not self._allowlist.permits(client):
                raise Refusal(ADDRESS_NOT_ALLOWED)
            head = headers.parse(scope)
            lead = self._forms.get(head.path)
            if lead is None or head.method != "POST" or head.query:
                raise Refusal(NOT_ALLOWED)
            await self._take(number, client, head, lead, await read_body(receive, self._size))
            status, fields, body = (303, [("location", lead.thanks)], b"") if lead.thanks else (202, [], b"")
        except Exception as fault:  # nothing was taken that was not protected and recorded before
            refusal = _refusal(fault)
            self._count(client, f"lead-{refusal.reason.id}")
            if refusal.reason is INTERNAL_FAULT:
                log.error("lead", exchange=number, fault=type(fault).__name__)
            status, fields, body = refused(refusal, number)
        raw = [(name.encode(), value.encode("latin-1")) for name, value in fields]
        raw.append((b"content-length", str(len(body)).encode()))
        await send({"type": "http.response.start", "status": status, "headers": raw})
        await send({"type": "http.response.body", "body": body, "more_body": False})

    async def _take(self, number: str, client: str, head: Head, lead: Lead, body: bytes) -> None:
        content_type, profile = head.first("content-type") or "", self._profile()
        inner = Head("POST", lead.to, lead.to, "", self._host, head.headers, head.has_body, head.content_length)
        exchange = Exchange(number, self._clock(), inner, tenant=self._tenant, client_address=client)
        operation = exchange.operation = profile.classify("POST", lead.to, "", body, content_type)
        if operation.action is not Action.CREATE or not operation.granted_write or operation.left_alone:
            raise Refusal(NOT_ALLOWED)
        exchange.decision = Decision(True, "lead", VIEW)
        if head.first("content-encoding") not in (None, "", "identity"):
            raise Refusal(BODY_MALFORMED)
        outgoing = await self._within(self._inward.protect_request(exchange, profile, content_type, body))
        if not isinstance(outgoing.body, bytes):
            raise Refusal(BODY_MALFORMED)  # files have no place in a web form
        await self._record(exchange, "decision", 0)
        sent = outgoing.content_type or content_type
        try:
            answer = await self._pool.request(b"POST", self._head(outgoing, lead, sent), outgoing.body)
            content = await answer.read(ANSWER_BYTES)
        except UpstreamError:
            await self._record(exchange, "outcome", CRM_DOWN.status)
            raise
        fields = headers.answer_fields(answer.fields)
        await self._within(self._binding.learn(exchange, profile, answer.status, fields, content))
        await self._record(exchange, "outcome", answer.status)
        if not profile.accepted(operation, answer.status, fields, content):
            raise Refusal(VALUE_INVALID)

    def _head(self, outgoing: Outgoing, lead: Lead, content_type: str) -> bytes:
        assert isinstance(outgoing.body, bytes)
        lines = [
            f"POST {outgoing.target} HTTP/1.1",
            f"host: {self._host}",
            "accept-encoding: identity",
            f"content-type: {content_type}",
            f"content-length: {len(outgoing.body)}",
        ]
        if lead.authorization:
            lines.append(f"authorization: {lead.authorization}")
        if not all(line.isascii() and line.isprintable() for line in lines):
            raise Refusal(BODY_MALFORMED)
        return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")

    async def _record(self, exchange: Exchange, kind: str, status: int) -> None:
        index = await self._within(self._audit.append(describe(exchange, self._new_id(), kind, "lead", status)))
        if not isinstance(index, int) or isinstance(index, bool) or index < 0:
            raise TypeError("audit")

    async def _within(self, work: Awaitable[T]) -> T:
        async with asyncio.timeout(self._collaborator_s):
            return await work


def _refusal(fault: Exception) -> Refusal:
    """What each fault is answered with."""
    match fault:
        case Refusal():
            return fault
        case BodyFault():
            return Refusal(BODY_MALFORMED)
        case UpstreamSlow():
            return Refusal(CRM_SLOW)
        case UpstreamError() | AnswerTooLarge():
            return Refusal(CRM_DOWN)
        case StoreUnavailable() | KeysUnavailable() | AuditUnavailable() | TimeoutError():
            return Refusal(STORE_UNAVAILABLE)
        case _:
            return Refusal(INTERNAL_FAULT)
