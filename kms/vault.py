"""Keys in OpenBao or HashiCorp Vault: field keys are wrapped by a transit key that never leaves the server.

One transit key a tenant (`derived`, aes256-gcm96, not exportable); the context of each field key goes into the
derivation, so `rewrap` works and a wrapped key opens in its own place only. hvac blocks, so calls run in a few worker
threads of their own under a time limit: a server that hangs costs a refusal, never the event loop. Tokens are got and
kept by `kms.vault_login`.

A key that its owner keeps (`key`) is used as it is and never made or changed here. When it cannot be derived, what is
encrypted is SHA-256 of tenant and context followed by the field key, with the same digest as associated data where the
key's type takes any, and the stored form ends in ";bound".
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import hvac
import requests
from hvac import exceptions

from kms.ending import end
from kms.provider import KeyringLocked, KeysUnavailable
from kms.vault_login import Admission, FixedToken, Login, LoginStatus

_THREADS = 4
_T = TypeVar("_T")
_PROBE = "check"
_PLAIN_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,46}[a-z0-9])?\Z")
_CIPHERTEXT = re.compile(rb"(vault:v[1-9][0-9]{0,8}:([A-Za-z0-9+/=]+))(;bound)?\Z")
_BOUND = b";bound"
_AEAD = re.compile(r"aes\d+-gcm96\Z|x?chacha20-poly1305\Z")
_DIGEST_BYTES = 32
_RETRY_S = (0.5, 1.0, 2.0, 5.0)


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM files: the CA the server's certificate is checked with, and our own certificate and key for mutual TLS."""

    ca: str | None = None
    certificate: str | None = None
    key: str | None = None


class TransitProvider:
    """Wraps field keys with the transit engine.

    address: https://host:8200; login: a way to a token, or the token itself; it needs the policy in the README. key:
    name of a key that its owner keeps, instead of one a tenant; timeout_s: one call, all told.
    """

    name = "openbao"

    def __init__(
        self,
        address: str,
        login: Login | str,
        mount: str = "transit",
        namespace: str | None = None,
        tls: Tls | None = None,
        timeout_s: float = 5.0,
        *,
        key: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.mount = mount
        self.address = address
        self._timeout_s = timeout_s
        self._key = key
        self._session = requests.Session()
        self._session.trust_env = False  # no proxy and no .netrc from the environment
        tls = tls or Tls()
        self._session.verify = tls.ca if tls.ca is not None else True
        if tls.certificate is not None and tls.key is not None:
            self._session.cert = (tls.certificate, tls.key)
        self._client = self._make_client(namespace)
        way = FixedToken(login) if isinstance(login, str) else login
        self._admission = Admission(self._client, self._make_client(namespace), way, clock)
        self._threads = ThreadPoolExecutor(max_workers=_THREADS, thread_name_prefix="transit")
        self._made: set[str] = set()
        self._kept: str | None = None
        self._tending: asyncio.Task[None] | None = None

    def _make_client(self, namespace: str | None) -> Any:
        return hvac.Client(
            url=self.address,
            token="",  # None would be looked up in the environment, and so would a certificate
            cert=self._session.cert or (),
            verify=self._session.verify,
            namespace=namespace,
            timeout=self._timeout_s,
            session=self._session,
            allow_redirects=False,
        )

    async def wrap(self, tenant: str, key: bytes, context: bytes) -> bytes:
        """Wrap a field key; makes the tenant's transit key at its first use."""
        return await self._call(self._wrap, tenant, key, context)

    async def unwrap(self, tenant: str, wrapped: bytes, context: bytes) -> bytes:
        """The field key again."""
        return await self._call(self._unwrap, tenant, wrapped, context)

    async def check(self) -> None:
        """Whether the server is unsealed and the token may use the engine; raises KeysUnavailable, KeyringLocked."""
        await self._call(self._check)

    async def ask(self, question: Callable[[Any], _T]) -> _T:
        """Run an operator's question on the server; it gets the client (kms.vault_custody). Raises KeysUnavailable."""
        return await self._call(lambda: question(self._client))

    def key_name(self, tenant: str) -> str:
        """Name of the transit key that wraps for this tenant."""
        return self._key or tenant_key_name(tenant)

    @property
    def external(self) -> bool:
        """Whether the key is kept by its owner: never made, changed or destroyed from here."""
        return bool(self._key)

    def login_status(self) -> LoginStatus:
        """Login method and what is left of the token."""
        return self._admission.status()

    async def close(self) -> None:
        """End the worker threads and connections; a call that hangs is left to its own time limit."""
        if self._tending is not None:
            await end(self._tending)
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._session.close()

    async def _tend(self) -> None:
        """Keep the token alive while nobody asks for anything."""
        failures, wait = 0, 0.0
        while True:
            await asyncio.sleep(wait)
            try:
                wait = await asyncio.get_running_loop().run_in_executor(self._threads, self._admission.tend)
                failures = 0
            except Exception:  # whoever needs a key next is told what is wrong; this goes on until it works again
                wait = _RETRY_S[min(failures, len(_RETRY_S) - 1)]
                failures += 1

    def _admitted(self, function: Callable[..., _T], *arguments: object) -> _T:
        """Run a call with a token; once more with a new one when the server no longer knows the token."""
        token = self._admission.ensure()
        try:
            return function(*arguments)
        except exceptions.Forbidden:
            if not self._admission.refused(token):
                raise
        return function(*arguments)

    async def _call(self, function: Callable[..., _T], *arguments: object) -> _T:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = await loop.run_in_executor(self._threads, self._admitted, function, *arguments)
            if self._tending is None:  # from now on there is a token to keep
                self._tending = loop.create_task(self._tend(), name="transit token")
            return answer
        except (TimeoutError, requests.exceptions.Timeout):
            raise KeysUnavailable("vault-slow", f"{self.address} did not answer within {self._timeout_s} s") from None
        except exceptions.VaultError as fault:
            raise self._refused(fault) from None
        except requests.exceptions.SSLError:
            message = f"the certificate of {self.address} is not trusted; set keys.ca to the PEM file of its CA"
            raise KeysUnavailable("vault-certificate", message) from None
        except requests.exceptions.ConnectionError:
            raise KeysUnavailable("vault-unreachable", f"{self.address} cannot be reached") from None
        except (
            requests.exceptions.RequestException,
            binascii.Error,
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
        ):
            raise KeysUnavailable("vault-nonsense", f"{self.address} does not answer like OpenBao or Vault") from None
        except OSError:  # how requests tells that it cannot read a file of ours
            message = f"the client certificate for {self.address} cannot be read; look at keys.client_certificate"
            raise KeysUnavailable("vault-certificate", message) from None
        except RuntimeError:  # the threads have ended
            raise KeysUnavailable("vault-closed", "the key provider was closed") from None

    def _refused(self, fault: exceptions.VaultError) -> KeysUnavailable:
        """What an answer with an error status means for the operator; the server's own text is not repeated."""
        where = f"the transit engine at {self.address}, mount {self.mount!r}"
        if isinstance(fault, exceptions.VaultDown | exceptions.VaultNotInitialized):
            return KeyringLocked("vault-sealed", f"{self.address} is sealed or not initialised; unseal it")
        if isinstance(fault, exceptions.Forbidden | exceptions.Unauthorized):
            return KeysUnavailable(
                "vault-denied", f"permission denied by {where}: the token is wrong, expired or lacks the policy"
            )
        if isinstance(fault, exceptions.InvalidPath):
            return KeysUnavailable("vault-no-mount", f"there is no {where} (bao secrets enable transit)")
        if isinstance(fault, exceptions.InvalidRequest) and "soft-deleted" in str(fault):
            message = f"the key at {self.address} is set aside: its destruction was approved and can still be cancelled"
            return KeyringLocked("key-suspended", message)
        if isinstance(fault, exceptions.InvalidRequest):
            return KeyringLocked("vault-other", f"{where} did not wrap these keys, or a stored key was changed")
        return KeysUnavailable("vault-fault", f"{where} answers with an error")

    def _wrap(self, tenant: str, key: bytes, context: bytes) -> bytes:
        name = self.key_name(tenant)
        transit = self._client.secrets.transit
        if self._key:
            kept = self._kept_type()
            if kept:
                return self._wrap_bound(name, kept, tenant, key, context)
        elif name not in self._made:
            # Creating a key that exists changes nothing.
            transit.create_key(name, derived=True, exportable=False, key_type="aes256-gcm96", mount_point=self.mount)
            self._made.add(name)
        place = _place(tenant, context) if self._key else context  # a kept key may serve several tenants
        answer = transit.encrypt_data(name, plaintext=_text(key), context=_text(place), mount_point=self.mount)
        return _member(answer, "ciphertext").encode()

    def _kept_type(self) -> str:
        """Type of the key its owner keeps when it cannot be derived, "" when it can. Raises KeyringLocked."""
        if self._kept is None:
            try:
                about = self._client.secrets.transit.read_key(self._key, mount_point=self.mount)["data"]
            except exceptions.InvalidPath:
                # Encrypting under a name that is not there would make a key of the server's own.
                message = f"the transit engine at {self.address}, mount {self.mount!r}, has no key {self._key!r}"
                raise KeyringLocked("vault-key-missing", f"{message}; its owner has to make it there") from None
            if not about.get("supports_encryption", True) or not about.get("supports_decryption", True):
                raise KeyringLocked("vault-key-unfit", f"the key {self._key!r} at {self.address} is not for encryption")
            self._kept = "" if about.get("derived") else str(about["type"])
        return self._kept

    def _wrap_bound(self, name: str, kept: str, tenant: str, key: bytes, context: bytes) -> bytes:
        place = _place(tenant, context)
        answer = self._client.secrets.transit.encrypt_data(
            name, plaintext=_text(place + key), mount_point=self.mount, **_associated(kept, place)
        )
        return _member(answer, "ciphertext").encode() + _BOUND

    def _unwrap(self, tenant: str, wrapped: bytes, context: bytes) -> bytes:
        parts = _CIPHERTEXT.match(wrapped)
        if parts is None or base64.b64encode(base64.b64decode(parts[2])) != parts[2]:
            # The server's decoder overlooks bits that do not count; a stored key is what was stored or nothing.
            raise exceptions.InvalidRequest
        transit, name, sealed = self._client.secrets.transit, self.key_name(tenant), parts[1].decode("ascii")
        place = _place(tenant, context)
        if parts[3] is None:
            given = _text(place if self._key else context)
            answer = transit.decrypt_data(name, ciphertext=sealed, context=given, mount_point=self.mount)
            return base64.b64decode(_member(answer, "plaintext"), validate=True)
        bound = _associated(self._kept_type(), place) if self._key else {}
        answer = transit.decrypt_data(name, ciphertext=sealed, mount_point=self.mount, **bound)
        opened = base64.b64decode(_member(answer, "plaintext"), validate=True)
        if not hmac.compare_digest(opened[:_DIGEST_BYTES], place):
            raise exceptions.InvalidRequest
        return opened[_DIGEST_BYTES:]

    def _check(self) -> None:
        """A round trip proves the address, the token, its policy and the seal at once."""
        context = b"crmgate check"
        self._kept = None  # its owner may have replaced the key
        if self._unwrap(_PROBE, self._wrap(_PROBE, _PROBE.encode(), context), context) != _PROBE.encode():
            raise ValueError


def tenant_key_name(tenant: str) -> str:
    """Name of a tenant's transit key; names the API cannot carry are hashed."""
    if _PLAIN_NAME.match(tenant):
        return f"crmgate-{tenant}"
    return f"crmgate-x{hashlib.sha256(tenant.encode()).hexdigest()[:40]}"


def _place(tenant: str, context: bytes) -> bytes:
    """Which tenant and which field key, in 32 bytes."""
    name = tenant.encode()
    return hashlib.sha256(b"crmgate bound 1" + len(name).to_bytes(4) + name + context).digest()


def _associated(kept: str, place: bytes) -> dict[str, str]:
    return {"associated_data": _text(place)} if _AEAD.match(kept) else {}


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _member(answer: Any, name: str) -> str:
    text = answer["data"][name]
    if not isinstance(text, str):
        raise TypeError
    return text
