"""An evidence pack: a zip with which somebody who has only our public key proves entries of the trail, offline.

Entries as canonical bytes, as a table for people and as Parquet, a path to the signed root for each, the checkpoint, an
earlier one with the proof that the log grew from it, the policies that were in force, a summary for reading, and a
program that checks all that. Asked to be complete, it has the hashes of the entries in between as well. Nothing of the
database is believed while it is made: each entry is proved before it is written.
"""

import asyncio
import base64
import csv
import hashlib
import inspect
import io
import re
import zipfile
from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import cache
from typing import Any, BinaryIO

import orjson

from audit import pack_check, store
from audit.archive import Archive, NoArchive
from audit.entry import decode
from audit.note import Checkpoint, NoteInvalid, Verifier, origin_of
from audit.pack_choice import Packed, PackRefused, Policy, Wanted, places
from audit.pack_facts import Facts, Range
from audit.pack_pdf import draw
from audit.pack_range import RANGE_LIMIT, prove_range
from audit.pack_tables import PackTables
from audit.proof import StoredLogBroken, prove_entry, prove_growth
from audit.tree import leaf_hash

_COLUMNS = (
    "index", "at", "kind", "actor", "actor_login", "client", "operation", "method", "entity", "record", "data_subject",
    "reason", "status", "policy", "exchange", "crm_user", "fields", "id", "leaf",
)  # fmt: skip
_VERSION = re.compile(r"[0-9A-Za-z]{1,64}")
_NONE = NoArchive()


@cache
def program() -> bytes:
    """The program in every pack."""
    return inspect.getsource(pack_check).encode()


@cache
def program_digest() -> str:
    """SHA-256 of the program, which tells it from a forged one; in hexadecimal."""
    return hashlib.sha256(program()).hexdigest()


async def write_pack(
    connection: store.Connection,
    tenant: str,
    verifier: Verifier,
    wanted: Wanted,
    target: BinaryIO,
    archive: Archive = _NONE,
) -> Packed:
    """Write the zip; needs a transaction that reads one snapshot and sees this tenant. archive: of sealed entries.

    Raises: PackRefused, StoredLogBroken, EntryDropped, SegmentBroken, ArchiveUnavailable, psycopg errors, OSError.
    """
    latest = await store.latest_checkpoint(connection, tenant)
    if latest is None:
        raise PackRefused("Nothing of this trail is signed yet; try again in a few seconds.")
    checkpoint = _opened(latest, verifier, origin_of(tenant))
    made = Packed(signed=latest.size)
    files = await _entries(connection, tenant, verifier, wanted, made, archive)
    if not made.entries:
        raise PackRefused("No signed entry matches; widen the filters, or wait a few seconds for new ones.")
    files |= _keys(verifier, latest, wanted.handover, checkpoint.origin) | {
        "checkpoint": latest.note.encode(),
        "verify.py": await asyncio.to_thread(program),
        **_policies(wanted.policies, made.versions),
        **await _growth(connection, tenant, verifier, latest, made, archive),
        **(await _range(connection, tenant, wanted, made, checkpoint, archive) if wanted.complete else {}),
        **{f"anchors/{name}": raw for anchor in wanted.anchors for name, raw in anchor.files.items()},
    }
    facts = _facts(wanted, made, checkpoint, verifier)
    files["summary.pdf"] = await asyncio.to_thread(draw, facts, wanted.language)
    files["README.txt"] = _readme(tenant, made, wanted).encode()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as pack:
        for name, content in files.items():
            made.digests[name] = hashlib.sha256(content).hexdigest()
            pack.writestr(name, content)
        pack.writestr("manifest.json", orjson.dumps(_manifest(tenant, made, wanted), option=orjson.OPT_INDENT_2))
    return made


async def _entries(
    connection: store.Connection, tenant: str, verifier: Verifier, wanted: Wanted, made: Packed, archive: Archive
) -> dict[str, bytes]:
    """The entries in every form, each proved; counts them."""
    bodies, proofs, rows, tables = io.BytesIO(), io.BytesIO(), io.StringIO(), PackTables()
    table = csv.writer(rows, lineterminator="\r\n")
    table.writerow(_COLUMNS)
    async for index in places(connection, tenant, wanted, made, archive):
        proof = await prove_entry(connection, tenant, index, verifier, archive)
        bodies.write(proof.body + b"\n")
        path = [base64.b64encode(step).decode() for step in proof.path]
        proofs.write(orjson.dumps({"index": index, "path": path}) + b"\n")
        told = decode(proof.body)
        made.versions.add(str(told["policy"]))
        table.writerow(_row(told, index, proof.body))
        at = datetime.fromisoformat(told["at"])  # of the bytes that are proved, not of the row beside them
        made.totals.add(at, told, tables.add(index, at, proof.body))
    return {
        "events.jsonl": bodies.getvalue(),
        "proofs.jsonl": proofs.getvalue(),
        "events.csv": b"\xef\xbb\xbf" + rows.getvalue().encode(),
        **await asyncio.to_thread(tables.finish),
    }


async def _range(
    connection: store.Connection, tenant: str, wanted: Wanted, made: Packed, checkpoint: Checkpoint, archive: Archive
) -> Mapping[str, bytes]:
    """The hashes of every entry from the first to the last of the time asked for, and their proof."""
    asked = wanted.filters
    first, end = (await store.hot(connection, tenant)).start, made.signed
    if first and (asked.since is None or not await store.begins_before(connection, tenant, first, asked.since)):
        raise PackRefused(
            f"--complete covers the database only, which begins with entry {first}: ask for a later --since."
        )
    if asked.since is not None or asked.until is not None:
        span = await store.span(connection, tenant, asked.since, asked.until, made.signed)
        first, end = span if span is not None else (made.first, made.last + 1)
    if end - first > RANGE_LIMIT:
        raise PackRefused(f"The time asked for has {end - first} entries, more than {RANGE_LIMIT}; make several packs.")
    proof = await prove_range(connection, tenant, first, end, checkpoint, archive)
    made.range = Range(first, end)
    outside = [base64.b64encode(one).decode() for one in proof.outside]
    return {"range.bin": proof.leaves, "range.json": orjson.dumps({"first": first, "outside": outside})}


async def _growth(
    connection: store.Connection,
    tenant: str,
    verifier: Verifier,
    latest: store.StoredCheckpoint,
    made: Packed,
    archive: Archive,
) -> Mapping[str, bytes]:
    """The newest checkpoint that was signed before the first entry, and the proof that the log grew from it."""
    kept = await store.checkpoint_within(connection, tenant, 0, made.first) if made.first > 0 else None
    if kept is None or kept.size == latest.size:
        return {}
    old, new = (_opened(one, verifier, origin_of(tenant)) for one in (kept, latest))
    made.earlier, made.earlier_by = old.size, "key" if _ours(kept, verifier, origin_of(tenant)) else "key-before"
    steps = await _steps(connection, tenant, old, new, archive)
    return {"earlier": kept.note.encode(), "growth.json": orjson.dumps(steps)}


def _opened(stored: store.StoredCheckpoint, verifier: Verifier, origin: str) -> Checkpoint:
    try:
        return verifier.open_checkpoint(stored.note, origin)
    except NoteInvalid as fault:
        raise StoredLogBroken(str(fault)) from None


def _ours(stored: store.StoredCheckpoint, verifier: Verifier, origin: str) -> bool:
    """Whether the key in use signed it, not the one before."""
    try:
        Verifier(verifier.public).open_checkpoint(stored.note, origin)
    except NoteInvalid:
        return False
    return True


def _keys(verifier: Verifier, latest: store.StoredCheckpoint, handover: str, origin: str) -> dict[str, bytes]:
    """The public key; after a change of keys the one before as well, and what both of them signed."""
    if not _ours(latest, verifier, origin):
        raise PackRefused("The new key has signed nothing yet; try again once the key server answers.")
    files = {"key": f"{verifier.vkey(origin)}\n".encode()}
    if verifier.earlier is None or not handover:
        return files
    before = f"{Verifier(verifier.earlier.public).vkey(origin)}\n"
    return files | {"key-before": before.encode(), "handover": handover.encode()}


async def _steps(
    connection: store.Connection, tenant: str, old: Checkpoint, new: Checkpoint, archive: Archive
) -> list[str]:
    return [base64.b64encode(step).decode() for step in await prove_growth(connection, tenant, old, new, archive)]


def _row(content: Mapping[str, Any], index: int, body: bytes) -> list[str]:
    told = {**content, "index": index, "leaf": leaf_hash(body).hex()}
    return [pack_check.cell(told.get(name, "")) for name in _COLUMNS]


def _policies(policies: Iterable[Policy], versions: set[str]) -> dict[str, bytes]:
    return {
        f"policies/{one.version}.csv": one.rows.encode()
        for one in policies
        if one.version in versions and _VERSION.fullmatch(one.version)
    }


def _since(wanted: Wanted, made: Packed) -> dict[str, str]:
    """Version → since when it was in force, of those that entries name."""
    return {
        one.version: one.since.isoformat() if one.since else ""
        for one in wanted.policies
        if one.version in made.versions
    }


def _facts(wanted: Wanted, made: Packed, checkpoint: Checkpoint, verifier: Verifier) -> Facts:
    return Facts(
        origin=checkpoint.origin,
        made_at=wanted.made_at,
        made_by=wanted.made_by,
        filters=wanted.question,
        totals=made.totals,
        waiting=made.waiting,
        first=made.first,
        last=made.last,
        consecutive=made.consecutive,
        range=made.range,
        policies=_since(wanted, made),
        size=checkpoint.size,
        root=checkpoint.root.hex(),
        earlier=made.earlier,
        vkey=verifier.vkey(checkpoint.origin),
        fingerprint=hashlib.sha256(verifier.public).hexdigest(),
        anchors=wanted.anchors,
    )


def _manifest(tenant: str, made: Packed, wanted: Wanted) -> dict[str, Any]:
    return {
        "format": pack_check.FORMAT,
        "origin": origin_of(tenant),
        "made": wanted.made_at.isoformat(),
        "made_by": wanted.made_by,
        "entries": made.entries,
        "waiting": made.waiting,
        "filters": wanted.question,
        "earlier_by": made.earlier_by,
        "range": {"first": made.range.first, "end": made.range.end} if made.range else None,
        "policies": _since(wanted, made),
        "files": made.digests,
    }


def _readme(tenant: str, made: Packed, wanted: Wanted) -> str:
    asked = ", ".join(f"{name}={value}" for name, value in wanted.question.items()) or "every entry"
    waiting = f"{made.waiting} newer matching entries were not signed yet and are not in it.\n" if made.waiting else ""
    return (
        f"Evidence pack of the audit trail of {tenant}, made {wanted.made_at:%Y-%m-%d %H:%M:%S} UTC by crmgate.\n"
        f"{made.entries} entries, asked for: {asked}\n{waiting}\n"
        "Check it on a machine of your own, with Python 3.9 or newer and the package cryptography:\n"
        "    python3 verify.py THIS_FILE.zip --key 'THE KEY YOU WERE GIVEN BEFORE'\n"
        "在您自己的电脑上用 Python 3.9 以上和 cryptography 软件包验证；--key 为事先交给您的公钥。\n"
        "A forged pack would bring a forged verify.py: compare its SHA-256 with the one you were given with the key.\n"
        "伪造的包会附带伪造的 verify.py：请将其 SHA-256 与随公钥一起交给您的值核对。\n\n"
        "events.jsonl  the entries, as they were hashed     记录原文\n"
        "events.csv    the same for reading                 便于阅读的表格\n"
        "event.parquet sight.parquet  the same as tables    供统计用的表\n"
        "summary.pdf   what is in it and what it proves     摘要：内容与证明范围\n"
        "proofs.jsonl  the path of each to the signed root  每条记录的证明\n"
        "checkpoint    the signed state of the log          签名的检查点\n"
        "earlier       one signed before the first entry, with growth.json 更早的检查点及其增长证明\n"
        "range.bin     hashes of all entries of the time asked for, with range.json 所要求时间内全部记录的哈希\n"
        "handover      where another key took over, with key-before 更换签名密钥的交接\n"
        "policies/     the rules in force in that time      当时生效的策略\n"
        "anchors/      checkpoints that others hold         他处留存的检查点\n"
    )
