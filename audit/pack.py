"""An evidence pack: a zip with which somebody who has only our public key proves entries of the trail, offline.

Entries as canonical bytes and as a table for people, a path to the signed root for each, the checkpoint, an earlier one
with the proof that the log grew from it, the policies that were in force, and a program that checks all that. Nothing
of the database is believed while it is made: each entry is proved before it is written.
"""

import asyncio
import base64
import csv
import hashlib
import inspect
import io
import re
import zipfile
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, BinaryIO

import orjson

from audit import pack_check, store
from audit.archive import Archive, NoArchive
from audit.cold.matching import matching
from audit.entry import decode
from audit.note import Checkpoint, NoteInvalid, Verifier, origin_of
from audit.proof import StoredLogBroken, prove_entry, prove_growth
from audit.store import Filters, StoredEntry
from audit.tree import leaf_hash

ENTRIES_LIMIT = 200_000
_COLUMNS = (
    "index", "at", "kind", "actor", "actor_login", "client", "operation", "method", "entity", "record", "reason",
    "status", "policy", "exchange", "crm_user", "fields", "id", "leaf",
)  # fmt: skip
_VERSION = re.compile(r"[0-9A-Za-z]{1,64}")
_NONE = NoArchive()
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class PackRefused(Exception):  # noqa: N818 - the text says what to do
    """The pack cannot be made as asked."""

    permanent = True


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy that was in force. version: as entries name it; since: when it was published, None for the first."""

    version: str
    since: datetime | None
    rows: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """What shall be in the pack. filters: which entries; made_at: now; policies: that were ever in force.

    Those policies are packed that an entry names.
    """

    filters: Filters
    made_at: datetime
    policies: Sequence[Policy] = ()
    limit: int = ENTRIES_LIMIT


@dataclass(slots=True)
class Packed:
    """What is in it. signed: entries the checkpoint covers; waiting: matching entries that no checkpoint covers yet."""

    entries: int = 0
    signed: int = 0
    waiting: int = 0
    first: int = -1
    last: int = -1
    versions: set[str] = field(default_factory=set)
    digests: dict[str, str] = field(default_factory=dict)


async def write_pack(
    connection: store.Connection,
    tenant: str,
    verifier: Verifier,
    wanted: Wanted,
    target: BinaryIO,
    archive: Archive = _NONE,
) -> Packed:
    """Write the zip; needs a transaction that reads one snapshot and sees this tenant.

    Raises: PackRefused, StoredLogBroken, psycopg errors, OSError.
    """
    latest = await store.latest_checkpoint(connection, tenant)
    if latest is None:
        raise PackRefused("Nothing of this trail is signed yet; try again in a few seconds.")
    made = Packed(signed=latest.size)
    bodies, proofs, rows = io.BytesIO(), io.BytesIO(), io.StringIO()
    table = csv.writer(rows, lineterminator="\r\n")
    table.writerow(_COLUMNS)
    async for entry in _matching(connection, tenant, wanted, made, archive):
        proof = await prove_entry(connection, tenant, entry.index, verifier, archive)
        bodies.write(proof.body + b"\n")
        path = [base64.b64encode(step).decode() for step in proof.path]
        proofs.write(orjson.dumps({"index": entry.index, "path": path}) + b"\n")
        told = decode(proof.body)
        made.versions.add(str(told["policy"]))
        table.writerow(_row(told, entry.index, proof.body))
    if not made.entries:
        raise PackRefused("No signed entry matches; widen the filters, or wait a few seconds for new ones.")
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as pack:
        files = {
            "events.jsonl": bodies.getvalue(),
            "proofs.jsonl": proofs.getvalue(),
            "events.csv": b"\xef\xbb\xbf" + rows.getvalue().encode(),
            "checkpoint": latest.note.encode(),
            "key": (verifier.vkey(origin_of(tenant)) + "\n").encode(),
            "verify.py": (await asyncio.to_thread(inspect.getsource, pack_check)).encode(),
            "README.txt": _readme(tenant, made, wanted).encode(),
            **_policies(wanted.policies, made.versions),
            **await _growth(connection, tenant, verifier, latest, made.first, archive),
        }
        for name, content in files.items():
            made.digests[name] = hashlib.sha256(content).hexdigest()
            pack.writestr(name, content)
        pack.writestr("manifest.json", orjson.dumps(_manifest(tenant, made, wanted), option=orjson.OPT_INDENT_2))
    return made


async def _matching(
    connection: store.Connection, tenant: str, wanted: Wanted, made: Packed, archive: Archive
) -> AsyncIterator[StoredEntry]:
    """Signed entries that match, oldest first; counts the others."""
    hot = (await store.hot(connection, tenant)).start
    if hot and isinstance(archive, NoArchive):
        raise PackRefused(f"Entries before {hot} are in the archive, which the settings do not name.")
    async for entry in matching(archive, tenant, wanted.filters, hot):
        _count(made, wanted, entry)
        yield entry
    after = hot - 1
    while found := await store.select(connection, tenant, wanted.filters, store.FETCH_ROWS, after=after):
        for entry in found:
            after = entry.index
            if entry.index >= made.signed:
                made.waiting += 1
                continue
            _count(made, wanted, entry)
            yield entry


def _count(made: Packed, wanted: Wanted, entry: StoredEntry) -> None:
    if made.entries >= wanted.limit:
        raise PackRefused(f"More than {wanted.limit} entries match; make several packs, by --since and --until.")
    made.entries += 1
    made.first = entry.index if made.first < 0 else made.first
    made.last = entry.index


async def _growth(
    connection: store.Connection,
    tenant: str,
    verifier: Verifier,
    latest: store.StoredCheckpoint,
    first: int,
    archive: Archive,
) -> Mapping[str, bytes]:
    """The newest checkpoint that was signed before the first entry, and the proof that the log grew from it."""
    kept = await store.checkpoint_within(connection, tenant, 0, first) if first > 0 else None
    if kept is None or kept.size == latest.size:
        return {}
    origin = origin_of(tenant)
    try:
        old, new = (verifier.open_checkpoint(one.note, origin) for one in (kept, latest))
    except NoteInvalid as fault:
        raise StoredLogBroken(str(fault)) from None
    steps = await _steps(connection, tenant, old, new, archive)
    return {"earlier": kept.note.encode(), "growth.json": orjson.dumps(steps)}


async def _steps(
    connection: store.Connection, tenant: str, old: Checkpoint, new: Checkpoint, archive: Archive
) -> list[str]:
    return [base64.b64encode(step).decode() for step in await prove_growth(connection, tenant, old, new, archive)]


def _row(content: Mapping[str, Any], index: int, body: bytes) -> list[str]:
    told = {**content, "index": index, "leaf": leaf_hash(body).hex()}
    told["fields"] = orjson.dumps(told["fields"]).decode()
    return [_plain(str(told[name])) for name in _COLUMNS]


def _plain(text: str) -> str:
    """A cell that no spreadsheet takes for a formula; logins are free text."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def _policies(policies: Iterable[Policy], versions: set[str]) -> dict[str, bytes]:
    return {
        f"policies/{one.version}.csv": one.rows.encode()
        for one in policies
        if one.version in versions and _VERSION.fullmatch(one.version)
    }


def _manifest(tenant: str, made: Packed, wanted: Wanted) -> dict[str, Any]:
    asked = {name: str(getattr(wanted.filters, name)) for name in wanted.filters.names}
    return {
        "format": pack_check.FORMAT,
        "origin": origin_of(tenant),
        "made": wanted.made_at.isoformat(),
        "entries": made.entries,
        "waiting": made.waiting,
        "filters": asked,
        "policies": {
            one.version: one.since.isoformat() if one.since else ""
            for one in wanted.policies
            if one.version in made.versions
        },
        "files": made.digests,
    }


def _readme(tenant: str, made: Packed, wanted: Wanted) -> str:
    asked = ", ".join(f"{name}={getattr(wanted.filters, name)}" for name in wanted.filters.names) or "every entry"
    waiting = f"{made.waiting} newer matching entries were not signed yet and are not in it.\n" if made.waiting else ""
    return (
        f"Evidence pack of the audit trail of {tenant}, made {wanted.made_at:%Y-%m-%d %H:%M:%S} UTC by crmgate.\n"
        f"{made.entries} entries, asked for: {asked}\n{waiting}\n"
        "Check it on a machine of your own, with Python 3.9 or newer and the package cryptography:\n"
        "    python3 verify.py THIS_FILE.zip --key 'THE KEY YOU WERE GIVEN BEFORE'\n"
        "在您自己的电脑上用 Python 3.9 以上和 cryptography 软件包验证；--key 为事先交给您的公钥。\n\n"
        "events.jsonl  the entries, as they were hashed     记录原文\n"
        "events.csv    the same for reading                 便于阅读的表格\n"
        "proofs.jsonl  the path of each to the signed root  每条记录的证明\n"
        "checkpoint    the signed state of the log          签名的检查点\n"
        "earlier       one signed before the first entry, with growth.json 更早的检查点及其增长证明\n"
        "policies/     the rules in force in that time      当时生效的策略\n"
    )
