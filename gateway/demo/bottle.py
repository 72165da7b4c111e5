"""BottleCRM 1.35: REST and JSON with JWT (Django), PostgreSQL; no pages of its own in the package."""

import hashlib
import json
import secrets
import shutil
import sys
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from gateway.database import EmbeddedPostgres, suitable_folder
from gateway.demo import children
from gateway.demo.children import Child
from gateway.demo.crm import DATA, CrmUser, run_step
from gateway.demo.environment import Progress
from gateway.demo.interpreter import Version

DATABASE, ROLE = "bottlecrm", "crm_app"
LINKS = 200
"""Sign-ins that a user of the demo has; BottleCRM takes each link once."""
STAFF_DOMAIN = "staff.example.com"
_TABLES = "cluster.tar"


class Bottle:
    """BottleCRM as the demo's and the tests' upstream, with a PostgreSQL server of its own."""

    name = "bottle"
    title = "BottleCRM"
    version = "1.35.0"
    lock_file = DATA / "bottle.lock"
    ready_path = "/healthz/"
    admin_login = "root"
    pythons: Sequence[Version] = ((3, 12), (3, 13))

    def recipe(self) -> bytes:
        """Bump the number when `prepare` changes."""
        return b"bottle 1"

    def prepare(self, python: Path, folder: Path, progress: Progress) -> None:
        """Empty tables, packed into one file that the account of the server can unpack anywhere."""
        self.set_up(python, folder, 0)
        database = cluster(folder, {"fsync": "off"})
        progress("database tables", 0.0)
        with database:
            run_step([*_command(python, folder), "-m", "django", "migrate", "-v0"], folder)
        progress("packing", 0.9)
        with tarfile.open(folder / _TABLES, "w") as packed:
            packed.add(database.data, "data")
        shutil.rmtree(database.folder)
        (folder / "cluster").unlink()

    def set_up(self, python: Path, folder: Path, port: int) -> None:
        """Unpack the tables once, write where the database and the CRM are, and a secret of its own."""
        place = folder / "cluster"
        if not place.exists():
            place.write_text(str(suitable_folder(folder / "pg", f"bottle-{secrets.token_hex(6)}")))
            database = cluster(folder)
            if (folder / _TABLES).exists():
                database.folder.mkdir(parents=True, exist_ok=True)
                # Our own file; owners stay those of the server.
                shutil.unpack_archive(folder / _TABLES, database.folder, "tar", filter="fully_trusted")
                (folder / _TABLES).unlink()
        shutil.copyfile(DATA / "bottle_settings.py", folder / "bottle_settings.py")
        settings = folder / "environment.json"
        known = json.loads(settings.read_text()) if settings.exists() else {}
        own = port and not known.get("SECRET_KEY", "").startswith("own-")
        if own or not known:
            known["SECRET_KEY"] = ("own-" if port else "") + secrets.token_urlsafe(48)
        settings.touch(mode=0o600)
        settings.write_text(json.dumps({**known, **_environment(cluster(folder), port)}))

    def start(self, python: Path, folder: Path, port: int, log: Path) -> Child:
        """Database and CRM as one program; nobody but the gateway reaches either."""
        command: list[str | Path] = [sys.executable, "-m", "gateway.demo.bottle_server", folder, "--"]
        command += [*_command(python, folder), "-m", "uvicorn", "crm.asgi:application"]
        command += ["--host", "127.0.0.1", "--port", str(port), "--timeout-keep-alive", "75"]
        return children.start("BottleCRM", command, log, Path(__file__).resolve().parents[2])

    def add_users(self, python: Path, folder: Path, port: int, users: Sequence[CrmUser]) -> Mapping[str, str]:
        """Through its own models: its interface lets in only who has a mailbox."""
        given = folder / "users.json"
        given.touch(mode=0o600)
        told = [{**user.as_json(), "links": list(sign_in_links(user.login, user.password))} for user in users]
        given.write_text(json.dumps(told))
        try:
            script = (DATA / "bottle_users.py").read_text()
            run_step([*_command(python, folder), "-m", "django", "shell", "-v0"], folder, script)
        finally:
            given.unlink()
        ids: Mapping[str, str] = json.loads((folder / "user_ids.json").read_text())
        return ids

    def users_need_it_running(self) -> bool:
        """Yes: its database runs with it."""
        return True


def cluster(folder: Path, options: Mapping[str, str] | None = None) -> EmbeddedPostgres:
    """The PostgreSQL server of an installation in `folder`; options: settings of the server."""
    place = Path((folder / "cluster").read_text())
    return EmbeddedPostgres(place, options or {"synchronous_commit": "off"}, role=ROLE, database=DATABASE)


def sign_in_links(login: str, password: str) -> Iterator[str]:
    """The sign-in links of a user; whoever knows the password knows them."""
    for number in range(LINKS):
        yield hashlib.sha256(f"{login}\n{password}\n{number}".encode()).hexdigest()


def _command(python: Path, folder: Path) -> list[str | Path]:
    given = {"BOTTLE_HOME": folder, "DJANGO_SETTINGS_MODULE": "bottle_settings", "PYTHONPATH": folder}
    return ["env", *(f"{name}={value}" for name, value in given.items()), python, "-W", "ignore"]


def _environment(database: EmbeddedPostgres, port: int) -> dict[str, str]:
    """What BottleCRM reads from the environment: no broker, no mail, no limits on how often people sign in."""
    address = f"http://127.0.0.1:{port}"
    often = "100000/hour"
    return {
        "ENV_TYPE": "dev",
        "DEBUG": "False",
        "ALLOWED_HOSTS": "127.0.0.1,localhost",
        "DBNAME": DATABASE,
        "DBUSER": ROLE,
        "DBPASSWORD": "",
        "DBHOST": str(database.sockets),
        "DBPORT": "5432",
        "CELERY_BROKER_URL": "memory://",
        "CELERY_RESULT_BACKEND": "cache+memory://",
        "EMAIL_BACKEND": "django.core.mail.backends.dummy.EmailBackend",
        "MAGIC_LINK_THROTTLE_IP": often,
        "MAGIC_LINK_THROTTLE_GLOBAL": often,
        "IMPORT_THROTTLE": often,
        "ADMIN_EMAIL": f"root@{STAFF_DOMAIN}",
        "FRONTEND_URL": address,
        "DOMAIN_NAME": address,
    }
