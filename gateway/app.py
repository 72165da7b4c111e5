"""The running gateway as the pipeline reaches it (gateway.collaborators.Gateway).

Its members are built and closed by gateway/composition.py; nothing here is global and nothing is decided here.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import structlog

from audit.checkpoint import Keeper
from audit.flood import RefusalCounter
from audit.log import AuditLog
from gateway.access.sessions import Sessions
from gateway.access.tokens import Randomness, Reserve, new_id
from gateway.accounts import utc_now
from gateway.collaborators import Application, Fields, Limits, Outgoing
from gateway.exchange import Exchange
from gateway.files import Files
from gateway.installation import Installation
from gateway.inward import Inward
from gateway.learn.learner import Learner
from gateway.network import Network, Tenant
from gateway.outward import Outward
from gateway.table_stream import TableStream
from gateway.toml_tree import Address
from gateway.watch import Watch
from kms.stream import StreamOpener
from policies.decision import Decision
from policies.enforcer import NOT_ALLOWED, Bundle
from policies.operation import UNMATCHED_READ
from policies.profile import Operation

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Policies:
    """The bundle of each tenant behind one `decide`.

    closed: tenants whose posture is deny; there, a read that no profile rule matches is refused whoever asks.
    """

    bundles: Mapping[str, Bundle]
    closed: frozenset[str] = frozenset()

    def decide(self, tenant: str, roles: tuple[str, ...], operation: Operation) -> Decision:
        """Allow or refuse, with the view of the fields."""
        decision = self.bundles[tenant].decide(tenant, roles, operation)
        if decision.allowed and tenant in self.closed and operation.id == UNMATCHED_READ.id:
            return Decision(False, NOT_ALLOWED, decision.view)
        return decision


@dataclass(frozen=True, slots=True)
class Listening:
    """A listener beside the two for browsers: `start` binds it, `close` ends it."""

    address: Address
    start: Callable[[str, int], Awaitable[int]]
    close: Callable[[], Awaitable[None]]


@dataclass(slots=True)
class App:
    """A running gateway; see gateway.collaborators.Gateway for what each member promises."""

    tenants: Mapping[str, Tenant]
    installations: Mapping[str, Installation]
    network: Network
    enforcer: Policies
    sessions: Sessions
    audit: AuditLog
    watch: Watch
    limits: Limits
    refusals: RefusalCounter
    inward: Inward
    outward: Outward
    files: Files
    keeper: Keeper
    sign_in_app: Application
    console_app: Application
    learner: Learner
    sweeps: Sequence[Callable[[datetime], Awaitable[None]]]
    egress: Sequence["Listening"] = ()
    lookouts: Sequence[Callable[[], Coroutine[Any, Any, None]]] = ()
    random: Randomness = field(default_factory=Reserve)

    clock = staticmethod(utc_now)

    def new_id(self) -> str:
        """A fresh exchange id."""
        return new_id("x", self.random)

    def count_refusal(self, tenant: str, client: str, reason: str, status: int) -> None:
        """Count one refusal of somebody unknown."""
        self.refusals.note(tenant, client, reason, status, utc_now())

    def note_fault(self, exchange: str, stage: str, fault: str) -> None:
        """Log one internal fault; names of classes only, no values."""
        log.error("exchange-failed", exchange=exchange, stage=stage, fault=fault)

    def protect_request(
        self, exchange: Exchange, content_type: str, body: bytes | AsyncIterator[bytes] | None
    ) -> Awaitable[Outgoing]:
        """The way in; see gateway.inward."""
        profile = self.installations[exchange.tenant].current
        return self.inward.protect_request(exchange, profile, content_type, body)

    def open_file(self, exchange: Exchange, head: bytes) -> Awaitable[StreamOpener | None]:
        """Files sealed on the way in; see gateway.files."""
        return self.files.opener(exchange, head)

    def render_answer(
        self, exchange: Exchange, status: int, fields: Fields, body: bytes
    ) -> Awaitable[tuple[Fields, bytes]]:
        """The way out; see gateway.outward."""
        return self.outward.render_answer(exchange, self.installations[exchange.tenant], status, fields, body)

    def open_table(
        self, exchange: Exchange, fields: Fields, head: bytes
    ) -> Awaitable[tuple[Fields, TableStream] | None]:
        """Long tables on the way out; see gateway.table_stream."""
        return self.outward.open_table(exchange, self.installations[exchange.tenant].current, fields, head)
