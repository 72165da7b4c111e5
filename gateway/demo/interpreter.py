"""Which Python runs a CRM: our own where it fits, else one of the versions the CRM needs that this machine has.

CRMs pin what they run on, and not every one of them runs on the interpreter the gateway runs on. Nothing is downloaded:
the package registries hold no interpreters.
"""

import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

Version = tuple[int, int]

_PROBE = "import ensurepip, sys, venv; print('%d.%d' % sys.version_info[:2])"


class Interpreter(NamedTuple):
    """A Python of this machine."""

    path: Path
    version: Version


class InterpreterMissing(Exception):  # noqa: N818 - names what is wrong
    """No Python of a version that a CRM needs is on this machine; installing one helps, repeating does not."""

    permanent = True

    def __init__(self, versions: Sequence[Version]) -> None:
        wanted = " or ".join(f"{major}.{minor}" for major, minor in versions)
        first = f"python{versions[0][0]}.{versions[0][1]}"
        super().__init__(
            f"This CRM needs Python {wanted} with its venv module, and none is on this machine.\n"
            f"Debian and Ubuntu: apt-get install {first} {first}-venv; with pyenv: pyenv install "
            f"{versions[0][0]}.{versions[0][1]}"
        )


def find(versions: Sequence[Version], home: Path) -> Interpreter:
    """A Python that can make virtual environments; versions: what the CRM runs on, best first, () = as our own.

    home: the user's home folder, where pyenv and uv keep interpreters. Raises InterpreterMissing.
    """
    own = sys.version_info[:2]
    if not versions or own in versions:
        return Interpreter(_own(), own)
    for version in versions:
        for candidate in _candidates(version, home):
            if _answers(candidate, version):
                return Interpreter(candidate, version)
    raise InterpreterMissing(versions)


def _own() -> Path:
    """The interpreter under our own virtual environment."""
    found = Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    return found if found.exists() else Path(sys.executable)


def _candidates(version: Version, home: Path) -> Iterator[Path]:
    name = f"python{version[0]}.{version[1]}"
    on_path = shutil.which(name)
    if on_path is not None:
        yield Path(on_path)
    for folder in (Path("/usr/bin"), Path("/usr/local/bin"), Path("/opt/homebrew/bin")):
        yield folder / name
    beside_ours = Path(sys.base_prefix).parent  # where a version manager keeps ours, whatever the home folder is now
    for kept in (home / ".pyenv" / "versions", home / ".local" / "share" / "uv" / "python", beside_ours):
        if kept.is_dir():
            # The newest patch release first: folders are called 3.12.1 or cpython-3.12.1-linux-…
            for folder in sorted(kept.iterdir(), key=_numbers, reverse=True):
                yield folder / "bin" / name


def _numbers(folder: Path) -> tuple[int, ...]:
    return tuple(int(part) for part in folder.name.replace("-", ".").split(".") if part.isascii() and part.isdecimal())


def _answers(candidate: Path, version: Version) -> bool:
    """Whether it runs at all: version managers leave commands on the path that only say that nothing is installed."""
    if not candidate.exists():
        return False
    try:
        told = subprocess.run(  # noqa: S603 - an interpreter of this machine, asked for its version
            [str(candidate), "-c", _PROBE], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return told.returncode == 0 and told.stdout.strip() == f"{version[0]}.{version[1]}"
