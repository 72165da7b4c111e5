"""The local keyring: one sealed file that holds the root key, for installations without OpenBao or Vault.

The file is JSON: the parameters of Argon2id (RFC 9106) and the root key under AES-256-GCM. The secret is a passphrase
or the content of a credential file. A file that others can read is refused, a wrong secret and a changed byte are told
alike, and the file is looked at again at each unwrap, so that taking it away locks the keyring once cached keys end.
"""

import asyncio
import base64
import hmac
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import orjson
from argon2.exceptions import HashingError
from argon2.low_level import Type, hash_secret_raw
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from kms.provider import KeyringLocked

FORMAT = "crmgate-keyring-1"
LEAST_SECRET_BYTES = 12
_ITERATIONS, _LANES, _MEMORY_KIB = 3, 4, 64 * 1024
_MOST = {"iterations": 20, "lanes": 16, "memory_kib": 1024 * 1024}
_MOST_FILE_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class _Opened:
    """The root key with the identity of the file it came from."""

    root: bytes = field(repr=False)
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
        salt, nonce, root = entropy(16), entropy(12), entropy(32)
        head = {"iterations": _ITERATIONS, "lanes": _LANES, "memory_kib": _MEMORY_KIB}
        text = {"format": FORMAT} | head | {"salt": _text(salt), "nonce": _text(nonce)}
        sealed = AESGCM(_stretch(secret, salt, head)).encrypt(nonce, root, orjson.dumps(text))
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(orjson.dumps(text | {"root": _text(sealed)}, option=orjson.OPT_INDENT_2))
            file.flush()
            os.fsync(file.fileno())
        return cls(path, secret, entropy=entropy)

    async def wrap(self, tenant: str, key: bytes, context: bytes) -> bytes:
        """Wrap a field key: version byte, nonce, AES-256-GCM with the context as additional data."""
        root = await self._root()
        nonce = self._entropy(12)
        return b"\x01" + nonce + AESGCM(_tenant_key(root, tenant)).encrypt(nonce, key, context)

    async def unwrap(self, tenant: str, wrapped: bytes, context: bytes) -> bytes:
        """The field key again; raises KeyringLocked when this keyring did not wrap it."""
        root = await self._root()
        try:
            if wrapped[:1] != b"\x01" or len(wrapped) < 29:
                raise InvalidTag
            return AESGCM(_tenant_key(root, tenant)).decrypt(wrapped[1:13], wrapped[13:], context)
        except InvalidTag:
            message = (
                f"the keyring {self._path} is not the one these keys were wrapped with, or a stored key was changed"
            )
            raise KeyringLocked("keyring-other", message) from None

    async def check(self) -> None:
        """Open the file if it is not open; raises KeyringLocked with what to do."""
        await self._root()

    async def close(self) -> None:
        """Forget the root key (Python cannot wipe memory for certain)."""
        self._opened = None

    async def _root(self) -> bytes:
        async with self._opening:
            self._opened = await asyncio.to_thread(self._open, self._opened)
            return self._opened.root

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

    def _unseal(self, data: bytes) -> bytes:
        try:
            text = orjson.loads(data)
            sealed = base64.b64decode(text.pop("root"), validate=True)
            head = {name: int(text[name]) for name in _MOST}
            salt, nonce = base64.b64decode(text["salt"]), base64.b64decode(text["nonce"])
            if text["format"] != FORMAT or any(not 1 <= head[name] <= most for name, most in _MOST.items()):
                raise ValueError
            key = _stretch(self._secret, salt, head)
        except (ValueError, KeyError, TypeError, AttributeError, HashingError):
            message = (
                f"{self._path} is not a keyring file of this version, or it is damaged; restore it from your backup"
            )
            raise KeyringLocked("keyring-damaged", message) from None
        try:
            return AESGCM(key).decrypt(nonce, sealed, orjson.dumps(text))
        except (InvalidTag, ValueError):
            message = f"the passphrase does not open the keyring {self._path} (or the file was changed)"
            raise KeyringLocked("keyring-wrong-secret", message) from None


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
