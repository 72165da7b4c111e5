"""Keys in OpenBao or HashiCorp Vault: field keys are wrapped by a transit key that never leaves the server.

One transit key a tenant (`derived`, aes256-gcm96, not exportable); the context of each field key goes into the
derivation, so `rewrap` works and a wrapped key opens in its own place only. hvac blocks, so calls run in a few worker
threads of their own under a time limit: a server that hangs costs a refusal, never the event loop.
"""

import asyncio
import base64
import binascii
import hashlib
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import hvac
import requests
from hvac import exceptions

from kms.provider import KeyringLocked, KeysUnavailable

_THREADS = 4
_T = TypeVar("_T")
_PROBE = "check"
_PLAIN_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,46}[a-z0-9])?\Z")
_CIPHERTEXT = re.compile(rb"vault:v[1-9][0-9]{0,8}:([A-Za-z0-9+/=]+)\Z")


class TransitProvider:
    """Wraps field keys with the transit engine.

    address: https://host:8200; token: needs create, update and read on `<mount>/keys/crmgate-*` and update on
    `<mount>/encrypt/crmgate-*` and `<mount>/decrypt/crmgate-*`; ca: PEM file; timeout_s: one call, all told.
    """

    name = "openbao"

    def __init__(
        self,
        address: str,
        token: str,
        mount: str = "transit",
        namespace: str | None = None,
        ca: str | None = None,
        timeout_s: float = 5.0,
    ) -> None:
        self._mount = mount
        self._address = address
        self._timeout_s = timeout_s
        self._session = requests.Session()
        self._session.trust_env = False  # no proxy and no .netrc from the environment
        self._session.verify = ca if ca is not None else True
        self._client = hvac.Client(
            url=address,
            token=token,
            namespace=namespace,
            timeout=timeout_s,
            session=self._session,
            allow_redirects=False,
        )
        self._threads = ThreadPoolExecutor(max_workers=_THREADS, thread_name_prefix="transit")
        self._made: set[str] = set()

    async def wrap(self, tenant: str, key: bytes, context: bytes) -> bytes:
        """Wrap a field key; makes the tenant's transit key at its first use."""
        return await self._call(self._wrap, tenant, key, context)

    async def unwrap(self, tenant: str, wrapped: bytes, context: bytes) -> bytes:
        """The field key again."""
        return await self._call(self._unwrap, tenant, wrapped, context)

    async def check(self) -> None:
        """Whether the server is unsealed and the token may use the engine; raises KeysUnavailable, KeyringLocked."""
        await self._call(self._check)

    async def close(self) -> None:
        """End the worker threads and connections; a call that hangs is left to its own time limit."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._session.close()

    async def _call(self, function: Callable[..., _T], *arguments: object) -> _T:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._timeout_s):
                return await loop.run_in_executor(self._threads, function, *arguments)
        except (TimeoutError, requests.exceptions.Timeout):
            raise KeysUnavailable("vault-slow", f"{self._address} did not answer within {self._timeout_s} s") from None
        except exceptions.VaultError as fault:
            raise self._refused(fault) from None
        except requests.exceptions.SSLError:
            message = f"the certificate of {self._address} is not trusted; set keys.ca to the PEM file of its CA"
            raise KeysUnavailable("vault-certificate", message) from None
        except requests.exceptions.ConnectionError:
            raise KeysUnavailable("vault-unreachable", f"{self._address} cannot be reached") from None
        except (
            requests.exceptions.RequestException,
            binascii.Error,
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
        ):
            raise KeysUnavailable("vault-nonsense", f"{self._address} does not answer like OpenBao or Vault") from None
        except RuntimeError:  # the threads have ended
            raise KeysUnavailable("vault-closed", "the key provider was closed") from None

    def _refused(self, fault: exceptions.VaultError) -> KeysUnavailable:
        """What an answer with an error status means for the operator; the server's own text is not repeated."""
        where = f"the transit engine at {self._address}, mount {self._mount!r}"
        if isinstance(fault, exceptions.VaultDown | exceptions.VaultNotInitialized):
            return KeyringLocked("vault-sealed", f"{self._address} is sealed or not initialised; unseal it")
        if isinstance(fault, exceptions.Forbidden | exceptions.Unauthorized):
            return KeysUnavailable(
                "vault-denied", f"permission denied by {where}: the token is wrong, expired or lacks the policy"
            )
        if isinstance(fault, exceptions.InvalidPath):
            return KeysUnavailable("vault-no-mount", f"there is no {where} (bao secrets enable transit)")
        if isinstance(fault, exceptions.InvalidRequest):
            return KeyringLocked("vault-other", f"{where} did not wrap these keys, or a stored key was changed")
        return KeysUnavailable("vault-fault", f"{where} answers with an error")

    def _wrap(self, tenant: str, key: bytes, context: bytes) -> bytes:
        name = _key_name(tenant)
        transit = self._client.secrets.transit
        if name not in self._made:
            # Creating a key that exists changes nothing.
            transit.create_key(name, derived=True, exportable=False, key_type="aes256-gcm96", mount_point=self._mount)
            self._made.add(name)
        answer = transit.encrypt_data(name, plaintext=_text(key), context=_text(context), mount_point=self._mount)
        return _member(answer, "ciphertext").encode()

    def _unwrap(self, tenant: str, wrapped: bytes, context: bytes) -> bytes:
        parts = _CIPHERTEXT.match(wrapped)
        if parts is None or base64.b64encode(base64.b64decode(parts[1])) != parts[1]:
            # The server's decoder overlooks bits that do not count; a stored key is what was stored or nothing.
            raise exceptions.InvalidRequest
        answer = self._client.secrets.transit.decrypt_data(
            _key_name(tenant),
            ciphertext=wrapped.decode("ascii"),
            context=_text(context),
            mount_point=self._mount,
        )
        return base64.b64decode(_member(answer, "plaintext"), validate=True)

    def _check(self) -> None:
        """A round trip proves the address, the token, its policy and the seal at once."""
        context = b"crmgate check"
        if self._unwrap(_PROBE, self._wrap(_PROBE, _PROBE.encode(), context), context) != _PROBE.encode():
            raise ValueError


def _key_name(tenant: str) -> str:
    """Name of a tenant's transit key; names the API cannot carry are hashed."""
    if _PLAIN_NAME.match(tenant):
        return f"crmgate-{tenant}"
    return f"crmgate-x{hashlib.sha256(tenant.encode()).hexdigest()[:40]}"


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _member(answer: Any, name: str) -> str:
    text = answer["data"][name]
    if not isinstance(text, str):
        raise TypeError
    return text
