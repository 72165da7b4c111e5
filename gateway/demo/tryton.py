"""Tryton 8.2 with parties and sales opportunities: JSON-RPC only, SQLite."""

import json
import secrets
from base64 import b64encode
from collections.abc import Mapping, Sequence
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from gateway.demo import children
from gateway.demo.children import Child
from gateway.demo.crm import DATA, CrmUser, run_step
from gateway.demo.environment import InstallFault, Progress
from gateway.demo.interpreter import Version

DATABASE = "crm"
ADMIN = "admin"


class Tryton:
    """Tryton as the demo's and the tests' upstream."""

    name = "tryton"
    title = "Tryton"
    version = "8.2.1"
    lock_file = DATA / "tryton.lock"
    ready_path = "/"
    admin_login = ADMIN
    pythons: Sequence[Version] = ()

    def recipe(self) -> bytes:
        """Bump the number when `prepare` changes."""
        return b"tryton 1"

    def prepare(self, python: Path, folder: Path, progress: Progress) -> None:
        """Tables, and an administrator whose password stands in the file `pass`."""
        (folder / "db").mkdir()
        (folder / "db" / f"{DATABASE}.sqlite").touch()
        password = folder / "pass"
        password.touch(mode=0o600)
        password.write_text(secrets.token_urlsafe(18) + "\n")
        self.set_up(python, folder, 0)
        admin: list[str | Path] = [
            python,
            "-W",
            "ignore",
            "-c",
            "from trytond.cli.admin import main; main()",
            "-c",
            "trytond.conf",
        ]
        # The password is read from the file this variable names, so it stands in no process list.
        with_password: list[str | Path] = ["env", f"TRYTONPASSFILE={password}"]
        progress("database tables", 0.0)
        run_step([*with_password, *admin, "-d", DATABASE, "--all", "--email", "admin@staff.example.com", "-p"], folder)
        progress("modules", 0.5)
        modules = ["party", "sale_opportunity", "--activate-dependencies"]
        run_step([*with_password, *admin, "-d", DATABASE, "-u", *modules], folder)

    def set_up(self, python: Path, folder: Path, port: int) -> None:
        """Write its address and where its data is."""
        lines = ["[web]", f"listen = 127.0.0.1:{port}", "[database]", "uri = sqlite://", f"path = {folder / 'db'}", ""]
        (folder / "trytond.conf").write_text("\n".join(lines))

    def start(self, python: Path, folder: Path, port: int, log: Path) -> Child:
        """Its own server; nobody but the gateway reaches it."""
        main = "from trytond.cli import main; main()"
        return children.start(
            "Tryton", [python, "-W", "ignore", "-c", main, "-c", "trytond.conf", "-d", DATABASE], log, folder
        )

    def add_users(self, python: Path, folder: Path, port: int, users: Sequence[CrmUser]) -> Mapping[str, str]:
        """Through its own API, as its administrator."""
        password = (folder / "pass").read_text().strip()
        uid, token, *_ = call(port, None, "common.db.login", [ADMIN, {"password": password}, "en"])
        session = f"{ADMIN}:{uid}:{token}"
        ids: dict[str, str] = {}
        for user in users:
            found = call(port, session, "model.res.user.search", [[["login", "=", user.login]], 0, 1, None, {}])
            values: dict[str, Any] = {
                "name": f"{user.first_name} {user.last_name}",
                "login": user.login,
                "password": user.password,
            }
            if found:
                call(port, session, "model.res.user.write", [found, values, {}])
            else:
                found = call(port, session, "model.res.user.create", [[values], {}])
            ids[user.login] = str(found[0])
            if user.login == ADMIN:
                (folder / "pass").write_text(user.password + "\n")
                uid, token, *_ = call(port, None, "common.db.login", [ADMIN, {"password": user.password}, "en"])
                session = f"{ADMIN}:{uid}:{token}"
        call(port, session, "common.db.logout", [])
        return ids

    def users_need_it_running(self) -> bool:
        """Yes: it is asked over its API."""
        return True


def call(port: int, session: str | None, method: str, params: list[Any]) -> Any:
    """One JSON-RPC call straight to Tryton; raises InstallFault with its error."""
    headers = {"Content-Type": "application/json"}
    if session is not None:
        headers["Authorization"] = "Session " + b64encode(session.encode()).decode()
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        body = json.dumps({"id": 1, "method": method, "params": params})
        connection.request("POST", f"/{DATABASE}/rpc/", body, headers)
        answer = connection.getresponse()
        told = answer.read()
    finally:
        connection.close()
    if answer.status != 200:
        raise InstallFault(f"Tryton answered {answer.status} to {method}")
    value = json.loads(told)
    if isinstance(value, dict) and "error" in value:
        raise InstallFault(f"Tryton refused {method}: {value['error']}")
    return value["result"] if isinstance(value, dict) and "result" in value else value
