"""Legal holds: what nobody may drop, whatever retention says, until two people have lifted it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
from psycopg.rows import class_row

from audit.cold.manifest import Manifest
from audit.store import Connection


class HoldRefused(Exception):  # noqa: N818 - a refusal
    """The hold cannot be set or lifted like this; the text says why."""

    permanent = True


@dataclass(frozen=True, slots=True)
class Hold:
    """What is held of a tenant: everything, or what is about a person, a record, an account or a time; all must fit.

    lift_by: who asked to lift it; lifted_by: somebody else, who did.
    """

    id: str
    reason: str
    set_by: str
    set_at: datetime
    data_subject: str = ""
    entity: str = ""
    record: str = ""
    actor: str = ""
    since: datetime | None = None
    until: datetime | None = None
    lift_by: str | None = None
    lift_at: datetime | None = None
    lifted_by: str | None = None
    lifted_at: datetime | None = None

    @property
    def names(self) -> dict[str, str]:
        """The columns it looks at, and for what."""
        told = {name: getattr(self, name) for name in ("data_subject", "entity", "record", "actor")}
        return {name: value for name, value in told.items() if value}

    def in_time(self, manifest: Manifest) -> bool:
        """Whether a segment has entries of its time."""
        since_fits = self.since is None or manifest.at_last >= self.since
        return since_fits and (self.until is None or manifest.at_first < self.until)

    def in_files(self, event_file: Path, sight_file: Path) -> bool:
        """Whether an entry in the files is what it looks for."""
        if not self.names:
            return True
        condition = None
        for name, value in self.names.items():
            one = pc.field(name) == value
            condition = one if condition is None else condition & one
        files = (event_file, sight_file)
        return any(pq.read_table(path, columns=["index"], filters=condition).num_rows for path in files)


async def holds(connection: Connection, tenant: str, *, lifted: bool = False) -> list[Hold]:
    """The holds in force, the oldest first; lifted: those that were lifted, too."""
    async with connection.cursor(row_factory=class_row(Hold)) as cursor:
        await cursor.execute(
            "SELECT id, reason, set_by, set_at, data_subject, entity, record, actor, since, until, lift_by, lift_at,"
            " lifted_by, lifted_at FROM audit_hold WHERE tenant = %s AND (lifted_at IS NULL OR %s) ORDER BY set_at, id",
            (tenant, lifted),
        )
        return await cursor.fetchall()


async def add_hold(connection: Connection, tenant: str, hold: Hold) -> None:
    """Set one. Raises: HoldRefused without a reason."""
    if not hold.reason.strip() or (hold.entity and not hold.record):
        raise HoldRefused("A hold needs a reason, and a kind of record needs a record.")
    if hold.since is not None and hold.until is not None and hold.since >= hold.until:
        raise HoldRefused("The time of a hold must end after it begins.")
    await connection.execute(
        "INSERT INTO audit_hold (tenant, id, reason, set_by, set_at, data_subject, entity, record, actor, since, until)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (tenant, hold.id, hold.reason, hold.set_by, hold.set_at, hold.data_subject, hold.entity, hold.record,
         hold.actor, hold.since, hold.until),
    )  # fmt: skip


async def lift(connection: Connection, tenant: str, name: str, who: str, at: datetime) -> Hold:
    """Ask to lift a hold, or, as somebody else than who asked, lift it. Raises: HoldRefused."""
    found = next((one for one in await holds(connection, tenant, lifted=True) if one.id == name), None)
    if found is None or found.lifted_at is not None:
        raise HoldRefused(f"There is no hold {name}, or it was lifted.")
    if found.lift_by is None:
        await connection.execute(
            "UPDATE audit_hold SET lift_by = %s, lift_at = %s WHERE tenant = %s AND id = %s AND lift_by IS NULL",
            (who, at, tenant, name),
        )
        return replace(found, lift_by=who, lift_at=at)
    if found.lift_by == who:
        raise HoldRefused(f"{who} asked for it; somebody else has to lift it.")
    await connection.execute(
        "UPDATE audit_hold SET lifted_by = %s, lifted_at = %s WHERE tenant = %s AND id = %s", (who, at, tenant, name)
    )
    return replace(found, lifted_by=who, lifted_at=at)


def holding(found: Sequence[Hold], manifest: Manifest, event_file: Path, sight_file: Path) -> Hold | None:
    """A hold that keeps a segment; None when it may go."""
    asked = (one for one in found if one.in_time(manifest))
    return next((one for one in asked if one.in_files(event_file, sight_file)), None)
