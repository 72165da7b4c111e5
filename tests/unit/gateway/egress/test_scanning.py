"""A tenant whose keys are away stops its own mail, and goes on when they are back."""

import pytest

from gateway.egress.scanning import TenantScanner
from kms.provider import KeysUnavailable
from kms.scanner import Scanner


class Coming(dict[str, Scanner]):
    """Scanners of which none is there yet."""

    def __missing__(self, tenant: str) -> Scanner:
        raise KeysUnavailable("keys-not-started", "not yet")


def test_the_scanner_is_looked_up_each_time() -> None:
    scanners = Coming()
    scanner = TenantScanner(scanners, "acme")
    for ask in (lambda: scanner.find(b"x"), lambda: scanner.whole("x")):
        with pytest.raises(KeysUnavailable):
            ask()
    scanners["acme"] = Scanner([b"k" * 32])
    assert scanner.find(b"hello") == []
    assert scanner.whole("hello") is None
