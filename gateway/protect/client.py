"""A small HTTP client over the gateway's own pool, for the gateway's own requests to a CRM: cookies, forms, JSON.

It talks to one origin only and follows no redirect. Errors name a status, never a body.
"""

import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from gateway.protect.reading import CrmUnreachable
from gateway.upstream import Pool, UpstreamError

PAGE_LIMIT_BYTES = 16 * 1024 * 1024
_COOKIE = re.compile(r"\s*([!#-'*+\-.0-9A-Z^-z|~]{1,256})=([!#-+\--:<-\[\]-~]{0,4096})")
_EXPIRED = re.compile(r";\s*max-age\s*=\s*0+\s*(?:;|$)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Page:
    """One answer. headers: lower-case names."""

    status: int
    headers: dict[str, str] = field(repr=False)
    body: bytes = field(repr=False)


class CrmClient:
    """Requests to one CRM under one session, for as many tasks at once as its pool has connections."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._host = urlsplit(pool.origin).netloc
        self.cookies: dict[str, str] = {}
        self.headers: dict[str, str] = {}

    @property
    def origin(self) -> str:
        """Scheme, host and port of the CRM."""
        return self._pool.origin

    async def get(self, target: str) -> Page:
        """Ask for a page."""
        return await self._send("GET", target, b"", "")

    async def post(self, target: str, body: bytes, content_type: str) -> Page:
        """Send a body; it is never sent twice."""
        return await self._send("POST", target, body, content_type)

    async def close(self) -> None:
        """End the connections."""
        await self._pool.close()

    async def _send(self, method: str, target: str, body: bytes, content_type: str) -> Page:
        fields = {
            "host": self._host,
            "accept": "*/*",
            "accept-encoding": "identity",
            "accept-language": "en",
            "user-agent": "crmgate-protect",
            **self.headers,
        }
        if self.cookies:
            fields["cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        if method == "POST":
            fields |= {"content-type": content_type, "content-length": str(len(body))}
            fields |= {"origin": self.origin, "referer": self.origin + target}
        head = f"{method} {target} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        try:
            answer = await self._pool.request(method.encode(), f"{head}\r\n".encode("latin-1"), body)
            content = await answer.read(PAGE_LIMIT_BYTES)
        except UpstreamError as fault:
            raise CrmUnreachable(f"the CRM does not answer as it should ({type(fault).__name__})") from None
        headers: dict[str, str] = {}
        for name, value in answer.fields:
            key, text = name.decode("latin-1"), value.decode("latin-1")
            if key == "set-cookie":
                self._remember(text)
            headers.setdefault(key, text)
        return Page(answer.status, headers, content)

    def _remember(self, text: str) -> None:
        found = _COOKIE.match(text)
        if found is None:
            return
        if _EXPIRED.search(text):
            self.cookies.pop(found[1], None)
        else:
            self.cookies[found[1]] = found[2]
