"""Destruction as people do it: who may, what is in the trail before anything happens, what fails closed."""

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from audit.entry import AuditEntry, encode
from audit.log import AuditUnavailable
from audit.note import Signer
from gateway.access.passwords import PasswordWrong
from gateway.access.sign_in import Attempt
from gateway.access.user import AppUser
from gateway.destroying import Destroying
from gateway.key_step import Credentials, NotAllowed, record_name
from kms.custody import RootKey, RootState
from kms.destruction import Destruction, DestructionRefused, Person, State
from kms.provider import KeysUnavailable

NOW = datetime(2026, 11, 26, 8, tzinfo=UTC)
GIVEN = Credentials("sun", "secret-password", "123456")
FOUND = Destruction(
    tenant="main",
    id="d1",
    scope="",
    state=State.APPROVED,
    requested_by=Person("u1", "ma"),
    requested_at=NOW,
    approved_by=Person("u2", "sun"),
    approved_at=NOW,
    due_at=NOW + timedelta(days=7),
    suspended=True,
    key_ids=(),
    ended_at=None,
    record="",
)


def user(login: str = "sun") -> AppUser:
    return AppUser("u2", "main", login, "", ("dpo",), "", "", False, True, True, NOW)


@dataclass
class World:
    """Everything around, in one: what happened is in `log`, in order."""

    log: list[str] = field(default_factory=list)
    entries: list[AuditEntry] = field(default_factory=list)
    found: Destruction = FOUND
    outcome: Exception | None = None
    allowed: bool = True
    trail_down: bool = False
    refuses: Exception | None = None
    notes: list[str] = field(default_factory=list)

    async def prove(self, tenant: str, login: str, password: str, code: str, client: str) -> AppUser:
        self.log.append("prove")
        if self.outcome is not None:
            raise Attempt(self.outcome, user())
        return user()

    def may(self, tenant: str, roles: tuple[str, ...], operation: str, action: str) -> bool:
        return self.allowed and (operation, roles) == ("console.keys", ("dpo",))

    def append(self, entry: AuditEntry) -> Awaitable[int]:
        return self._append(entry)

    async def _append(self, entry: AuditEntry) -> int:
        if self.trail_down:
            raise AuditUnavailable
        encode(entry)
        self.entries.append(entry)
        self.log.append(f"trail {entry.reason}")
        return 0

    async def find(self, tenant: str, destruction_id: str) -> Destruction:
        return self.found

    async def check_request(self, tenant: str, scope: str) -> None:
        return None

    def check_approval(self, found: Destruction, by: Person) -> None:
        return None

    async def _step(self, name: str) -> Destruction:
        if self.refuses is not None:
            raise self.refuses
        self.log.append(name)
        return self.found

    async def request(self, tenant: str, destruction_id: str, scope: str, by: Person) -> Destruction:
        return await self._step("request")

    async def approve(self, tenant: str, destruction_id: str, by: Person) -> Destruction:
        return await self._step("approve")

    async def cancel(self, tenant: str, destruction_id: str, by: Person) -> Destruction:
        return await self._step("cancel")

    async def begin(self, tenant: str, destruction_id: str) -> Destruction:
        return await self._step("begin")

    async def execute(self, begun: Destruction) -> list[bytes]:
        await self._step("execute")
        return [b"\x01\x02\x03\x04"]

    async def finish(self, begun: Destruction, record: str) -> Destruction:
        self.notes.append(record)
        return await self._step("finish")

    async def describe(self, tenant: str) -> RootKey:
        return RootKey("crmgate-main", RootState.SUSPENDED, 1, 1)

    async def restore(self, tenant: str) -> None:
        self.log.append("restore")

    async def suspend(self, tenant: str) -> bool:
        self.log.append("suspend")
        return True

    async def import_key(self, tenant: str, key: bytes, *, rotatable: bool) -> RootKey:
        raise AssertionError

    async def destroy(self, tenant: str, others: Sequence[object]) -> None:
        raise AssertionError


SIGNER = Signer(bytes(range(32)))


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def destroying(world: World) -> Destroying:
    numbers = iter(range(100))
    every: Any = world
    return Destroying(
        "main",
        every,
        every,
        proving=world,
        policy=world,
        trail=world,
        signer=SIGNER,
        provider="openbao",
        operator="root",
        clock=lambda: NOW,
        new_id=lambda kind: f"{kind}-{next(numbers)}",
    )


async def test_each_step_is_in_the_trail_before_it_is_taken(world: World, destroying: Destroying) -> None:
    world.found = replace(FOUND, suspended=False)
    await destroying.request("phone", GIVEN)
    await destroying.approve("d1", GIVEN)
    await destroying.cancel("d1", GIVEN)
    assert world.log == [
        *("prove", "trail requested", "request"),
        *("prove", "trail approved", "approve"),
        *("prove", "trail cancelled", "cancel"),
    ]
    entry = world.entries[0]
    assert (entry.actor, entry.actor_login, entry.operation, entry.entity) == ("u2", "sun", "keys.destroy", "key")
    assert entry.fields == {"target": "phone", "change": "field"}
    assert "secret-password" not in repr(world.entries)


async def test_without_the_trail_nothing_happens(world: World, destroying: Destroying) -> None:
    world.trail_down = True
    world.found = replace(FOUND, suspended=False)
    for step in (destroying.request("phone", GIVEN), destroying.approve("d1", GIVEN), destroying.cancel("d1", GIVEN)):
        with pytest.raises(AuditUnavailable):
            await step
    with pytest.raises(AuditUnavailable):
        await destroying.execute("d1")
    assert not {"request", "approve", "cancel", "execute", "finish"} & set(world.log)


async def test_a_wrong_factor_is_in_the_trail_and_nothing_happens(world: World, destroying: Destroying) -> None:
    world.outcome = PasswordWrong()
    with pytest.raises(Attempt):
        await destroying.approve("d1", GIVEN)
    assert world.log == ["prove", "trail refused"]
    assert world.entries[0].fields["detail"] == ["PasswordWrong"]


async def test_without_the_right_nothing_happens(world: World, destroying: Destroying) -> None:
    world.allowed = False
    for step in (destroying.request("phone", GIVEN), destroying.approve("d1", GIVEN)):
        with pytest.raises(NotAllowed, match=r"console\.keys"):
            await step
    assert world.log == ["prove", "trail refused"] * 2


async def test_a_step_that_cannot_be_taken_is_in_the_trail_as_refused(world: World, destroying: Destroying) -> None:
    world.refuses = DestructionRefused("destruction-open", "open already")
    with pytest.raises(DestructionRefused):
        await destroying.request("phone", GIVEN)
    assert world.log == ["prove", "trail requested", "trail refused"]
    assert world.entries[1].fields["detail"] == ["destruction-open"]


@pytest.mark.parametrize("fault", ["factor", "right", "trail", "step"])
async def test_a_key_taken_back_to_prove_who_cancels_is_set_aside_again_when_that_fails(
    world: World, destroying: Destroying, fault: str
) -> None:
    world.outcome = PasswordWrong() if fault == "factor" else None
    world.allowed, world.trail_down = fault != "right", fault == "trail"
    world.refuses = DestructionRefused("destruction-state", "executing") if fault == "step" else None
    with pytest.raises((Attempt, NotAllowed, AuditUnavailable, DestructionRefused)):
        await destroying.cancel("d1", GIVEN)
    assert (world.log[0], world.log[-1]) == ("restore", "suspend")


async def test_a_cancelled_destruction_leaves_the_key_in_use(world: World, destroying: Destroying) -> None:
    await destroying.cancel("d1", GIVEN)
    assert world.log == ["restore", "prove", "trail cancelled", "cancel"]


async def test_the_record_names_keys_tenant_people_and_times_and_is_signed(
    world: World, destroying: Destroying
) -> None:
    await destroying.execute("d1")
    assert world.log == ["begin", "trail executing", "execute", "trail destroyed", "finish"]
    text = SIGNER.verifier.open(world.notes[0], record_name("main"))
    assert text == (
        "crmgate record of a key destruction\n"
        "tenant: main\n"
        "destruction: d1\n"
        "scope: all fields: the key of the tenant itself\n"
        "provider: openbao, key crmgate-main, destroyed\n"
        "field keys: 01020304\n"
        "requested: 2026-11-26T08:00:00Z by ma (u1)\n"
        "approved: 2026-11-26T08:00:00Z by sun (u2)\n"
        "waited until: 2026-12-03T08:00:00Z\n"
        "destroyed: 2026-11-26T08:00:00Z by the operator root\n"
        "still readable with: copies of the key store (server storage or keyring file) made before,"
        " while they are kept\n"
    )


async def test_an_execution_that_fails_is_in_the_trail_and_has_no_record(world: World, destroying: Destroying) -> None:
    async def fails(begun: Destruction) -> list[bytes]:
        raise KeysUnavailable("vault-slow", "away")

    world.execute = fails  # type: ignore[method-assign]
    with pytest.raises(KeysUnavailable):
        await destroying.execute("d1")
    assert world.log == ["begin", "trail executing", "trail failed"]
    assert world.notes == []
