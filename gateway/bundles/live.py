"""The bundle in force of every tenant: the one object that all who decide hold.

A bundle published on any node is loaded in a thread, compiled there for everybody the old one was asked about, and put
in the old one's place by one assignment: a request has the old bundle or the new one, and waits for neither. A NOTIFY
tells at once, and a look each second finds what a lost connection missed. What cannot be read or loaded changes
nothing: the last good bundle stays.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass

import structlog
from psycopg import AsyncConnection
from psycopg import Error as PostgresError

from gateway.bundles.bundle import INSTALLATION, Mark, StoredBundle
from gateway.bundles.store import CHANNEL, BundleStore
from kms.store import StoreUnavailable
from policies.admission import admitted
from policies.duty import joining
from policies.enforcer import Bundle, Enforcer
from policies.profile import Profile
from policies.rows import PolicyInvalid

POLL_S = 1.0
RECONNECT_S = 1.0
NO_BUNDLE = Mark(0, "")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A bundle in force and which one it is."""

    mark: Mark
    bundle: Bundle


def loaded(stored: StoredBundle, profile: Profile, before: Bundle | None, *, separated: bool = False) -> Loaded:
    """A stored bundle, compiled for whom the one before knew; everything is judged again. Raises PolicyInvalid.

    separated: no role of it may join two duties of administrators.
    """
    if not stored.whole:
        raise PolicyInvalid([f"bundle {stored.number} is not what was stored: its digest differs"])
    if stored.origin == INSTALLATION:  # a file of rows alone, as it always was: it opens what it says
        bundle = Enforcer(profile.field_specs, profile.operation_ids, separated=separated).load(stored.rows)
        if separated and (problems := joining(bundle, stored.tenant, bundle.now())):
            raise PolicyInvalid(map(str, problems))
    else:
        assert stored.published is not None
        at = stored.published.at.timestamp()
        bundle = admitted(
            stored.rows,
            stored.checks,
            stored.tenant,
            profile.field_specs,
            profile.operation_ids,
            at,
            separated=separated,
        )
    if before is not None:
        bundle.warm(before)
    return Loaded(Mark(stored.number, stored.digest), bundle)


class LiveBundles(Mapping[str, Bundle]):
    """Tenant → the bundle in force now; `follow` keeps it so. profile: the profile a tenant has now."""

    def __init__(
        self,
        bundles: Mapping[str, Loaded],
        store: BundleStore,
        profile: Callable[[str], Profile],
        *,
        separated: bool = False,
    ) -> None:
        self._separated = separated
        self._loaded = dict(bundles)
        self._store = store
        self._profile = profile
        self._refused: dict[str, Mark] = {}
        self._wake = asyncio.Event()
        self._told: list[Callable[[], None]] = []

    def __getitem__(self, tenant: str) -> Bundle:
        return self._loaded[tenant].bundle

    def __iter__(self) -> Iterator[str]:
        return iter(self._loaded)

    def __len__(self) -> int:
        return len(self._loaded)

    @property
    def roles(self) -> tuple[str, ...]:
        """Ids of the roles of all bundles in force."""
        return tuple(sorted({role for one in self._loaded.values() for role in one.bundle.roles}))

    def number(self, tenant: str) -> int:
        """Number of the bundle in force."""
        return self._loaded[tenant].mark.number

    def refused(self, tenant: str) -> int | None:
        """Number of the published bundle that this node cannot load, or None."""
        mark = self._refused.get(tenant)
        return None if mark is None else mark.number

    def when_changed(self, told: Callable[[], None]) -> None:
        """Call this after each change."""
        self._told.append(told)

    async def refresh(self) -> None:
        """Take over what was published since. Raises StoreUnavailable; nothing has changed then."""
        marks = await self._store.marks()
        for tenant, known in list(self._loaded.items()):
            mark = marks.get(tenant, NO_BUNDLE)
            if mark == known.mark:
                self._refused.pop(tenant, None)
            elif mark not in (NO_BUNDLE, self._refused.get(tenant)):
                await self._take(tenant, mark)

    async def _take(self, tenant: str, mark: Mark) -> None:
        try:
            stored = await self._store.find(tenant, mark.number)
            if stored is None or Mark(stored.number, stored.digest) != mark:
                return
            before = self._loaded[tenant].bundle
            found = await asyncio.to_thread(loaded, stored, self._profile(tenant), before, separated=self._separated)
        except StoreUnavailable:
            raise
        except Exception as fault:  # whatever it is, this bundle opens nothing
            self._refused[tenant] = mark
            log.error("policy-refused", tenant=tenant, number=mark.number, fault=type(fault).__name__)
            return
        self._loaded[tenant] = found
        self._refused.pop(tenant, None)
        for told in self._told:
            told()
        log.info("policy-in-force", tenant=tenant, number=mark.number, version=found.bundle.version)

    async def follow(self, dsn: str) -> None:
        """Take over what any node publishes, until cancelled."""
        await asyncio.gather(_for_ever(lambda: self._listen(dsn)), _for_ever(self._poll))

    async def _listen(self, dsn: str) -> None:
        async with await AsyncConnection.connect(dsn, autocommit=True) as db:
            await db.execute(f"LISTEN {CHANNEL}")
            self._wake.set()
            async for _ in db.notifies():
                self._wake.set()

    async def _poll(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(POLL_S):
                await self._wake.wait()
        self._wake.clear()
        await self.refresh()


async def _for_ever(step: Callable[[], Awaitable[None]]) -> None:
    """Repeat a step; one that fails is tried again after a rest."""
    while True:
        try:
            await step()
        except (StoreUnavailable, PostgresError, OSError) as fault:
            log.warning("policy-store-away", fault=type(fault).__name__)
            await asyncio.sleep(RECONNECT_S)
        except Exception as fault:
            log.error("policy-follow-failed", fault=type(fault).__name__)
            await asyncio.sleep(RECONNECT_S)
