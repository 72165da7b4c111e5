"""`crmgate serve` with a sampling profiler: SIGUSR1 begins, SIGUSR2 ends and writes the file named first.

The profile holds the measured load and neither the start nor the sign-in. A sample is taken every few milliseconds of
CPU time (SIGPROF), so that waiting does not count and small functions are not inflated as under cProfile. The time of
a C function counts for the Python function that called it.
"""

import json
import signal
import sys
from collections import Counter
from pathlib import Path
from types import FrameType

INTERVAL_S = 0.001


class Sampler:
    """Counts where the program was: own time by function, and time below each function."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._own: Counter[str] = Counter()
        self._below: Counter[str] = Counter()
        self._samples = 0

    def begin(self, _signal: int, _frame: FrameType | None) -> None:
        """Start sampling."""
        signal.setitimer(signal.ITIMER_PROF, INTERVAL_S, INTERVAL_S)

    def sample(self, _signal: int, frame: FrameType | None) -> None:
        """Count one moment."""
        if frame is None:
            return
        self._samples += 1
        self._own[_name(frame)] += 1
        seen = set()
        while frame is not None:
            seen.add(_name(frame))
            frame = frame.f_back
        self._below.update(seen)

    def end(self, _signal: int, _frame: FrameType | None) -> None:
        """Stop and write."""
        signal.setitimer(signal.ITIMER_PROF, 0)
        content = {"samples": self._samples, "own": self._own, "below": self._below}
        draft = self._path.with_suffix(".draft")
        draft.write_text(json.dumps(content))
        draft.replace(self._path)
        self._own, self._below, self._samples = Counter(), Counter(), 0


def _name(frame: FrameType) -> str:
    code = frame.f_code
    return f"{code.co_filename}:{code.co_firstlineno}:{code.co_qualname}"


def main() -> None:
    """Run the command line that follows the file name."""
    path, sys.argv = sys.argv[1], ["crmgate", *sys.argv[2:]]
    sampler = Sampler(Path(path))
    for number, handler in (
        (signal.SIGUSR1, sampler.begin),
        (signal.SIGUSR2, sampler.end),
        (signal.SIGPROF, sampler.sample),
    ):
        signal.signal(number, handler)
        signal.siginterrupt(number, False)
    from gateway.cli import main as run

    run()


if __name__ == "__main__":
    main()
