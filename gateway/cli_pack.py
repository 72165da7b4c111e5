"""`crmgate audit pack`: entries of the trail with all it takes to prove them, in one file for the auditor."""

import asyncio
import getpass
from dataclasses import replace
from pathlib import Path
from typing import Annotated
from urllib.parse import quote, unquote

import typer

from audit import store
from audit.anchor_folder import newest_size
from audit.archive import ArchiveUnavailable, SegmentBroken
from audit.note import Verifier, origin_of
from audit.pack import write_pack
from audit.pack_choice import Packed, PackRefused, Wanted
from audit.pack_facts import Anchored
from audit.pack_tables import TablesBroken
from audit.pack_words import LANGUAGES
from audit.proof import EntryDropped, StoredLogBroken
from audit.query import recent
from audit.signing import handover_path
from audit.store import Filters
from gateway.accounts import utc_now
from gateway.bundles.in_force import policies_in_force
from gateway.checkpoint_key import verifier_of
from gateway.cli_installed import installed
from gateway.cli_shell import (
    PROBLEM,
    UNUSABLE,
    FileOption,
    TenantOption,
    out,
    quit_with,
)
from gateway.cli_trail_list import time_of
from gateway.cli_trail_status import signed_size
from gateway.database import open_pool
from gateway.person_keys import open_people
from gateway.settings import Settings
from gateway.trail_reading import PACK, given_in, named_filters, note_reading, told_filters


def pack(
    target: Annotated[Path, typer.Argument(help="The zip file to write; it must not be there yet.")],
    since: Annotated[str, typer.Option(help="From when: 2026-01-01, or a time with its zone.")] = "",
    until: Annotated[str, typer.Option(help="Until when, not included.")] = "",
    entity: Annotated[str, typer.Option(help="Only about this kind of record, as the profile names it.")] = "",
    record: Annotated[str, typer.Option(help="Only about this record, by the CRM's key.")] = "",
    actor: Annotated[str, typer.Option(help="Only by this account, by its id.")] = "",
    kind: Annotated[str, typer.Option(help="Only entries of this kind.")] = "",
    operation: Annotated[str, typer.Option(help="Only entries about this operation.")] = "",
    complete: Annotated[
        bool, typer.Option("--complete", help="Add the hashes of all other entries of the time, so that they count.")
    ] = False,
    language: Annotated[str, typer.Option(help="Of the summary: en or zh.")] = "en",
    tenant: TenantOption = "",
    config: FileOption = None,
) -> None:
    """Write an evidence pack: entries, a proof for each, and a program that checks them offline."""
    filters = Filters(
        actor=actor, kind=kind, operation=operation, entity=entity, record=record,
        since=time_of(since, "--since"), until=time_of(until, "--until"),
    )  # fmt: skip
    if language not in LANGUAGES:
        raise quit_with(UNUSABLE, f"--language is one of: {', '.join(LANGUAGES)}")
    if target.exists():
        raise quit_with(UNUSABLE, f"{target} is there already; name another file.")
    with installed(config, tenant) as at:
        settings, name, verifier = at.settings, at.tenant, verifier_of(at.settings)
        wanted = Wanted(
            filters, utc_now(), complete=complete, made_by=getpass.getuser(), language=language,
            anchors=anchors_of(settings, name, verifier), handover=handover_of(settings, name),
        )  # fmt: skip
        dsn = at.dsn
        try:
            made = asyncio.run(_make(settings, dsn, name, verifier, wanted, target))
        except (PackRefused, TablesBroken) as refused:
            raise quit_with(PROBLEM, str(refused)) from None
        except (EntryDropped, ArchiveUnavailable) as fault:
            raise quit_with(PROBLEM, f"The archive is needed for this: {fault}") from None
        except SegmentBroken as fault:
            raise quit_with(PROBLEM, f"The archive was changed: {fault}") from None
        except StoredLogBroken as fault:
            raise quit_with(PROBLEM, f"The audit trail was changed: {name}: {fault}") from None
        except OSError as fault:
            raise quit_with(UNUSABLE, f"{target} cannot be written ({fault.strerror}).") from None
    _tell(made, name, target, verifier)


def _tell(made: Packed, name: str, target: Path, verifier: Verifier) -> None:
    if made.range is not None:
        count = made.range.end - made.range.first
        out.print(f"of {count} entries in the range, {count - made.entries} are there as hashes only", markup=False)
    waiting = f"; {made.waiting} newer ones are not signed yet" if made.waiting else ""
    out.print(f"{made.entries} entries of {name} are proved in {target}{waiting}", markup=False)
    out.print(
        "whoever gets it unpacks verify.py, compares its SHA-256 with the one given with the key, and runs:",
        markup=False,
    )
    out.print(f"  python3 verify.py {target.name} --key '{verifier.vkey(origin_of(name))}'", markup=False)


def handover_of(settings: Settings, tenant: str) -> str:
    """What two keys signed when one took over from the other; "" where none did."""
    path = handover_path(settings.checkpoint_folder, tenant)
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def anchors_of(settings: Settings, tenant: str, verifier: Verifier) -> tuple[Anchored, ...]:
    """What others hold of a log by the files of this machine; only notes that we signed count."""
    own, name, found = settings.checkpoint_folder, quote(tenant, safe=""), []
    for kind, folder in (("folder", settings.anchors.folder or own / "kept"), ("time-stamp", own / "stamped")):
        if size := newest_size(folder / name):
            paths = [folder / name / f"{size}{ending}" for ending in (".checkpoint", ".tsr")]
            files = {f"{kind}-{path.name}": path.read_bytes() for path in paths if path.is_file()}
            note = files[f"{kind}-{size}.checkpoint"].decode(errors="replace")
            found.append(Anchored(kind, signed_size(note, tenant, verifier), files))
    for path in sorted((own / "cosigned").glob(f"{name}@*.cosigned")):
        raw = path.read_bytes()
        size = signed_size(raw.decode(errors="replace"), tenant, verifier)
        found.append(Anchored(unquote(path.stem.partition("@")[2]), size, {path.name: raw}))
    return tuple(found)


async def _make(settings: Settings, dsn: str, tenant: str, verifier: Verifier, wanted: Wanted, target: Path) -> Packed:
    """The pack is on record before it is made; half a pack is never left."""
    from gateway.composition_archive import archive_of  # brings boto3 along, which `crmgate --help` need not wait for

    archive = archive_of(settings, dsn, verifier)
    pool = await open_pool(dsn, max_size=2)
    try:
        async with open_people(settings, tenant, pool) as people:
            filters = await named_filters(people, tenant, wanted.filters)  # the pack tells the pseudonym
        held = bool(await recent(pool, tenant, 1, filters))
        await note_reading(dsn, tenant, PACK, told_filters(given_in(filters), found=held))
        policies = await policies_in_force(pool, tenant)
    finally:
        await pool.close()
    draft = target.with_name(f".{target.name}.draft")
    try:
        with draft.open("xb") as file:
            async with store.reading(dsn, tenant) as connection:
                asked = replace(wanted, filters=filters, policies=policies)
                made = await write_pack(connection, tenant, verifier, asked, file, archive)
        draft.rename(target)
    finally:
        draft.unlink(missing_ok=True)
    return made
