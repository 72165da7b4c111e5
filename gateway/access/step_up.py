"""How fresh the last proof of a second factor in a session is; pure."""

from datetime import datetime, timedelta

from gateway.exchange import Principal


def proof_age(principal: Principal, now: datetime) -> timedelta | None:
    """Time since a second factor was verified in this session; None where none ever was (programs)."""
    return None if principal.proved_at is None else now - principal.proved_at


def needs_proof(principal: Principal, max_age: timedelta, now: datetime) -> bool:
    """Whether a factor has to be proved anew first; a proof of the future counts as none."""
    age = proof_age(principal, now)
    return age is None or not timedelta(0) <= age < max_age
