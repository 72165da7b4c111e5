"""Everything one `crmgate protect` command works with: opened for one tenant, closed again whatever happens.

The server builds the same parts in gateway/composition.py; this is the short life of one command beside it.
"""

import contextlib
import getpass
import secrets
import time
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from audit.entry import AuditEntry
from audit.log import AuditLog
from gateway.access.tokens import new_id
from gateway.accounts import utc_now
from gateway.database import Pool as Database
from gateway.database import open_pool
from gateway.digits import means_something
from gateway.durable import Durable, ask
from gateway.job import Job, State, Wanted
from gateway.job_store import JobStore
from gateway.naming import PersonNaming
from gateway.opening import open_keyring, sealing_of
from gateway.person_keys import open_persons, pseudonyms_of
from gateway.protect.change import Changer
from gateway.protect.client import CrmClient
from gateway.protect.credential import Credential, Credentials
from gateway.protect.direct import Direct, dialect_of, open_engine
from gateway.protect.html_forms import HtmlForms
from gateway.protect.json_rpc import JsonRpc
from gateway.protect.other_forms import OtherForms
from gateway.protect.pace import steady
from gateway.protect.reading import CrmDriver, CrmUnreachable
from gateway.protect.run import RunJob, kind_of
from gateway.protect.store import ProtectStore
from gateway.protect.table_map import MapInvalid, read_map
from gateway.protect.work import Work
from gateway.settings import Settings, TenantSettings
from gateway.tls import client_context
from gateway.upstream import Pool, Timeouts
from kms.beside import Beside
from kms.cell_store import CellStore
from kms.cells import Cells
from kms.digit_store import DigitStore
from kms.digits import Digits
from kms.tokens import SurrogateVault
from policies.profile import Profile, load_profile
from policies.walk import Walk


class NoWalk(Exception):  # noqa: N818 - names what is missing
    """The profile of this CRM does not say how to walk through its records."""

    permanent = True


@dataclass(slots=True)
class Desk:
    """Open parts of one tenant."""

    tenant: str
    settings: TenantSettings
    profile: Profile
    store: ProtectStore
    credentials: Credentials
    changer: Changer
    log: AuditLog
    _dsn: str
    _pool: Database

    async def trail(self, operation: str, entity: str, record: str, fields: Mapping[str, Any]) -> None:
        """One durable audit entry of a use of the service credential; raises AuditUnavailable."""
        await self.log.append(
            AuditEntry(
                id=new_id("a", secrets.token_bytes),
                at=utc_now(),
                tenant=self.tenant,
                kind="protect",
                actor="command-line",
                actor_login=getpass.getuser(),
                operation=operation,
                entity=entity,
                record=record,
                reason="done",
                fields=fields,
            )
        )

    async def prove(self, parts: Collection[str], runs: Sequence[str], held: int) -> None:
        """Note that these parts of the CRM hold nothing in clear; in the trail first."""
        for part in sorted(parts):
            await self.trail("protect.proved", "", "", {"target": part, "detail": list(runs), "count": held})
            await self.store.prove(self.tenant, part, getpass.getuser(), runs, held)

    async def unprove(self, parts: Collection[str]) -> bool:
        """These parts may hold clear values again; whether that is new."""
        known = {one.part for one in (await self.store.proofs()).get(self.tenant, [])} & set(parts)
        if known:
            await self.trail("protect.unproved", "", "", {"detail": sorted(known)})
            await self.store.unprove(self.tenant, sorted(known))
        return bool(known)

    async def driver(self, walk: Walk, at_once: int = 1) -> CrmDriver:
        """The CRM through its own interface, with the service credential, so many calls at a time.

        Raises CredentialMissing, KeysUnavailable.
        """

        async def used() -> None:
            await self.trail("protect.sign_in", "", "", {})

        credential = await self.credentials.open(self.tenant, used)
        client = CrmClient(pool_of(self.settings, at_once))
        if self.profile.protocol == "json-rpc":
            return JsonRpc(client, walk, credential, at_once)
        return HtmlForms(client, self.profile, walk, credential, at_once)

    def direct(self, url: str, map_file: Path, *, reading: bool = False) -> tuple[Walk, Direct]:
        """The CRM's own tables; raises MapInvalid.

        url: of SQLAlchemy, or `@file` that holds it; reading: see Direct.
        """
        if url.startswith("@"):
            try:
                url = Path(url[1:]).read_text(encoding="utf-8").strip()
            except OSError as fault:
                raise MapInvalid(f"cannot read {url[1:]}: {fault.strerror}") from None
        elif urlsplit(url).password:
            raise MapInvalid(
                "a password must not stand on the command line: put the address into a file, --database @FILE"
            )
        engine = open_engine(url)
        walk, tables = read_map(map_file, self.profile, dialect_of(engine))
        return walk, Direct(engine, walk, tables, self.settings.upstream, reading=reading)

    def work(self, walk: Walk, driver: CrmDriver, rate: float) -> Work:
        """The steps over a driver."""
        return Work(self.tenant, walk, driver, self.changer, self.store, self.trail, steady(rate))

    @contextlib.asynccontextmanager
    async def jobs(self, way: str, walk: Walk, driver: CrmDriver, rate: float) -> AsyncIterator[Durable]:
        """Durable work of this process for runs of this tenant; raises WorkflowsUnavailable, StoreUnavailable."""
        work = self.work(walk, driver, rate)

        async def opening(_job: Job) -> Work:
            return work

        durable = Durable(self._dsn, self._pool, poll_s=0.25)
        durable.register(kind_of(self.tenant, way), RunJob(opening, time.monotonic))
        await durable.start()
        try:
            yield durable
        finally:
            await durable.close()

    async def cancel(self, name: str) -> None:
        """End a job that is not done; its records stay as they are."""
        job = await self.job(name)
        if job is not None and job.state not in (State.DONE, State.CANCELLED):
            await ask(JobStore(self._pool), name, Wanted.CANCEL)

    async def job(self, name: str) -> Job | None:
        """A job by its id."""
        return await JobStore(self._pool).get(name)

    async def keep_credential(self, credential: Credential) -> None:
        """Seal and store a service credential."""
        await self.trail("protect.credential", "", "", {})
        await self.credentials.keep(self.tenant, credential)

    @property
    def walk(self) -> Walk:
        """The walk of the profile; raises NoWalk."""
        if self.profile.walk is None:
            raise NoWalk(f"the profile {self.profile.name} does not say how to walk through the records of this CRM")
        return self.profile.walk


@contextlib.asynccontextmanager
async def open_desk(settings: Settings, tenant: str, dsn: str) -> AsyncIterator[Desk]:
    """The parts of a tenant over an open database; raises DatabaseUnavailable, KeysUnavailable, AuditUnavailable."""
    async with contextlib.AsyncExitStack() as stack:
        pool = await open_pool(dsn, max_size=6)
        stack.push_async_callback(pool.close)
        keyring = open_keyring(settings, pool)
        stack.push_async_callback(keyring.close)
        sealing = partial(sealing_of, settings)
        persons = open_persons(settings)
        stack.push_async_callback(persons.close)
        profile = load_profile(settings.tenants[tenant].profile)
        naming = PersonNaming(pseudonyms_of(pool, persons), lambda _: profile)
        log = await stack.enter_async_context(AuditLog(dsn, naming=naming))
        vault = SurrogateVault(pool, keyring, value_s=settings.keys.cache_s, sealing=sealing, persons=persons)
        stack.push_async_callback(vault.close)
        scanner = await vault.start(tenant)
        store, cell_store = ProtectStore(pool), CellStore(pool)
        cells = Cells(cell_store, keyring, sealing, persons=persons)
        digits = Digits(DigitStore(pool), keyring, means_something)
        others = OtherForms(tenant, Beside(cell_store, keyring, sealing, persons=persons), cells, digits)
        yield Desk(
            tenant=tenant,
            settings=settings.tenants[tenant],
            profile=profile,
            store=store,
            credentials=Credentials(store, keyring, secrets.token_bytes, sealing),
            changer=Changer(tenant, vault, keyring, scanner, secrets.token_bytes, others, sealing(tenant)),
            log=log,
            _dsn=dsn,
            _pool=pool,
        )


def pool_of(settings: TenantSettings, size: int = 1) -> Pool:
    """Connections to a CRM for the gateway's own work; raises CrmUnreachable for files of its TLS."""
    tls = None
    if settings.upstream.startswith("https:"):
        try:
            tls = client_context(
                settings.upstream_ca,
                settings.upstream_certificate,
                settings.upstream_key,
                settings.upstream_tls_minimum,
                settings.upstream_ciphers,
            )
        except OSError:  # ssl.SSLError is one
            raise CrmUnreachable(
                "a certificate, key or CA of the CRM's TLS cannot be used; crmgate check says which"
            ) from None
    timeouts = Timeouts(connect=settings.connect_timeout_s, read=settings.answer_timeout_s, idle=settings.keep_idle_s)
    return Pool(settings.upstream, size=size, timeouts=timeouts, tls=tls)
