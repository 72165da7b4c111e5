"""What the brakes count by."""

import pytest

from gateway.access import throttle
from gateway.access.throttle import source_of


@pytest.mark.parametrize(
    ("address", "source"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("", "unknown"),
        ("nonsense", "unknown"),
    ],
)
def test_addresses_count_by_whoever_holds_them(address, source) -> None:
    assert source_of(address) == source


def test_keys_differ_by_dimension_login_and_source_and_show_none_of_them() -> None:
    first = throttle.keys("ab", "c")
    assert len(set(first.values())) == 3
    assert throttle.keys("a", "bc")["pair"] != first["pair"]
    assert throttle.keys("ab", "d")["login"] == first["login"]
    assert all(len(value) == 32 for value in first.values())
