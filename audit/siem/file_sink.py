"""A file with one line an entry, for an agent that follows it; opened for each batch, so that it may be rotated."""

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

from audit.siem.sink import SinkUnavailable


class FileSink:
    """Appends and waits for the disk. path: the file; its folder has to exist."""

    confirms = True

    def __init__(self, path: Path) -> None:
        self._path = path

    async def send(self, lines: Sequence[bytes]) -> None:
        """Append; raises SinkUnavailable."""
        try:
            await asyncio.to_thread(self._append, b"".join(line + b"\n" for line in lines))
        except OSError as fault:
            raise SinkUnavailable(os.strerror(fault.errno or 0)) from None

    async def alive(self) -> bool:
        """A file stays."""
        return True

    async def close(self) -> None:
        """Nothing is held open."""

    def _append(self, text: bytes) -> None:
        handle = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            end = os.fstat(handle).st_size
            if end and os.pread(handle, 1, end - 1) != b"\n":  # a node died in the middle of a line
                text = b"\n" + text
            while text:
                text = text[os.write(handle, text) :]
            os.fsync(handle)
        finally:
            os.close(handle)
