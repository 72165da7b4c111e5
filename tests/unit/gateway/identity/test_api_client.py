"""API credentials on real PostgreSQL: what `set` changes keeps its limits, and last use is written once a minute."""

from datetime import timedelta
from ipaddress import ip_network
from types import SimpleNamespace

import pytest

from gateway.access.tokens import digest
from gateway.identity.api_client import Admission, ApiClients, Change, ClientInvalid
from gateway.identity.store import ClientRow, IdentityStore
from gateway.refusal import Refusal
from tests.unit.gateway.access.world import START, Clock

TOKEN = "crmgate_" + "A" * 43
ROLES = ("manager", "sales")
HERE, THERE = "203.0.113.9", "198.51.100.7"


class NoLogins:
    """The client has no login at the CRM."""

    async def row(self, _tenant: str, _holder: str) -> None:
        return None


@pytest.fixture
async def store(pool) -> IdentityStore:
    store = IdentityStore(pool)
    row = ClientRow("t1", "c-1", "sync", ("sales",), ("203.0.113.0/24",), "", START, START + timedelta(days=30))
    await store.add_client(row, digest(TOKEN))
    return store


@pytest.fixture
def clients(store: IdentityStore) -> ApiClients:
    return ApiClients(store, NoLogins(), lambda size: b"x" * size)  # type: ignore[arg-type]


@pytest.fixture
def admission(store: IdentityStore, clock: Clock) -> Admission:
    return Admission("t1", store, NoLogins(), clock)  # type: ignore[arg-type]


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def come(admission: Admission, address: str = HERE) -> None:
    await admission.principal(TOKEN, SimpleNamespace(client_address=address), "")  # type: ignore[arg-type]


async def test_a_change_is_in_force_within_seconds_and_the_token_stays(clients, admission, clock) -> None:
    await come(admission)
    changed = await clients.change("t1", "sync", Change(networks=(ip_network("198.51.100.0/24"),)), ROLES, clock())
    assert changed is not None
    assert (changed[0].networks, changed[1].networks) == (("203.0.113.0/24",), ("198.51.100.0/24",))
    clock.advance(seconds=3)
    with pytest.raises(Refusal):
        await come(admission)
    await come(admission, THERE)
    ends = Change(roles=("manager",), expires_at=clock() + timedelta(days=1))
    assert await clients.change("t1", "sync", ends, ROLES, clock()) is not None
    clock.advance(hours=1)
    who = await admission.principal(TOKEN, SimpleNamespace(client_address=THERE), "")
    assert who.roles == ("manager",)
    clock.advance(days=1)
    with pytest.raises(Refusal):
        await come(admission, THERE)


@pytest.mark.parametrize(
    "change", [Change(networks=()), Change(roles=("nobody",)), Change(expires_at=START + timedelta(days=900))]
)
async def test_a_change_cannot_lift_what_a_new_credential_could_not_have(clients, store, change) -> None:
    with pytest.raises(ClientInvalid):
        await clients.change("t1", "sync", change, ROLES, START)
    assert [one.networks for one in await store.clients("t1")] == [("203.0.113.0/24",)]


async def test_what_is_revoked_or_of_another_tenant_is_not_changed(clients, store) -> None:
    change = Change(roles=("manager",))
    assert await clients.change("t2", "sync", change, ROLES, START) is None
    await store.revoke_client("t1", "c-1", START)
    assert await clients.change("t1", "sync", change, ROLES, START) is None


async def test_last_use_is_written_in_the_background_at_most_once_a_minute(admission, store, clock) -> None:
    async def last() -> tuple[object, str]:
        [row] = await store.clients("t1")
        return row.last_used_at, row.last_used_from

    await come(admission)
    assert await last() == (None, "")  # the request itself writes nothing
    await admission.note_uses()
    first = clock()
    assert await last() == (first, HERE)
    clock.advance(seconds=59)
    await come(admission)
    await admission.note_uses()
    assert (await last())[0] == first
    clock.advance(seconds=1)
    await come(admission)
    await admission.note_uses()
    assert (await last())[0] == clock()
    with pytest.raises(Refusal):
        await come(admission, THERE)
    clock.advance(minutes=2)
    await admission.note_uses()
    assert (await last())[1] == HERE  # who is refused has not used it
