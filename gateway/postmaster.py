"""Processes of a PostgreSQL data folder, as /proc shows them: who serves it, who is left over, who only has its number.

PostgreSQL judges a data folder by a number in `postmaster.pid`. It refuses to start as long as any process has that
number, also when the number was given to another program after a power cut, or to a dead postmaster that nobody has
reaped (in a container without init); and it refuses while a backend of a killed postmaster still works. What is
cleared here is only what is certainly dead. Where there is no /proc, or it may not be read, nothing is touched.
"""

import os
import signal
import time
from pathlib import Path

LOCK = "postmaster.pid"
_PROC = Path("/proc")
_END_S, _LOOK_S = 10.0, 0.05
_DEAD = frozenset({"Z", "X", ""})


class LeftOver(Exception):  # noqa: N818 - a state
    """Processes of a dead postmaster are still at the data; trying again may help."""

    permanent = False


def serving(data: Path) -> int | None:
    """The process that `postmaster.pid` names, when it lives and is a PostgreSQL of this folder or may be one."""
    number = _written(data / LOCK)
    return number if number is not None and _state(number) not in _DEAD and _of(number, data) is not False else None


def clear(data: Path, socket: Path) -> None:
    """Make room for a start when nobody serves the folder; the caller sees to it that nobody else starts one now.

    socket: where it listens, a place of this folder's server alone; it has a lock file of the same kind beside it.
    Backends of a killed postmaster are told to quit: they could still write. Raises: LeftOver.
    """
    if serving(data) is not None:
        return
    left = _processes(data)
    for number in left:
        _tell(number)
    until = time.monotonic() + _END_S
    while any(_state(number) not in _DEAD for number in left):
        if time.monotonic() > until:
            raise LeftOver(f"{len(left)} processes of the PostgreSQL that was in {data} do not end")
        time.sleep(_LOOK_S)
    for lock in (data / LOCK, socket.with_name(f"{socket.name}.lock")):
        named = _written(lock)
        if named is not None and (_PROC / str(named)).exists():
            lock.unlink(missing_ok=True)


def _written(lock: Path) -> int | None:
    try:
        return int(lock.read_text(encoding="ascii", errors="replace").split("\n", 1)[0])
    except (OSError, ValueError):
        return None


def _processes(data: Path) -> list[int]:
    found = (int(entry.name) for entry in _PROC.glob("[0-9]*"))
    return [number for number in found if _of(number, data)]


def _of(number: int, data: Path) -> bool | None:
    """Whether a process is a PostgreSQL at work in this folder; None when that may not be seen."""
    try:
        works_in, program = ((_PROC / str(number) / link).readlink() for link in ("cwd", "exe"))
    except PermissionError:
        return None
    except OSError:
        return False if _PROC.exists() else None
    return works_in == data.resolve() and program.name.startswith("postgres")


def _state(number: int) -> str:
    """R, S, D, Z … as the kernel says; "" when there is no such process, "?" where there is no /proc."""
    try:
        return (_PROC / str(number) / "stat").read_text(encoding="ascii", errors="replace").rsplit(")", 1)[1].split()[0]
    except (OSError, IndexError):
        return "" if _PROC.exists() else "?"


def _tell(number: int) -> None:
    try:
        os.kill(number, signal.SIGQUIT)
    except ProcessLookupError:
        return
