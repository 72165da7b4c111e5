"""What a profile says of sessions that the gateway carries: templates, answers, and what makes no sense."""

import base64
import json

import pytest

from policies.carried import compile_carried, fill
from policies.profile import load_profile

FORM = {
    "sign_in": {
        "path": "/in",
        "form": {"u": "{login}", "p": "{secret}"},
        "accepted": [302],
        "refused": {"status": [200]},
    },
    "cookies": ["sid"],
}


def test_tryton_is_signed_in_to_by_a_call_and_bears_a_header() -> None:
    carried = load_profile("tryton").carried
    assert carried is not None
    assert carried.asks_for_database
    assert carried.sign_in is not None
    given = {"login": 'o"brien', "secret": "pass {login}", "db": "my db"}
    assert carried.sign_in.target(given) == "/my%20db/rpc/"
    sent = json.loads(carried.sign_in.document(given))
    assert sent["params"] == ['o"brien', {"password": "pass {login}"}, "en"]
    told = carried.told(200, b'{"id":1,"result":[7,"abc",null]}', {})
    assert told == {"user": "7", "key": "abc"}
    line = carried.line({"login": "o:brien", "db": "d", **told})
    packed = base64.b64encode(b"o:brien:7:abc").decode()
    assert line == f"authorization: Session {packed}\r\n"


@pytest.mark.parametrize(
    "body", [b'{"id":1,"result":null}', b'{"id":1,"error":["x"]}', b"<html>", b"", b'{"result":[7]}']
)
def test_an_answer_without_all_of_it_tells_nothing(body: bytes) -> None:
    carried = load_profile("tryton").carried
    assert carried is not None
    assert carried.told(200, body, {}) is None


def test_creme_is_a_session_only_with_its_cookie() -> None:
    carried = load_profile("creme").carried
    assert carried is not None
    assert carried.told(302, b"", {"csrftoken": "t"}) is None
    assert carried.told(302, b"", {"csrftoken": "t", "sessionid": "s"}) == {"csrf": "t"}
    assert carried.line({}) == ""


@pytest.mark.parametrize("secret", ["two\r\nlines: x", "ümlaut", " space", ""])
def test_a_secret_that_would_break_the_header_is_refused(secret: str) -> None:
    made, problems = compile_carried({"header": {"name": "x-key", "value": "{secret}"}}, frozenset())
    assert problems == []
    with pytest.raises(ValueError, match="no header"):
        made.line({"secret": secret})


def test_a_template_is_filled_once() -> None:
    assert fill("{a}-{b}", {"a": "{b}", "b": "x"}) == "{b}-x"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"cookies": []}, "cookies or header"),
        ({"cookies": ["other"]}, "cookies.session"),
        ({"header": {"name": "x", "value": "{key}"}}, "{key}"),
        ({"header": {"name": "x", "value": "{secret}"}}, "{secret}"),
        ({"user": "id"}, "tells does not have"),
        ({"sign_in": {**FORM["sign_in"], "accepted": [200]}}, "one status"),
        ({"sign_in": {**FORM["sign_in"], "json": {}}}, "either form or json"),
        ({"sign_in": None}, "cookies come from a sign-in"),
    ],
)
def test_what_makes_no_sense_is_told(change: dict[str, object], said: str) -> None:
    source = {key: one for key, one in {**FORM, **change}.items() if one is not None}
    _, problems = compile_carried(source, frozenset({"sid"}))
    assert any(said in one for one in problems), problems


def test_a_right_description_has_no_problem() -> None:
    assert compile_carried(FORM, frozenset({"sid"}))[1] == []
