"""Fixtures of gateway.access: two processes on one database, and Li Wei."""

from collections.abc import Awaitable, Callable
from functools import partial

import pytest

from kms.connections import Pool
from tests.unit.gateway.access.world import Access, Clock, Enrolled, build, enrol_in


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def access(pool: Pool, clock: Clock) -> Access:
    return build(pool, clock)


@pytest.fixture
def other_node(pool: Pool, clock: Clock) -> Access:
    """A second process on the same database."""
    return build(pool, clock)


@pytest.fixture
def enrol(access: Access) -> Callable[..., Awaitable[Enrolled]]:
    """Makes users who are ready to sign in."""
    return partial(enrol_in, access)


@pytest.fixture
async def li(enrol: Callable[..., Awaitable[Enrolled]]) -> Enrolled:
    """Li Wei, in sales."""
    return await enrol("li.wei")
