"""What every answer of our own pages carries, and which requests may change something.

Content-Security-Policy without inline scripts or styles, no framing, no caching, no referrer; a request that changes
something must come from our own pages: browsers say so in `Sec-Fetch-Site` and `Origin`, which pages cannot forge
(ASVS 3.5.1). Pure ASGI, because wrapping requests in tasks breaks context variables.
"""

from collections.abc import Mapping
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
POLICY = "content-security-policy"
HEADERS: Mapping[str, str] = {
    POLICY: CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "strict-transport-security": "max-age=31536000",
}
SAFE_METHODS = frozenset({"GET", "HEAD"})
KNOWN_METHODS = SAFE_METHODS | {"POST"}
# For programs, which have no cookie jar another site could ride on: both factors are in the body.
PROGRAM_PATHS = "/.crmgate/api/"


class CrossSiteRefused(Exception):  # noqa: N818 - an outcome answered with 403
    """A request that changes something does not come from our own pages."""

    permanent = True


def check_same_origin(method: str, path: str, headers: Mapping[str, str]) -> None:
    """Raise CrossSiteRefused unless the request is harmless or comes from a page of this very origin.

    headers: by lower-case name. A browser always sends `Origin` with a POST; without it and without `Sec-Fetch-Site`
    it is a program, which may use the addresses made for programs only.
    """
    if method in SAFE_METHODS:
        return
    site = headers.get("sec-fetch-site")
    if site is not None and site not in ("same-origin", "none"):
        raise CrossSiteRefused
    origin = headers.get("origin")
    if origin is not None:
        host = headers.get("host", "").lower()
        parts = urlsplit(origin.lower())
        if not host or parts.netloc != host or parts.scheme not in ("https", "http"):
            raise CrossSiteRefused
    elif site is None and not path.startswith(PROGRAM_PATHS):
        raise CrossSiteRefused


class Guard:
    """ASGI wrapper that adds the headers and refuses cross-site requests before any page sees them."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    if name != POLICY or name not in headers:  # one file of ours has a policy of its own
                        headers[name] = value
                headers.setdefault("cache-control", "no-store")
            await send(message)

        headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}
        if scope["method"] not in KNOWN_METHODS:
            refused = PlainTextResponse("method not allowed\n", 405, {"allow": "GET, HEAD, POST"})
            await refused(scope, receive, send_guarded)
            return
        try:
            check_same_origin(scope["method"], scope["path"], headers)
        except CrossSiteRefused:
            await PlainTextResponse("cross-site-refused\n", 403)(scope, receive, send_guarded)
            return
        await self._app(scope, receive, send_guarded)
