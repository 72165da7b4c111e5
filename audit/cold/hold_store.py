"""SQL of legal holds."""

from dataclasses import replace
from datetime import datetime

from psycopg.rows import class_row

from audit.cold.hold import Hold, HoldRefused
from audit.store import Connection


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
