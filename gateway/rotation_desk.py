"""What an administrator does to rotations of one CRM: begin, pause, resume; each is in the audit trail before it is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from audit.entry import AuditEntry
from audit.log import AuditLog
from gateway import rewrap, rotation
from gateway.access.tokens import Randomness, new_id
from gateway.accounts import utc_now
from gateway.durable import Durable, ask
from gateway.job import Job, Json, Wanted
from gateway.job_store import JobStore
from gateway.rotation import Record
from kms.rotation import Rotation
from kms.tenant_key import TenantKeys


def recorder(log: AuditLog, random: Randomness, actor: str, login: str = "", entity: str = "key") -> Record:
    """Writes entries about keys, or another thing, in the name of an actor; they raise AuditUnavailable."""

    async def record(tenant: str, operation: str, target: str, more: Mapping[str, Json]) -> None:
        await log.append(
            AuditEntry(
                id=new_id("a", random),
                at=utc_now(),
                tenant=tenant,
                kind="console",
                actor=actor,
                actor_login=login,
                operation=operation,
                entity=entity,
                reason="done",
                fields={"target": target, **more},
            )
        )

    return record


@dataclass(frozen=True, slots=True)
class RotationDesk:
    """One administrator's desk; durable: None where this process only asks and does no work."""

    tenant: str
    jobs: JobStore
    rotation: Rotation
    tenant_keys: TenantKeys
    record: Record
    working: Durable | None = None

    @property
    def durable(self) -> Durable:
        """The durable work of this process."""
        assert self.working is not None
        return self.working

    async def begin(self, scope: str, purpose: str, rate: float | None) -> Sequence[Job]:
        """Begin one rotation, or all when no scope is given.

        Raises NotRotatable, StoreUnavailable, AuditUnavailable.
        """
        await self.record(self.tenant, "keys.rotate.ask", f"{scope or 'all'}.{purpose or 'all'}", {})
        if not scope:
            return await rotation.begin_all(self.durable, self.rotation, self.tenant, rate)
        return [await rotation.begin(self.durable, self.rotation, self.tenant, scope, purpose, rate)]

    async def begin_tenant_key(self, *, close: bool) -> Job:
        """Begin the rotation of the tenant's key; close: old versions open nothing in the end.

        Raises KeysUnavailable, StoreUnavailable, AuditUnavailable.
        """
        await self.record(self.tenant, "keys.rotate.ask", "tenant-key", {"change": "close"} if close else {})
        return await rewrap.begin(self.durable, self.tenant_keys, self.tenant, close=close)

    async def resume(self, job: Job, rate: float | None) -> Job:
        """Go on with a job. Raises JobUnknown, StoreUnavailable, AuditUnavailable."""
        await self.record(self.tenant, "keys.rotate.resume", job.id, {})
        return await self.durable.resume(job.id, rate)

    async def ask(self, job: Job, wanted: Wanted) -> Job:
        """Pause or cancel a job. Raises JobUnknown, StoreUnavailable, AuditUnavailable."""
        await self.record(self.tenant, f"keys.rotate.{wanted}", job.id, {})
        return await ask(self.jobs, job.id, wanted)
