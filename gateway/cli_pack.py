"""`crmgate audit pack`: entries of the trail with all it takes to prove them, in one file for the auditor."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from audit import store
from audit.note import Verifier, origin_of, read_signer
from audit.pack import Packed, PackRefused, Policy, Wanted, write_pack
from audit.proof import StoredLogBroken
from audit.query import recent
from audit.store import Filters
from gateway.accounts import utc_now
from gateway.bundles.bundle import State
from gateway.bundles.store import BundleStore
from gateway.cli_shell import (
    PROBLEM,
    UNUSABLE,
    FileOption,
    TenantOption,
    out,
    quit_with,
    settings_of,
    tenant_of,
    told_plainly,
)
from gateway.cli_trail_list import time_of
from gateway.database import open_pool
from gateway.opening import open_database
from gateway.trail_reading import PACK, given_in, note_reading, told_filters

_IN_FORCE = (State.PUBLISHED, State.RETIRED)


def pack(
    target: Annotated[Path, typer.Argument(help="The zip file to write; it must not be there yet.")],
    since: Annotated[str, typer.Option(help="From when: 2026-01-01, or a time with its zone.")] = "",
    until: Annotated[str, typer.Option(help="Until when, not included.")] = "",
    entity: Annotated[str, typer.Option(help="Only about this kind of record, as the profile names it.")] = "",
    record: Annotated[str, typer.Option(help="Only about this record, by the CRM's key.")] = "",
    actor: Annotated[str, typer.Option(help="Only by this account, by its id.")] = "",
    kind: Annotated[str, typer.Option(help="Only entries of this kind.")] = "",
    operation: Annotated[str, typer.Option(help="Only entries about this operation.")] = "",
    tenant: TenantOption = "",
    config: FileOption = None,
) -> None:
    """Write an evidence pack: entries, a proof for each, and a program that checks them offline."""
    filters = Filters(
        actor=actor, kind=kind, operation=operation, entity=entity, record=record,
        since=time_of(since, "--since"), until=time_of(until, "--until"),
    )  # fmt: skip
    if target.exists():
        raise quit_with(UNUSABLE, f"{target} is there already; name another file.")
    with told_plainly():
        settings = settings_of(config)
        name = tenant_of(settings, tenant)
        verifier = read_signer(settings.checkpoint_key_path).verifier
        database = open_database(settings)
        try:
            made = asyncio.run(_make(database.dsn, name, verifier, filters, target))
        except PackRefused as refused:
            raise quit_with(PROBLEM, str(refused)) from None
        except StoredLogBroken as fault:
            raise quit_with(PROBLEM, f"The audit trail was changed: {name}: {fault}") from None
        except OSError as fault:
            raise quit_with(UNUSABLE, f"{target} cannot be written ({fault.strerror}).") from None
        finally:
            database.close()
    waiting = f"; {made.waiting} newer ones are not signed yet" if made.waiting else ""
    out.print(f"{made.entries} entries of {name} are proved in {target}{waiting}", markup=False)
    out.print("whoever gets it unpacks verify.py and runs:", markup=False)
    out.print(f"  python3 verify.py {target.name} --key '{verifier.vkey(origin_of(name))}'", markup=False)


async def _make(dsn: str, tenant: str, verifier: Verifier, filters: Filters, target: Path) -> Packed:
    """The pack is on record before it is made; half a pack is never left."""
    pool = await open_pool(dsn, max_size=1)
    try:
        held = bool(await recent(pool, tenant, 1, filters))
        await note_reading(dsn, tenant, PACK, told_filters(given_in(filters), found=held))
        bundles = await BundleStore(pool).every(tenant)
    finally:
        await pool.close()
    policies = [
        Policy(one.version, one.published.at if one.published else None, one.rows)
        for one in bundles
        if one.state in _IN_FORCE
    ]
    draft = target.with_name(f".{target.name}.draft")
    try:
        with draft.open("xb") as file:
            async with store.reading(dsn, tenant) as connection:
                made = await write_pack(connection, tenant, verifier, Wanted(filters, utc_now(), policies), file)
        draft.rename(target)
    finally:
        draft.unlink(missing_ok=True)
    return made
