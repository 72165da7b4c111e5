"""`crmgate audit seal`, `segments`, `prune`, `restore`: the sealed part of the trail."""

import asyncio
import contextlib
import getpass
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import orjson
import typer

from audit.archive import ArchiveRefused, ArchiveUnavailable, SegmentBroken
from audit.cold import segment_store
from audit.cold.manifest import Manifest, check_chain
from audit.cold.restored_store import forget_restored
from audit.cold.restoring import restore_folder, restore_table
from audit.cold.sealing import SealingRefused, manifest_notes
from audit.cold.verifying import verify_segments
from audit.log import AuditLog
from gateway.cli_installed import installed
from gateway.cli_shell import (
    PROBLEM,
    UNUSABLE,
    FileOption,
    TenantOption,
    out,
    quit_with,
)
from gateway.database import Pool, open_pool
from gateway.rotation import Record
from gateway.settings import Settings

if TYPE_CHECKING:
    from gateway.composition_archive import Archiving

FirstArgument = Annotated[int, typer.Argument(help="Number of an entry in the segment.", min=0)]


@dataclass(frozen=True, slots=True)
class Bench:
    """What a command works with."""

    tenant: str
    settings: Settings
    pool: Pool
    archiving: "Archiving"
    record: Record

    @property
    def scratch(self) -> Path:
        """Where drafts lie."""
        return self.archiving.sealer.scratch

    async def chain(self) -> list[tuple[Manifest, str, bool]]:
        """Manifest, its note, and whether its files are still there; checked. Raises: SegmentBroken."""
        async with self.pool.of(self.tenant) as connection:
            rows = await segment_store.segments(connection, self.tenant)
        verifier = self.archiving.sealer.signer.verifier
        found = check_chain([row.note for row in rows], self.tenant, verifier)
        return [(one, row.note, row.dropped_at is None) for one, row in zip(found, rows, strict=True)]


Work = Callable[[Bench], Awaitable[None]]


def seal(
    everything: Annotated[bool, typer.Option("--all", help="The day that has not ended, too.")] = False,
    tenant: TenantOption = "",
    config: FileOption = None,
) -> None:
    """Seal what is due into segments now; the gateway does it by itself every day."""

    async def work(bench: Bench) -> None:
        count = 0
        await asyncio.to_thread(bench.archiving.stored.check)
        while made := await bench.archiving.sealer.seal(bench.tenant, everything=everything):
            await bench.record(bench.tenant, "audit.seal", f"{made.first}-{made.last}", {"count": made.count})
            out.print(_told(made), markup=False)
            count += 1
        out.print(f"{count} segments sealed." if count else "Nothing is due.", markup=False)

    run_archive(config, tenant, work)


def segments(
    check: Annotated[bool, typer.Option("--verify", help="Read every file in the archive whole.")] = False,
    processes: Annotated[
        int, typer.Option(min=1, max=64, help="For --verify: so many at a time; each takes about a gigabyte.")
    ] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    tenant: TenantOption = "",
    config: FileOption = None,
) -> None:
    """List the sealed segments, their manifests checked; --verify hashes every entry in them again."""

    async def work(bench: Bench) -> None:
        chain = await bench.chain()
        wanted = [one for one, _, there in chain if check and there]
        async with aclosing(verify_segments(bench.archiving.stored, wanted, bench.scratch, processes)) as verified:
            await tell(chain, verified)

    async def tell(chain: list[tuple[Manifest, str, bool]], verified: AsyncIterator[Manifest]) -> None:
        for one, _, there in chain:
            if check and there:
                await anext(verified)
            if as_json:
                told = {"first": one.first, "last": one.last, "at_first": one.at_first, "at_last": one.at_last,
                        "bytes": _bytes(one), "dropped": not there, "verified": check and there}  # fmt: skip
                out.print(orjson.dumps(told).decode(), markup=False)
            else:
                state = "dropped" if not there else "whole" if check else ""
                out.print(f"{_told(one)}  {state}".rstrip(), markup=False)

    run_archive(config, tenant, work)


def prune(
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without, only say what would be done.")] = False,
    tenant: TenantOption = "",
    config: FileOption = None,
) -> None:
    """Remove from the database what is sealed and old enough, and segments whose time is over and nobody holds."""
    from gateway.archiving import drop, prune_next

    async def work(bench: Bench) -> None:
        pruner = bench.archiving.pruner
        if not yes:
            sealed, (over, hold) = await pruner.prunable(bench.tenant), await pruner.droppable(bench.tenant)
            out.print(f"from the database: {_told(sealed) if sealed else 'nothing'}", markup=False)
            out.print(f"from the archive:  {_told(over) if over and not hold else 'nothing'}", markup=False)
            if over and hold:
                out.print(f"held by {hold.id}: {_told(over)}", markup=False)
            return
        pruned = 0
        while count := await prune_next(pruner, bench.record, bench.tenant):
            pruned += count
        dropped = 0
        while True:
            over, hold = await pruner.droppable(bench.tenant)
            if over is None or hold is not None:
                break
            await drop(pruner, bench.record, bench.tenant, over)
            dropped += over.count
        out.print(f"{pruned} entries left the database, {dropped} the archive; proofs stay.", markup=False)

    run_archive(config, tenant, work)


def restore(
    index: FirstArgument = 0,
    to: Annotated[Path | None, typer.Option("--to", help="Folder to write; it must not be there yet.")] = None,
    table: Annotated[bool, typer.Option("--table", help="Into the table audit_restored, for reading.")] = False,
    forget: Annotated[bool, typer.Option("--forget", help="Empty that table again.")] = False,
    lost: Annotated[
        bool, typer.Option("--from-archive", help="By the manifests in the archive: when the database is lost.")
    ] = False,
    tenant: TenantOption = "",
    config: FileOption = None,
) -> None:
    """Bring one segment back, every entry of it verified against the signed root."""
    if sum((to is not None, table, forget)) != 1:
        raise quit_with(UNUSABLE, "Say one of --to FOLDER, --table and --forget.")
    if to is not None and to.exists():
        raise quit_with(UNUSABLE, f"{to} is there already; name another folder.")

    async def work(bench: Bench) -> None:
        if forget:
            async with bench.pool.of(bench.tenant) as connection:
                count = await forget_restored(connection, bench.tenant)
            out.print(f"{count} entries removed from audit_restored.", markup=False)
            return
        one, note = await _segment_of(bench, index, lost=lost)
        await bench.record(bench.tenant, "audit.restore", f"{one.first}-{one.last}", {"count": one.count})
        if to is not None:
            await asyncio.to_thread(restore_folder, bench.archiving.stored, one, note, bench.scratch, to)
            out.print(f"{_told(one)}: verified, in {to}", markup=False)
            return
        async with bench.pool.of(bench.tenant) as connection:
            await restore_table(bench.archiving.stored, one, bench.scratch, connection)
        out.print(f"{_told(one)}: verified, in the table audit_restored", markup=False)

    run_archive(config, tenant, work)


async def _segment_of(bench: Bench, index: int, *, lost: bool) -> tuple[Manifest, str]:
    if lost:
        stored, verifier = bench.archiving.stored, bench.archiving.sealer.signer.verifier
        notes = await asyncio.to_thread(manifest_notes, stored, bench.tenant, bench.scratch)
        chain = [
            (one, note, True)
            for one, note in zip(check_chain(notes, bench.tenant, verifier), notes, strict=True)
        ]  # fmt: skip
    else:
        chain = await bench.chain()
    for one, note, there in chain:
        if one.first <= index <= one.last and there:
            return one, note
    raise quit_with(PROBLEM, f"No segment in the archive holds entry {index}.")


def run_archive(config: Path | None, tenant: str, work: Work) -> None:
    """Open settings, database, trail and archive, run a command over them, and say what went wrong in one sentence."""
    with installed(config, tenant) as at:
        if not at.settings.archive.to:
            raise quit_with(UNUSABLE, "Nothing is sealed: set [audit.archive] to in the settings.")
        dsn = at.dsn
        try:
            with archive_told_plainly():
                asyncio.run(_worked(at.settings, at.tenant, dsn, work))
        except SealingRefused as fault:
            raise quit_with(PROBLEM, f"The audit trail was changed: {fault}") from None
        except OSError as fault:
            raise quit_with(PROBLEM, f"A file cannot be written ({fault.strerror}).") from None


async def _worked(settings: Settings, tenant: str, dsn: str, work: Work) -> None:
    async with _bench(settings, tenant, dsn) as bench:
        await work(bench)


@asynccontextmanager
async def _bench(settings: Settings, tenant: str, dsn: str) -> AsyncIterator[Bench]:
    from gateway.checkpoint_key import signer_of
    from gateway.composition_archive import archiving_of  # brings boto3 and dbos along
    from gateway.rotation_desk import recorder

    async with AsyncExitStack() as stack:
        pool = await open_pool(dsn, max_size=4)
        stack.push_async_callback(pool.close)
        log = await stack.enter_async_context(AuditLog(dsn))
        archiving = archiving_of(settings, pool, await signer_of(stack, settings))
        assert archiving is not None
        record = recorder(log, secrets.token_bytes, "command-line", getpass.getuser(), "audit")
        yield Bench(tenant, settings, pool, archiving, record)


def _bytes(one: Manifest) -> int:
    return sum(file.bytes for file in one.files.values())


def _told(one: Manifest) -> str:
    size = _bytes(one)
    return (
        f"entries {one.first} to {one.last}  {one.at_first:%Y-%m-%d %H:%M} to {one.at_last:%Y-%m-%d %H:%M} UTC  "
        f"{size / 1_000_000:.1f} MB  {size / one.count:.1f} bytes an entry"
    )


@contextlib.contextmanager
def archive_told_plainly() -> Iterator[None]:
    """What the archive says ends the command with a sentence."""
    try:
        yield
    except ArchiveUnavailable as fault:
        raise quit_with(PROBLEM, f"The archive does not answer; nothing is lost: {fault}") from None
    except ArchiveRefused as fault:
        raise quit_with(PROBLEM, f"The archive cannot be used: {fault}") from None
    except SegmentBroken as fault:
        raise quit_with(PROBLEM, f"The archive was changed: {fault}") from None
