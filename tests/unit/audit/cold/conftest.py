"""Segments made by hand, without a database."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from audit.cold.folder import FolderArchive
from audit.cold.manifest import EVENT_FILE, SIGHT_FILE, SOUGHT_FILE, Manifest, SealedFile
from audit.cold.segment_file import Draft, file_digest
from audit.entry import encode
from audit.note import Checkpoint, Signer, origin_of
from audit.tree import Frontier

NOW = datetime(2026, 11, 27, 3, 0, tzinfo=UTC)
SIGNER = Signer(bytes(range(32)))
Seal = Callable[..., str]


@pytest.fixture
def folder(tmp_path: Path) -> FolderArchive:
    return FolderArchive(tmp_path / "archive", lambda: NOW)


@pytest.fixture
def seal(folder: FolderArchive, tmp_path: Path, make: Any) -> Seal:
    """Seals the next so many entries into the folder; the manifest's note."""
    state: dict[str, Any] = {"tree": Frontier(), "previous": ""}

    def one(count: int = 10, *, sought: bool = True, entry: Mapping[str, Any] = {}, **changes: Any) -> str:
        from audit.cold.manifest import digest

        before, draft = state["tree"], Draft(lambda _: "five-years")
        after = Frontier.from_bytes(before.size, before.to_bytes())
        made = [make(**entry) for _ in range(count)]
        draft.add((before.size + place, entry.at, encode(entry)) for place, entry in enumerate(made))
        after.extend(draft.leaves)
        paths = [tmp_path / "e.parquet", tmp_path / "s.parquet", tmp_path / "hashes"]
        rows = (*draft.write(*paths), 0)
        files = {}
        for kind, path, number in zip((EVENT_FILE, SIGHT_FILE, SOUGHT_FILE), paths, rows, strict=True):
            if kind == SOUGHT_FILE and not sought:
                continue
            name, sha = f"demo/{before.size}.{kind}.parquet", file_digest(path)
            folder.put(name, path, sha, NOW + timedelta(days=1826))
            files[kind] = SealedFile(name, path.stat().st_size, sha, number)
        origin = origin_of("demo")
        told: dict[str, Any] = {
            "tenant": "demo",
            "first": before.size,
            "last": after.size - 1,
            "at_first": draft.at_first,
            "at_last": draft.at_last,
            "sealed_at": NOW,
            "files": files,
            "classes": draft.classes,
            "before": before,
            "after": after,
            "checkpoint": SIGNER.sign(Checkpoint(origin, after.size, after.root()).text(), origin),
            "growth": (),
            "previous": state["previous"],
            "versions": (1,),
        }
        note = SIGNER.sign(Manifest(**{**told, **changes}).text(), origin)
        state["tree"], state["previous"] = after, digest(note)
        return note

    return one
