"""Everything the console reaches, in one frozen value built by the composition."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from audit.anchor import Anchors
from audit.siem.forwarder import ForwardState
from audit.watch import Watch
from gateway.access.deps import AccessDeps
from gateway.access.emergencies import Emergencies
from gateway.console.trail import TrailReader
from gateway.directory.directory import Directory
from gateway.guesses import Budgets
from gateway.supervisor import Revivals
from gateway.tls import Expiry
from kms.connections import Pool
from kms.keyring import KeyringStatus
from policies.decision import FieldView
from policies.operation import FieldSpec
from policies.rows import Grant

if TYPE_CHECKING:
    from gateway.archiving import ArchiveState
    from gateway.bundles.desk import PolicyDesk
    from gateway.disclosure.desk import Desk
    from gateway.query_desk import QueryDesk


class Policy(Protocol):
    """What the console asks the policy bundle (policies.enforcer.Bundle)."""

    @property
    def version(self) -> str:
        """Version of the bundle."""
        ...

    @property
    def roles(self) -> Collection[str]:
        """Ids of the roles there are."""
        ...

    def may(self, tenant: str, roles: Collection[str], operation_id: str, action: str = "read") -> bool:
        """Whether these roles have an operation of the console."""
        ...

    def view(self, tenant: str, roles: Collection[str]) -> FieldView:
        """The compiled rights over fields."""
        ...

    def export_view(self, tenant: str, roles: Collection[str]) -> FieldView:
        """The compiled rights in exports."""
        ...

    def limited(self, tenant: str, roles: Collection[str], obj: str) -> list[Grant]:
        """The rows about an object that do not hold for every record and for good."""
        ...


@dataclass(frozen=True, slots=True)
class Crm:
    """The CRM behind a tenant, for health: its profile, its public address, and a call that raises when it is away."""

    profile: str
    public_url: str
    check: Callable[[], Awaitable[None]]


async def _no_certificates(_tenant: str) -> Sequence[Expiry]:
    return ()


@dataclass(frozen=True, slots=True)
class ConsoleDeps:
    """Dependencies of the console.

    access: those of the sign-in pages of this host (audience "console"). policy: tenant → bundle. fields: tenant → the
    profile's fields. check_keys: raises when keys are not to be had. key_status: tenant → its provider and keys. crm:
    tenant → its CRM. crm_url: where an invitation link leads (the CRM host's sign-in pages). data_folder: whose disk is
    watched. invitation_url: tenant and roles → address of the host the person will sign in at. certificates: tenant →
    when each certificate of its TLS ends. budgets: what people may learn in an hour about values they do not see.
    directories: tenant → those that check passwords of its people. ledger: of reveals with a reason. emergencies: roles
    that people take for an emergency. desk: tenant → where its policy bundles are worked on. learnable: whether a
    tenant runs with the profile that declares nothing. trail_watch: reads the audit trail again while the gateway runs.
    anchors: bring its checkpoints outside. pending: entries of all tenants that wait for the disk. queries: where
    statements about the trail are asked. revivals: how often the embedded database was started again.
    """

    access: AccessDeps
    desk: "Callable[[str], PolicyDesk]"
    pool: Pool
    trail: TrailReader
    policy: Callable[[str], Policy]
    fields: Callable[[str], Sequence[FieldSpec]]
    check_keys: Callable[[], Awaitable[None]]
    key_status: Callable[[str], Awaitable[KeyringStatus]]
    key_provider: str
    crm: Callable[[str], Crm]
    console_url: str
    data_folder: Path
    version: str
    budgets: Budgets
    emergencies: Emergencies
    checkpoint_fault: Callable[[], str] = lambda: ""
    checkpoint_waiting: Callable[[], str] = lambda: ""
    forwarding: Sequence[ForwardState] = ()
    archive: "Mapping[str, ArchiveState]" = field(default_factory=dict)
    trail_watch: Watch | None = None
    anchors: Anchors | None = None
    pending: Callable[[], int] = lambda: 0
    certificates: Callable[[str], Awaitable[Sequence[Expiry]]] = _no_certificates
    learnable: Callable[[str], bool] = lambda _tenant: False
    ledger: "Desk | None" = None
    queries: "QueryDesk | None" = None
    directories: Callable[[str], Sequence[Directory]] = lambda _tenant: ()
    revivals: Revivals = field(default_factory=Revivals)
