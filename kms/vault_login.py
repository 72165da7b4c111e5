"""How the transit provider comes by its token and keeps it: token file, AppRole, Kubernetes; renewal in good time.

A token is renewed at half of its life. When renewal ends (the server grants less than half of what it gave first, or
refuses), or when a call is refused because the server no longer knows the token, there is a new login. Files that hold
secrets are read at every login, a token file also whenever it has changed, so nothing has to be restarted when they
are replaced. Everything here blocks and runs in the provider's threads; no error text carries a token or a secret.
"""

import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from hvac import exceptions

from kms.provider import KeysUnavailable

RENEW_AT = 0.5
"""Part of a token's life after which it is renewed."""
LOOK_AGAIN_S = 10.0
"""At most so long between two looks at a token and at its file."""
_SOONEST_S = 0.5
_BRAKE_S = (
    5.0  # between two logins that nothing but a refused call asks for: a missing policy must not hammer the server
)


@dataclass(frozen=True, slots=True)
class Grant:
    """A token as the server gave it; ttl_s 0: it does not end."""

    token: str = field(repr=False)
    ttl_s: float
    renewable: bool


class Login(Protocol):
    """One way to a token."""

    @property
    def name(self) -> str:
        """Short name as operators know it."""
        ...

    def enter(self, client: Any) -> Grant:
        """Get a token with a client that has none. Raises KeysUnavailable, faults of hvac and requests."""
        ...

    def changed(self) -> bool:
        """Whether there is a new secret, so that the token in use is not to be trusted on."""
        ...


class FixedToken:
    """A token that is given and never changes; for commands and tests."""

    name = "token"

    def __init__(self, token: str) -> None:
        self._token = token

    def enter(self, client: Any) -> Grant:
        """What the server says about the token."""
        return looked_up(client, self._token)

    def changed(self) -> bool:
        """Never."""
        return False


class TokenFile:
    """The token stands in a file, written by an administrator or by an agent of the server; read again when changed."""

    name = "token-file"

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None

    def enter(self, client: Any) -> Grant:
        """The token of the file, looked up."""
        self._seen = _identity(self._path)
        return looked_up(client, read_secret(self._path, "the token"))

    def changed(self) -> bool:
        """Whether the file is another one than at the last login; a file that is gone for a moment is no news."""
        identity = _identity(self._path)
        return identity is not None and identity != self._seen


class AppRole:
    """Role id and secret id (auth/approle); mount: where the method is mounted."""

    name = "approle"

    def __init__(self, role_id: str, secret_id_file: Path, mount: str = "approle") -> None:
        self._role_id = role_id
        self._file = secret_id_file
        self._mount = mount

    def enter(self, client: Any) -> Grant:
        """Log in with the secret id that stands in the file now."""
        secret = read_secret(self._file, "the secret id")
        return granted(client.auth.approle.login(self._role_id, secret, use_token=False, mount_point=self._mount))

    def changed(self) -> bool:
        """A new secret id is for the next login; the token in use stays good."""
        return False


class Kubernetes:
    """The service account's token of this pod (auth/kubernetes); mount: where the method is mounted."""

    name = "kubernetes"

    def __init__(self, role: str, jwt_file: Path, mount: str = "kubernetes") -> None:
        self._role = role
        self._file = jwt_file
        self._mount = mount

    def enter(self, client: Any) -> Grant:
        """Log in with the service account token that stands in the file now (Kubernetes replaces it every hour)."""
        jwt = read_secret(self._file, "the service account token")
        return granted(client.auth.kubernetes.login(self._role, jwt, use_token=False, mount_point=self._mount))

    def changed(self) -> bool:
        """A new service account token is for the next login."""
        return False


@dataclass(frozen=True, slots=True)
class LoginStatus:
    """Login method, and how long the token lives on without renewal; None: it does not end, or nobody is logged in."""

    method: str
    left_s: float | None
    renewable: bool


class Admission:
    """The token in use, for all threads of a provider.

    client: carries the token; visitor: the same without one; clock: monotonic seconds.
    """

    def __init__(self, client: Any, visitor: Any, login: Login, clock: Callable[[], float]) -> None:
        self._client = client
        self._visitor = visitor
        self._login = login
        self._clock = clock
        self._lock = threading.Lock()
        self._grant: Grant | None = None
        self._first_ttl_s = 0.0
        self._since = 0.0
        self._braked_until = float("-inf")

    def ensure(self) -> str:
        """Have a token that has not ended; the token. Raises KeysUnavailable, faults of hvac and requests."""
        with self._lock:
            if self._grant is None or self._ended():
                self._enter()
            elif self._login.changed():
                self._enter_anew()
            assert self._grant is not None
            return self._grant.token

    def refused(self, token: str) -> bool:
        """The server refused a call made with this token; whether there is another one to try with.

        Raises what a login raises.
        """
        with self._lock:
            if self._grant is not None and self._grant.token != token:
                return True
            if self._clock() < self._braked_until:
                return False
            self._braked_until = self._clock() + _BRAKE_S
            self._enter()
            return self._grant is not None and self._grant.token != token

    def tend(self) -> float:
        """Renew or log in when it is time; seconds until the next look. Raises what a login raises."""
        with self._lock:
            grant = self._grant
            if grant is None or self._ended():
                self._enter()
            elif self._login.changed():
                self._enter_anew()
            elif grant.ttl_s and self._age() >= grant.ttl_s * RENEW_AT:
                self._renew(grant)
            grant = self._grant
            if grant is None or not grant.ttl_s:
                return LOOK_AGAIN_S
            return min(LOOK_AGAIN_S, max(_SOONEST_S, grant.ttl_s * RENEW_AT - self._age()))

    def status(self) -> LoginStatus:
        """For operators; never the token."""
        grant = self._grant
        if grant is None or not grant.ttl_s:
            return LoginStatus(self._login.name, None, grant is not None and grant.renewable)
        return LoginStatus(self._login.name, max(0.0, grant.ttl_s - self._age()), grant.renewable)

    def _age(self) -> float:
        return self._clock() - self._since

    def _ended(self) -> bool:
        return self._grant is not None and self._grant.ttl_s > 0 and self._age() >= self._grant.ttl_s

    def _renew(self, grant: Grant) -> None:
        asked = self._clock()
        if grant.renewable:
            try:
                renewed = granted(self._client.auth.token.renew_self())
            except (exceptions.Forbidden, exceptions.InvalidRequest):
                renewed = None  # revoked, or its longest life is over
            if renewed is not None and renewed.ttl_s >= self._first_ttl_s * RENEW_AT:
                self._grant, self._since = renewed, asked
                return
        self._enter()

    def _enter_anew(self) -> None:
        """Take what is new; a file that is just being written keeps the token that is in use until it has ended."""
        with contextlib.suppress(KeysUnavailable):
            self._enter()

    def _enter(self) -> None:
        asked = self._clock()
        try:
            grant = self._login.enter(self._visitor)
        except (exceptions.InvalidRequest, exceptions.Forbidden, exceptions.Unauthorized, exceptions.InvalidPath):
            message = f"the login by {self._login.name} was refused: {_ADVICE[self._login.name]}"
            raise KeysUnavailable("vault-login", message) from None
        self._client.token = grant.token
        self._grant, self._since, self._first_ttl_s = grant, asked, grant.ttl_s


_ADVICE = {
    "token": "the token is wrong or has ended",
    "token-file": "the token in the file is wrong or has ended; put a new one there",
    "approle": "role id or secret id is wrong, used up or has ended, or the method is not mounted there",
    "kubernetes": "the role does not admit this service account, or the method is not mounted there",
}


def granted(answer: Any) -> Grant:
    """The grant in the answer to a login or a renewal."""
    auth = answer["auth"]
    return _grant(auth["client_token"], auth["lease_duration"], auth["renewable"])


def looked_up(client: Any, token: str) -> Grant:
    """The grant that a given token is."""
    try:
        answer = client.adapter.get("/v1/auth/token/lookup-self", headers={"X-Vault-Token": token})
    except exceptions.Forbidden:
        # Wrong, ended, or without the default policy: the first call that needs it shows which.
        return Grant(token, 0.0, False)
    # The root token of a fresh server has no "renewable" at all.
    return _grant(token, answer["data"]["ttl"], answer["data"].get("renewable", False))


def _grant(token: object, ttl_s: object, renewable: object) -> Grant:
    if not isinstance(token, str) or not token or not isinstance(ttl_s, int | float) or not isinstance(renewable, bool):
        raise TypeError
    return Grant(token, max(0.0, float(ttl_s)), renewable)


def read_secret(path: Path, what: str) -> str:
    """A secret from its file, without the line end. Raises KeysUnavailable."""
    try:
        text = path.read_text(encoding="ascii").strip()
    except UnicodeDecodeError:
        text = ""
    except OSError as fault:
        message = f"{what} for the key server cannot be read from {path}: {fault.strerror}"
        raise KeysUnavailable("vault-login-file", message) from None
    if not text or any(letter < "!" or letter > "~" for letter in text):
        raise KeysUnavailable("vault-login-file", f"{path} does not hold {what} for the key server")
    return text


def _identity(path: Path) -> tuple[int, int, int] | None:
    try:
        about = path.stat()
    except OSError:
        return None
    return about.st_ino, about.st_mtime_ns, about.st_size
