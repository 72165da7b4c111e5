"""Verifies sealed segments whole, several at a time, each in a process of its own: `python -m audit.cold.verifying`.

Files are fetched here and their SHA-256 taken; counting, hashing and comparing every column is the work of the process.
The outcome does not depend on their number: segments are told in their order, and the first broken one ends it.
"""

import asyncio
import contextlib
import os
import queue
import subprocess
import sys
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import orjson
import pyarrow as pa

from audit.archive import ArchiveUnavailable, SegmentBroken
from audit.child import bare_environment
from audit.cold.manifest import EVENT_FILE, SIGHT_FILE, SOUGHT_FILE, Manifest
from audit.cold.sealing import fetched
from audit.cold.segment_file import check_segment
from audit.cold.store import ArchiveStore
from audit.tree import Frontier


async def verify_segments(
    stored: ArchiveStore, manifests: Sequence[Manifest], scratch: Path, processes: int = 1
) -> AsyncGenerator[Manifest, None]:
    """Each segment once it was read whole and found to be what was signed; close it to stop.

    Raises: SegmentBroken, ArchiveUnavailable.
    """
    helpers = [_Helper() for _ in range(min(processes, len(manifests)))]
    free: queue.SimpleQueue[_Helper] = queue.SimpleQueue()
    for helper in helpers:
        free.put(helper)

    def verify(manifest: Manifest) -> Manifest:
        helper = free.get()
        try:
            with fetched(stored, list(manifest.files.values()), scratch) as paths:
                helper.check(manifest, paths)
        finally:
            free.put(helper)
        return manifest

    loop, waiting = asyncio.get_running_loop(), deque(manifests)
    threads = ThreadPoolExecutor(max(1, len(helpers)))
    under_way: deque[asyncio.Future[Manifest]] = deque()
    try:
        while waiting or under_way:
            while waiting and len(under_way) < 2 * len(helpers):  # one more for each, so that none waits for its turn
                under_way.append(loop.run_in_executor(threads, verify, waiting.popleft()))
            yield await under_way.popleft()
    finally:
        threads.shutdown(wait=False, cancel_futures=True)
        for helper in helpers:
            helper.kill()
        await asyncio.to_thread(threads.shutdown)
        for helper in helpers:
            helper.close()
        for one in under_way:
            if not one.cancelled():
                one.exception()  # nobody asks any more


class _Helper:
    """A process that checks one segment after the other."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "audit.cold.verifying"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env=bare_environment(), start_new_session=True,  # Ctrl-C is ours to answer
        )  # fmt: skip

    def check(self, manifest: Manifest, paths: dict[str, Path]) -> None:
        """Wait for the verdict. Raises: SegmentBroken, ArchiveUnavailable."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        kinds = [kind for kind in (EVENT_FILE, SIGHT_FILE, SOUGHT_FILE) if kind in manifest.files]
        job = {
            "files": [str(paths[manifest.files[kind].name]) for kind in kinds],
            "trees": [[tree.size, tree.to_bytes().hex()] for tree in (manifest.before, manifest.after)],
        }
        try:
            self._process.stdin.write(orjson.dumps(job) + b"\n")
            self._process.stdin.flush()
            broken = orjson.loads(self._process.stdout.readline())["broken"]
        except (OSError, ValueError, KeyError, TypeError):
            told = f"the process that read entries {manifest.first} to {manifest.last} ended; is there memory enough?"
            raise ArchiveUnavailable(told) from None
        if broken is not None:
            raise SegmentBroken(str(broken))

    def kill(self) -> None:
        """Stop it at once; whoever waits for a verdict gets none."""
        self._process.kill()

    def close(self) -> None:
        """Give back what it held."""
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(OSError):  # a job that was never read
                pipe.close()


def _verdict(line: bytes) -> str | None:
    """What is broken in the segment of a job; None: nothing."""
    job = orjson.loads(line)
    event, sight, *sought = map(Path, job["files"])
    before, after = (Frontier.from_bytes(size, bytes.fromhex(nodes)) for size, nodes in job["trees"])
    try:
        check_segment(event, sight, before, after, *sought)
    except SegmentBroken as broken:
        return str(broken)
    except (pa.ArrowException, OSError, ValueError, KeyError) as fault:
        return f"entries {before.size} to {after.size - 1} cannot be read: {type(fault).__name__}"
    return None


def main() -> None:
    """A verdict for each job that comes, until no more can."""
    os.nice(5)
    pa.set_cpu_count(1)  # as many processes as are wanted, and no more
    for line in sys.stdin.buffer:
        sys.stdout.buffer.write(orjson.dumps({"broken": _verdict(line)}) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
