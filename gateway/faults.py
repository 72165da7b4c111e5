"""Whatever ends an exchange, as the refusal it becomes: one table from faults of collaborators to reason ids.

Unknown means INTERNAL_FAULT, never "pass". The class name of a fault is all that may be logged of it.
"""

import asyncio
from dataclasses import dataclass

import psycopg

from audit.log import AuditUnavailable
from gateway.access.sessions import DeviceNeeded, NoSession, SessionExpired, SessionLocked
from gateway.answer import AnswerTooLarge, UpstreamCutOff, UpstreamDown, UpstreamNonsense, UpstreamSlow
from gateway.body import fault as body
from gateway.collaborators import ClientGone
from gateway.database import DatabaseUnavailable
from gateway.refusal import (
    ANSWER_TOO_LARGE,
    AUDIT_UNAVAILABLE,
    BODY_MALFORMED,
    BODY_TOO_LARGE,
    BODY_UNREADABLE,
    CLIENT_GONE,
    CLIENT_SLOW,
    CRM_ANSWER_UNREADABLE,
    CRM_CUT_OFF,
    CRM_DOWN,
    CRM_SLOW,
    DECOMPRESSION_LIMIT,
    DEVICE_NEEDED,
    INTERNAL_FAULT,
    KEYS_UNAVAILABLE,
    SESSION_ENDED,
    SESSION_LOCKED,
    SIGN_IN_REQUIRED,
    STORE_UNAVAILABLE,
    Reason,
    Refusal,
)
from gateway.watch import ENDED
from kms.provider import KeysUnavailable
from kms.store import StoreUnavailable
from kms.stream import StreamInvalid

# Stages that hang: which collaborator is meant.
_HANGING = {
    "access": STORE_UNAVAILABLE,
    "identity": CRM_SLOW,
    "body": CLIENT_SLOW,
    "protect": KEYS_UNAVAILABLE,
    "audit": AUDIT_UNAVAILABLE,
    "upstream": CRM_SLOW,
    "render": KEYS_UNAVAILABLE,
}
_BY_CLASS: tuple[tuple[type[Exception], Reason], ...] = (
    (UpstreamDown, CRM_DOWN),
    (UpstreamSlow, CRM_SLOW),
    (UpstreamCutOff, CRM_CUT_OFF),
    (UpstreamNonsense, CRM_ANSWER_UNREADABLE),
    (AnswerTooLarge, ANSWER_TOO_LARGE),
    (StreamInvalid, CRM_ANSWER_UNREADABLE),
    (AuditUnavailable, AUDIT_UNAVAILABLE),
    (ClientGone, CLIENT_GONE),
    (NoSession, SIGN_IN_REQUIRED),
    (SessionExpired, SESSION_ENDED),
    (SessionLocked, SESSION_LOCKED),
    (DeviceNeeded, DEVICE_NEEDED),
    (KeysUnavailable, KEYS_UNAVAILABLE),
    (StoreUnavailable, STORE_UNAVAILABLE),
    (DatabaseUnavailable, STORE_UNAVAILABLE),
    (psycopg.Error, STORE_UNAVAILABLE),
)
_REQUEST_BODY: tuple[tuple[type[Exception], Reason], ...] = (
    (body.BodyTooLarge, BODY_TOO_LARGE),
    (body.DecompressionLimit, DECOMPRESSION_LIMIT),
    (body.BodyUnreadable, BODY_UNREADABLE),
    (body.BodyFault, BODY_MALFORMED),
)
_ANSWER_BODY: tuple[tuple[type[Exception], Reason], ...] = (
    (body.BodyTooLarge, ANSWER_TOO_LARGE),
    (body.DecompressionLimit, ANSWER_TOO_LARGE),
    (body.BodyFault, CRM_ANSWER_UNREADABLE),
)
_REQUEST_STAGES = frozenset({"", "access", "identity", "body", "protect"})


@dataclass(frozen=True, slots=True)
class Ending:
    """The refusal, and the class name of the fault when somebody has to look at it."""

    refusal: Refusal
    fault: str = ""


def reason_for(fault: BaseException, stage: str) -> Ending:
    """How this fault, raised in this stage, ends the exchange."""
    if isinstance(fault, Refusal):
        return Ending(fault)
    if stage == ENDED and isinstance(fault, asyncio.CancelledError):
        return Ending(Refusal(SESSION_ENDED))
    name = type(fault).__name__
    if isinstance(fault, BaseExceptionGroup):
        return Ending(Refusal(INTERNAL_FAULT), name)
    if not isinstance(fault, Exception) or isinstance(fault, TimeoutError):
        return Ending(Refusal(_HANGING.get(stage, INTERNAL_FAULT)), name)
    if isinstance(fault, body.BodyFault):
        table = _REQUEST_BODY if stage in _REQUEST_STAGES else _ANSWER_BODY
        return Ending(Refusal(_find(fault, table) or INTERNAL_FAULT, detail=fault.problem))
    known = _find(fault, _BY_CLASS)
    if known is not None:
        quiet = known in (SIGN_IN_REQUIRED, SESSION_ENDED, SESSION_LOCKED, DEVICE_NEEDED, CLIENT_GONE)
        return Ending(Refusal(known), "" if quiet else name)
    return Ending(Refusal(INTERNAL_FAULT), name)


def _find(fault: Exception, table: tuple[tuple[type[Exception], Reason], ...]) -> Reason | None:
    return next((reason for kind, reason in table if isinstance(fault, kind)), None)
