"""Who signs checkpoints: a key in a file, or one that never leaves a key server; and the change from one to the other.

At the change both keys sign the newest checkpoint of the old one with a line more, which names the new key. That note
(the handover) says up to where the old key counts: what it signs later, by whoever has got hold of it, is not accepted.
The line is what the old key says of its successor: a signature beside its own, anybody could put there.
"""

import asyncio
import base64
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from audit import store
from audit.note import Checkpoint, KeyFileInvalid, NoteInvalid, Signer, Verifier, origin_of

LIMIT_S = 10.0
SUFFIX = ".handover"
SUCCESSOR = "handover "


class SigningUnavailable(Exception):  # noqa: N818 - a state
    """The key server does not sign now; the text says why. Trying again helps once the cause is gone."""

    permanent = False


class CheckpointSigner(Protocol):
    """Signs checkpoints."""

    @property
    def verifier(self) -> Verifier:
        """Its public half, with the key that was in use before where there was one."""
        ...

    async def sign_note(self, text: str, name: str) -> str:
        """The text signed under `name`. Raises: SigningUnavailable, NoteInvalid."""
        ...


@dataclass(frozen=True, slots=True)
class RemoteSigner:
    """A key elsewhere. ask: 64 bytes of Ed25519 over a message; raises SigningUnavailable."""

    verifier: Verifier
    ask: Callable[[bytes], Awaitable[bytes]]

    async def sign_note(self, text: str, name: str) -> str:
        """The text signed under `name`; what comes back is checked, so that nothing else is ever stored as ours."""
        try:
            async with asyncio.timeout(LIMIT_S):
                signature = await self.ask(text.encode())
        except TimeoutError:
            raise SigningUnavailable(f"no answer within {LIMIT_S:g} s") from None
        try:
            Ed25519PublicKey.from_public_bytes(self.verifier.public).verify(signature, text.encode())
        except InvalidSignature:
            raise SigningUnavailable("what it signed does not fit the public key we know") from None
        mark = base64.b64encode(self.verifier.key_id(name) + signature).decode()
        return f"{text}\n— {name} {mark}\n"


@dataclass(frozen=True, slots=True)
class HandedOver:
    """The change of keys in one log. size: entries that the old key's last checkpoint covers; note: signed by both."""

    tenant: str
    size: int
    note: str
    old: str
    new: str


def handover_text(checkpoint: Checkpoint, new: Verifier) -> str:
    """What both keys sign: a checkpoint whose extension line (c2sp.org/tlog-checkpoint) names the key that follows."""
    return f"{checkpoint.text()}{SUCCESSOR}{new.vkey(checkpoint.origin)}\n"


def handover_path(folder: Path, tenant: str) -> Path:
    """The file of a tenant's handover, beside its newest note."""
    return folder / f"{quote(tenant, safe='')}{SUFFIX}"


def read_handover(folder: Path, tenant: str, new: Verifier, old: Verifier) -> Checkpoint | None:
    """The checkpoint at which `old` named `new`, signed by both; None when it has not. Raises: NoteInvalid."""
    try:
        note = handover_path(folder, tenant).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    origin = origin_of(tenant)
    checkpoint = old.open_checkpoint(note, origin)
    if new.open(note, origin) != handover_text(checkpoint, new):
        raise NoteInvalid("the key before did not name this one")
    return checkpoint


def write_handover(folder: Path, tenant: str, note: str) -> None:
    """Keep it durably, in one step."""
    path = handover_path(folder, tenant)
    draft = path.with_suffix(f".{os.getpid()}.draft")
    with draft.open("w", encoding="utf-8") as file:
        file.write(note)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


async def hand_over(
    connection: store.Connection, tenant: str, signer: CheckpointSigner, before: Callable[[], Signer]
) -> HandedOver | None:
    """What both keys sign about the last checkpoint of the old one; None when the old key signed nothing.

    before: reads the old key. Raises: SigningUnavailable, NoteInvalid, psycopg errors.
    """
    new, earlier, origin = signer.verifier, signer.verifier.earlier, origin_of(tenant)
    if earlier is None:
        return None
    old = Verifier(earlier.public)
    last = await _last_of(connection, tenant, old)
    if last is None:
        return None
    checkpoint = old.open_checkpoint(last.note, origin)
    text = handover_text(checkpoint, new)
    note = (await _key_before(before, old)).sign(text, origin)
    note += (await signer.sign_note(text, origin)).rpartition("\n\n")[2]
    return HandedOver(tenant, checkpoint.size, note, old.key_id(origin).hex(), new.key_id(origin).hex())


async def _key_before(before: Callable[[], Signer], old: Verifier) -> Signer:
    try:
        signer = await asyncio.to_thread(before)
    except (KeyFileInvalid, OSError) as fault:
        told = fault if isinstance(fault, KeyFileInvalid) else type(fault).__name__
        raise SigningUnavailable(f"the key before has to sign the change of keys: {told}") from None
    if signer.verifier != old:
        raise SigningUnavailable("the key before has to sign the change of keys: its file holds another one")
    return signer


async def _last_of(connection: store.Connection, tenant: str, old: Verifier) -> store.StoredCheckpoint | None:
    """The largest checkpoint that the old key signed; all of the new one are larger."""
    origin, latest = origin_of(tenant), await store.latest_checkpoint(connection, tenant)
    if latest is None or _signed(latest, old, origin):
        return latest
    best, low, high = None, 0, latest.size
    while high - low > 1:
        middle = (low + high) // 2
        found = await store.checkpoint_within(connection, tenant, low, middle)
        if found is not None and not _signed(found, old, origin):
            high = found.size
            continue
        best, low = found or best, middle
    return best


def _signed(stored: store.StoredCheckpoint, key: Verifier, origin: str) -> bool:
    try:
        key.open_checkpoint(stored.note, origin)
    except NoteInvalid:
        return False
    return True
