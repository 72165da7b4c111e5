"""What our forms ask for secrets: hidden while typed, open to password managers and pasting, no questions, no messages.

The templates are read as they are: what a form has is in the template, whatever fills it.
"""

import re
from pathlib import Path

import pytest
from selectolax.lexbor import LexborHTMLParser

TEMPLATES = Path(__file__).parents[4] / "gateway" / "console" / "templates"
SECRETS = {"password", "current", "new", "again", "crm_secret"}
FILLED_BY_MANAGERS = {"current-password", "new-password"}


def _inputs(name: str) -> list[dict[str, str | None]]:
    # Jinja's own signs are taken out first: inside a tag they are no attributes.
    text = re.sub(r"\{%.*?%\}|\{#.*?#\}", " ", (TEMPLATES / name).read_text("utf-8"), flags=re.DOTALL)
    return [dict(node.attributes) for node in LexborHTMLParser(text).css("input")]


FORMS = sorted(path.name for path in TEMPLATES.glob("*.html") if "<input" in path.read_text("utf-8"))


def test_the_forms_with_secrets_are_among_those_looked_at() -> None:
    found = {entry.get("name") for name in FORMS for entry in _inputs(name)}
    assert found >= SECRETS


@pytest.mark.parametrize("form", FORMS)
def test_a_secret_is_hidden_while_it_is_typed(form: str) -> None:
    for entry in _inputs(form):
        if entry.get("name") in SECRETS:
            assert entry.get("type") == "password", entry


@pytest.mark.parametrize("form", FORMS)
def test_password_managers_and_pasting_work(form: str) -> None:
    for entry in _inputs(form):
        assert not {"onpaste", "oncopy", "oncontextmenu", "oninput"} & set(entry), entry
        if entry.get("type") == "password" and entry.get("name") != "crm_secret":
            assert entry.get("autocomplete") in FILLED_BY_MANAGERS, entry


def test_no_form_asks_a_question_or_keeps_a_hint_and_no_code_is_sent_anywhere() -> None:
    """A secret question, a hint, an address or a number a code could be sent to would be a field of a form."""
    for form in FORMS:
        for entry in _inputs(form):
            name = (entry.get("name") or "").casefold()
            assert not re.search(r"hint|question|answer|sms|mobile|phone|e-?mail", name), entry
            assert entry.get("type") not in ("tel", "email"), entry
