"""Composition: every object of a running gateway is built here, started in order and closed in reverse.

Nothing else in the project builds collaborators for itself. `open_app` promises that what it started is closed again,
whatever goes wrong on the way.
"""

import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from types import MappingProxyType

from audit.flood import RefusalCounter
from audit.log import AuditLog
from audit.signing import CheckpointSigner
from gateway.access.app import make_sign_in_app
from gateway.access.factor_store import FactorStore
from gateway.access.session_store import SessionStore
from gateway.access.store import UserStore
from gateway.access.throttle_store import ThrottleStore
from gateway.access.tokens import new_id
from gateway.account_parts import emergencies_of
from gateway.accounts import utc_now
from gateway.app import App, Policies
from gateway.archiving import Archivist
from gateway.binding import Binding
from gateway.body.limits import Limits as BodyLimits
from gateway.bundles.live import LiveBundles
from gateway.cell_sight import CellSight
from gateway.checkpoint_key import signer_of
from gateway.collaborators import Limits
from gateway.composition_accounts import Accounts, access_deps, accounts_of, shared_deps
from gateway.composition_archive import archive_of, archivist_of, kept_sealed
from gateway.composition_arrivals import ArrivalNeeds, lookouts_of
from gateway.composition_console import console_deps
from gateway.composition_durable import open_durable
from gateway.composition_egress import EgressNeeds, egress_of
from gateway.composition_federation import federation_of
from gateway.composition_identity import identities_of
from gateway.composition_integrity import integrity_of
from gateway.composition_learn import learner_of
from gateway.composition_oidc import oidc_of
from gateway.composition_policy import live_bundles
from gateway.composition_reveal import disclosures_of
from gateway.composition_siem import forwarders_of
from gateway.composition_trail import with_trail
from gateway.console.app import make_console_app
from gateway.console.look import read_look
from gateway.console.trail import TrailReader
from gateway.covered import Covered
from gateway.database import EmbeddedPostgres, open_pool
from gateway.database import Pool as Database
from gateway.digit_sight import DigitSight
from gateway.digits import DigitFields, means_something
from gateway.disclosure.crm_pages import reveal_routes
from gateway.disclosure.frame_pages import make_frame_app, with_frame
from gateway.egress.store import EgressStore
from gateway.entry import Entry
from gateway.federation.config import Host
from gateway.federation.pages import federation_routes
from gateway.files import Files
from gateway.guess_store import GuessStore
from gateway.guesses import Budgets, Guesses
from gateway.identity.oidc_pages import oidc_routes
from gateway.identity.pages import identity_routes
from gateway.installation import Installation
from gateway.inward import Inward
from gateway.kept import KeptFields
from gateway.legs import upstream_tls
from gateway.named_people import NamedPeople
from gateway.naming import PersonNaming
from gateway.network import Allowlist, Network, Tenant
from gateway.opening import open_keyring, sealing_of
from gateway.origin import Origins
from gateway.orphans import OrphanSweep
from gateway.outward import Outward
from gateway.person_keys import open_persons, pseudonyms_of
from gateway.placed import Placed
from gateway.protect.migrated import Migrated, parts_of
from gateway.protect.store import ProtectStore
from gateway.query_desk import QueryDesk, query_limits
from gateway.query_people import pseudonyms_of_persons
from gateway.records import Records
from gateway.reveal import Reveal
from gateway.row_records import RowRecords
from gateway.scanners import Scanners
from gateway.search import Search
from gateway.settings import Posture, Settings, TenantSettings
from gateway.settings_seen import note_settings
from gateway.settings_seen_store import SettingsSeenStore
from gateway.shredding import kept_erased
from gateway.sight import Sight
from gateway.store import RecordStore, StaffStore
from gateway.supervisor import Revivals, Supervisor
from gateway.tokenise import Tokeniser
from gateway.toml_tree import SettingInvalid
from gateway.unprotected import Unprotected
from gateway.upstream import Pool
from gateway.upstream import Timeouts as UpstreamTimeouts
from gateway.watch import Watch
from gateway.whoami import Whoami
from kms.beside import Beside
from kms.cell_store import CellStore
from kms.cells import Cells
from kms.digit_store import DigitStore
from kms.digits import Digits
from kms.keyring import Keyring
from kms.orphans import Orphans
from kms.persons import Persons
from kms.scanner import Scanner
from kms.shredding import Shredder
from kms.store import Store as VaultStore
from kms.tokens import SurrogateVault
from policies.profile import load_profile

OWNER_MAX_AGE = timedelta(days=30)
POLL_S = 5.0


def limits_of(settings: Settings) -> Limits:
    """Sizes the pipeline keeps to."""
    limits = settings.limits
    bodies = BodyLimits(
        body=limits.answer,
        inflated=limits.answer * 2,
        ratio=limits.ratio,
        depth=limits.depth,
        leaves=limits.leaves,
        upload=limits.upload,
    )
    proof_s = settings.access.proof_minutes * 60.0
    return Limits(body=limits.body, upload=limits.upload, answer=limits.answer, bodies=bodies, proof_s=proof_s)


def tenant_of(name: str, settings: TenantSettings, installation: Installation, entry: Entry | None = None) -> Tenant:
    """One CRM behind the gateway with its connection pool; raises SettingInvalid for files of its TLS."""
    tls = None
    if settings.upstream.startswith("https:"):
        try:
            tls = upstream_tls(settings)
        except OSError:  # ssl.SSLError is one
            problem = "a certificate, key or CA of the CRM's TLS cannot be used; crmgate check says which"
            raise SettingInvalid(f"tenant.{name}.upstream", problem) from None
    timeouts = UpstreamTimeouts(
        connect=settings.connect_timeout_s, read=settings.answer_timeout_s, idle=settings.keep_idle_s
    )
    pool = Pool(settings.upstream, size=settings.max_connections, timeouts=timeouts, tls=tls)
    return Tenant(
        name=name,
        origins=Origins(settings.public_url, settings.upstream),
        profile=installation,
        pool=pool,
        allowlist=Allowlist(settings.allow_networks),
        forward_client=settings.forward_client_address,
        entry=entry,
    )


@asynccontextmanager
async def open_app(settings: Settings, dsn: str, embedded: EmbeddedPostgres | None = None) -> AsyncIterator[App]:
    """A started gateway over an open database. embedded: the server of it, where it is ours to keep running.

    Raises DatabaseUnavailable, AuditUnavailable, KeysUnavailable, ProfileInvalid, PolicyInvalid, SettingInvalid.
    """
    async with AsyncExitStack() as stack:
        installations = {name: Installation(load_profile(one.profile)) for name, one in settings.tenants.items()}
        database = await open_pool(dsn, max_size=settings.database.max_connections)
        stack.push_async_callback(database.close)
        keyring = open_keyring(settings, database)
        stack.push_async_callback(keyring.close)
        persons = open_persons(settings)
        stack.push_async_callback(persons.close)
        pseudonyms = pseudonyms_of(database, persons)
        naming = PersonNaming(pseudonyms, lambda tenant: installations[tenant].current)
        people = NamedPeople(pseudonyms, naming.people)
        audit = await stack.enter_async_context(AuditLog(dsn, naming=naming))
        await note_settings(
            settings, SettingsSeenStore(database), audit, utc_now, partial(new_id, "a", secrets.token_bytes)
        )
        sealing = partial(sealing_of, settings)
        vault = SurrogateVault(database, keyring, value_s=settings.keys.cache_s, sealing=sealing, persons=persons)
        stack.push_async_callback(vault.close)
        scanners = Scanners(vault, list(settings.tenants))
        stack.push_async_callback(scanners.close)
        await scanners.start()
        bundles = await live_bundles(settings, installations, database, audit)
        accounts = accounts_of(settings, database, keyring, bundles)
        signer = await signer_of(stack, settings)
        archiving, archivist = archivist_of(settings, database, signer)
        supervisor = supervisor_of(settings, embedded, database, audit)
        app = await _assemble(
            stack, settings, dsn, database, audit, vault, keyring, persons, people, scanners, installations, bundles,
            accounts, archivist, signer, supervisor,
        )  # fmt: skip
        shredder = Shredder(VaultStore(database), persons, utc_now)
        await stack.enter_async_context(kept_erased(shredder, list(settings.tenants)))
        async with (
            open_durable(settings, dsn, database, keyring, persons, audit, archiving=archiving) as durable,
            kept_sealed(archivist, durable),
        ):
            yield app


async def _assemble(
    stack: AsyncExitStack,
    settings: Settings,
    dsn: str,
    database: Database,
    audit: AuditLog,
    vault: SurrogateVault,
    keyring: Keyring,
    persons: Persons,
    people: NamedPeople,
    scanners: Mapping[str, Scanner],
    installations: Mapping[str, Installation],
    bundles: LiveBundles,
    accounts: Accounts,
    archivist: Archivist | None,
    signer: CheckpointSigner,
    supervisor: Supervisor | None,
) -> App:
    limits = limits_of(settings)
    records = Records(RecordStore(database), max_age=OWNER_MAX_AGE, staff=StaffStore(database))
    tenants = {
        one.host: tenant_of(name, one, installations[name], accounts.entries.get(name))
        for name, one in settings.tenants.items()
    }
    for tenant in tenants.values():
        stack.push_async_callback(tenant.pool.close)
    identities = identities_of(
        settings, database, keyring, audit, accounts.sessions, installations, list(tenants.values())
    )
    for close in identities.closing:
        stack.push_async_callback(close)
    budgets = Budgets(settings.access.uniqueness_per_hour, settings.access.searches_per_hour)
    guesses = Guesses(GuessStore(database), audit, budgets, utc_now, partial(new_id, "a", secrets.token_bytes))
    stack.push_async_callback(guesses.close)
    tenants = {host: replace(identities.of(tenant), guesses=guesses) for host, tenant in tenants.items()}
    archive = archive_of(settings, dsn, signer.verifier)
    integrity = await integrity_of(stack, settings, database, archive, audit, signer, utc_now)
    told = {name for name, one in settings.tenants.items() if one.migrated}
    needed = {name: parts_of(one.current) for name, one in installations.items()}
    migrated = Migrated(ProtectStore(database), told, needed)
    await migrated.start()
    stack.push_async_callback(migrated.close)
    sealing, cell_store = partial(sealing_of, settings), CellStore(database)
    files = Files(cell_store, keyring, sealing, records, utc_now, secrets.token_bytes, persons)
    cells = Cells(cell_store, keyring, sealing, persons=persons)
    beside, sight = Beside(cell_store, keyring, sealing, persons=persons), Sight(records)
    digits = Digits(DigitStore(database), keyring, means_something)
    digit_fields = DigitFields(digits, sight, migrated)
    kept = KeptFields(beside, cells, sight, digit_fields)
    cell_sight = CellSight(cells, sight, lambda tenant: installations[tenant].current.field_specs)
    whoami = Whoami({tenant.name: tenant for tenant in tenants.values()})
    refusals = RefusalCounter(lambda: new_id("a", secrets.token_bytes))
    look = read_look()
    policies = Policies(
        bundles, frozenset(name for name, one in settings.tenants.items() if one.posture is Posture.DENY)
    )
    shared = shared_deps(settings, accounts, audit, look, refusals)
    access = access_deps(settings, shared, installations, identities)
    federation = federation_of(settings, database)
    access = federation.known_to(access, Host.CRM)
    openid = oidc_of(settings, database, access, identities, policies)
    trail = TrailReader(database, dsn, signer.verifier, settings.checkpoint_folder, people, archive)
    reveals = disclosures_of(settings, database, keyring, audit, access, look, vault, records, bundles, people)
    access = replace(access, reveals=reveals.desk.own)
    emergencies = emergencies_of(accounts.ground, accounts.users, audit)
    console = console_deps(
        settings, replace(shared, reveals=access.reveals), database, trail, keyring, bundles, installations, integrity,
        emergencies,
    )  # fmt: skip
    forwarders = forwarders_of(settings, dsn)
    for forwarder in forwarders:
        await forwarder.start()
        stack.push_async_callback(forwarder.close)
    queries = QueryDesk(
        dsn,
        archive,
        utc_now,
        console.access.new_id,
        query_limits(settings.audit),
        partial(pseudonyms_of_persons, people),
    )
    stack.push_async_callback(queries.close)
    console = replace(
        console,
        ledger=reveals.desk,
        archive=archivist.states if archivist is not None else {},
        queries=queries,
        forwarding=[forwarder.state for forwarder in forwarders],
        access=federation.known_to(console.access, Host.CONSOLE),
        directories=accounts.directories_of,
        revivals=supervisor.revivals if supervisor is not None else Revivals(),
    )
    clear = Unprotected(scanners.__getitem__, migrated, limits.bodies)
    placed = Placed(beside, sight, RowRecords(vault, scanners.__getitem__), DigitSight(digits, sight))
    covered = Covered(clear, placed, scanners.__getitem__, lambda tenant: installations[tenant].current)
    watch = Watch()
    stack.callback(watch.stop)
    accounts.sessions.answers = watch
    learner = await learner_of(stack, database, scanners, installations)
    return App(
        tenants=MappingProxyType(tenants),
        installations=installations,
        network=Network(settings.network.trusted_proxies),
        enforcer=policies,
        sessions=accounts.sessions,
        audit=audit,
        watch=watch,
        limits=limits,
        refusals=refusals,
        inward=Inward(
            Tokeniser(vault, records, scanners.__getitem__, migrated, kept, covered),
            Search(vault, records, migrated, digit_fields),
            scanners.__getitem__,
            limits,
            files,
            kept,
            digit_fields,
        ),
        outward=Outward(
            Reveal(vault, records, scanners, utc_now, cell_sight),
            Binding(vault, records, accounts.sessions, utc_now, whoami.ask, files, kept),
            limits.bodies,
            placed,
            unprotected=clear,
            files=files,
            marker=reveals.marker,
        ),
        files=files,
        keeper=integrity.keeper,
        sign_in_app=make_sign_in_app(
            access,
            [
                *identity_routes(identities.deps(access)),
                *oidc_routes(openid),
                *federation_routes(federation.deps(access, Host.CRM)),
                *reveal_routes(reveals.routes_deps(access, trail)),
            ],
        ),
        learner=learner,
        console_app=await with_trail(
            stack,
            settings,
            database,
            audit,
            signer.verifier,
            archive,
            with_frame(
                make_console_app(console, federation_routes(federation.deps(console.access, Host.CONSOLE))),
                make_frame_app(reveals.frame),
            ),
        ),
        sweeps=(
            UserStore(database).sweep,
            ThrottleStore(database).sweep,
            FactorStore(database).sweep,
            SessionStore(database).sweep,
            *identities.sweeps,
            openid.store.sweep,
            federation.store.sweep,
            EgressStore(database).sweep,
            GuessStore(database).sweep,
            reveals.sittings.sweep,
            OrphanSweep(
                Orphans(VaultStore(database), persons, timedelta(days=settings.persons.backup_days)),
                list(settings.tenants),
                audit,
                partial(new_id, "a", secrets.token_bytes),
            ).sweep,
        ),
        lookouts=(
            partial(bundles.follow, dsn),
            emergencies.follow,
            *([supervisor.run] if supervisor is not None else []),
            *([identities.follow_uses] if identities.uses else []),
            *lookouts_of(
                ArrivalNeeds(settings, database, vault, keyring, audit, scanners, records, beside, cells, digits),
                installations,
            ),
        ),
        egress=egress_of(
            EgressNeeds(
                settings,
                database,
                audit,
                vault,
                keyring,
                scanners,
                bundles,
                accounts.users,
                records,
                refusals,
                limits.bodies,
                limits,
                accounts.sessions,
                installations,
                tenants.values(),
                kept,
                migrated,
            )
        ),
    )


def supervisor_of(
    settings: Settings, embedded: EmbeddedPostgres | None, database: Database, audit: AuditLog
) -> Supervisor | None:
    """Who starts the embedded server again; None where the server is somebody else's."""
    if embedded is None:
        return None
    return Supervisor(
        embedded, database, audit, list(settings.tenants), utc_now, partial(new_id, "a", secrets.token_bytes)
    )
