"""`crmgate audit key`, `prove`, `check-proof`, `tiles`: the trail for somebody who has nothing but the public key."""

import asyncio
import getpass
import secrets
from pathlib import Path
from typing import Annotated

import orjson
import typer

from audit import store
from audit.archive import Archive, ArchiveUnavailable, SegmentBroken
from audit.entry import AuditEntry
from audit.log import AuditLog
from audit.note import NoteInvalid, Verifier, origin_of
from audit.pack import program_digest
from audit.proof import (
    EXTENSION,
    FILE_LIMIT_BYTES,
    EntryDropped,
    EntryNotSigned,
    EntryProof,
    StoredLogBroken,
    prove_entry,
)
from audit.tiles import TilesRefused, TilesWritten, write_tiles
from audit.tree import ProofInvalid
from gateway.access.tokens import new_id
from gateway.accounts import utc_now
from gateway.checkpoint_key import create_key, public_path, verifier_of
from gateway.cli_installed import installed
from gateway.cli_shell import (
    PROBLEM,
    UNUSABLE,
    FileOption,
    TenantOption,
    out,
    quit_with,
)
from gateway.settings import KeySigner, Settings
from gateway.trail_reading import PROVE, TILES, note_reading


def show_key(
    create: Annotated[bool, typer.Option("--create", help="Make the signing key on the key server of [keys].")] = False,
    token_file: Annotated[
        Path | None, typer.Option("--token-file", help="With --create: an operator's token, not the serving one.")
    ] = None,
    checker: Annotated[
        bool, typer.Option("--program", help="Print the SHA-256 of the packs' verify.py; give it with the key.")
    ] = False,
    tenant: TenantOption = "",
    config: FileOption = None,
) -> None:
    """Print the public key of the trail; give it to the auditor before he needs it."""
    if checker:
        out.print(program_digest(), markup=False)
        return
    with installed(config, tenant) as at:
        settings, name = at.settings, at.tenant
        if not create:
            out.print(verifier_of(settings).vkey(origin_of(name)), markup=False)
            return
        dsn = at.dsn
        try:
            made = asyncio.run(_create(settings, dsn, name, token_file))
        except OSError as fault:
            raise quit_with(UNUSABLE, f"{public_path(settings)} cannot be written ({fault.strerror}).") from None
        out.print(made.vkey(origin_of(name)), markup=False)
        if settings.audit.checkpoint_signer is KeySigner.FILE:
            out.print('sign with it: set checkpoint_signer = "key-server" in [audit] and restart', markup=False)
            out.print("the key before stays valid for what it has signed by then", markup=False)


async def _create(settings: Settings, dsn: str, tenant: str, token_file: Path | None) -> Verifier:
    """Make the key, and put that on record where it was not there."""
    made, fresh = await create_key(settings, token_file)
    if not fresh:
        return made
    async with AuditLog(dsn) as log:
        await log.append(
            AuditEntry(
                actor="command-line",
                actor_login=getpass.getuser(),
                at=utc_now(),
                fields={"change": {"new": made.key_id(origin_of(tenant)).hex()}},
                id=new_id("a", secrets.token_bytes),
                kind="keys",
                operation="audit.key",
                reason="audit-key-made",
                tenant=tenant,
            )
        )
    return made


def prove(
    index: Annotated[int, typer.Argument(help="Number of the entry.", min=0)],
    target: Annotated[Path | None, typer.Option("--out", "-o", help="File to write; else TENANT-INDEX.")] = None,
    tenant: TenantOption = "",
    config: FileOption = None,
) -> None:
    """Write a proof file: the entry, its path to the signed root, the checkpoint. Anybody can check it offline."""
    with installed(config, tenant) as at:
        name, verifier = at.tenant, verifier_of(at.settings)
        try:
            proof = asyncio.run(_prove(at.settings, at.dsn, name, index))
        except (EntryNotSigned, EntryDropped, ArchiveUnavailable) as fault:
            raise quit_with(PROBLEM, f"{fault}.") from None
        except SegmentBroken as fault:
            raise quit_with(PROBLEM, f"The archive was changed: {fault}") from None
        except StoredLogBroken as fault:
            raise quit_with(PROBLEM, f"The audit trail was changed: {name}: {fault}") from None
        path = target or Path(f"{name}-{index}{EXTENSION}")
        try:
            path.write_text(proof.text(), encoding="utf-8")
        except OSError as fault:
            raise quit_with(UNUSABLE, f"{path} cannot be written ({fault.strerror}).") from None
    out.print(f"Entry {index} of {name} is proved in {path}", markup=False)
    out.print(f"check it with: crmgate audit check-proof {path} --key '{verifier.vkey(origin_of(name))}'", markup=False)


async def _prove(settings: Settings, dsn: str, tenant: str, index: int) -> EntryProof:
    verifier = verifier_of(settings)
    archive = _archive(settings, dsn, verifier)
    await note_reading(dsn, tenant, PROVE, target=str(index))
    async with store.reading(dsn, tenant) as connection:
        return await prove_entry(connection, tenant, index, verifier, archive)


def _archive(settings: Settings, dsn: str, verifier: Verifier) -> Archive:
    from gateway.composition_archive import archive_of  # brings boto3 along, which `crmgate --help` need not wait for

    return archive_of(settings, dsn, verifier)


def check_proof(
    file: Annotated[Path, typer.Argument(help="The proof file.", exists=True, dir_okay=False)],
    key: Annotated[str, typer.Option("--key", "-k", help="Public key of the trail (crmgate audit key), or its file.")],
) -> None:
    """Check a proof file with nothing but the public key; needs no settings, database or network."""
    try:
        given = Path(key).read_text(encoding="utf-8") if "+" not in key or Path(key).is_file() else key
        verifier, origin = Verifier.from_vkey(given)
    except (OSError, UnicodeError, NoteInvalid):
        raise quit_with(UNUSABLE, "--key is no public key NAME+ID+KEY and no file with one.") from None
    try:
        with file.open("rb") as opened:
            text = opened.read(FILE_LIMIT_BYTES + 1).decode()
        proof = EntryProof.from_text(text)
        checkpoint = proof.check(verifier, origin)
    except (UnicodeError, NoteInvalid, ProofInvalid) as fault:
        said = "not UTF-8 text" if isinstance(fault, UnicodeError) else str(fault)
        raise quit_with(PROBLEM, f"{file} proves nothing: {said}.") from None
    except OSError as fault:
        raise quit_with(UNUSABLE, f"{file} cannot be read ({fault.strerror}).") from None
    out.print(
        f"Proved: this is entry {proof.index} of {origin}, one of {checkpoint.size} under root {checkpoint.root.hex()}",
        markup=False,
    )
    try:
        shown = orjson.dumps(orjson.loads(proof.body), option=orjson.OPT_INDENT_2).decode()
    except ValueError:
        shown = repr(proof.body)
    out.print(shown, markup=False)


def tiles(
    folder: Annotated[Path, typer.Argument(help="Folder to write; a later run adds what is new.", file_okay=False)],
    tenant: TenantOption = "",
    config: FileOption = None,
) -> None:
    """Write the signed log as static files (C2SP tlog-tiles) that a web server can serve and other tools read."""
    with installed(config, tenant) as at:
        name, verifier = at.tenant, verifier_of(at.settings)
        dsn = at.dsn
        try:
            archive = _archive(at.settings, dsn, verifier)
            done = asyncio.run(_write_tiles(dsn, name, verifier, folder, archive))
        except (TilesRefused, ArchiveUnavailable, SegmentBroken) as fault:
            raise quit_with(PROBLEM, f"Nothing was shown: {fault}.") from None
        except OSError as fault:
            raise quit_with(UNUSABLE, f"{folder} cannot be written ({fault.strerror}).") from None
    out.print(f"{folder} shows {done.checkpoint.size} entries of {name}; {done.files} files written.", markup=False)


async def _write_tiles(dsn: str, tenant: str, verifier: Verifier, folder: Path, archive: Archive) -> TilesWritten:
    await note_reading(dsn, tenant, TILES)
    async with store.reading(dsn, tenant) as connection:
        return await write_tiles(connection, tenant, verifier, folder, archive)
