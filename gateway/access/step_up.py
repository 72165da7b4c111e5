"""How fresh the last proof of a second factor in a session is, and where a new one is asked for; pure."""

from datetime import datetime, timedelta
from urllib.parse import quote, urlsplit

from gateway.exchange import Head, Principal

LOCK_PATH = "/.crmgate/lock"
STEP_UP_PATH = "/.crmgate/step-up"
DEVICE_PATH = "/.crmgate/device"
AGAIN_PATH = f"{DEVICE_PATH}/again"
AGAIN_LIMIT_BYTES = 64 * 1024  # what our own pages take
FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")


def proof_address(path: str, target: str, *, lost: bool = False) -> str:
    """Address of the lock or step-up page that goes on to a path of this host; lost: what was sent was not taken."""
    return f"{path}?next={quote(target, safe='/')}" + ("&lost=1" if lost else "")


def path_of(address: str) -> str:
    """Path and query of an address such as a Referer: the page a form was sent from, "" where there is none."""
    parts = urlsplit(address)
    return parts.path + (f"?{parts.query}" if parts.query else "")


def proof_age(principal: Principal, now: datetime) -> timedelta | None:
    """Time since a second factor was verified in this session; None where none ever was (programs)."""
    return None if principal.proved_at is None else now - principal.proved_at


def needs_proof(principal: Principal, max_age: timedelta, now: datetime) -> bool:
    """Whether a factor has to be proved anew first; a proof of the future counts as none."""
    age = proof_age(principal, now)
    return age is None or not timedelta(0) <= age < max_age


def may_send_again(head: Head, limit: int) -> bool:
    """Whether a request is a form that a person sent from a page, which that browser can send once more.

    limit: bytes of its body.
    """
    named = head.named
    if (
        head.method != "POST"
        or named.get("content-encoding")
        or (head.content_length or limit + 1) > min(limit, AGAIN_LIMIT_BYTES)
    ):
        return False
    shown = named.get("sec-fetch-dest") == "document" and named.get("sec-fetch-mode") == "navigate"
    return shown and named.get("content-type", "").partition(";")[0].strip().lower() in FORMS
