"""Every order of what can happen to sessions, on two nodes, against a plain model of what they are."""

import asyncio
import secrets
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.access.session_rules import Timeouts
from gateway.access.session_store import SessionStore
from gateway.access.sessions import NoSession, SessionExpired, SessionLocked, Sessions
from tests.unit.gateway.access.test_sessions import add_user
from tests.unit.gateway.access.world import Clock

TIMES = Timeouts(idle=timedelta(minutes=30), absolute=timedelta(hours=2), lock=timedelta(minutes=10))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), st.sampled_from([1, 9, 11, 31])),
        st.tuples(st.sampled_from(["use", "poll", "lock", "renew", "end", "stale"]), st.integers(0, 1)),
    ),
    max_size=12,
)


class Model:
    """What one session is."""

    def __init__(self, now) -> None:  # type: ignore[no-untyped-def]
        self.opened = self.seen = self.proved = now
        self.locked = self.ended = False

    def state(self, now) -> str:  # type: ignore[no-untyped-def]
        if self.ended:
            return "none"
        if now - self.opened >= TIMES.absolute or now - self.seen >= TIMES.idle:
            return "expired"
        self.locked |= now - self.seen >= TIMES.lock
        return "locked" if self.locked else "active"


async def _state(sessions: Sessions, token: str, now, active: bool) -> tuple[str, object]:  # type: ignore[no-untyped-def]
    try:
        return "active", await sessions.principal(token, now, active=active)
    except NoSession:
        return "none", None
    except SessionExpired:
        return "expired", None
    except SessionLocked as locked:
        return "locked", locked.principal


async def _run(pool, user, steps) -> None:  # type: ignore[no-untyped-def]
    clock = Clock()
    nodes = [
        Sessions(SessionStore(pool), clock=clock, randomness=secrets.token_bytes, timeouts=TIMES) for _ in range(2)
    ]
    token, model, old = await nodes[0].open(user, "", clock()), Model(clock()), ""
    session = (await nodes[0].principal(token, clock())).session_id
    for what, number in steps:
        if what == "wait":
            clock.advance(minutes=number)
            continue
        clock.advance(seconds=1)  # what the other node still believes has run out
        node, state = nodes[number], model.state(clock())
        if what in ("use", "poll"):
            found, principal = await _state(node, token, clock(), what == "use")
            assert found == state
            if found == "active":
                assert principal.proved_at == model.proved  # type: ignore[attr-defined]
                if what == "use":
                    clock_seen = clock()
                    # Activity is written down at most every so often; the other node may know the earlier one only.
                    await node._store.touch(session, clock_seen)
                    model.seen = clock_seen
        elif what == "lock":
            await node.lock(session)
            model.locked |= state == "active"
        elif what == "end":
            await node.end(session)
            model.ended = True
        elif what == "stale" and old:
            assert (await _state(node, old, clock(), True))[0] == "none"
        elif what == "renew":
            try:
                old, token = token, await node.renew(session, token)
                assert state in ("active", "locked")
                model.locked, model.seen, model.proved = False, clock(), clock()
            except NoSession:
                assert state in ("none", "expired")
                old = ""


@pytest.fixture
async def user(pool):
    return await add_user(pool, "li.wei")


async def test_sessions_are_what_the_model_says_in_every_order(pool, user) -> None:
    loop = asyncio.get_running_loop()

    @settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
    @given(STEPS)
    def check(steps) -> None:  # type: ignore[no-untyped-def]
        asyncio.run_coroutine_threadsafe(_run(pool, user, steps), loop).result(60)

    await asyncio.to_thread(check)
