"""Creme CRM 2.8.6: server-rendered pages (Django), SQLite."""

import json
import secrets
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from gateway.demo import children
from gateway.demo.children import Child
from gateway.demo.crm import DATA, CrmUser, run_step
from gateway.demo.environment import Progress
from gateway.demo.interpreter import Version

_SETTINGS = "--settings=crmproj.settings"
_STEPS = (("migrate", "database tables", 0.0), ("creme_populate", "first data", 0.6), ("generatemedia", "styles", 0.9))


class Creme:
    """Creme CRM as the demo's and the tests' upstream."""

    name = "creme"
    title = "Creme CRM"
    version = "2.8.6"
    lock_file = DATA / "creme.lock"
    ready_path = "/creme_login/"
    admin_login = "root"
    pythons: Sequence[Version] = ()

    def recipe(self) -> bytes:
        """The settings file decides what is prepared."""
        return (DATA / "creme_settings.py").read_bytes()

    def prepare(self, python: Path, folder: Path, progress: Progress) -> None:
        """Tables, first data and generated style sheets."""
        project = folder / "crmproj"
        project.mkdir()
        (project / "__init__.py").write_text('"""The Creme project of the demo."""\n')
        self.set_up(python, folder, 0)
        for command, title, done in _STEPS:
            progress(title, done)
            run_step([python, "-W", "ignore", "-m", "creme.manage", command, _SETTINGS], folder)

    def set_up(self, python: Path, folder: Path, port: int) -> None:
        """Write its address, and a secret of its own."""
        project = folder / "crmproj"
        shutil.copyfile(DATA / "creme_settings.py", project / "settings.py")
        (project / "port").write_text(str(port))
        secret = project / "secret"
        if not secret.exists() or (port and not secret.read_text().startswith("own-")):
            secret.touch(mode=0o600)
            secret.write_text(("own-" if port else "") + secrets.token_urlsafe(48))

    def start(self, python: Path, folder: Path, port: int, log: Path) -> Child:
        """Its development server; nobody but the gateway reaches it."""
        command: list[str | Path] = [
            python,
            "-W",
            "ignore",
            "-m",
            "creme.manage",
            "runserver",
            f"127.0.0.1:{port}",
            "--noreload",
        ]
        return children.start("Creme", [*command, _SETTINGS], log, folder)

    def add_users(self, python: Path, folder: Path, port: int, users: Sequence[CrmUser]) -> Mapping[str, str]:
        """Through its own models, because Creme has no API for it."""
        project = folder / "crmproj"
        given = project / "users.json"
        given.touch(mode=0o600)
        given.write_text(json.dumps([user.as_json() for user in users]))
        try:
            script = (DATA / "creme_users.py").read_text()
            run_step([python, "-W", "ignore", "-m", "creme.manage", "shell", _SETTINGS], folder, script)
        finally:
            given.unlink()
        ids: Mapping[str, str] = json.loads((project / "user_ids.json").read_text())
        return ids

    def users_need_it_running(self) -> bool:
        """No: its database file is enough."""
        return False
