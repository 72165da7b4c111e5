"""Installations shared by the end-to-end tests: one in front of Creme, one in front of a plain upstream."""

from collections.abc import Iterator

import pytest

from gateway.demo.children import free_port
from tests.drills.mail_sink import settings_for
from tests.drills.stack import Stack, installed
from tests.e2e.visitors import PlainStack, close_all
from tests.real.plain import plain
from tests.real.servers import creme

# The tests' own address is a trusted hop, so that they can come from anywhere; some networks may not come in.
NETWORKS = """
[tenant.main]
allow_networks = ["127.0.0.1", "203.0.113.0/24", "2001:db8::/32"]
[network]
trusted_proxies = ["127.0.0.1"]
"""

TELLS_THE_CLIENT = """
[tenant.main]
forward_client_address = true
[network]
trusted_proxies = ["127.0.0.1"]
"""


@pytest.fixture(scope="session")
def creme_stack() -> Iterator[Stack]:
    """crmgate in front of a real Creme, with staff of every role."""
    mail = settings_for(*(free_port() for _ in range(6)))
    with creme() as server, installed(server, NETWORKS + mail) as stack:
        yield stack
        close_all()


@pytest.fixture(scope="session")
def plain_stack() -> Iterator[PlainStack]:
    """crmgate in front of an upstream that answers what it is told to."""
    with plain() as upstream, installed(upstream, TELLS_THE_CLIENT) as stack:  # type: ignore[arg-type]
        yield PlainStack(stack, upstream)
        close_all()
