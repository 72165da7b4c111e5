"""Real CRMs for the tests: installed into the user's cache once, a fresh copy of their prepared state each session."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from gateway.demo import children
from gateway.demo.bottle import Bottle
from gateway.demo.children import Child
from gateway.demo.creme import Creme
from gateway.demo.crm import Crm, CrmUser, copy_state, ensure_installed, ensure_prepared
from gateway.demo.django_crm import DjangoCrm
from gateway.demo.tryton import Tryton
from gateway.settings import cache_folder


def staff(crm: Crm) -> tuple[CrmUser, ...]:
    """The people who work in the CRM: its administrator, a manager, two in sales."""
    return (
        CrmUser(crm.admin_login, "Root-pw-4-tests", admin=True, first_name="Rita", last_name="Root"),
        CrmUser("wang.manager", "Wang-pw-4-tests", admin=False, first_name="Fang", last_name="Wang"),
        CrmUser("lin.sales", "Lin-pw-4-tests", admin=False, first_name="Tao", last_name="Lin"),
        CrmUser("chen.sales", "Chen-pw-4-tests", admin=False, first_name="Mei", last_name="Chen"),
    )


@dataclass(slots=True)
class CrmServer:
    """A running CRM. folder holds everything it stores; user_ids: login → the CRM's own key; passwords: by login."""

    crm: Crm
    url: str
    port: int
    folder: Path
    user_ids: Mapping[str, str]
    passwords: Mapping[str, str]
    child: Child
    python: Path

    def restart(self) -> None:
        """Stop it and start it again on the same data."""
        self.child.stop()
        self.child = self.crm.start(self.python, self.folder, self.port, self.child.log)
        children.wait_for_http(self.child, self.port, self.crm.ready_path)


@contextlib.contextmanager
def running(crm: Crm) -> Iterator[CrmServer]:
    """Install, prepare, copy and start a CRM; ends it and removes the copy afterwards."""
    cache = cache_folder()
    python = ensure_installed(crm, cache, _quiet)
    prepared = ensure_prepared(crm, python, cache, _quiet)
    parent = Path(tempfile.mkdtemp(prefix=f"crmgate-test-{crm.name}-"))
    parent.chmod(0o711)  # as root a CRM's own database runs as another account, which has to pass
    folder, port = parent / "crm", children.free_port()
    copy_state(prepared, folder)
    crm.set_up(python, folder, port)
    ids: Mapping[str, str] = {}
    people = staff(crm)
    if not crm.users_need_it_running():
        ids = crm.add_users(python, folder, port, people)
    child = crm.start(python, folder, port, parent / "server.log")
    try:
        children.wait_for_http(child, port, crm.ready_path)
        if crm.users_need_it_running():
            ids = crm.add_users(python, folder, port, people)
        passwords = {user.login: user.password for user in people}
        server = CrmServer(crm, f"http://127.0.0.1:{port}", port, folder, ids, passwords, child, python)
        yield server
        server.child.stop()
    finally:
        child.stop()
        shutil.rmtree(parent, ignore_errors=True)


def creme() -> contextlib.AbstractContextManager[CrmServer]:
    """A running Creme."""
    return running(Creme())


def djangocrm() -> contextlib.AbstractContextManager[CrmServer]:
    """A running DjangoCRM."""
    return running(DjangoCrm())


def tryton() -> contextlib.AbstractContextManager[CrmServer]:
    """A running Tryton."""
    return running(Tryton())


def bottle() -> contextlib.AbstractContextManager[CrmServer]:
    """A running BottleCRM with its PostgreSQL."""
    return running(Bottle())


SERVERS = {"creme": creme, "djangocrm": djangocrm, "tryton": tryton, "bottle": bottle}
"""Every CRM by the name of its profile."""


def _quiet(what: str, part: float) -> None:
    """Tests show no progress."""
