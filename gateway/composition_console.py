"""What the pages of the console reach: the trail, policies, keys, health of a running gateway."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from urllib.parse import urlsplit

from gateway.access.deps import AccessDeps
from gateway.access.emergencies import Emergencies
from gateway.access.sessions import AUDIENCE_CONSOLE
from gateway.bundles.desk import PolicyDesk
from gateway.composition_integrity import Integrity
from gateway.console.deps import ConsoleDeps, Crm
from gateway.console.trail import TrailReader
from gateway.database import Pool as Database
from gateway.guesses import Budgets
from gateway.installation import Installation
from gateway.learn.learner import UNDESCRIBED
from gateway.legs import certificate_ends
from gateway.policy_desks import desk_of
from gateway.settings import Settings
from kms.keyring import Keyring
from policies.enforcer import Bundle


def console_deps(
    settings: Settings,
    shared: AccessDeps,
    database: Database,
    trail: TrailReader,
    keyring: Keyring,
    bundles: Mapping[str, Bundle],
    installations: Mapping[str, Installation],
    integrity: Integrity,
    emergencies: Emergencies,
) -> ConsoleDeps:
    """Dependencies of the console. shared: what the sign-in pages of both hosts have in common."""

    def crm(name: str) -> Crm:
        upstream = urlsplit(settings.tenants[name].upstream)
        port = upstream.port or (443 if upstream.scheme == "https" else 80)

        async def check() -> None:
            _, writer = await asyncio.open_connection(upstream.hostname, port)
            writer.close()

        return Crm(installations[name].current.title, settings.tenants[name].public_url, check)

    def desk(name: str) -> PolicyDesk:
        return desk_of(settings, name, database, shared.sign_in, shared.audit, installations[name].current)

    return ConsoleDeps(
        desk=desk,
        access=replace(
            shared,
            audience=AUDIENCE_CONSOLE,
            tenant=next(iter(settings.tenants)),
            public_url=lambda _tenant: settings.console.public_url,
        ),
        pool=database,
        trail=trail,
        policy=lambda tenant: bundles[tenant],
        fields=lambda tenant: tuple(installations[tenant].current.field_specs.values()),
        check_keys=keyring.check,
        key_status=keyring.status,
        key_provider=", ".join(dict.fromkeys(one.name for one in keyring.providers)),
        crm=crm,
        console_url=settings.console.public_url,
        data_folder=settings.state,
        version=version("crmgate"),
        checkpoint_fault=lambda: integrity.keeper.fault,
        checkpoint_waiting=lambda: integrity.keeper.waiting,
        trail_watch=integrity.watch,
        anchors=integrity.anchors,
        pending=lambda: integrity.audit.backlog,
        learnable=lambda tenant: installations[tenant].current.name == UNDESCRIBED,
        budgets=Budgets(settings.access.uniqueness_per_hour, settings.access.searches_per_hour),
        emergencies=emergencies,
        certificates=lambda tenant: asyncio.to_thread(certificate_ends, settings, tenant),
    )
