"""How fresh the last proof of a second factor in a session is, and where a new one is asked for; pure."""

from datetime import datetime, timedelta
from urllib.parse import quote, urlsplit

from gateway.exchange import Principal

LOCK_PATH = "/.crmgate/lock"
STEP_UP_PATH = "/.crmgate/step-up"
DEVICE_PATH = "/.crmgate/device"


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
