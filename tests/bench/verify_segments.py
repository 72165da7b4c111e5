"""`python -m tests.bench.verify_segments`: sealed segments verified by one process and by two, in turn.

Six segments of invented entries. Processor time is that of all processes; wall clock belongs to the machine and to who
else uses it, so with two processes on two shared cores it says little: the ratio is what the bench is for.
"""

import argparse
import asyncio
import resource
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

from rich.console import Console

from audit.cold.folder import FolderArchive
from audit.cold.manifest import EVENT_FILE, SIGHT_FILE, SOUGHT_FILE, Manifest, SealedFile
from audit.cold.plan import invented
from audit.cold.segment_file import Draft, file_digest
from audit.cold.verifying import verify_segments
from audit.tree import Frontier

SEGMENTS = 6
NOW = datetime(2026, 11, 27, tzinfo=UTC)


def sealed(stored: FolderArchive, scratch: Path, entries: int) -> list[Manifest]:
    """Segments in an archive, with manifests that nobody signed."""
    rows, tree, found = invented(entries * SEGMENTS, 7, 1_000_000), Frontier(), []
    for _ in range(SEGMENTS):
        before, draft = Frontier.from_bytes(tree.size, tree.to_bytes()), Draft(lambda _: "")
        for _ in range(entries // 1_000):
            draft.add([one for _, one in zip(range(1_000), rows, strict=False)])
        tree.extend(draft.leaves)
        paths = {kind: scratch / kind for kind in (EVENT_FILE, SIGHT_FILE, SOUGHT_FILE)}
        draft.write(*paths.values())
        files = {}
        for kind, path in paths.items():
            name, sha = f"bench/{before.size}.{kind}", file_digest(path)
            stored.put(name, path, sha, NOW + timedelta(days=1))
            files[kind] = SealedFile(name, path.stat().st_size, sha, 0)
        after = Frontier.from_bytes(tree.size, tree.to_bytes())
        assert draft.at_first is not None
        assert draft.at_last is not None
        found.append(
            Manifest(
                "bench", before.size, after.size - 1, draft.at_first, draft.at_last, NOW, files, draft.classes, before,
                after, "", (), "", (2,),
            )
        )  # fmt: skip
    return found


async def verified(stored: FolderArchive, chain: list[Manifest], scratch: Path, processes: int) -> tuple[float, float]:
    """Seconds by the wall and of processors."""
    began, before = time.perf_counter(), _used_s()
    told = [one.first async for one in verify_segments(stored, chain, scratch, processes)]
    assert told == [one.first for one in chain]
    return time.perf_counter() - began, _used_s() - before


def _used_s() -> float:
    both = (resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in both)


def main(arguments: list[str] | None = None) -> None:
    """Seal, verify, print."""
    given = argparse.ArgumentParser(description=__doc__)
    given.add_argument("--entries", type=int, default=50_000, help="in each segment")
    given.add_argument("--rounds", type=int, default=3)
    chosen = given.parse_args(arguments)
    out = Console(highlight=False, soft_wrap=True)
    with tempfile.TemporaryDirectory(prefix="crmgate-bench-verify-") as name:
        stored = FolderArchive(Path(name) / "archive", lambda: NOW)
        chain = sealed(stored, Path(name), chosen.entries)
        total = sum(one.count for one in chain)
        spent: dict[int, list[tuple[float, float]]] = {1: [], 2: []}
        for _ in range(chosen.rounds):
            for processes, times in spent.items():
                times.append(asyncio.run(verified(stored, chain, Path(name) / "scratch", processes)))
        for processes, times in spent.items():
            wall, used = (median(column) for column in zip(*times, strict=True))
            out.print(
                f"{processes} process(es): {total / wall:,.0f} entries a second by the wall,"
                f" {1e6 * used / total:.1f} µs of processor time an entry ({total / used:,.0f} a second and core)"
            )
        ratio = median(one[0] / two[0] for one, two in zip(spent[1], spent[2], strict=True))
        most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        out.print(f"two are {ratio:.2f} times as fast as one; the largest process held {most:.0f} MB")


if __name__ == "__main__":
    main()
