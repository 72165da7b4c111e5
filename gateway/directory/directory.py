"""One directory: whether a password is that of a linked person, and which id a login has.

The order of a check: crmgate's own account binds, the login is searched, exactly one entry must come back and carry the
id the account here is linked to, and only then the password goes out, in a bind as that entry, once. Every other way
ends in the same number of steps with the same kind of bind, so that time tells little; crmgate's own secret stands in
for the password there, since a failed bind would count against somebody in the directory or wake its watchers.
Nothing is kept between checks: no connection, no password, no answer.
"""

import asyncio
import contextlib
import ssl
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from types import MappingProxyType

from sansldap import LDAPFilter, LDAPResultCode, SearchResultEntry

from gateway.directory.config import DirectorySettings, IdAttribute
from gateway.directory.outcome import DirectoryRefused, DirectoryUnavailable, judge_bind
from gateway.directory.query import Template
from gateway.directory.wire import Wire
from gateway.tls import client_context

PASSWORD_MAX_CHARS = 256
ID_MAX_CHARS = 100
# What nobody is called, for checks that only keep time.
_NOBODY = "crmgate-nobody"


class Directory:
    """One [[sign_in.directory]]; raises OSError, ssl.SSLError for a CA file that cannot be used."""

    def __init__(self, settings: DirectorySettings) -> None:
        self.settings = settings
        self._template = Template(settings.filter)
        self._context: ssl.SSLContext | None = None
        if not settings.clear_text_on_loopback:
            self._context = client_context(settings.ca, floor=settings.tls_minimum)
        self._room = asyncio.Semaphore(settings.at_a_time)
        self._faults: dict[str, int] = {}

    @property
    def name(self) -> str:
        """Its short name."""
        return self.settings.name

    @property
    def faults(self) -> Mapping[str, int]:
        """How often it could not be asked since the start of this process, by reason."""
        return MappingProxyType(self._faults)

    async def check(self, login: str, linked_id: str, password: str) -> None:
        """Return when the entry of this login has this id and this password.

        Raises DirectoryRefused, DirectoryUnavailable.
        """
        async with self._asking():
            wire, entries = await self._find(self._filter(login))
            async with wire:
                dn, refusal = _linked(entries, self.settings.id_attribute, linked_id)
                # RFC 4513, 5.1.2: a bind with a name and no password succeeds and proves nothing.
                if refusal or not _may_be_sent(password):
                    await self._bind_own(wire)
                    raise DirectoryRefused(refusal or "directory-wrong")
                judge_bind(await wire.bind(dn, password))

    async def pass_time(self) -> None:
        """What a check costs, for a password that is known to be wrong; raises DirectoryUnavailable."""
        async with self._asking():
            wire, _ = await self._find(self._template.for_login(_NOBODY))
            async with wire:
                await self._bind_own(wire)

    async def look_up(self, login: str) -> str:
        """The id of the one entry with this login; raises DirectoryRefused (nobody, several), DirectoryUnavailable."""
        async with self._asking():
            wire, entries = await self._find(self._filter(login))
            async with wire:
                return _the_one(entries, self.settings.id_attribute)[1]

    def _filter(self, login: str) -> LDAPFilter:
        try:
            return self._template.for_login(login)
        except UnicodeEncodeError:  # lone surrogates: nobody's login
            return self._template.for_login(_NOBODY)

    @contextlib.asynccontextmanager
    async def _asking(self) -> AsyncIterator[None]:
        """Room for one check and its deadline, waiting included; what cannot be asked is counted."""
        try:
            async with asyncio.timeout(self.settings.timeout_s), self._room:
                yield
        except TimeoutError:
            self._count("slow")
            raise DirectoryUnavailable("slow") from None
        except DirectoryUnavailable as fault:
            self._count(fault.reason)
            raise

    def _count(self, reason: str) -> None:
        self._faults[reason] = self._faults.get(reason, 0) + 1

    async def _find(self, wanted: LDAPFilter) -> tuple[Wire, list[SearchResultEntry]]:
        """Entries that fit, and the connection they came by; the first server that can be asked is asked."""
        fault = DirectoryUnavailable("unreachable")
        settings = self.settings
        for url in settings.urls:
            try:
                wire = await Wire.open(url, self._context, settings.connect_timeout_s)
            except DirectoryUnavailable as failed:
                fault = failed
                continue
            try:
                await self._bind_own(wire)
                limit_s = max(1, int(settings.timeout_s))
                return wire, await wire.search(settings.base, wanted, settings.id_attribute, limit_s)
            except DirectoryUnavailable as failed:
                await wire.close()
                fault = failed
            except BaseException:
                await wire.close()
                raise
        raise fault

    async def _bind_own(self, wire: Wire) -> None:
        """Bind as crmgate's own account; raises DirectoryUnavailable."""
        try:
            text = await asyncio.to_thread(self.settings.bind_secret_file.read_text, encoding="utf-8")
        except (OSError, UnicodeError):
            raise DirectoryUnavailable("secret") from None
        secret = text.strip("\r\n")
        if not secret:
            raise DirectoryUnavailable("secret")
        result = await wire.bind(self.settings.bind_dn, secret)
        if result.result_code is not LDAPResultCode.SUCCESS:
            raise DirectoryUnavailable("own-account")


def _linked(entries: Sequence[SearchResultEntry], attribute: IdAttribute, linked_id: str) -> tuple[str, str]:
    """DN of the entry that is linked, or the reason why there is none."""
    try:
        dn, found = _the_one(entries, attribute)
    except DirectoryRefused as refused:
        return "", refused.reason
    return (dn, "") if found == linked_id else ("", "directory-other-person")


def _the_one(entries: Sequence[SearchResultEntry], attribute: IdAttribute) -> tuple[str, str]:
    """DN and id of the one entry; raises DirectoryRefused for none, for several, and for one without an id."""
    if not entries:
        raise DirectoryRefused("directory-unknown")
    if len(entries) > 1:
        raise DirectoryRefused("directory-ambiguous")
    values = [value for one in entries[0].attributes if one.name.lower() == attribute.lower() for value in one.values]
    identifier = _id_of(values[0], attribute) if len(values) == 1 else ""
    if not identifier or not entries[0].object_name:  # an empty name would make the bind anonymous
        raise DirectoryRefused("directory-no-id")
    return entries[0].object_name, identifier


def _id_of(value: bytes, attribute: IdAttribute) -> str:
    """One spelling of an id: UUIDs in small letters, AD's 16 bytes as it prints them (first three fields reversed)."""
    if attribute is IdAttribute.OBJECT_GUID:
        return str(uuid.UUID(bytes_le=value)) if len(value) == 16 else ""
    try:
        text = value.decode("ascii")
        if attribute is IdAttribute.NS_UNIQUE_ID:  # 389 DS groups the same bits otherwise
            return text.lower() if 0 < len(text) <= ID_MAX_CHARS and text.isprintable() else ""
        return str(uuid.UUID(text))
    except ValueError:
        return ""


def _may_be_sent(password: str) -> bool:
    if not 0 < len(password) <= PASSWORD_MAX_CHARS:
        return False
    try:
        password.encode("utf-8")
    except UnicodeEncodeError:  # LDAP takes passwords as UTF-8 (RFC 4513, 5.1.3)
        return False
    return True
