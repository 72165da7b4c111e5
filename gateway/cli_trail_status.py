"""`crmgate audit status`: how far the trail is integrated, signed and published, and what was ever found in it."""

import asyncio
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

from psycopg import AsyncConnection

from audit import store
from audit.anchor_folder import newest_size
from audit.note import NoteInvalid, Verifier, origin_of
from audit.watch import findings_path
from gateway.checkpoint_key import verifier_of
from gateway.cli_installed import installed
from gateway.cli_shell import PROBLEM, FileOption, TenantOption, out, quit_with
from gateway.settings import Settings


def status(tenant: TenantOption = "", config: FileOption = None) -> None:
    """Say how many entries are integrated, signed and published; exit 1 when something was ever found."""
    with installed(config, tenant) as at:
        name, verifier = at.tenant, verifier_of(at.settings)
        integrated, signed = asyncio.run(_sizes(at.dsn, name, verifier))
        out.print(f"integrated {integrated}  signed {signed}", markup=False)
        for where, size in published(at.settings, name, verifier):
            out.print(f"published {size}  {where}", markup=False)
        found = findings(at.settings.checkpoint_folder, name)
        for line in found:
            place = f"entries {line['entries'][0]} to {line['entries'][1]}: " if line["entries"] else ""
            whole = f", whole at {line['whole_at']}" if line["whole_at"] else ""
            out.print(f"found at {line['found_at']}{whole}: {place}{line['finding']}", style="red", markup=False)
        if found:
            raise quit_with(PROBLEM, f"{len(found)} findings; they stand in {findings_path(Path(), name).name}.")


async def _sizes(dsn: str, tenant: str, verifier: Verifier) -> tuple[int, int]:
    async with await AsyncConnection.connect(dsn) as connection:
        await store.see(connection, tenant)
        latest = await store.latest_checkpoint(connection, tenant)
        return await store.size(connection, tenant), signed_size(latest.note, tenant, verifier) if latest else 0


def published(settings: Settings, tenant: str, verifier: Verifier) -> list[tuple[str, int]]:
    """What lies outside the database by its own files: place and entries covered; only notes that we signed count."""
    own, name = settings.checkpoint_folder, quote(tenant, safe="")
    found = []
    for folder in (settings.anchors.folder or own / "kept", own / "stamped"):
        size = newest_size(folder / name)
        if size:
            note = (folder / name / f"{size}.checkpoint").read_text(encoding="utf-8", errors="replace")
            found.append((str(folder), signed_size(note, tenant, verifier)))
    for path in sorted((own / "cosigned").glob(f"{name}@*.cosigned")):
        found.append((path.stem, signed_size(path.read_text(encoding="utf-8", errors="replace"), tenant, verifier)))
    return found


def signed_size(note: str, tenant: str, verifier: Verifier) -> int:
    """Entries that a checkpoint of ours covers; 0 for what we did not sign."""
    try:
        return verifier.open_checkpoint(note, origin_of(tenant)).size
    except NoteInvalid:
        return 0


def findings(folder: Path, tenant: str) -> list[dict[str, Any]]:
    """What the watch ever wrote down."""
    try:
        lines = findings_path(folder, tenant).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in lines if line]
