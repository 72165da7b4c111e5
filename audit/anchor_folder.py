"""An anchor that is a folder: on this machine, or better on a share or write-once storage of somebody else.

Keeps the newest checkpoints and, of older ones, one a day.
"""

import asyncio
import os
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from audit.anchor import AnchorContradicts, Published
from audit.note import NoteInvalid, Verifier

NEWEST = 1_000
SUFFIX = ".checkpoint"


class FolderAnchor:
    """One file a checkpoint: FOLDER/TENANT/SIZE.checkpoint."""

    def __init__(
        self, folder: Path, verifier: Verifier, *, every_s: float, outside: bool, newest: int = NEWEST
    ) -> None:
        self._folder = folder
        self._verifier = verifier
        self._newest = newest
        self.every_s = every_s
        self.outside = outside

    @property
    def name(self) -> str:
        """Without its path: the health page shows no address."""
        return "folder"

    async def keep(self, published: Published) -> None:
        """Write the note durably; what is there already must be an earlier state of the same log."""
        folder = self._folder / quote(published.tenant, safe="")
        last = await asyncio.to_thread(newest_size, folder)
        if last:
            await self._check(folder, last, published)
        await asyncio.to_thread(self._write, folder, published)

    async def _check(self, folder: Path, last: int, published: Published) -> None:
        text = await asyncio.to_thread((folder / f"{last}{SUFFIX}").read_text, encoding="utf-8")
        try:
            kept = self._verifier.open_checkpoint(text, published.checkpoint.origin)
        except NoteInvalid:
            raise AnchorContradicts(f"the checkpoint kept at {last} is not ours") from None
        await published.grow(kept.size)
        if kept.size == published.checkpoint.size and kept.root != published.checkpoint.root:
            raise AnchorContradicts(f"another root was signed at {last}")

    def _write(self, folder: Path, published: Published) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{published.checkpoint.size}{SUFFIX}"
        draft = path.with_suffix(f".{os.getpid()}.draft")
        with draft.open("w", encoding="utf-8") as file:
            file.write(published.note)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        self._thin(folder)

    def _thin(self, folder: Path) -> None:
        sizes = kept_sizes(folder)
        days: set[str] = set()
        for size in sizes[: -self._newest]:
            path = folder / f"{size}{SUFFIX}"
            day = datetime.fromtimestamp(path.stat().st_mtime, UTC).date().isoformat()
            if day in days:
                path.unlink(missing_ok=True)
            days.add(day)


def kept_sizes(folder: Path) -> list[int]:
    """Sizes of the checkpoints kept in a tenant's folder, smallest first."""
    return sorted(int(path.stem) for path in folder.glob(f"*{SUFFIX}") if path.stem.isdecimal())


def newest_size(folder: Path) -> int:
    """The largest of them; 0 when there is none."""
    return max(kept_sizes(folder), default=0)
