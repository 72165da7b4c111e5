"""Session fixtures of the real CRMs."""

from collections.abc import Iterator

import pytest

from tests.real.servers import CrmServer, creme, tryton


@pytest.fixture(scope="session")
def creme_server() -> Iterator[CrmServer]:
    """Creme 2.8.6 on a port of 127.0.0.1 with staff users and no customers."""
    with creme() as server:
        yield server


@pytest.fixture(scope="session")
def tryton_server() -> Iterator[CrmServer]:
    """Tryton 8.2 on a port of 127.0.0.1 with staff users and no customers."""
    with tryton() as server:
        yield server
