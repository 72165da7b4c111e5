"""The health page on certificates: the first to end decides, and one that cannot be seen is said."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from gateway.console import health
from gateway.tls import Expiry

NOW = datetime(2026, 11, 26, tzinfo=UTC)


def deps(*days: int | None) -> SimpleNamespace:
    async def certificates(_tenant: str) -> list[Expiry]:
        return [Expiry(f"leg {n}", None if d is None else NOW + timedelta(days=d)) for n, d in enumerate(days)]

    return SimpleNamespace(certificates=certificates, access=SimpleNamespace(clock=lambda: NOW))


@pytest.mark.parametrize(
    ("days", "state"),
    [
        ((), health.GOOD),
        ((300, 31), health.GOOD),
        ((300, 30), health.GOOD),
        ((300, 29), health.WARNING),
        ((8,), health.WARNING),
        ((300, 6), health.BAD),
        ((-1,), health.BAD),
        ((300, None), health.WARNING),
    ],
)
async def test_the_certificate_that_ends_first_decides(days: tuple[int | None, ...], state: str) -> None:
    assert (await health._certificates(deps(*days), "t1")).state == state  # type: ignore[arg-type]


async def test_it_says_which_leg_and_how_many_days() -> None:
    found = await health._certificates(deps(300, 12), "t1")  # type: ignore[arg-type]
    assert (found.values["leg"], found.values["days"]) == ("leg 1", 12)
    assert found.advice
