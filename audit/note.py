"""Signed notes and checkpoints in the C2SP forms, and the Ed25519 key that signs them.

A note is text, an empty line and signature lines: em dash, key name, base64 of a four-byte key id and the signature
(c2sp.org/signed-note). A checkpoint's text is the log's origin, its size and its root (c2sp.org/tlog-checkpoint). The
key lives in a file of its own with mode 0600, apart from the database: who can rewrite rows cannot sign them.
"""

import base64
import binascii
import os
import re
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from audit.tree import HASH_BYTES

ED25519 = b"\x01"  # signature type, C2SP signed-note
PUBLIC_BYTES = 32
NOTE_LIMIT_BYTES = 1_000_000
SIGNATURES_LIMIT = 100  # C2SP: accept at least 16, bound the number
KEY_NAME = "crmgate-audit"
_KEY_NAME = re.compile(r"[^\s+]+")
_SIGNATURE_LINE = re.compile(r"— ([^\s+]+) ([A-Za-z0-9+/]+={0,2})")
_KEY_FILE = re.compile(r"PRIVATE\+KEY\+([^\s+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/]+={0,2})\n?")
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")


class NoteInvalid(Exception):  # noqa: N818 - a verdict, not a fault
    """Not a note in the expected form, or not signed by the expected key."""

    permanent = True


class KeyFileInvalid(Exception):  # noqa: N818 - a state of a file
    """The key file is not one, or others than its owner may read it."""

    permanent = True


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Size and root of a log under its origin."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """The note text."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


@dataclass(frozen=True, slots=True)
class EarlierKey:
    """A key that signed before. upto: origin → entries that its last checkpoint covers; kept current by the keeper.

    Where an origin is not in it, the key has not been replaced yet and counts.
    """

    public: bytes
    upto: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Verifier:
    """A public key that signs notes under any name given to it. earlier: which checkpoints it took over from."""

    public: bytes
    earlier: EarlierKey | None = field(default=None, compare=False)

    def key_id(self, name: str) -> bytes:
        """First four bytes of SHA-256 over name, newline, type and key."""
        return sha256(name.encode() + b"\n" + ED25519 + self.public).digest()[:4]

    def vkey(self, name: str) -> str:
        """The verifier key in its usual text form, for witnesses and other tools."""
        return f"{name}+{self.key_id(name).hex()}+{base64.b64encode(ED25519 + self.public).decode()}"

    @classmethod
    def from_vkey(cls, text: str) -> tuple["Verifier", str]:
        """The key in a vkey and the name it signs under. Raises: NoteInvalid when it is none or its id does not fit."""
        name, _, rest = text.strip().partition("+")
        key_id, _, key = rest.partition("+")
        raw = unbase64(key, 1 + PUBLIC_BYTES)
        verifier = cls(raw[1:])
        if raw[:1] != ED25519 or not _KEY_NAME.fullmatch(name) or verifier.key_id(name).hex() != key_id:
            raise NoteInvalid("not an Ed25519 verifier key (NAME+ID+KEY), or damaged")
        return verifier, name

    def open(self, note: str, name: str) -> str:
        """The text of a note signed by this key under `name`. Raises: NoteInvalid."""
        text, signatures = _split(note)
        wanted = self.key_id(name)
        signed = False
        for key_name, key_id, signature in signatures:
            if key_name != name or key_id != wanted:
                continue
            try:
                Ed25519PublicKey.from_public_bytes(self.public).verify(signature, text.encode())
            except InvalidSignature:
                raise NoteInvalid("the signature does not fit the note") from None
            signed = True
        if not signed:
            raise NoteInvalid("not signed by the expected key")
        return text

    def open_checkpoint(self, note: str, origin: str, name: str = "") -> Checkpoint:
        """The checkpoint of the log `origin` in a note signed under `name`, else the origin. Raises: NoteInvalid."""
        try:
            return self._checkpoint(note, origin, name)
        except NoteInvalid:
            if self.earlier is None:
                raise
            checkpoint = Verifier(self.earlier.public).open_checkpoint(note, origin, name)
            if checkpoint.size > self.earlier.upto.get(origin, checkpoint.size):
                raise NoteInvalid("signed by the earlier key after it was replaced") from None
            return checkpoint

    def _checkpoint(self, note: str, origin: str, name: str) -> Checkpoint:
        lines = self.open(note, name or origin).split("\n")
        if len(lines) < 4 or lines[0] != origin or not _SIZE.fullmatch(lines[1]) or "" in lines[:-1]:
            raise NoteInvalid("not a checkpoint of this log")
        return Checkpoint(origin, int(lines[1]), unbase64(lines[2], HASH_BYTES))


@dataclass(frozen=True, slots=True, repr=False)
class Signer:
    """The private key; `seed` is the 32-byte Ed25519 seed."""

    seed: bytes

    @property
    def verifier(self) -> Verifier:
        """Its public half."""
        return Verifier(Ed25519PrivateKey.from_private_bytes(self.seed).public_key().public_bytes_raw())

    def sign(self, text: str, name: str) -> str:
        """A note: the text, which must end in a newline, signed under `name`."""
        if not text.endswith("\n") or any(ord(letter) < 32 and letter != "\n" for letter in text):
            raise NoteInvalid("a note ends in a newline and holds no control characters")
        signature = Ed25519PrivateKey.from_private_bytes(self.seed).sign(text.encode())
        mark = base64.b64encode(self.verifier.key_id(name) + signature).decode()
        return f"{text}\n— {name} {mark}\n"

    async def sign_note(self, text: str, name: str) -> str:
        """The same, for whoever signs with a key on a server elsewhere."""
        return self.sign(text, name)


def ensure_signer(path: Path) -> Signer:
    """The key in this file, made from the system's randomness on first use with mode 0600.

    Raises: KeyFileInvalid when the content is no key or the file is open to others; OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return read_signer(path)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        signer = Signer(os.urandom(32))
        secret = base64.b64encode(ED25519 + signer.seed).decode()
        file.write(f"PRIVATE+KEY+{KEY_NAME}+{signer.verifier.key_id(KEY_NAME).hex()}+{secret}\n")
        file.flush()
        os.fsync(file.fileno())
    return signer


def read_signer(path: Path) -> Signer:
    """The key in this file. Raises: KeyFileInvalid when it is missing, open to others or no key."""
    if not path.is_file():
        raise KeyFileInvalid(f"{path} is missing")
    if path.stat().st_mode & 0o077:
        raise KeyFileInvalid(f"others may read {path}: run chmod 600 on it")
    found = _KEY_FILE.fullmatch(path.read_text(encoding="ascii", errors="replace"))
    if not found:
        raise KeyFileInvalid(f"{path} holds no audit key")
    name, key_id, secret = found.groups()
    try:
        raw = unbase64(secret, 33)
    except NoteInvalid:
        raise KeyFileInvalid(f"{path} holds no audit key") from None
    signer = Signer(raw[1:])
    if raw[:1] != ED25519 or signer.verifier.key_id(name).hex() != key_id:
        raise KeyFileInvalid(f"{path} is damaged: key and key id differ")
    return signer


def origin_of(tenant: str) -> str:
    """The origin line, and key name, of a tenant's log."""
    return f"{KEY_NAME}/{tenant}"


def _split(note: str) -> tuple[str, list[tuple[str, bytes, bytes]]]:
    if len(note) > NOTE_LIMIT_BYTES or any(ord(letter) < 32 and letter != "\n" for letter in note):
        raise NoteInvalid("not a note")
    text, seam, block = note.rpartition("\n\n")
    if not seam or not block.endswith("\n"):
        raise NoteInvalid("not a note")
    lines = block[:-1].split("\n")
    if len(lines) > SIGNATURES_LIMIT:
        raise NoteInvalid("too many signatures")
    signatures = []
    for line in lines:
        found = _SIGNATURE_LINE.fullmatch(line)
        if not found:
            raise NoteInvalid("not a signature line")
        raw = unbase64(found[2])
        if len(raw) < 5:
            raise NoteInvalid("not a signature line")
        signatures.append((found[1], raw[:4], raw[4:]))
    return text + "\n", signatures


def unbase64(text: str, length: int | None = None) -> bytes:
    """Strict base64, of so many bytes when given. Raises: NoteInvalid."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise NoteInvalid("not base64") from None
    if length is not None and len(raw) != length:
        raise NoteInvalid("wrong length")
    return raw
