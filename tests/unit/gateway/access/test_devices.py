"""Sessions that hang on a device: proofs, replays, copied cookies, approval, limits and revocation, on two nodes."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest
from psycopg_pool import AsyncConnectionPool

from gateway.access.device import OVERLAP, Approval, Binding, DeviceRules, Lack, ProofInvalid
from gateway.access.devices import DeviceRevoked, DevicesFull, Proved
from gateway.access.sessions import AUDIENCE_CONSOLE, AUDIENCE_CRM, DeviceNeeded, NoSession, SessionLocked
from gateway.access.sign_in import Attempt, ProgramsRefused
from tests.unit.gateway.access.key_holder import ORIGIN, KeyHolder
from tests.unit.gateway.access.world import Access, Clock, Enrolled, build, enrol_in

BOUND = DeviceRules(Binding.BOUND)
AGENT = "Mozilla/5.0 (X11; Linux x86_64) Chrome/140.0 Safari/537.36"


@dataclass
class Tab:
    """A browser with a session and a key; token: its cookie."""

    access: Access
    token: str
    holder: KeyHolder = field(default_factory=KeyHolder)
    audience: str = AUDIENCE_CRM

    async def prove(self, *, act: bool = False, token: str = "") -> Proved:
        given, now = token or self.token, self.access.clock()
        row = await self.access.sessions.bearer(given, now, tenant="t1", audience=self.audience)
        proof = self.holder.proof(await self.access.devices.ask(row), act=act)
        proved = await self.access.devices.prove(row, given, proof, ORIGIN, AGENT)
        self.token = proved.token
        return proved

    async def passes(self, token: str = "", access: Access | None = None) -> bool:
        chosen = access or self.access
        try:
            await chosen.sessions.principal(token or self.token, tenant="t1", audience=self.audience)
        except (DeviceNeeded, NoSession):
            return False
        return True

    async def lack(self) -> Lack | None:
        try:
            await self.access.sessions.principal(self.token, tenant="t1", audience=self.audience)
        except DeviceNeeded as needed:
            return needed.lack
        return None


@dataclass
class World:
    """Two nodes under the same rules."""

    pool: AsyncConnectionPool
    clock: Clock
    rules: DeviceRules

    def __post_init__(self) -> None:
        self.here = build(self.pool, self.clock, devices=self.rules)
        self.there = build(self.pool, self.clock, devices=self.rules)

    async def open(self, person: Enrolled, holder: KeyHolder | None = None, audience: str = AUDIENCE_CRM) -> Tab:
        token = await self.here.sessions.open(person.user, "192.0.2.7", self.clock(), audience=audience)
        return Tab(self.here, token, holder or KeyHolder(), audience)


@pytest.fixture
def world_of(pool: AsyncConnectionPool, clock: Clock):  # type: ignore[no-untyped-def]
    return lambda rules: World(pool, clock, rules)


@pytest.fixture
async def bound(world_of) -> World:  # type: ignore[no-untyped-def]
    return world_of(BOUND)


@pytest.fixture
async def mei(bound: World) -> Enrolled:
    return await enrol_in(bound.here, "zhao.mei")


async def test_a_session_opens_nothing_before_its_device_is_proved(bound, mei) -> None:
    tab = await bound.open(mei)
    before = tab.token
    assert await tab.lack() is Lack.NO_DEVICE
    assert bound.here.sessions.cached(tab.token) is None
    proved = await tab.prove()
    assert (proved.new, proved.first) == (True, True)
    assert await tab.passes()
    assert not await tab.passes(before), "the token from before the first proof is dead at once"
    assert not await tab.passes(before, bound.there)


async def test_a_copied_cookie_ends_with_its_proof_while_the_owner_goes_on(bound, mei, clock) -> None:
    tab = await bound.open(mei)
    await tab.prove()
    stolen = tab.token
    assert await tab.passes(stolen)
    for _ in range(4):  # the owner works on: each of his proofs ends what was copied before
        clock.advance(minutes=4)
        await tab.prove()
        assert await tab.passes()
    assert not await tab.passes(stolen)
    assert not await tab.passes(stolen, bound.there)
    last = tab.token
    clock.advance(minutes=4, seconds=59)
    assert await tab.passes(last, bound.there)
    clock.advance(seconds=1)
    for node in (bound.here, bound.there):
        assert node.sessions.cached(last) is None, "what was believed a moment ago ends, too"
        assert not await tab.passes(last, node)
    assert await tab.lack() is Lack.NO_PROOF
    await tab.prove()
    assert await tab.passes()
    assert not await tab.passes(last)


async def test_requests_on_their_way_may_use_the_token_before_for_a_moment(bound, mei, clock) -> None:
    tab = await bound.open(mei)
    await tab.prove()
    before = tab.token
    clock.advance(minutes=2)
    await tab.prove()
    assert await tab.passes(before)
    assert await tab.passes(before, bound.there)
    clock.advance(seconds=OVERLAP.total_seconds())
    assert not await tab.passes(before)
    assert not await tab.passes(before, bound.there)
    assert await tab.passes()


async def test_the_token_before_never_outlives_its_own_proof(bound, mei, clock) -> None:
    tab = await bound.open(mei)
    await tab.prove()
    before = tab.token
    clock.advance(minutes=4, seconds=50)
    await tab.prove()
    assert await tab.passes(before)
    clock.advance(seconds=10)
    assert not await tab.passes(before)


async def test_two_tabs_that_renew_at_once_both_go_on(bound, mei, clock) -> None:
    tab = await bound.open(mei)
    await tab.prove()
    clock.advance(minutes=4)
    before = tab.token
    first, second = await asyncio.gather(tab.prove(token=before), tab.prove(token=before))
    passed = [await tab.passes(one.token) for one in (first, second)]
    assert passed == [True, True]
    assert not await tab.passes(before)


async def test_a_proof_is_taken_once_also_in_parallel_and_on_two_nodes(bound, mei) -> None:
    tab = await bound.open(mei)
    row = await bound.here.sessions.bearer(tab.token, bound.clock(), tenant="t1", audience=AUDIENCE_CRM)
    proof = tab.holder.proof(await bound.here.devices.ask(row))

    async def once(number: int) -> str:
        node = (bound.here, bound.there)[number % 2]
        try:
            await node.devices.prove(row, tab.token, proof, ORIGIN, AGENT)
        except ProofInvalid:
            return "refused"
        return "taken"

    outcomes = Counter(await asyncio.gather(*(once(number) for number in range(20))))
    assert outcomes == {"taken": 1, "refused": 19}


async def test_a_challenge_is_for_one_session_one_host_and_one_minute(bound, mei, clock) -> None:
    one, two = await bound.open(mei), await bound.open(mei)
    sessions, devices = bound.here.sessions, bound.here.devices
    rows = [await sessions.bearer(t.token, clock(), tenant="t1", audience=AUDIENCE_CRM) for t in (one, two)]
    with pytest.raises(ProofInvalid):  # another session's
        await devices.prove(rows[1], two.token, two.holder.proof(await devices.ask(rows[0])), ORIGIN, AGENT)
    lured = KeyHolder("https://crm.example.evil.example", one.holder.key)
    with pytest.raises(ProofInvalid):  # signed for another host
        await devices.prove(rows[0], one.token, lured.proof(await devices.ask(rows[0])), ORIGIN, AGENT)
    challenge = await devices.ask(rows[0])
    clock.advance(seconds=60)
    with pytest.raises(ProofInvalid):  # late
        await devices.prove(rows[0], one.token, one.holder.proof(challenge), ORIGIN, AGENT)
    with pytest.raises(ProofInvalid):  # a host whose address nobody told
        await devices.prove(rows[0], one.token, one.holder.proof(await devices.ask(rows[0])), "", AGENT)
    assert await one.lack() is Lack.NO_DEVICE


async def test_a_wrong_signature_uses_its_challenge_up(bound, mei) -> None:
    tab = await bound.open(mei)
    row = await bound.here.sessions.bearer(tab.token, bound.clock(), tenant="t1", audience=AUDIENCE_CRM)
    challenge = await bound.here.devices.ask(row)
    right = tab.holder.proof(challenge)
    with pytest.raises(ProofInvalid):
        await bound.here.devices.prove(
            row, tab.token, replace(right, key=KeyHolder().proof(challenge).key), ORIGIN, AGENT
        )
    with pytest.raises(ProofInvalid):
        await bound.here.devices.prove(row, tab.token, right, ORIGIN, AGENT)


async def test_another_browser_cannot_take_a_session_over_with_its_own_key(bound, mei, clock) -> None:
    tab = await bound.open(mei)
    await tab.prove()
    thief = Tab(bound.there, tab.token)
    with pytest.raises(ProofInvalid):
        await thief.prove()
    clock.advance(minutes=6)
    with pytest.raises(ProofInvalid):
        await thief.prove()
    assert await tab.lack() is Lack.NO_PROOF
    await tab.prove()
    assert await tab.passes()


async def test_a_sensitive_act_uses_up_a_proof_of_its_own(bound, mei, clock) -> None:
    tab = await bound.open(mei)
    await tab.prove()
    sessions, other = bound.here.sessions, bound.there.sessions
    assert not await sessions.use_device_proof(tab.token), "a routine proof is for no act"
    stolen = tab.token
    await tab.prove(act=True)
    assert not await other.use_device_proof(stolen), "nor is the token before, though it still reads"
    used = await asyncio.gather(*(node.use_device_proof(tab.token) for node in (sessions, other) * 5))
    assert sum(used) == 1
    await tab.prove(act=True)
    clock.advance(seconds=60)
    assert not await sessions.use_device_proof(tab.token), "it waits a minute at most"
    for nonsense in ("", "x", "x" * 43):
        assert not await sessions.use_device_proof(nonsense)


async def test_a_proof_for_an_act_survives_a_renewal_of_another_tab(bound, mei) -> None:
    tab = await bound.open(mei)
    await tab.prove(act=True)
    await tab.prove()
    assert await bound.here.sessions.use_device_proof(tab.token)


async def test_without_binding_nothing_of_it_is_asked(world_of) -> None:
    world = world_of(DeviceRules())
    person = await enrol_in(world.here, "qian.yu")
    tab = await world.open(person)
    assert await tab.passes()
    assert await world.here.sessions.use_device_proof(tab.token)


async def test_known_devices_prove_themselves_once(world_of, clock) -> None:
    world = world_of(DeviceRules(Binding.KNOWN))
    tab = await world.open(await enrol_in(world.here, "sun.li"))
    assert await tab.lack() is Lack.NO_DEVICE
    await tab.prove()
    clock.advance(minutes=20)
    assert await tab.passes()


async def test_a_new_device_waits_for_its_owner_who_has_a_known_one(world_of) -> None:
    world = world_of(replace(BOUND, approval=Approval.USER))
    person, stranger = await enrol_in(world.here, "wu.gang"), await enrol_in(world.here, "zheng.yan")
    known = await world.open(person)
    assert (await known.prove()).device.approved_by == "first"
    fresh = await world.open(person)
    proved = await fresh.prove()
    assert proved.device.state == "waiting"
    assert await fresh.lack() is Lack.NOT_APPROVED
    row = await world.here.sessions.bearer(known.token, world.clock(), tenant="t1", audience=AUDIENCE_CRM)
    assert await world.here.sessions.live_principal("t1", row.id, person.user.id, world.clock()) is not None
    devices = world.there.devices
    assert not await devices.approve("t1", stranger.user.id, proved.device.id, stranger.user.id)
    assert not await devices.approve("t2", person.user.id, proved.device.id, person.user.id)
    assert await fresh.lack() is Lack.NOT_APPROVED
    assert await devices.approve("t1", person.user.id, proved.device.id, person.user.id)
    assert not await devices.approve("t1", person.user.id, proved.device.id, person.user.id)
    assert await fresh.passes()


async def test_what_a_proof_began_goes_on_where_none_can_be_renewed_until_the_device_is_shut_out(
    world_of, clock
) -> None:
    world = world_of(BOUND)
    person = await enrol_in(world.here, "he.ping")
    tab = await world.open(person)
    proved = await tab.prove()
    row = await world.here.sessions.bearer(tab.token, world.clock(), tenant="t1", audience=AUDIENCE_CRM)
    began = world.clock()
    clock.advance(minutes=6)
    found = world.here.sessions.live_principal
    assert await found("t1", row.id, person.user.id, world.clock()) is None
    assert await found("t1", row.id, person.user.id, world.clock(), began) is not None
    assert await found("t1", row.id, person.user.id, world.clock(), world.clock()) is None
    assert await world.there.devices.revoke("t1", person.user.id, proved.device.id, person.user.id)
    assert await found("t1", row.id, person.user.id, world.clock(), began) is None


async def test_parallel_first_devices_are_not_all_the_first(world_of) -> None:
    world = world_of(replace(BOUND, approval=Approval.USER))
    person = await enrol_in(world.here, "feng.lan")
    tabs = [await world.open(person) for _ in range(6)]
    states = Counter([one.device.state for one in await asyncio.gather(*(tab.prove() for tab in tabs))])
    assert states == {"approved": 1, "waiting": 5}


async def test_administrators_let_devices_in_but_for_the_very_first(world_of) -> None:
    world = world_of(replace(BOUND, approval=Approval.ADMINISTRATOR))
    admin, person = await enrol_in(world.here, "chen.jie"), await enrol_in(world.here, "chu.wei")
    assert (await (await world.open(admin)).prove()).device.state == "approved"
    first = await world.open(person)
    assert (await first.prove()).device.state == "waiting"


async def test_a_device_that_was_shut_out_is_the_first_for_nobody(world_of) -> None:
    world = world_of(replace(BOUND, approval=Approval.USER))
    person = await enrol_in(world.here, "wei.hong")
    tab = await world.open(person)
    device = (await tab.prove()).device
    assert await world.here.devices.revoke("t1", person.user.id, device.id, person.user.id)
    other = await world.open(person)
    assert (await other.prove()).device.state == "waiting"


async def test_an_account_has_as_many_devices_as_it_may_have(world_of, clock) -> None:
    world = world_of(replace(BOUND, most=2))
    person, other = await enrol_in(world.here, "jiang.bo"), await enrol_in(world.here, "shen.ying")
    first = await (await world.open(person)).prove()
    await (await world.open(person)).prove()
    full = await world.open(person)
    with pytest.raises(DevicesFull):
        await full.prove()
    assert await full.lack() is Lack.NO_DEVICE
    await (await world.open(other)).prove()
    assert await world.here.devices.revoke("t1", person.user.id, first.device.id, "admin")
    await full.prove()
    clock.advance(days=91)  # what nobody used for so long takes no room
    await (await world.open(person)).prove()


async def test_a_revoked_device_loses_its_sessions_on_every_node_and_never_comes_back(bound, mei) -> None:
    lost, kept = await bound.open(mei), await bound.open(mei)
    device = (await lost.prove()).device
    await kept.prove()
    again = await bound.open(mei, lost.holder)
    assert not (await again.prove()).new, "the same key is the same device"
    assert await lost.passes()
    assert await lost.passes(access=bound.there)
    bound.there.sessions.forget("")
    assert not await bound.here.devices.revoke("t1", "u-nobody", device.id, "admin")
    assert await bound.here.devices.revoke("t1", mei.user.id, device.id, "admin")
    assert not await bound.here.devices.revoke("t1", mei.user.id, device.id, "admin")
    for tab in (lost, again):
        assert not await tab.passes()
        assert not await tab.passes(access=bound.there)
    assert await kept.passes()
    back = await bound.open(mei, lost.holder)
    with pytest.raises(DeviceRevoked):
        await back.prove()
    assert not await back.passes()


async def test_a_revocation_is_seen_by_the_look_where_no_notice_arrives(bound, mei, clock) -> None:
    tab = await bound.open(mei)
    device = (await tab.prove()).device
    assert await tab.passes(access=bound.there)
    assert bound.there.sessions.cached(tab.token) is not None
    await bound.here.devices.revoke("t1", mei.user.id, device.id, "admin")
    await bound.there.sessions.confirm()
    assert bound.there.sessions.cached(tab.token) is None
    assert not await tab.passes(access=bound.there)


async def test_a_locked_session_proves_no_device_and_a_factor_needs_the_device_still(bound, mei, clock) -> None:
    tab = await bound.open(mei)
    await tab.prove()
    row = await bound.here.sessions.bearer(tab.token, clock(), tenant="t1", audience=AUDIENCE_CRM)
    proof = tab.holder.proof(await bound.here.devices.ask(row))
    await bound.here.sessions.lock(row.id)
    with pytest.raises(SessionLocked):
        await bound.here.sessions.bearer(tab.token, clock(), tenant="t1", audience=AUDIENCE_CRM)
    with pytest.raises(NoSession):  # a proof that was on its way
        await bound.here.devices.prove(row, tab.token, proof, ORIGIN, AGENT)
    clock.advance(minutes=6)
    tab.token = await bound.here.sessions.renew(row.id, tab.token)
    assert await tab.lack() is Lack.NO_PROOF


async def test_programs_sign_in_only_where_the_settings_let_them(world_of) -> None:
    closed, opened = world_of(BOUND), world_of(replace(BOUND, programs=True))
    person = await enrol_in(closed.here, "han.xue")

    async def at_once(world: World):  # type: ignore[no-untyped-def]
        world.clock.advance(seconds=30)
        code = world.here.code(person.secret)
        return await world.here.sign_in.at_once("t1", "han.xue", person.password, code, "192.0.2.7")

    with pytest.raises(Attempt) as refused:
        await at_once(closed)
    assert isinstance(refused.value.outcome, ProgramsRefused)
    token = (await at_once(opened)).token
    assert (await opened.here.sessions.principal(token)).id == person.user.id
    assert await opened.here.sessions.use_device_proof(token)
    with pytest.raises(DeviceNeeded):  # switched off again: what is open ends with it
        await closed.here.sessions.principal(token)


async def test_each_host_has_a_device_of_its_own(bound, mei) -> None:
    crm = await bound.open(mei)
    console = await bound.open(mei, crm.holder, AUDIENCE_CONSOLE)
    one, two = await crm.prove(), await console.prove()
    assert one.device.id != two.device.id
    assert {one.device.audience, two.device.audience} == {AUDIENCE_CRM, AUDIENCE_CONSOLE}


async def test_challenges_do_not_pile_up(bound, mei, pool) -> None:
    tab = await bound.open(mei)
    row = await bound.here.sessions.bearer(tab.token, bound.clock(), tenant="t1", audience=AUDIENCE_CRM)
    for _ in range(30):
        await bound.here.devices.ask(row)
        bound.clock.advance(seconds=0.1)
    async with pool.connection() as db:
        counted = await (await db.execute("SELECT count(*) FROM app_device_challenge")).fetchone()
    assert counted == (20,)


async def test_only_digests_of_challenges_and_public_keys_are_stored(bound, mei, pool) -> None:
    tab = await bound.open(mei)
    row = await bound.here.sessions.bearer(tab.token, bound.clock(), tenant="t1", audience=AUDIENCE_CRM)
    challenge = await bound.here.devices.ask(row)
    await tab.prove()
    async with pool.connection() as db:
        kept = await (await db.execute("SELECT challenge FROM app_device_challenge")).fetchall()
        devices = await (await db.execute("SELECT public_key, name FROM app_device")).fetchall()
    assert all(bytes(one[0]) != challenge.encode() for one in kept)
    assert [(bytes(key), name) for key, name in devices] == [(tab.holder.point, "Chromium on Linux")]


def test_the_overlap_is_short() -> None:
    assert timedelta(seconds=30) >= OVERLAP
