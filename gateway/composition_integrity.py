"""The objects that keep the audit trail whole: the keeper that signs it and the watch that reads it again."""

import secrets
from collections.abc import Callable, Collection
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime

import structlog

from audit.checkpoint import Keeper
from audit.entry import AuditEntry
from audit.log import AuditLog, AuditUnavailable
from audit.note import Signer
from audit.watch import Finding, Watch
from gateway.access.tokens import new_id
from gateway.database import Pool
from gateway.settings import Settings

OPERATION, REASON = "audit.watch", "trail-tampered"


@dataclass(frozen=True, slots=True)
class Integrity:
    """What runs."""

    keeper: Keeper
    watch: Watch


class Teller:
    """Writes each finding into the trail it is about, as an alarm, so that whoever reads the trail sees it."""

    def __init__(self, audit: AuditLog, tenants: Collection[str], clock: Callable[[], datetime]) -> None:
        self._audit, self._tenants, self._clock = audit, tenants, clock

    async def tell(self, finding: Finding) -> None:
        """Append one; where the trail cannot be written, the log and the file beside the key have it."""
        first, last = finding.span or (None, None)
        fields: dict[str, object] = {"target": finding.tenant, "detail": _sort(finding)}
        if finding.span is not None:
            fields["change"] = {"first": str(first), "last": str(last)}
        entry = AuditEntry(
            at=self._clock(),
            entity="audit",
            fields=fields,
            id=new_id("a", secrets.token_bytes),
            kind="alarm",
            operation=OPERATION,
            reason=REASON,
            record=str(first) if first is not None else "",
            # A log that no setting names is somebody's invention.
            tenant=finding.tenant if finding.tenant in self._tenants else next(iter(self._tenants)),
        )
        try:
            await self._audit.append(entry)
        except AuditUnavailable:
            structlog.get_logger().error("audit.finding-not-in-trail", tenant=finding.tenant)


def _sort(finding: Finding) -> str:
    if finding.checkpoint is not None:
        return "checkpoint"
    return "entry" if finding.span is not None else "guard"


async def integrity_of(
    stack: AsyncExitStack,
    settings: Settings,
    database: Pool,
    audit: AuditLog,
    signer: Signer,
    clock: Callable[[], datetime],
) -> Integrity:
    """Started; the stack ends them."""
    folder, interval_s = settings.checkpoint_folder, settings.audit.checkpoint_seconds
    keeper = Keeper(database, signer, folder, now=clock, interval_s=interval_s)
    await keeper.start()
    stack.push_async_callback(keeper.close)
    watch = Watch(
        database,
        signer.verifier,
        folder,
        now=clock,
        interval_s=interval_s,
        slice_entries=settings.audit.watch_entries,
        told=Teller(audit, tuple(settings.tenants), clock).tell,
    )
    await watch.start()
    stack.push_async_callback(watch.close)
    return Integrity(keeper, watch)
