"""A gateway in front of a real Creme, for tests that bring people to it in a browser."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from gateway.console import vendor
from policies.enforcer import DEFAULT_POLICY
from tests.drills.stack import Stack, installed
from tests.e2e.test_console_pages import AXE, PICTURES
from tests.e2e.visitors import close_all
from tests.real.servers import creme


@contextlib.contextmanager
def floor_of(folder: Path, access: str, rows: str, more: str = "") -> Iterator[Stack]:
    """A floor. access: settings before those of its CRM; rows: more of the policy; more: settings behind them."""
    policy = folder / "policy.csv"
    policy.write_text(DEFAULT_POLICY.read_text(encoding="utf-8") + rows, encoding="utf-8")
    if not AXE.exists():
        vendor.fetch(tests_too=True)
    PICTURES.mkdir(exist_ok=True)
    with creme() as server, installed(server, f'{access}[tenant.main]\npolicy = "{policy}"\n{more}') as stack:
        yield stack
        close_all()
