"""Whatever one person does, alone and with every account they make: they never have more rights than they had.

A state machine plays an administrator who wants more: direct changes, new accounts taken over by their own invitation,
rights asked for and agreed to, resets, closing and reopening others, emergencies. Others only watch.
"""

import asyncio
import itertools
import secrets
from datetime import timedelta

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from audit.log import AuditLog
from audit.query import recent
from gateway.access.emergencies import REASONS, SHORTEST_DELAY, TAG, Emergencies, EmergencyRefused, EmergencyRules
from gateway.access.emergency_store import EmergencyStore
from gateway.access.giving import Giving, Rights, rights_of
from gateway.access.resets import ResetRefused
from gateway.access.role_changes import RoleChangeRefused
from gateway.access.store import LoginTaken
from gateway.access.user import AppUser
from gateway.access.users import AccountRefused, Profile
from gateway.database import open_pool
from tests.unit.gateway.access.world import PASSWORD, ROLES, Clock, build, enrol_in

REFUSALS = (AccountRefused, RoleChangeRefused, EmergencyRefused, ResetRefused, LoginTaken)
TENANTS = itertools.count()
roles = st.lists(st.sampled_from(ROLES), max_size=2, unique=True).map(tuple)
placements = st.sampled_from([(), ("dept:north",)])
keys = st.sampled_from(["", "7"])


class Office(RuleBasedStateMachine):
    """One administrator, the accounts they made and set up, and others who only watch."""

    dsn = ""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.Runner()
        self.tenant = f"t{next(TENANTS)}"
        self.run = self.loop.run
        self.run(self._start())

    async def _start(self) -> None:
        self.pool = await open_pool(self.dsn, max_size=4)
        self.log = AuditLog(self.dsn)
        await self.log.start()
        self.clock = Clock()
        self.access = build(self.pool, self.clock)
        people = [("gao", "administrator"), ("he", "administrator"), ("shen", "auditor"), ("li", "sales")]
        made = [(await enrol_in(self.access, login, role, tenant=self.tenant)).user for login, role in people]
        self.me, self.watching = made[0], made[1:]
        self.had = {self.me.id: rights_of(self.me)}
        self.access.users.giving = Giving(two_people=True)
        self.desk = Emergencies(
            EmergencyStore(self.pool),
            self.access.users,
            self.log,
            clock=self.clock,
            randomness=secrets.token_bytes,
            rules=EmergencyRules(),
        )

    def teardown(self) -> None:
        async def stop() -> None:
            await self.log.close()
            await self.pool.close()

        self.run(stop())
        self.loop.close()

    def tries(self, step: object) -> object:
        try:
            return self.run(step)  # type: ignore[arg-type]
        except REFUSALS:
            return None

    async def fresh(self, user: AppUser) -> AppUser:
        found = await self.access.users.get(self.tenant, user.id)
        assert found is not None
        return found

    async def may(self, user: AppUser) -> bool:
        """What the pages and commands ask first: the right of whoever acts."""
        found = await self.fresh(user)
        return "administrator" in found.roles and not found.disabled

    def controlled(self, number: int) -> AppUser:
        ids = list(self.had)
        user = self.run(self.access.users.get(self.tenant, ids[number % len(ids)]))
        assert user is not None
        return user

    def anybody(self, number: int) -> AppUser:
        ids = [*self.had, *(one.id for one in self.watching)]
        user = self.run(self.access.users.get(self.tenant, ids[number % len(ids)]))
        assert user is not None
        return user

    @rule(who=st.integers(0, 9), wished=roles, crm_user=keys)
    def change(self, who: int, wished: tuple[str, ...], crm_user: str) -> None:
        user = self.anybody(who)
        if user.id != self.me.id:  # the pages refuse that
            self.tries(self.access.users.change(user, Profile(roles=wished, crm_user=crm_user)))

    @rule(who=st.integers(0, 9), wished=placements)
    def place(self, who: int, wished: tuple[str, ...]) -> None:
        self.tries(self.access.users.place(self.anybody(who), wished))

    @rule(login=st.sampled_from(["x1", "x2", "x3"]), wished=roles)
    def make_and_take_over(self, login: str, wished: tuple[str, ...]) -> None:
        made = self.tries(self.access.users.create(self.tenant, login, Profile(roles=wished)))
        made = made or self.tries(self.access.users.create(self.tenant, login, Profile()))
        if isinstance(made, AppUser):
            self.had[made.id] = Rights((), (), "")
            token, _ = self.run(self.access.users.invite(made, self.me.id))
            invitation = self.run(self.access.users.invitation(self.tenant, token))
            code = self.access.code(invitation.secret)
            self.run(self.access.users.accept(self.tenant, token, PASSWORD, code))

    @rule(asker=st.integers(0, 9), who=st.integers(0, 9), wished=roles, placed=placements, crm_user=keys)
    def ask(self, asker: int, who: int, wished: tuple[str, ...], placed: tuple[str, ...], crm_user: str) -> None:
        by, user = self.controlled(asker), self.anybody(who)
        if self.run(self.may(by)):
            after = Rights(tuple(sorted(wished)), placed, crm_user)
            self.tries(self.access.role_changes.ask(user, after, by.id, "new-duty"))

    @rule(second=st.integers(0, 9))
    def agree_to_everything(self, second: int) -> None:
        by = self.controlled(second)
        for change in self.run(self.access.role_changes.waiting(self.tenant)):
            if self.run(self.may(by)):
                self.tries(self.access.role_changes.approve(self.tenant, change.id, by.id))
            # The statement alone holds, too: whoever acts is neither who asked nor who gets.
            assert by.id not in (change.asked_by, change.user_id) or not self.run(
                self.access.role_changes._store.approve(self.tenant, change.id, by.id, self.clock())
            )

    @rule(who=st.integers(0, 9), closed=st.booleans())
    def close_or_reopen(self, who: int, *, closed: bool) -> None:
        user = self.anybody(who)
        if user.id != self.me.id:
            self.run(self.access.users.disable(user) if closed else self.access.users.enable(user))

    @rule(who=st.integers(0, 9), second=st.integers(0, 9))
    def reset(self, who: int, second: int) -> None:
        user = self.anybody(who)
        self.tries(self.access.resets.start(user, self.me.id))
        by = self.controlled(second)
        if self.run(self.may(by)):
            self.tries(self.access.resets.approve(user, by.id))

    @rule(who=st.integers(0, 9), role=st.sampled_from(ROLES), second=st.integers(0, 9), reason=st.sampled_from(REASONS))
    def emergency(self, who: int, role: str, second: int, reason: str) -> None:
        user, by = self.controlled(who), self.controlled(second)
        if self.run(self.may(user)):
            self.tries(self.desk.ask(user, role, timedelta(hours=1), reason))
        for one in self.run(self.desk.current(self.tenant)):
            if self.run(self.may(by)):
                self.tries(self.desk.approve(self.tenant, one.id, by))

    @rule(minutes=st.integers(1, 90))
    def wait(self, minutes: int) -> None:
        self.clock.advance(minutes=minutes)
        self.run(self.desk.tick())

    @invariant()
    def nobody_has_more(self) -> None:
        for name, before in self.had.items():
            user = self.run(self.access.users.get(self.tenant, name))
            assert user is not None
            now = rights_of(user)
            assert now.everything <= before.everything
            assert now.crm_user in ("", before.crm_user)

    @invariant()
    def others_keep_their_factors(self) -> None:
        for one in self.watching:
            assert self.run(self.fresh(one)).has_second_factor

    @invariant()
    def what_opened_alone_was_announced_long_before(self) -> None:
        open_now = [one for one in self.run(self.desk.current(self.tenant)) if one.open]
        if not open_now:
            return
        entries = self.run(recent(self.pool, self.tenant, 500))
        asked = [entry.at for entry in entries if entry.reason == f"{TAG}:asked"]
        for one in open_now:
            assert one.approved_by == ""
            assert one.opened_at is not None
            assert any(at <= one.opened_at - SHORTEST_DELAY for at in asked)
            assert one.lasts <= timedelta(hours=8)


def test_one_account_alone_never_gains_rights(dsn: str) -> None:
    machine = type("Here", (Office,), {"dsn": dsn})
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    run_state_machine_as_test(
        machine, settings=settings(max_examples=12, stateful_step_count=14, deadline=None, suppress_health_check=slow)
    )
