"""Virtual environments of the CRMs: made once from a lock file with hashes, kept in the user's cache.

A marker with the digest of the lock file says that an installation is complete; anything else is made again. Several
processes may ask at once: one installs, the others wait.
"""

import contextlib
import fcntl
import hashlib
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

Progress = Callable[[str, float], None]
"""Told what happens now and how much of the step is done (0 to 1)."""

_MARKER = ".complete"


class InstallFault(Exception):  # noqa: N818 - names what failed
    """A CRM could not be installed; the text has the installer's own last lines and what to do."""

    permanent = False


@contextlib.contextmanager
def only_one(lock: Path) -> Iterator[None]:
    """Hold `lock` against other processes of this user."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def ensure_environment(folder: Path, lock_file: Path, progress: Progress, base: Path) -> Path:
    """The Python of a virtual environment in `folder`, made with `base`, that holds exactly what `lock_file` pins."""
    python = folder / "bin" / "python"
    wanted = hashlib.sha256(lock_file.read_bytes()).hexdigest()
    marker = folder / _MARKER
    with only_one(folder.with_name(folder.name + ".lock")):
        if marker.exists() and marker.read_text() == wanted:
            return python
        shutil.rmtree(folder, ignore_errors=True)
        progress("virtual environment", 0.0)
        made = _run([str(base), "-m", "venv", str(folder)])
        if made.returncode != 0:
            raise InstallFault(
                f"could not make a virtual environment in {folder}:\n{made.stdout}\n"
                f"On Debian and Ubuntu: apt-get install {base.name}-venv"
            )
        _install(python, lock_file, progress)
        marker.write_text(wanted)
    return python


def _install(python: Path, lock_file: Path, progress: Progress) -> None:
    total = sum(1 for line in lock_file.read_text().splitlines() if line[:1].isalpha())
    # A lock file names everything; what it leaves out on purpose must not be asked for.
    command = [str(python), "-m", "pip", "install", "--require-hashes", "--no-deps", "--no-input"]
    with subprocess.Popen(  # noqa: S603 - pip of the environment made above
        [*command, "--disable-pip-version-check", "--progress-bar=off", "-r", str(lock_file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as running:
        assert running.stdout is not None
        seen, said = 0, list[str]()
        for line in running.stdout:
            said.append(line.rstrip())
            if line.startswith("Collecting "):
                seen += 1
                progress(line.split()[1].partition("==")[0], min(0.9, 0.9 * seen / total))
            elif line.startswith("Installing collected"):
                progress("unpacking", 0.9)
    if running.returncode != 0:
        raise InstallFault("pip could not install it:\n" + "\n".join(said[-8:]))


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)  # noqa: S603
