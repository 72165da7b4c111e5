"""What the demo and the tests need from a CRM: install it, prepare its data once, start it, give it users.

Real CRMs run as separate processes in environments of their own on 127.0.0.1; none is imported or shipped.
"""

import hashlib
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from gateway.demo import interpreter
from gateway.demo.children import Child
from gateway.demo.environment import InstallFault, Progress, ensure_environment, only_one
from gateway.demo.interpreter import Version

DATA = Path(__file__).resolve().parents[2] / "deploy" / "demo"


@dataclass(frozen=True, slots=True)
class CrmUser:
    """A member of staff inside the CRM."""

    login: str
    password: str
    admin: bool
    first_name: str
    last_name: str

    def as_json(self) -> dict[str, object]:
        """Plain values for the CRM's own scripts."""
        return asdict(self)


class Crm(Protocol):
    """One kind of CRM."""

    name: str
    title: str
    version: str
    lock_file: Path
    ready_path: str
    admin_login: str
    pythons: Sequence[Version]
    """Versions of Python it runs on, best first; () = whichever runs the gateway."""

    def prepare(self, python: Path, folder: Path, progress: Progress) -> None:
        """Make an empty, working installation in `folder`."""
        ...

    def recipe(self) -> bytes:
        """What the prepared state depends on; another recipe, another state."""
        ...

    def set_up(self, python: Path, folder: Path, port: int) -> None:
        """Adapt a copy of the prepared state to where it runs now."""
        ...

    def start(self, python: Path, folder: Path, port: int, log: Path) -> Child:
        """Start it; the caller waits for `ready_path`."""
        ...

    def add_users(self, python: Path, folder: Path, port: int, users: Sequence[CrmUser]) -> Mapping[str, str]:
        """Add users, or set the passwords of those that are there; answers login → the CRM's own key of that user."""
        ...

    def users_need_it_running(self) -> bool:
        """Whether `add_users` talks to the running CRM, or works on its data before it starts."""
        ...


def ensure_installed(crm: Crm, cache: Path, progress: Progress) -> Path:
    """The CRM's Python, installed into `cache` when it is not there.

    Raises: InterpreterMissing, InstallFault.
    """
    base = interpreter.find(crm.pythons, Path.home())
    folder = cache / "crm" / f"{crm.name}-{crm.version}-py{base.version[0]}{base.version[1]}"
    return ensure_environment(folder, crm.lock_file, progress, base.path)


def ensure_prepared(crm: Crm, python: Path, cache: Path, progress: Progress) -> Path:
    """A folder in `cache` with a prepared CRM; copy it, never use it itself."""
    mark = hashlib.sha256(crm.recipe() + crm.lock_file.read_bytes()).hexdigest()[:12]
    folder = cache / "crm" / f"{crm.name}-{crm.version}-state-{mark}"
    with only_one(folder.with_name(folder.name + ".lock")):
        if not folder.exists():
            unfinished = folder.with_name(folder.name + ".unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir(parents=True)
            crm.prepare(python, unfinished, progress)
            unfinished.rename(folder)
    return folder


def copy_state(prepared: Path, folder: Path) -> None:
    """Copy a prepared state to where it will run; `folder` must not exist."""
    unfinished = folder.with_name(folder.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    shutil.copytree(prepared, unfinished, symlinks=True)
    unfinished.rename(folder)


def run_step(command: Sequence[str | Path], folder: Path, given: str | None = None) -> str:
    """Run one of the CRM's own commands; raises InstallFault with its last lines."""
    done = subprocess.run(  # noqa: S603 - programs we installed ourselves
        [str(part) for part in command],
        cwd=folder,
        input=given,
        stdin=subprocess.DEVNULL if given is None else None,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode != 0:
        raise InstallFault(f"{' '.join(map(str, command))} failed:\n" + "\n".join(done.stdout.splitlines()[-12:]))
    return done.stdout
