"""What the pipeline needs of the rest of the gateway, as Protocols: `gateway/app.py` fills them, tests fake them.

Every collaborator may raise, hang or answer nonsense; the pipeline makes each of that a refusal (DESIGN, section 3).
Nothing here does I/O.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Container, Mapping, MutableMapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from audit.entry import AuditEntry
from gateway.body.limits import Limits as BodyLimits
from gateway.exchange import Exchange, Principal
from policies.decision import Decision
from policies.polling import Polling
from policies.profile import Operation

if TYPE_CHECKING:
    from gateway.network import Network, Tenant
    from gateway.table_stream import TableStream
    from gateway.watch import Watch
    from kms.stream import StreamOpener

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]
Fields = list[tuple[str, str]]  # header fields: lower-case names, duplicates kept


class ClientGone(OSError):  # noqa: N818 - a state
    """The client ended the connection while its answer was on the way; raised by `send`."""

    permanent = False


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes, times in seconds.

    body: requests that have to be read; upload: streamed ones; answer: answers that have to be read, also after
    decompression; bodies: how far an answer may inflate; own_body: requests to our own pages; collaborator_s: one call
    of the store, keys or audit; body_pause_s: silence of a client inside its body; upstream_s: backstop over
    the CRM's own limits; proof_s: how old a proof of a factor may be where the policy asks for a fresh one.
    """

    body: int = 8 * 1024 * 1024
    upload: int = 1024 * 1024 * 1024
    answer: int = 32 * 1024 * 1024
    own_body: int = 256 * 1024
    bodies: BodyLimits = field(default_factory=BodyLimits)
    collaborator_s: float = 10.0
    body_pause_s: float = 30.0
    upstream_s: float = 330.0
    proof_s: float = 600.0


class Spool(Protocol):
    """A request body too large to hold: read once, chunk by chunk, of known length."""

    @property
    def length(self) -> int:
        """Bytes in all."""
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """The bytes, in order."""
        ...

    async def close(self) -> None:
        """Give the space back; may be called twice."""
        ...


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What the CRM gets instead of what the client sent.

    target: origin-form, protected; body None keeps the client's own body (nothing looked into it);
    content_type None keeps the client's; referer: the protected Referer, None drops its query. legs: (target, body) of
    each request whose answers are put together (gateway.merged), none where there is one request only.
    """

    target: str
    body: bytes | Spool | None
    content_type: str | None = None
    referer: str | None = None
    legs: tuple[tuple[str, bytes], ...] = ()


class ProfileReader(Protocol):
    """What a CRM profile says about a request (policies.profile.Profile)."""

    @property
    def session_cookies(self) -> frozenset[str]:
        """Names of the CRM's own session cookies; empty where it uses the Authorization header."""
        ...

    @property
    def blank_record(self) -> str:
        """Text of the shape of a record id that belongs to no record."""
        ...

    def body_credentials(self, content_type: str, body: bytes) -> tuple[str, ...]:
        """CRM credentials in a body."""

    @property
    def credential_headers(self) -> frozenset[str]:
        """Header fields beside Authorization that hold a credential of the CRM."""
        ...

    @property
    def credential_bodies(self) -> Mapping[str, tuple[str, ...]]:
        """Operation id → members of its body that hold one."""
        ...

    @property
    def polling(self) -> Polling | None:
        """Addresses that are asked again and again by themselves."""
        ...

    def needs_body(self, method: str, path: str) -> bool:
        """Whether `classify` needs the body."""
        ...

    def classify(self, method: str, path: str, query: str, body: bytes | None, content_type: str) -> Operation:
        """The operation; path and query still percent-encoded."""
        ...


class Enforcer(Protocol):
    """policies.enforcer.Enforcer: a look-up, no I/O."""

    def decide(self, tenant: str, roles: tuple[str, ...], operation: Operation) -> Decision:
        """Allow or refuse, with the view of the fields."""
        ...


class Sessions(Protocol):
    """gateway.access.sessions.Sessions."""

    def cached(self, cookie_token: str, now: datetime, *, tenant: str, active: bool = True) -> Principal | None:
        """The principal, when the short-lived cache knows the token."""
        ...

    async def principal(self, cookie_token: str, now: datetime, *, tenant: str, active: bool = True) -> Principal:
        """The principal; raises NoSession, SessionExpired, SessionLocked or DeviceNeeded."""
        ...

    async def use_device_proof(self, cookie_token: str) -> bool:
        """Whether a proof of the person's device came for this very act; it is used up. True where none is needed."""
        ...

    async def crm_token_allowed(self, token_hash: str, session_id: str) -> bool:
        """Whether the CRM's own token may pass in this session; first use binds it."""
        ...


class AuditTrail(Protocol):
    """audit.log.AuditLog."""

    def append(self, entry: AuditEntry) -> Awaitable[int]:
        """The index of the entry, once it is durable; raises AuditUnavailable."""
        ...


class Learner(Protocol):
    """gateway.learn.learner.Learner: only puts into bounded queues; never blocks, never raises."""

    @property
    def watched(self) -> Container[str]:
        """Tenants that are watched for a proposal; nearly always none."""
        ...

    def note(self, exchange: Exchange, target: str, content_type: str, body: bytes | None, status: int, fields: Fields,
             answer: bytes) -> None:  # fmt: skip
        """One exchange that has ended, as the CRM saw it."""
        ...

    def caught(self, exchange: Exchange, status: int, fields: Fields, answer: bytes) -> None:
        """One answer in which recognisers caught something in clear."""
        ...

    def refused(self, exchange: Exchange) -> None:
        """One write that no profile describes."""
        ...


class Gateway(Protocol):
    """Everything `pipeline.handle` reaches; built in gateway/app.py.

    tenants: by the exact Host the client sends (lower case, with the port unless it is the scheme's own).
    sign_in_app: ASGI, gets every path under /.crmgate/ of a known host from an allowed address; its scope has the true
    client address in `client`, and `state` holds `tenant` (name) and `exchange` (id).
    new_id: a fresh exchange id. clock: UTC. count_refusal: refusals of nobody known are counted, not listed one by one;
    must not block or raise. note_fault: exchange id, stage, class name of the exception.
    """

    @property
    def tenants(self) -> Mapping[str, "Tenant"]: ...
    @property
    def network(self) -> "Network": ...
    @property
    def enforcer(self) -> Enforcer: ...
    @property
    def sessions(self) -> Sessions: ...
    @property
    def audit(self) -> AuditTrail: ...
    @property
    def sign_in_app(self) -> Application: ...
    @property
    def watch(self) -> "Watch": ...
    @property
    def limits(self) -> Limits: ...
    @property
    def learner(self) -> Learner: ...

    def clock(self) -> datetime:
        """Now, UTC."""
        ...

    def new_id(self) -> str:
        """A fresh exchange id."""
        ...

    def count_refusal(self, tenant: str, client: str, reason: str, status: int) -> None:
        """Count one refusal of somebody unknown."""
        ...

    def note_fault(self, exchange: str, stage: str, fault: str) -> None:
        """Log one internal fault; names of classes only, no values."""
        ...

    def protect_request(
        self, exchange: Exchange, content_type: str, body: bytes | AsyncIterator[bytes] | None
    ) -> Awaitable[Outgoing]:
        """Refuse or strip what may not be written, put masks back, replace personal values by surrogates.

        body: bytes; an iterator for multipart (bounded by limits.upload, client's pace); None when nothing has to look
        into it (binary), then only the target is protected. Raises Refusal, KeysUnavailable, StoreUnavailable,
        BodyMalformed.
        """
        ...

    def open_file(self, exchange: Exchange, head: bytes) -> Awaitable["StreamOpener | None"]:
        """What opens a sealed file that begins like this, for this person; None: it is no file of ours.

        Raises Refusal, StreamInvalid, KeysUnavailable, StoreUnavailable.
        """
        ...

    def render_answer(
        self, exchange: Exchange, status: int, fields: Fields, body: bytes
    ) -> Awaitable[tuple[Fields, bytes]]:
        """Render one decoded answer (no content-encoding any more) and its header fields for the principal.

        Called for every answer that is not streamed past, also of writes and sign-ins with an empty body: binds created
        records, notes the CRM identity, fills exchange.shown and exchange.caught. The caller sets Content-Length.
        Raises Refusal, KeysUnavailable, StoreUnavailable.
        """
        ...

    def open_table(
        self, exchange: Exchange, fields: Fields, head: bytes
    ) -> Awaitable[tuple[Fields, "TableStream"] | None]:
        """Header fields for the principal, and what renders a long table that begins like this, group by group.

        None where it is no table, or has to be rendered whole. Raises as `render_answer` does.
        """
        ...
