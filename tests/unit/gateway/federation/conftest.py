"""A provider made for tests, its key made once."""

from collections.abc import Iterator

import pytest
from joserfc.jwk import RSAKey

from tests.unit.gateway.federation.made_provider import MadeProvider, made_provider


@pytest.fixture(scope="session")
def key() -> RSAKey:
    return RSAKey.generate_key(2048)


@pytest.fixture
def made(key: RSAKey) -> Iterator[MadeProvider]:
    with made_provider(key) as provider:
        yield provider
