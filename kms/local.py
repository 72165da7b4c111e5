"""The local keyring: one sealed file that holds the root key, for installations without OpenBao or Vault.

The file is JSON: the parameters of Argon2id (RFC 9106) and the root key under AES-256-GCM. The secret is a passphrase
or the content of a credential file. A file that others can read is refused, a wrong secret and a changed byte are told
alike, and the file is looked at again at each unwrap, so that taking it away locks the keyring once cached keys end.

The key of a tenant is an HMAC of the root key. To destroy one, `kms.local_custody` writes the file anew (format 2): a
new root key, the keys of the other tenants as they are, and the name of the destroyed one.
"""

import asyncio
import base64
import hmac
import os
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import orjson
from argon2.exceptions import HashingError
from argon2.low_level import Type, hash_secret_raw
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from kms.provider import KeyDestroyed, KeyringLocked

FORMAT = "crmgate-keyring-1"
FORMAT_2 = "crmgate-keyring-2"
_LATER, _VERSION_BYTES = b"\x02", 2  # wrapped by a later version of the tenant's key, whose number follows
LEAST_SECRET_BYTES = 12
_ITERATIONS, _LANES, _MEMORY_KIB = 3, 4, 64 * 1024
_MOST = {"iterations": 20, "lanes": 16, "memory_kib": 1024 * 1024}
_MOST_FILE_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Roots:
    """What the file holds: the root key, keys of tenants that do not come from it, and who has none."""

    root: bytes = field(repr=False)
    tenants: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    suspended: frozenset[str] = frozenset()
    destroyed: frozenset[str] = frozenset()
    former: Mapping[str, tuple[bytes, ...]] = field(default_factory=dict, repr=False)
    """Keys a tenant had before, the oldest first; empty where one is closed and opens nothing any more."""

    def versions(self, tenant: str) -> tuple[bytes, ...]:
        """All keys of a tenant by version, the one that wraps last. Raises KeyringLocked."""
        return (*self.former.get(tenant, ()), self.of(tenant))

    def of(self, tenant: str) -> bytes:
        """The key of a tenant. Raises KeyringLocked."""
        if tenant in self.destroyed:
            raise KeyDestroyed("the key of this CRM was destroyed")
        if tenant in self.suspended:
            message = "the key of this CRM is set aside: its destruction was approved and can still be cancelled"
            raise KeyringLocked("key-suspended", message)
        return self.tenants.get(tenant) or _tenant_key(self.root, tenant)

    def without(self, tenant: str, others: Iterable[str], root: bytes) -> "Roots":
        """The same without the key of one tenant: under a new root key, from which the lost one does not come."""
        kept = {name: self.of_suspended(name) for name in others if name != tenant and name not in self.destroyed}
        former = {name: keys for name, keys in self.former.items() if name != tenant}
        return Roots(root, kept, self.suspended - {tenant}, self.destroyed | {tenant}, former)

    def of_suspended(self, tenant: str) -> bytes:
        """The key of a tenant, also while it is set aside."""
        return replace(self, suspended=self.suspended - {tenant}).of(tenant)


@dataclass(frozen=True, slots=True)
class _Opened:
    """The keys with the identity of the file they came from."""

    roots: Roots
    identity: tuple[int, int, int, int]


class LocalProvider:
    """Wraps field keys under a root key in a sealed file.

    entropy: gives n random bytes; only tests replace it.
    """

    name = "local"

    def __init__(self, path: Path, secret: bytes, *, entropy: Callable[[int], bytes] = os.urandom) -> None:
        self._path = path
        self._secret = secret
        self._entropy = entropy
        self._opened: _Opened | None = None
        self._opening = asyncio.Lock()

    @classmethod
    def create(cls, path: Path, secret: bytes, *, entropy: Callable[[int], bytes] = os.urandom) -> Self:
        """Make a new keyring file (mode 0600); never overwrites one. Raises FileExistsError, ValueError."""
        if len(secret.strip()) < LEAST_SECRET_BYTES:
            raise ValueError(f"the passphrase needs at least {LEAST_SECRET_BYTES} characters")
        content = sealed_file(secret, Roots(entropy(32)), entropy)
        write_new(path, content)
        return cls(path, secret, entropy=entropy)

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    async def wrap(self, tenant: str, key: bytes, context: bytes) -> bytes:
        """Wrap a field key: version byte, nonce, AES-256-GCM with the context as additional data."""
        keys = (await self.roots()).versions(tenant)
        nonce = self._entropy(12)
        head = b"\x01" if len(keys) == 1 else _LATER + len(keys).to_bytes(_VERSION_BYTES)
        return head + nonce + AESGCM(keys[-1]).encrypt(nonce, key, context)

    async def unwrap(self, tenant: str, wrapped: bytes, context: bytes) -> bytes:
        """The field key again; raises KeyringLocked when this keyring did not wrap it."""
        keys = (await self.roots()).versions(tenant)
        try:
            return opened(keys, wrapped, context)
        except InvalidTag:
            message = (
                f"the keyring {self._path} is not the one these keys were wrapped with, or a stored key was changed"
            )
            raise KeyringLocked("keyring-other", message) from None

    async def check(self) -> None:
        """Open the file if it is not open; raises KeyringLocked with what to do."""
        await self.roots()

    async def close(self) -> None:
        """Forget the root key (Python cannot wipe memory for certain)."""
        self._opened = None

    async def roots(self) -> Roots:
        """What the file holds now. Raises KeyringLocked."""
        async with self._opening:
            self._opened = await asyncio.to_thread(self._open, self._opened)
            return self._opened.roots

    def sealed(self, roots: Roots) -> bytes:
        """The content of a file that holds these keys, under the same secret."""
        return sealed_file(self._secret, roots, self._entropy)

    def new_root(self) -> bytes:
        """A fresh root key."""
        return self._entropy(32)

    def _open(self, opened: _Opened | None) -> _Opened:
        try:
            with self._path.open("rb") as file:
                about = os.fstat(file.fileno())
                if stat.S_IMODE(about.st_mode) & 0o077:
                    message = f"the keyring {self._path} can be read by others; run: chmod 600 {self._path}"
                    raise KeyringLocked("keyring-readable-by-others", message)
                identity = (about.st_dev, about.st_ino, about.st_mtime_ns, about.st_size)
                if opened is not None and opened.identity == identity:
                    return opened
                data = file.read(_MOST_FILE_BYTES + 1)
        except FileNotFoundError:
            message = (
                f"there is no keyring at {self._path}; restore it from your backup, or make one with: crmgate init"
            )
            raise KeyringLocked("keyring-missing", message) from None
        except OSError as fault:
            message = f"the keyring {self._path} cannot be read: {os.strerror(fault.errno or 0)}"
            raise KeyringLocked("keyring-unreadable", message) from None
        return _Opened(self._unseal(data), identity)

    def _unseal(self, data: bytes) -> Roots:
        try:
            text = orjson.loads(data)
            sealed = base64.b64decode(text.pop("root"), validate=True)
            head = {name: int(text[name]) for name in _MOST}
            salt, nonce = base64.b64decode(text["salt"]), base64.b64decode(text["nonce"])
            if text["format"] not in (FORMAT, FORMAT_2) or any(
                not 1 <= head[name] <= most for name, most in _MOST.items()
            ):
                raise ValueError
            key = _stretch(self._secret, salt, head)
        except (ValueError, KeyError, TypeError, AttributeError, HashingError):
            message = (
                f"{self._path} is not a keyring file of this version, or it is damaged; restore it from your backup"
            )
            raise KeyringLocked("keyring-damaged", message) from None
        try:
            plain = AESGCM(key).decrypt(nonce, sealed, orjson.dumps(text))
            return Roots(plain) if text["format"] == FORMAT else _roots(plain)
        except (InvalidTag, ValueError):
            message = f"the passphrase does not open the keyring {self._path} (or the file was changed)"
            raise KeyringLocked("keyring-wrong-secret", message) from None


def version_of(wrapped: bytes) -> int:
    """Version of the tenant's key that wrapped a field key; 0 when it is none of ours."""
    if wrapped[:1] == b"\x01":
        return 1
    return int.from_bytes(wrapped[1 : 1 + _VERSION_BYTES]) if wrapped[:1] == _LATER else 0


def opened(keys: Sequence[bytes], wrapped: bytes, context: bytes) -> bytes:
    """A field key out of its wrapping. keys: of the tenant, by version. Raises InvalidTag."""
    version = version_of(wrapped)
    start = 1 if version == 1 and wrapped[:1] != _LATER else 1 + _VERSION_BYTES
    if not 1 <= version <= len(keys) or not keys[version - 1] or len(wrapped) < start + 28:
        raise InvalidTag
    return AESGCM(keys[version - 1]).decrypt(wrapped[start : start + 12], wrapped[start + 12 :], context)


def sealed_file(secret: bytes, roots: Roots, entropy: Callable[[int], bytes]) -> bytes:
    """The content of a keyring file."""
    salt, nonce = entropy(16), entropy(12)
    head = {"iterations": _ITERATIONS, "lanes": _LANES, "memory_kib": _MEMORY_KIB}
    plain, form = roots.root, FORMAT
    if roots.tenants or roots.suspended or roots.destroyed or roots.former:
        form = FORMAT_2
        plain = orjson.dumps(
            {
                "root": _text(roots.root),
                "tenants": {name: _text(key) for name, key in roots.tenants.items()},
                "suspended": sorted(roots.suspended),
                "destroyed": sorted(roots.destroyed),
                "former": {name: [_text(key) for key in keys] for name, keys in roots.former.items()},
            }
        )
    text = {"format": form} | head | {"salt": _text(salt), "nonce": _text(nonce)}
    sealed = AESGCM(_stretch(secret, salt, head)).encrypt(nonce, plain, orjson.dumps(text))
    return orjson.dumps(text | {"root": _text(sealed)}, option=orjson.OPT_INDENT_2)


def write_new(path: Path, content: bytes) -> None:
    """A new file for its owner only, on disk when this returns. Raises FileExistsError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _roots(plain: bytes) -> Roots:
    content = orjson.loads(plain)
    tenants = {name: base64.b64decode(key) for name, key in content["tenants"].items()}
    lists = (frozenset(content["suspended"]), frozenset(content["destroyed"]))
    former = {name: tuple(base64.b64decode(key) for key in keys) for name, keys in content.get("former", {}).items()}
    return Roots(base64.b64decode(content["root"]), tenants, *lists, former)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _stretch(secret: bytes, salt: bytes, head: dict[str, int]) -> bytes:
    """Argon2id (RFC 9106); a trailing newline of a credential file does not count."""
    # argon2-cffi and not cryptography's Argon2id: OpenSSL's hangs when several threads derive with lanes at once.
    return hash_secret_raw(
        secret.rstrip(b"\r\n"),
        salt,
        time_cost=head["iterations"],
        memory_cost=head["memory_kib"],
        parallelism=head["lanes"],
        hash_len=32,
        type=Type.ID,
    )


def _tenant_key(root: bytes, tenant: str) -> bytes:
    return hmac.digest(root, b"crmgate tenant key\0" + tenant.encode() + b"\x01", "sha256")
