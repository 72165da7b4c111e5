"""Brings one segment back: into a folder, or into a table beside the trail; verified against the signed root first."""

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

from audit.cold import restored_store
from audit.cold.manifest import EVENT_FILE, SIGHT_FILE, SOUGHT_FILE, Manifest
from audit.cold.sealing import fetched
from audit.cold.segment_file import bodies_of, check_segment, read_entries
from audit.cold.store import ArchiveStore
from audit.event_row import event_row
from audit.store import Connection
from audit.tree import leaf_hash

_ROWS_AT_ONCE = 1_000


def restore_folder(stored: ArchiveStore, manifest: Manifest, note: str, scratch: Path, target: Path) -> None:
    """Write a verified segment into a folder that is not there yet: both files, the entries as lines, the manifest.

    Raises: SegmentBroken, ArchiveUnavailable, OSError.
    """
    with fetched(stored, list(manifest.files.values()), scratch) as paths:
        _verify(manifest, paths)
        target.mkdir(parents=True)
        for kind in (EVENT_FILE, SIGHT_FILE):
            shutil.copyfile(paths[manifest.files[kind].name], target / f"{kind}.parquet")
        with (target / "events.jsonl").open("wb") as file:
            for body in bodies_of(read_entries(target / f"{EVENT_FILE}.parquet", manifest.first, manifest.last)):
                file.write(body + b"\n")
        (target / "manifest").write_text(note, encoding="utf-8")


async def restore_table(stored: ArchiveStore, manifest: Manifest, scratch: Path, connection: Connection) -> int:
    """Copy a verified segment into the table `audit_restored`; how many entries. Restoring it again is no error.

    Raises: SegmentBroken, ArchiveUnavailable, psycopg errors.
    """
    with fetched(stored, list(manifest.files.values()), scratch) as paths:
        await asyncio.to_thread(_verify, manifest, paths)
        rows = _rows(manifest, paths[manifest.files[EVENT_FILE].name])
        await restored_store.replace_rows(connection, manifest.tenant, manifest.first, manifest.last, rows)
    return manifest.count


def _verify(manifest: Manifest, paths: dict[str, Path]) -> None:
    event, sight = (paths[manifest.files[kind].name] for kind in (EVENT_FILE, SIGHT_FILE))
    sought = manifest.files.get(SOUGHT_FILE)
    check_segment(event, sight, manifest.before, manifest.after, paths[sought.name] if sought else None)


def _rows(manifest: Manifest, path: Path) -> Iterator[tuple[object, ...]]:
    table = read_entries(path, manifest.first, manifest.last)
    times = (at for batch in table.to_batches(_ROWS_AT_ONCE) for at in batch.column("at").to_pylist())
    for index, (at, body) in enumerate(zip(times, bodies_of(table), strict=True), manifest.first):
        row = event_row(index, at, leaf_hash(body), body)
        yield tuple(row[name] for name in restored_store.COLUMNS)
