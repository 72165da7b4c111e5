"""Refusals are answered in the person's language, as a page or a problem document, and never leave the host."""

import base64
import hashlib
import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import refusal as reasons
from gateway.messages import LANGUAGES
from gateway.refusal import Refusal
from gateway.respond import language_of, page, problem, safe_next, send_refusal, wants_page

BROWSER = [
    (b"accept", b"text/html,*/*;q=0.8"),
    (b"sec-fetch-dest", b"document"),
    (b"accept-language", b"zh-CN,zh;q=0.9,en;q=0.8"),
]


async def answer(
    refusal: Refusal,
    fields: list[tuple[bytes, bytes]],
    *,
    method: str = "GET",
    target: bytes = b"/persons/contacts?a=1",
) -> tuple[int, dict[str, str], bytes]:
    sent: list[Any] = []

    async def send(event: Any) -> None:
        sent.append(event)

    scope = {"method": method, "headers": fields, "crmgate.target": target}
    status = await send_refusal(scope, send, refusal, "x-77")
    assert sent[0]["status"] == status
    return status, {name.decode(): value.decode() for name, value in sent[0]["headers"]}, sent[1]["body"]


async def test_a_program_gets_a_problem_document() -> None:
    refused = Refusal(reasons.FIELD_NOT_WRITABLE, detail="form", fields=("phone",))
    status, fields, body = await answer(refused, [(b"accept", b"application/json")])
    document = json.loads(body)
    assert status == document["status"] == 403
    assert fields["content-type"] == "application/problem+json"
    assert document["reason"] == "field-not-writable"
    assert document["type"] == "urn:crmgate:refusal:field-not-writable"
    assert document["fields"] == ["phone"]
    assert document["exchange"] == "x-77"
    assert document["retry"] is False
    assert fields["cache-control"] == "no-store"


async def test_a_browser_that_has_to_prove_itself_goes_to_its_page_and_back() -> None:
    for reason, more in ((reasons.DEVICE_NEEDED, ""), (reasons.DEVICE_PROOF_NEEDED, "&act=1")):
        status, fields, _ = await answer(Refusal(reason), BROWSER)
        assert (status, fields["location"]) == (303, f"/.crmgate/device?next=/persons/contacts%3Fa%3D1{more}")
        sent = [*BROWSER, (b"referer", b"https://crm.example/persons/contact/add")]
        status, fields, body = await answer(Refusal(reason), sent, method="POST")
        assert status == 401
        address = f"/.crmgate/device?next=/persons/contact/add{more.replace('&', '&amp;')}"
        assert f'href="{address}"' in body.decode()
        status, fields, body = await answer(Refusal(reason), [(b"accept", b"application/json")])
        assert (status, json.loads(body)["reason"]) == (401, reason.id)
        assert fields["www-authenticate"] == 'Session realm="crmgate"'


async def test_a_person_gets_a_page_whose_policy_names_its_only_style() -> None:
    status, fields, body = await answer(Refusal(reasons.CRM_DOWN), BROWSER)
    text = body.decode()
    assert status == 502
    assert '<html lang="zh-Hans">' in text
    assert fields["retry-after"] == "5"
    style = re.search("<style>(.*)</style>", text, re.S)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in fields["content-security-policy"]
    assert "<script" not in text
    assert "http://" not in text
    assert "https://" not in text


async def test_field_names_are_escaped() -> None:
    text = page(Refusal(reasons.FIELD_NOT_WRITABLE, fields=("<img src=x>",)), "x", "en").decode()
    assert "<img" not in text


async def test_a_browser_without_session_is_sent_to_sign_in_and_back() -> None:
    status, fields, _ = await answer(Refusal(reasons.SIGN_IN_REQUIRED), BROWSER)
    assert (status, fields["location"]) == (303, "/.crmgate/sign-in?next=/persons/contacts%3Fa%3D1")


async def test_other_callers_without_session_get_401() -> None:
    for method, headers in (("POST", BROWSER), ("GET", [(b"accept", b"text/html"), (b"sec-fetch-dest", b"empty")])):
        status, fields, _ = await answer(Refusal(reasons.SIGN_IN_REQUIRED), headers, method=method)
        assert status == 401
        assert "www-authenticate" in fields


@pytest.mark.parametrize(
    "target",
    ["//evil.example", "/\\evil", "https://evil.example", "/.crmgate/sign-out", "", "x", "/a\nb", "/" + "a" * 3000],
)
def test_only_own_paths_are_gone_on_to(target: str) -> None:
    assert safe_next(target) is None


@settings(deadline=None)  # machines are shared
@given(st.text(max_size=40))
def test_any_next_stays_on_this_host(target: str) -> None:
    from urllib.parse import urljoin, urlsplit

    onward = safe_next(target)
    if onward is not None:
        assert urlsplit(urljoin("https://crm.localhost:8443/x", onward)).netloc == "crm.localhost:8443"


@pytest.mark.parametrize(
    ("fields", "language"),
    [
        ([("accept-language", "zh-CN,en;q=0.5")], "zh"),
        ([("accept-language", "fr, en;q=0.2, zh;q=0.1")], "en"),
        ([("accept-language", "en;q=0.3,zh-Hans;q=0.9")], "zh"),
        ([("accept-language", "zh;q=0")], "en"),
        ([("accept-language", "zh;q=x,,;;")], "en"),
        ([("cookie", "a=1; __Host-crmgate-language=zh_Hans"), ("accept-language", "en")], "zh"),
        ([("cookie", "__Host-crmgate-language=xx"), ("accept-language", "zh")], "zh"),
        ([], "en"),
    ],
)
def test_the_language_is_the_persons(fields: list[tuple[str, str]], language: str) -> None:
    assert language_of(fields) == language


def test_who_gets_a_page() -> None:
    assert wants_page([("accept", "text/html")])
    assert wants_page([("sec-fetch-dest", "iframe")])
    assert not wants_page([("accept", "text/html"), ("x-requested-with", "XMLHttpRequest")])
    assert not wants_page([("accept", "text/html"), ("sec-fetch-dest", "image")])
    assert not wants_page([("accept", "*/*")])


def test_a_problem_is_the_same_in_both_languages_but_for_the_words() -> None:
    english, chinese = (json.loads(problem(Refusal(reasons.CRM_SLOW), "x", language)) for language in LANGUAGES)
    assert {**english, "title": "", "detail": ""} == {**chinese, "title": "", "detail": ""}
