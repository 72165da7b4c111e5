"""One call to a provider: with limits of time and size, without redirects, over verified TLS; its answer is JSON.

A provider in trouble must cost one sign-in, never the gateway: each call has a connection of its own, and everything
that is not a JSON object in time is an error whose text holds nothing of the answer.
"""

import asyncio
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from gateway.connection import Timeouts
from gateway.federation.config import LOOPBACK
from gateway.federation.vouched import ProviderDown, VouchRefused
from gateway.upstream import Pool, UpstreamError, UpstreamSlow

ANSWER_LIMIT_BYTES = 256 * 1024
JSON_TYPE, FORM_TYPE = "application/json", "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class Fetched:
    """An answer whose body is a JSON object."""

    status: int
    body: Mapping[str, Any]


class Fetcher:
    """Calls one provider's addresses. timeout_s: for one whole answer; ca: its CA where that is not a public one."""

    def __init__(self, timeout_s: float, ca: Path | None = None) -> None:
        self._timeout_s = timeout_s
        self._tls = ssl.create_default_context(cafile=None if ca is None else str(ca))
        self._tls.minimum_version = ssl.TLSVersion.TLSv1_2

    async def get(self, url: str, headers: Mapping[str, str] | None = None) -> Fetched:
        """Ask; raises ProviderDown, VouchRefused."""
        return await self._call("GET", url, b"", dict(headers or {}))

    async def post_form(self, url: str, fields: Mapping[str, str], headers: Mapping[str, str] | None = None) -> Fetched:
        """Send a form; raises ProviderDown, VouchRefused."""
        body = urlencode(dict(fields)).encode("ascii")
        return await self._call("POST", url, body, {"content-type": FORM_TYPE, **(headers or {})})

    async def post_json(self, url: str, fields: Mapping[str, str]) -> Fetched:
        """Send JSON; raises ProviderDown, VouchRefused."""
        return await self._call("POST", url, json.dumps(dict(fields)).encode(), {"content-type": JSON_TYPE})

    async def _call(self, method: str, url: str, body: bytes, headers: dict[str, str]) -> Fetched:
        origin, target = split(url)
        seconds = self._timeout_s
        timeouts = Timeouts(connect=seconds, read=seconds, write=seconds, total=seconds, wait=seconds, idle=seconds)
        pool = Pool(origin, size=1, timeouts=timeouts, tls=self._tls)
        fields = {
            "host": urlsplit(origin).netloc,
            "accept": JSON_TYPE,
            "accept-encoding": "identity",
            "user-agent": "crmgate",
            "connection": "close",
            **headers,
        }
        if method == "POST":
            fields["content-length"] = str(len(body))
        head = f"{method} {target} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        try:
            async with asyncio.timeout(seconds * 2):
                answer = await pool.request(method.encode(), f"{head}\r\n".encode("latin-1"), body)
                content = await answer.read(ANSWER_LIMIT_BYTES)
        except (TimeoutError, UpstreamSlow):
            raise ProviderDown("slow") from None
        except UpstreamError as fault:
            raise (VouchRefused if fault.permanent else ProviderDown)("answer-unreadable") from None
        finally:
            await pool.close()
        if answer.status >= 500 or answer.status == 429:
            raise ProviderDown("trouble")
        return Fetched(answer.status, _object(content))


def split(url: str) -> tuple[str, str]:
    """Origin and target of an address that may be called; raises VouchRefused for any other."""
    try:
        parts = urlsplit(url)
        port_fits = parts.port is None or parts.port > 0
    except ValueError:
        raise VouchRefused("address-invalid") from None
    secure = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)
    plain = all("\x21" <= char <= "\x7e" for char in url)
    if not (secure and plain and port_fits and parts.hostname) or parts.username or parts.password or parts.fragment:
        raise VouchRefused("address-invalid")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return f"{parts.scheme}://{parts.netloc}", target


def _object(content: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        raise VouchRefused("answer-unreadable") from None
    if not isinstance(found, dict):
        raise VouchRefused("answer-unreadable")
    return found
