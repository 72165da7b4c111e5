"""The objects that keep the audit trail whole: what signs it, reads it again, takes it outside, and indexes it."""

import secrets
from collections.abc import Callable, Collection
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import structlog
from cryptography.x509 import Certificate, load_pem_x509_certificates

from audit.anchor import Anchor, Anchors, Contradiction
from audit.anchor_folder import FolderAnchor
from audit.archive import Archive
from audit.checkpoint import Keeper
from audit.entry import AuditEntry
from audit.index_follower import IndexFollower
from audit.log import AuditLog, AuditUnavailable
from audit.note import Verifier, read_signer
from audit.signing import CheckpointSigner, HandedOver
from audit.timestamp import TimestampAnchor
from audit.watch import Watch
from audit.watch_sight import Finding
from audit.witness import WitnessAnchor
from gateway.access.tokens import new_id
from gateway.anchor_config import AnchorSettings, witness_of
from gateway.anchor_mail import MailAnchor
from gateway.database import Pool
from gateway.egress.smarthost import SmartHost
from gateway.opening import read_secret
from gateway.settings import Settings
from gateway.tls import client_context
from gateway.toml_tree import Address, SettingInvalid

OPERATION, REASON = "audit.watch", "trail-tampered"
KEY_OPERATION, KEY_REASON = "audit.key", "audit-key-changed"
ANCHOR_OPERATION, ANCHOR_REASON = "audit.anchor", "anchor-contradicts"


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
        await self._append(entry, finding.tenant)

    async def tell_contradiction(self, found: Contradiction) -> None:
        """Append that an anchor holds what the trail does not lead to."""
        entry = AuditEntry(
            at=self._clock(),
            entity="audit",
            fields={"target": found.tenant, "detail": found.anchor, "count": found.size},
            id=new_id("a", secrets.token_bytes),
            kind="alarm",
            operation=ANCHOR_OPERATION,
            reason=ANCHOR_REASON,
            tenant=found.tenant if found.tenant in self._tenants else next(iter(self._tenants)),
        )
        await self._append(entry, found.tenant)

    async def tell_handover(self, done: HandedOver) -> None:
        """Append that another key signs from now on. Raises: AuditUnavailable, and then it does not yet."""
        await self._audit.append(
            AuditEntry(
                at=self._clock(),
                entity="audit",
                fields={"change": {"old": done.old, "new": done.new}, "count": done.size},
                id=new_id("a", secrets.token_bytes),
                kind="keys",
                operation=KEY_OPERATION,
                reason=KEY_REASON,
                tenant=done.tenant,
            )
        )

    async def _append(self, entry: AuditEntry, about: str) -> None:
        try:
            await self._audit.append(entry)
        except AuditUnavailable:
            structlog.get_logger().error("audit.finding-not-in-trail", tenant=about)


def _sort(finding: Finding) -> str:
    if finding.checkpoint is not None:
        return "checkpoint"
    return "entry" if finding.span is not None else "guard"


async def integrity_of(
    stack: AsyncExitStack,
    settings: Settings,
    database: Pool,
    archive: Archive,
    audit: AuditLog,
    signer: CheckpointSigner,
    clock: Callable[[], datetime],
) -> Integrity:
    """Started; the stack ends them."""
    folder, interval_s = settings.checkpoint_folder, settings.audit.checkpoint_seconds
    teller = Teller(audit, tuple(settings.tenants), clock)
    keeper = Keeper(
        database,
        signer,
        folder,
        now=clock,
        interval_s=interval_s,
        before=lambda: read_signer(settings.checkpoint_key_path),
        handed_over=teller.tell_handover,
    )
    await keeper.start()
    stack.push_async_callback(keeper.close)
    watch = Watch(
        database,
        signer.verifier,
        folder,
        now=clock,
        interval_s=interval_s,
        slice_entries=settings.audit.watch_entries,
        share=settings.audit.watch_percent / 100,
        told=teller.tell,
    )
    await watch.start()
    stack.push_async_callback(watch.close)
    anchors = Anchors(
        database,
        signer.verifier,
        anchors_of(settings, signer.verifier, clock),
        now=clock,
        interval_s=interval_s,
        archive=archive,
        told=teller.tell_contradiction,
    )
    await anchors.start()
    stack.push_async_callback(anchors.close)
    follower = IndexFollower(database, settings.tenants, archive)
    await follower.start()
    stack.push_async_callback(follower.close)
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
    if wanted.s3_credentials_file is not None:
        found.append(_bucket(wanted, wanted.s3_credentials_file, verifier, clock))
    return found


def _bucket(wanted: AnchorSettings, file: Path, verifier: Verifier, clock: Callable[[], datetime]) -> Anchor:
    # Its libraries take a third of a second to load, which only those wait for who use it.
    from audit.anchor_s3 import Bucket, CredentialsInvalid, S3Anchor, read_credentials

    try:
        read_credentials(file)
    except CredentialsInvalid as fault:
        raise SettingInvalid("audit.anchor.s3_credentials_file", f"{file}: {fault}") from None
    bucket = Bucket(
        wanted.s3_bucket,
        wanted.s3_prefix,
        file,
        timedelta(days=wanted.s3_retention_days),
        wanted.s3_endpoint,
        wanted.s3_region,
        wanted.s3_ca,
    )
    return S3Anchor(bucket, verifier, every_s=wanted.s3_minutes * 60, now=clock)


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
