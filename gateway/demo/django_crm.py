"""DjangoCRM 3.1.0: pages of Django's admin, SQLite.

Its lock file leaves out `mysqlclient`, which its metadata demands and nothing imports with SQLite, and adds Pillow,
which its metadata forgets.
"""

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

_SETTINGS = "--settings=djangocrm_settings"


class DjangoCrm:
    """DjangoCRM as the demo's and the tests' upstream."""

    name = "djangocrm"
    title = "DjangoCRM"
    version = "3.1.0"
    lock_file = DATA / "djangocrm.lock"
    ready_path = "/en/123/789-login/"
    admin_login = "IamSUPER"
    pythons: Sequence[Version] = ((3, 12), (3, 13))

    def recipe(self) -> bytes:
        """The settings file decides what is prepared."""
        return b"djangocrm 1\n" + (DATA / "djangocrm_settings.py").read_bytes()

    def prepare(self, python: Path, folder: Path, progress: Progress) -> None:
        """Tables and first data."""
        (folder / "media" / "exported").mkdir(parents=True)
        self.set_up(python, folder, 0)
        progress("database tables", 0.0)
        run_step([*_command(python), "setupdata", _SETTINGS], folder)

    def set_up(self, python: Path, folder: Path, port: int) -> None:
        """Write a secret of its own; it does not need to know its address."""
        shutil.copyfile(DATA / "djangocrm_settings.py", folder / "djangocrm_settings.py")
        secret = folder / "secret"
        if not secret.exists() or (port and not secret.read_text().startswith("own-")):
            secret.touch(mode=0o600)
            secret.write_text(("own-" if port else "") + secrets.token_urlsafe(48))

    def start(self, python: Path, folder: Path, port: int, log: Path) -> Child:
        """Its development server; nobody but the gateway reaches it."""
        command = [*_command(python), "runserver", f"127.0.0.1:{port}", "--noreload", _SETTINGS]
        return children.start(self.title, command, log, folder)

    def add_users(self, python: Path, folder: Path, port: int, users: Sequence[CrmUser]) -> Mapping[str, str]:
        """Through its own models, because DjangoCRM has no API for it."""
        given = folder / "users.json"
        given.touch(mode=0o600)
        given.write_text(json.dumps([user.as_json() for user in users]))
        try:
            script = (DATA / "djangocrm_users.py").read_text()
            run_step([*_command(python), "shell", _SETTINGS], folder, script)
        finally:
            given.unlink()
        ids: Mapping[str, str] = json.loads((folder / "user_ids.json").read_text())
        return ids

    def users_need_it_running(self) -> bool:
        """No: its database file is enough."""
        return False


def _command(python: Path) -> list[str | Path]:
    return [python, "-W", "ignore", "-m", "django"]
