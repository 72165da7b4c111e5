"""Revealing masked values with a reason, built from the settings: what marks pages, what the pages reach."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from audit.log import AuditLog
from gateway.access.deps import AccessDeps
from gateway.access.tokens import new_id
from gateway.accounts import utc_now
from gateway.console.look import Look
from gateway.console.trail import TrailReader
from gateway.database import Pool as Database
from gateway.disclosure.crm_pages import RevealDeps
from gateway.disclosure.desk import Desk
from gateway.disclosure.frame_pages import FrameDeps
from gateway.disclosure.marker import Marker
from gateway.disclosure.right import PolicyRight
from gateway.disclosure.sealing import DisclosureSealer
from gateway.disclosure.seen import SeenRecords
from gateway.disclosure.store import LedgerStore, SittingStore
from gateway.guess_store import GuessStore
from gateway.named_people import People
from gateway.opening import sealing_of
from gateway.records import Records
from gateway.settings import Settings
from kms.keyring import Keyring
from kms.tokens import SurrogateVault
from policies.enforcer import Bundle


@dataclass(frozen=True, slots=True)
class Disclosures:
    """Of one process. marker: None where no tenant has it switched on."""

    desk: Desk
    sittings: SittingStore
    marker: Marker | None
    frame: FrameDeps
    _console: str

    def routes_deps(self, access: AccessDeps, trail: TrailReader) -> RevealDeps:
        """What the routes of the CRM's host reach."""
        return RevealDeps(access, self.desk, self.sittings, SeenRecords(trail), self._console)


def disclosures_of(
    settings: Settings,
    database: Database,
    keyring: Keyring,
    audit: AuditLog,
    access: AccessDeps,
    look: Look,
    vault: SurrogateVault,
    records: Records,
    bundles: Mapping[str, Bundle],
    people: People,
) -> Disclosures:
    """Built once for all tenants."""
    sealer = DisclosureSealer(keyring, secrets.token_bytes, partial(sealing_of, settings))
    right, sittings = PolicyRight(), SittingStore(database)
    public = {name: one.public_url.rstrip("/") for name, one in settings.tenants.items()}
    console = settings.console.public_url.rstrip("/")
    desk = Desk(
        settings=settings.tenant_reveal,
        view=lambda tenant, roles: bundles[tenant].view(tenant, roles),
        right=right,
        vault=vault,
        records=records,
        sessions=access.sessions,
        sign_in=access.sign_in,
        gate=access.gate,
        counts=GuessStore(database),
        trail=audit,
        ledger=LedgerStore(database),
        sealer=sealer,
        people=people,
        clock=utc_now,
        new_id=lambda prefix: new_id(prefix, secrets.token_bytes),
    )
    marker = None
    if any(one.enabled for one in settings.tenant_reveal.values()):
        marker = Marker(settings.tenant_reveal, public, console, right, records, sealer, look, utc_now)
    return Disclosures(desk, sittings, marker, FrameDeps(desk, sittings, look, public), console)
