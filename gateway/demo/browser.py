"""A small browser for the demo and the tests: cookies, redirects, HTML forms, JSON; one keep-alive connection.

It connects to 127.0.0.1 whatever the host of its base URL is and sends that host in SNI and `Host`, as a browser does
for names under `.localhost`. It never runs scripts; the tests use Chromium for that.
"""

import json
import ssl
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

from selectolax.lexbor import LexborHTMLParser

from gateway.body.control import successful

Pairs = Sequence[tuple[str, str]]
MAX_REDIRECTS = 10
FRESH_S = 20.0  # how long a connection may rest; the gateway keeps idle ones for a minute


class BrowserFault(Exception):  # noqa: N818 - names what is at fault
    """The other side did not answer as a browser needs it; the text names method, path and status."""

    permanent = False


@dataclass(frozen=True, slots=True)
class Upload:
    """One file of a multipart form."""

    file_name: str
    content: bytes
    media_type: str = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, decoded lazily; headers have lower-case names, duplicates kept."""

    method: str
    url: str
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str:
        """First value of a header, or ""."""
        return next((value for key, value in self.headers if key == name.lower()), "")

    @property
    def text(self) -> str:
        """The body as UTF-8 text."""
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    def expect(self, *statuses: int) -> "Answer":
        """Itself when the status is one of these; raises BrowserFault otherwise."""
        if self.status not in statuses:
            raise BrowserFault(f"{self.method} {urlsplit(self.url).path} answered {self.status}")
        return self


@dataclass(frozen=True, slots=True)
class Form:
    """A form as a browser would send it: every successful control with its current value."""

    action: str
    method: str
    fields: tuple[tuple[str, str], ...]

    def filled(self, changes: Mapping[str, str | None]) -> list[tuple[str, str]]:
        """Fields with some values replaced, added or (None) left out."""
        kept = [(name, value) for name, value in self.fields if name not in changes]
        return kept + [(name, value) for name, value in changes.items() if value is not None]


@dataclass(slots=True)
class Browser:
    """One person's browser at one host.

    base: e.g. https://crm.localhost:8443; authority: PEM file to trust; connect_to: address behind the name.
    """

    base: str
    authority: Path | None = None
    connect_to: str = "127.0.0.1"
    timeout_s: float = 60.0
    language: str = "en"
    extra_headers: dict[str, str] = field(default_factory=dict)
    cookies: dict[str, str] = field(default_factory=dict)
    _connection: HTTPConnection | None = None
    _answered_at: float = 0.0

    def get(self, path: str, *, follow: bool = True, headers: Mapping[str, str] | None = None) -> Answer:
        """GET a path or an absolute URL of this host."""
        answer = self.send("GET", path, headers=headers)
        return self._follow(answer) if follow else answer

    def post(
        self,
        path: str,
        fields: Mapping[str, str] | Pairs,
        *,
        follow: bool = True,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """POST a URL-encoded form."""
        pairs = list(fields.items()) if isinstance(fields, Mapping) else list(fields)
        given = {"content-type": "application/x-www-form-urlencoded", **(headers or {})}
        answer = self.send("POST", path, urlencode(pairs).encode(), given)
        return self._follow(answer) if follow else answer

    def post_json(self, path: str, value: Any, *, headers: Mapping[str, str] | None = None) -> Answer:
        """POST JSON; no redirect is followed."""
        given = {"content-type": "application/json", "accept": "application/json", **(headers or {})}
        return self.send("POST", path, json.dumps(value).encode(), given)

    def post_files(
        self, path: str, fields: Pairs, files: Sequence[tuple[str, Upload]], *, follow: bool = True
    ) -> Answer:
        """POST a multipart form with files."""
        boundary = f"----crmgate{uuid.uuid4().hex}"
        parts = [
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
            for name, value in fields
        ]
        for name, upload in files:
            head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="{upload.file_name}"\r\n'
            parts.append(f"{head}Content-Type: {upload.media_type}\r\n\r\n".encode() + upload.content + b"\r\n")
        body = b"".join(parts) + f"--{boundary}--\r\n".encode()
        answer = self.send("POST", path, body, {"content-type": f"multipart/form-data; boundary={boundary}"})
        return self._follow(answer) if follow else answer

    def submit(
        self, answer: Answer, changes: Mapping[str, str | None], index: int = 0, *, follow: bool = True
    ) -> Answer:
        """Fill one form of a page and send it, with the Referer and Origin a browser sends."""
        form = forms(answer)[index]
        target = urljoin(answer.url, form.action or answer.url)
        about = {"referer": answer.url, "origin": self.base}
        if form.method == "get":
            return self.get(f"{urlsplit(target).path}?{urlencode(form.filled(changes))}", follow=follow, headers=about)
        return self.post(target, form.filled(changes), follow=follow, headers=about)

    def send(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """One exchange, no redirect followed; a dropped idle connection is opened again once."""
        url = urljoin(self.base + "/", path)
        parts = urlsplit(url)
        if f"{parts.scheme}://{parts.netloc}" != self.base.rstrip("/"):
            raise BrowserFault(f"{method} {parts.netloc}: another host than {self.base}")
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        given = {"host": parts.netloc, "accept": "*/*", "accept-language": self.language, **self.extra_headers}
        given["user-agent"] = "Mozilla/5.0 crmgate-demo"
        if self.cookies:
            given["cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        given.update(headers or {})
        if time.monotonic() - self._answered_at > FRESH_S:
            self.close()  # the server may be about to end it, and a write must not be sent twice
        used = self._connection is not None
        try:
            return self._exchange(method, url, target, body, given)
        except (OSError, HTTPException):
            self.close()
            if not used or method != "GET":
                raise
            return self._exchange(method, url, target, body, given)

    def close(self) -> None:
        """Close the connection; cookies stay."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _exchange(self, method: str, url: str, target: str, body: bytes | None, headers: Mapping[str, str]) -> Answer:
        connection = self._connection or self._connect(urlsplit(url).hostname or "", urlsplit(url).port)
        self._connection = connection
        connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("content-length", str(len(body)))
        connection.endheaders(body)
        reply = connection.getresponse()
        content = reply.read()
        got = tuple((name.lower(), value) for name, value in reply.getheaders())
        if reply.will_close:
            self.close()
        self._remember(got)
        self._answered_at = time.monotonic()
        return Answer(method, url, reply.status, got, content)

    def _connect(self, host: str, port: int | None) -> HTTPConnection:
        if not self.base.startswith("https:"):
            return HTTPConnection(self.connect_to, port or 80, timeout=self.timeout_s)
        context = ssl.create_default_context(cafile=None if self.authority is None else str(self.authority))
        return _NamedConnection(host, self.connect_to, port or 443, self.timeout_s, context)

    def _remember(self, headers: Pairs) -> None:
        for name, value in headers:
            if name != "set-cookie":
                continue
            for key, morsel in SimpleCookie(value).items():
                if morsel["max-age"] == "0" or (not morsel.value and morsel["expires"]):
                    self.cookies.pop(key, None)
                else:
                    self.cookies[key] = morsel.value

    def _follow(self, answer: Answer) -> Answer:
        for _ in range(MAX_REDIRECTS):
            if answer.status not in (301, 302, 303, 307, 308) or not answer.header("location"):
                return answer
            answer = self.send("GET", urljoin(answer.url, answer.header("location")), headers={"referer": answer.url})
        raise BrowserFault(f"{urlsplit(answer.url).path} redirects without end")


class _NamedConnection(HTTPSConnection):
    """TLS to an address under the name of another: what a browser does for *.localhost."""

    def __init__(self, name: str, address: str, port: int, timeout: float, context: ssl.SSLContext) -> None:
        super().__init__(address, port, timeout=timeout, context=context)
        self._name = name
        self._tls = context

    def connect(self) -> None:
        """Connect, then prove the name."""
        HTTPConnection.connect(self)
        self.sock = self._tls.wrap_socket(self.sock, server_hostname=self._name)


def forms(answer: Answer) -> list[Form]:
    """Every form of a page, in order."""
    found: list[Form] = []
    for node in LexborHTMLParser(answer.body).css("form"):
        attributes = node.attributes
        pairs: list[tuple[str, str]] = []
        for control in node.css("input, textarea, select, button"):
            pairs += successful(control)
        found.append(Form(attributes.get("action") or "", (attributes.get("method") or "get").lower(), tuple(pairs)))
    return found
