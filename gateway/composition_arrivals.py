"""Composition of gateway.protect.arrivals: one lookout for each CRM whose profile says how to walk through it."""

import asyncio
import secrets
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog

from audit.entry import AuditEntry
from audit.log import AuditLog, AuditUnavailable
from gateway.access.tokens import new_id
from gateway.accounts import utc_now
from gateway.database import Pool as Database
from gateway.installation import Installation
from gateway.opening import sealing_of
from gateway.protect.again import Again
from gateway.protect.arrivals import RUN, Arrivals, NewestFirst
from gateway.protect.change import Changer
from gateway.protect.client import CrmClient
from gateway.protect.credential import CredentialMissing, Credentials
from gateway.protect.desk import pool_of
from gateway.protect.doubts import Doubts, Pauses
from gateway.protect.html_forms import HtmlForms
from gateway.protect.json_rpc import JsonRpc
from gateway.protect.other_forms import OtherForms
from gateway.protect.pace import steady
from gateway.protect.reading import CrmRefused, CrmSignInRefused, CrmUnreachable
from gateway.protect.store import ProtectStore
from gateway.protect.work import Work
from gateway.records import Records
from gateway.settings import Settings
from kms.beside import Beside
from kms.cells import Cells
from kms.digits import Digits
from kms.keyring import Keyring
from kms.provider import KeysUnavailable
from kms.scanner import Scanner
from kms.tokens import StoreUnavailable, SurrogateVault

RATE = 20.0  # writes a second at most
REFUSED_S = 300.0  # a CRM that does not let the credential in is left alone for so long
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ArrivalNeeds:
    """What the lookouts of all tenants share with the rest of the server."""

    settings: Settings
    database: Database
    vault: SurrogateVault
    keyring: Keyring
    audit: AuditLog
    scanners: Mapping[str, Scanner]
    records: Records
    beside: Beside
    cells: Cells
    digits: Digits


def lookouts_of(
    needs: ArrivalNeeds, installations: Mapping[str, Installation]
) -> list[Callable[[], Coroutine[Any, Any, None]]]:
    """What runs in the background of a server, none where it is switched off or the profile has no walk."""
    return [
        Lookout(name, needs, installations[name]).run
        for name, tenant in needs.settings.tenants.items()
        if tenant.arrivals_s > 0 and installations[name].current.walk is not None
    ]


class Lookout:
    """Looks at one CRM again and again; signs in anew after a fault."""

    def __init__(self, tenant: str, needs: ArrivalNeeds, installation: Installation) -> None:
        self._tenant = tenant
        self._needs = needs
        self._installation = installation
        self._store = ProtectStore(needs.database)
        self._driver: NewestFirst | None = None
        self._pauses: Pauses = {}
        self._again = Again(needs.vault, tenant)

    async def run(self) -> None:
        """Look every `arrivals_s` seconds until cancelled; what fails is tried again."""
        pause = self._needs.settings.tenants[self._tenant].arrivals_s
        try:
            while True:
                await asyncio.sleep(pause)
                pause = await self._turn()
        finally:
            await self._drop()

    async def _turn(self) -> float:
        """Seconds until the next look."""
        usual = self._needs.settings.tenants[self._tenant].arrivals_s
        try:
            async with self._store.alone(self._tenant, RUN) as alone:
                if alone:
                    await self._look()
            return usual
        except CredentialMissing:
            return usual  # there may be one the next time
        except (CrmSignInRefused, CrmRefused) as fault:
            pause, name = REFUSED_S, type(fault).__name__
        except (CrmUnreachable, KeysUnavailable, StoreUnavailable, AuditUnavailable) as fault:
            pause, name = usual, type(fault).__name__
        except Exception as fault:  # one CRM's trouble must not end what looks after it
            pause, name = usual, type(fault).__name__
            log.error("arrivals-failed", tenant=self._tenant, fault=name)
        log.warning("arrivals-postponed", tenant=self._tenant, fault=name)
        await self._drop()
        return pause

    async def _look(self) -> None:
        profile = self._installation.current
        assert profile.walk is not None
        await self._needs.beside.recover(self._tenant)  # takes no credential
        if self._driver is None:
            self._driver = await self._signed_in()
        sealing = partial(sealing_of, self._needs.settings)(self._tenant)
        scanner = self._needs.scanners[self._tenant]
        others = OtherForms(self._tenant, self._needs.beside, self._needs.cells, self._needs.digits)
        changer = Changer(
            self._tenant, self._needs.vault, self._needs.keyring, scanner, secrets.token_bytes, others, sealing
        )
        work = Work(self._tenant, profile.walk, self._driver, changer, self._store, self._trail, steady(RATE))
        arrivals = Arrivals(
            work,
            self._driver,
            self._needs.vault,
            self._needs.records,
            utc_now,
            single=profile.global_record_ids,
            made=profile.owner_source == "actor",
            again=self._again,
            whole=profile.protocol != "json-rpc",
            doubts=Doubts(work, self._driver, self._needs.vault, self._needs.beside, self._pauses),
        )
        new = await arrivals.turn()
        if new:
            log.info("arrivals", tenant=self._tenant, records=new)

    async def _signed_in(self) -> NewestFirst:
        profile, sealing = self._installation.current, partial(sealing_of, self._needs.settings)
        assert profile.walk is not None
        credentials = Credentials(self._store, self._needs.keyring, secrets.token_bytes, sealing)

        async def used() -> None:
            await self._trail("arrivals.sign_in", "", "", {})

        credential = await credentials.open(self._tenant, used)
        client = CrmClient(pool_of(self._needs.settings.tenants[self._tenant]))
        if profile.protocol == "json-rpc":
            return JsonRpc(client, profile.walk, credential)
        return HtmlForms(client, profile, profile.walk, credential)

    async def _trail(self, operation: str, entity: str, record: str, fields: Mapping[str, Any]) -> None:
        await self._needs.audit.append(
            AuditEntry(
                id=new_id("a", secrets.token_bytes),
                at=utc_now(),
                tenant=self._tenant,
                kind="protect",
                actor="crmgate",
                actor_login="",
                operation=operation,
                entity=entity,
                record=record,
                reason="done",
                fields=fields,
            )
        )

    async def _drop(self) -> None:
        driver, self._driver = self._driver, None
        if driver is not None:
            await driver.close()
