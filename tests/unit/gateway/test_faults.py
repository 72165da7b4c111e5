"""Whatever is raised becomes a refusal with a reason; unknown means internal fault, never pass."""

import psycopg
import pytest

from audit.log import AuditUnavailable
from gateway.access.sessions import NoSession
from gateway.answer import AnswerTooLarge, UpstreamCutOff, UpstreamDown, UpstreamNonsense, UpstreamSlow
from gateway.body.fault import BodyFault, BodyMalformed, BodyTooDeep, BodyTooLarge, BodyUnreadable, DecompressionLimit
from gateway.database import DatabaseUnavailable
from gateway.faults import reason_for
from gateway.refusal import CRM_DOWN, Refusal
from kms.provider import KeyringLocked, KeysUnavailable


@pytest.mark.parametrize(
    ("fault", "stage", "reason"),
    [
        (Refusal(CRM_DOWN), "x", "crm-down"),
        (UpstreamDown("x"), "upstream", "crm-down"),
        (UpstreamSlow("x"), "upstream", "crm-slow"),
        (UpstreamCutOff("x"), "upstream", "crm-cut-off"),
        (UpstreamNonsense("x"), "upstream", "crm-answer-unreadable"),
        (AnswerTooLarge("x"), "upstream", "answer-too-large"),
        (AuditUnavailable(), "audit", "audit-unavailable"),
        (KeysUnavailable("away", "x"), "render", "keys-unavailable"),
        (KeyringLocked("locked", "x"), "protect", "keys-unavailable"),
        (DatabaseUnavailable(), "access", "store-unavailable"),
        (psycopg.OperationalError(), "render", "store-unavailable"),
        (NoSession(), "access", "sign-in-required"),
        (BodyTooLarge("x"), "protect", "body-too-large"),
        (DecompressionLimit("x"), "protect", "decompression-limit"),
        (BodyUnreadable("x"), "protect", "body-unreadable"),
        (BodyTooDeep("x"), "protect", "body-malformed"),
        (BodyMalformed("x"), "render", "crm-answer-unreadable"),
        (DecompressionLimit("x"), "upstream", "answer-too-large"),
        (BodyFault("x"), "render", "crm-answer-unreadable"),
        (TimeoutError(), "audit", "audit-unavailable"),
        (TimeoutError(), "access", "store-unavailable"),
        (TimeoutError(), "", "internal-fault"),
        (KeyError("13800138000"), "protect", "internal-fault"),
        (ExceptionGroup("x", [UpstreamDown("x")]), "upstream", "internal-fault"),
    ],
)
def test_every_fault_has_its_reason(fault: Exception, stage: str, reason: str) -> None:
    ending = reason_for(fault, stage)
    assert ending.refusal.reason.id == reason
    assert "13800138000" not in ending.fault + ending.refusal.detail
