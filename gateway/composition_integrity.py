"""The objects that keep the audit trail whole: the keeper that signs it and the watch that reads it again."""

import secrets
from collections.abc import Callable, Collection
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import structlog
from cryptography.x509 import Certificate, load_pem_x509_certificates

from audit.anchor import Anchor, Anchors
from audit.anchor_folder import FolderAnchor
from audit.checkpoint import Keeper
from audit.entry import AuditEntry
from audit.log import AuditLog, AuditUnavailable
from audit.note import Signer, Verifier
from audit.timestamp import TimestampAnchor
from audit.watch import Finding, Watch
from audit.witness import WitnessAnchor
from gateway.access.tokens import new_id
from gateway.anchor_config import AnchorSettings, witness_of
from gateway.anchor_mail import MailAnchor
from gateway.composition_archive import archive_of
from gateway.database import Pool
from gateway.egress.smarthost import SmartHost
from gateway.opening import read_secret
from gateway.settings import Settings
from gateway.tls import client_context
from gateway.toml_tree import Address, SettingInvalid

OPERATION, REASON = "audit.watch", "trail-tampered"


@dataclass(frozen=True, slots=True)
class Integrity:
    """What runs."""

    keeper: Keeper
    watch: Watch
    anchors: Anchors
    audit: AuditLog


class Teller:
    """Writes each finding into the trail it is about, as an alarm, so that whoever reads the trail sees it."""

    def __init__(self, audit: AuditLog, tenants: Collection[str], clock: Callable[[], datetime]) -> None:
        self._audit, self._tenants, self._clock = audit, tenants, clock

    async def tell(self, finding: Finding) -> None:
        """Append one; where the trail cannot be written, the log and the file beside the key have it."""
        first, last = finding.span or (None, None)
        fields: dict[str, object] = {"target": finding.tenant, "detail": _sort(finding)}
        if finding.span is not None:
            fields["change"] = {"first": str(first), "last": str(last)}
        entry = AuditEntry(
            at=self._clock(),
            entity="audit",
            fields=fields,
            id=new_id("a", secrets.token_bytes),
            kind="alarm",
            operation=OPERATION,
            reason=REASON,
            record=str(first) if first is not None else "",
            # A log that no setting names is somebody's invention.
            tenant=finding.tenant if finding.tenant in self._tenants else next(iter(self._tenants)),
        )
        try:
            await self._audit.append(entry)
        except AuditUnavailable:
            structlog.get_logger().error("audit.finding-not-in-trail", tenant=finding.tenant)


def _sort(finding: Finding) -> str:
    if finding.checkpoint is not None:
        return "checkpoint"
    return "entry" if finding.span is not None else "guard"


async def integrity_of(
    stack: AsyncExitStack,
    settings: Settings,
    database: Pool,
    dsn: str,
    audit: AuditLog,
    signer: Signer,
    clock: Callable[[], datetime],
) -> Integrity:
    """Started; the stack ends them."""
    folder, interval_s = settings.checkpoint_folder, settings.audit.checkpoint_seconds
    keeper = Keeper(database, signer, folder, now=clock, interval_s=interval_s)
    await keeper.start()
    stack.push_async_callback(keeper.close)
    watch = Watch(
        database,
        signer.verifier,
        folder,
        now=clock,
        interval_s=interval_s,
        slice_entries=settings.audit.watch_entries,
        told=Teller(audit, tuple(settings.tenants), clock).tell,
    )
    await watch.start()
    stack.push_async_callback(watch.close)
    anchors = Anchors(
        database,
        signer.verifier,
        anchors_of(settings, signer.verifier, clock),
        now=clock,
        interval_s=interval_s,
        archive=archive_of(settings, dsn, signer.verifier),
    )
    await anchors.start()
    stack.push_async_callback(anchors.close)
    return Integrity(keeper, watch, anchors, audit)


def anchors_of(settings: Settings, verifier: Verifier, clock: Callable[[], datetime]) -> list[Anchor]:
    """The places that the settings name; a folder beside the key is always one. Raises: SettingInvalid, OSError."""
    wanted, own = settings.anchors, settings.checkpoint_folder
    folder = wanted.folder or own / "kept"
    every_s = wanted.folder_minutes * 60
    found: list[Anchor] = [FolderAnchor(folder, verifier, every_s=every_s, outside=wanted.folder is not None)]
    for one in wanted.witnesses:
        cosigner, url = witness_of(one)
        found.append(WitnessAnchor(cosigner, url, own / "cosigned", every_s=wanted.witness_minutes * 60, now=clock))
    if wanted.timestamp_ca is not None:
        roots = read_roots(wanted.timestamp_ca)
        every_s = wanted.timestamp_hours * 3600
        found.append(TimestampAnchor(wanted.timestamp_url, roots, own / "stamped", every_s=every_s))
    if wanted.mail_server is not None:
        target = _mail_server(wanted, wanted.mail_server)
        every_s = wanted.mail_hours * 3600
        found.append(MailAnchor(target, wanted.mail_from, wanted.mail_to, every_s=every_s, now=clock))
    return found


def read_roots(path: Path) -> list[Certificate]:
    """Certificates in a PEM file. Raises: SettingInvalid."""
    try:
        return load_pem_x509_certificates(path.read_bytes())
    except OSError as fault:
        raise SettingInvalid("audit.anchor.timestamp_ca", f"cannot read {path}: {fault.strerror}") from None
    except ValueError:
        raise SettingInvalid("audit.anchor.timestamp_ca", f"{path} holds no PEM certificate") from None


def _mail_server(wanted: AnchorSettings, server: Address) -> SmartHost:
    secret = wanted.mail_password_file
    password = read_secret("audit.anchor.mail_password_file", secret).decode() if secret is not None else ""
    tls = client_context(wanted.mail_ca)
    return SmartHost(server.host, server.port, wanted.mail_tls, tls, wanted.mail_user, password)
