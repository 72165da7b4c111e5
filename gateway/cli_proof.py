"""`crmgate audit key`, `prove`, `check-proof`, `tiles`: the trail for somebody who has nothing but the public key."""

import asyncio
from pathlib import Path
from typing import Annotated

import orjson
import typer

from audit import store
from audit.note import NoteInvalid, Verifier, origin_of, read_signer
from audit.proof import EXTENSION, FILE_LIMIT_BYTES, EntryNotSigned, EntryProof, StoredLogBroken, prove_entry
from audit.tiles import TilesRefused, TilesWritten, write_tiles
from audit.tree import ProofInvalid
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
from gateway.opening import open_database
from gateway.trail_reading import PROVE, TILES, note_reading


def show_key(tenant: TenantOption = "", config: FileOption = None) -> None:
    """Print the public key of the trail; give it to the auditor before he needs it."""
    with told_plainly():
        settings = settings_of(config)
        origin = origin_of(tenant_of(settings, tenant))
        out.print(read_signer(settings.checkpoint_key_path).verifier.vkey(origin), markup=False)


def prove(
    index: Annotated[int, typer.Argument(help="Number of the entry.", min=0)],
    target: Annotated[Path | None, typer.Option("--out", "-o", help="File to write; else TENANT-INDEX.")] = None,
    tenant: TenantOption = "",
    config: FileOption = None,
) -> None:
    """Write a proof file: the entry, its path to the signed root, the checkpoint. Anybody can check it offline."""
    with told_plainly():
        settings = settings_of(config)
        name = tenant_of(settings, tenant)
        verifier = read_signer(settings.checkpoint_key_path).verifier
        database = open_database(settings)
        try:
            proof = asyncio.run(_prove(database.dsn, name, index, verifier))
        except EntryNotSigned as fault:
            raise quit_with(PROBLEM, f"{fault}.") from None
        except StoredLogBroken as fault:
            raise quit_with(PROBLEM, f"The audit trail was changed: {name}: {fault}") from None
        finally:
            database.close()
        path = target or Path(f"{name}-{index}{EXTENSION}")
        try:
            path.write_text(proof.text(), encoding="utf-8")
        except OSError as fault:
            raise quit_with(UNUSABLE, f"{path} cannot be written ({fault.strerror}).") from None
    out.print(f"Entry {index} of {name} is proved in {path}", markup=False)
    out.print(f"check it with: crmgate audit check-proof {path} --key '{verifier.vkey(origin_of(name))}'", markup=False)


async def _prove(dsn: str, tenant: str, index: int, verifier: Verifier) -> EntryProof:
    await note_reading(dsn, tenant, PROVE, target=str(index))
    async with store.reading(dsn, tenant) as connection:
        return await prove_entry(connection, tenant, index, verifier)


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
    with told_plainly():
        settings = settings_of(config)
        name = tenant_of(settings, tenant)
        verifier = read_signer(settings.checkpoint_key_path).verifier
        database = open_database(settings)
        try:
            done = asyncio.run(_write_tiles(database.dsn, name, verifier, folder))
        except TilesRefused as fault:
            raise quit_with(PROBLEM, f"Nothing was shown: {fault}.") from None
        except OSError as fault:
            raise quit_with(UNUSABLE, f"{folder} cannot be written ({fault.strerror}).") from None
        finally:
            database.close()
    out.print(f"{folder} shows {done.checkpoint.size} entries of {name}; {done.files} files written.", markup=False)


async def _write_tiles(dsn: str, tenant: str, verifier: Verifier, folder: Path) -> TilesWritten:
    await note_reading(dsn, tenant, TILES)
    async with store.reading(dsn, tenant) as connection:
        return await write_tiles(connection, tenant, verifier, folder)
