"""An archive that is a folder, best on a share or write-once storage of somebody else.

A plain file system cannot keep its owner from deleting a file: files are made read-only, retention and holds are kept
here beside them, and whoever deletes one anyway is found by the next verification. S3 with object lock keeps it.
"""

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

from audit.archive import ArchiveRefused, ArchiveUnavailable
from audit.cold.segment_file import file_digest

_KEEP = ".keep"


class FolderArchive:
    """Files below a folder. now: aware time."""

    def __init__(self, folder: Path, now: Callable[[], datetime]) -> None:
        self._folder = folder
        self._now = now

    def check(self) -> None:
        """Write and remove a file."""
        with _told():
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            probe = self._folder / f".probe.{os.getpid()}"
            probe.write_bytes(b"")
            probe.unlink()

    def put(self, name: str, source: Path, sha256: str, keep_until: datetime) -> str:
        """Copy a file in place in one step."""
        target = self._path(name)
        with _told():
            if target.exists():
                if file_digest(target) != sha256:
                    raise ArchiveRefused(f"{name} is there with other bytes")
                return ""
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            draft = target.with_name(f".{target.name}.{os.getpid()}.draft")
            try:
                with source.open("rb") as read, draft.open("wb") as file:
                    shutil.copyfileobj(read, file, 1 << 20)
                    file.flush()
                    os.fsync(file.fileno())
                draft.chmod(0o440)
                _write(_beside(target), {"until": keep_until.isoformat(), "held": False})
                draft.replace(target)
                _sync(target.parent)
            finally:
                draft.unlink(missing_ok=True)
        return ""

    def fetch(self, name: str, version: str, target: Path) -> None:
        """Copy a file out."""
        with _told():
            shutil.copyfile(self._path(name), target)

    def local(self, name: str) -> Path | None:
        """The file itself."""
        return self._path(name)

    def names(self, prefix: str) -> list[str]:
        """What is there."""
        with _told():
            found = (path for path in self._folder.rglob("*") if path.is_file() and not path.name.startswith("."))
            names = (path.relative_to(self._folder).as_posix() for path in found)
            return sorted(name for name in names if name.startswith(prefix))

    def remove(self, name: str, version: str) -> None:
        """Remove a file whose time has come."""
        path = self._path(name)
        with _told():
            if not path.exists():
                return
            kept = json.loads(_beside(path).read_text(encoding="ascii"))
            if kept["held"] or datetime.fromisoformat(kept["until"]) > self._now():
                raise ArchiveRefused(f"{name} is held or must be kept longer")
            path.unlink()
            _beside(path).unlink()

    def hold(self, name: str, version: str, held: bool) -> None:
        """Note it beside the file."""
        path = _beside(self._path(name))
        with _told():
            if not held and not path.exists():
                return
            _write(path, {**json.loads(path.read_text(encoding="ascii")), "held": held})

    def _path(self, name: str) -> Path:
        path = self._folder / name
        if not path.resolve().is_relative_to(self._folder.resolve()) or any(
            part.startswith(".") for part in Path(name).parts
        ):
            raise ArchiveRefused("a name that leads out of the archive")
        return path


@contextlib.contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, KeyError) as fault:
        reason = fault.strerror if isinstance(fault, OSError) else "what stands beside a file cannot be read"
        raise ArchiveUnavailable(f"the archive folder cannot be used: {reason}") from None


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}{_KEEP}")


def _write(path: Path, told: dict[str, object]) -> None:
    draft = path.with_name(f"{path.name}.{os.getpid()}.draft")
    draft.write_text(json.dumps(told), encoding="ascii")
    draft.replace(path)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
