"""The cookies of our own pages: names, attributes, reading and clearing.

`__Host-` makes browsers accept them only over TLS, for this very host and every path of it, so that neither a
neighbouring host nor the CRM can plant one (ASVS 3.3.1 to 3.3.5). Two cookies of the same name are refused, because
which of them counts would be a guess.
"""

from collections.abc import Iterable, Mapping, Sequence
from http.cookies import SimpleCookie

from starlette.responses import Response

from gateway.access.sessions import AUDIENCE_CONSOLE, AUDIENCE_CRM

SESSION_COOKIES: Mapping[str, str] = {AUDIENCE_CRM: "__Host-crmgate", AUDIENCE_CONSOLE: "__Host-crmgate-console"}
STEP_COOKIES: Mapping[str, str] = {
    AUDIENCE_CRM: "__Host-crmgate-step",
    AUDIENCE_CONSOLE: "__Host-crmgate-console-step",
}


def read_cookie(headers: Iterable[tuple[bytes, bytes]], name: str) -> str:
    """The value of one cookie, "" when there is none or more than one of that name."""
    found: list[str] = []
    for key, value in headers:
        if key == b"cookie":
            for pair in value.decode("latin-1").split(";"):
                given, separator, content = pair.strip().partition("=")
                if separator and given == name:
                    found.append(content)
    return found[0] if len(found) == 1 else ""


def set_cookie(response: Response, name: str, value: str, *, max_age_s: int | None = None) -> None:
    """Set one of our cookies; without max_age_s it lasts until the browser closes."""
    response.set_cookie(name, value, max_age=max_age_s, path="/", secure=True, httponly=True, samesite="lax")


def clear_cookie(response: Response, name: str) -> None:
    """Take one of our cookies back."""
    response.delete_cookie(name, path="/", secure=True, httponly=True, samesite="lax")


def expire_crm_cookies(response: Response, names: Sequence[str]) -> None:
    """Tell the browser to forget the CRM's own session cookies (they live on this host, too)."""
    for name in names:
        jar: SimpleCookie = SimpleCookie()
        jar[name] = ""
        jar[name]["path"] = "/"
        jar[name]["max-age"] = 0
        jar[name]["secure"] = True
        response.headers.append("set-cookie", jar.output(header="").strip())
