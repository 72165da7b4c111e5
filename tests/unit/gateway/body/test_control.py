"""What a control adds to a form is what a browser sends; tests/e2e/test_controls.py asks a real one the same."""

import pytest
from selectolax.lexbor import LexborHTMLParser

from gateway.body.control import successful

FORMS = [
    ("<textarea name=a>x</textarea>", [("a", "x")]),
    ("<textarea name=a>\nx</textarea>", [("a", "x")]),
    ("<textarea name=a>\n\nx\n</textarea>", [("a", "\nx\n")]),
    ("<textarea name=a>\n\n\n</textarea>", [("a", "\n\n")]),
    ("<textarea name=a></textarea>", [("a", "")]),
    ("<input name=a><input name=b value=''><input value=x>", [("a", ""), ("b", "")]),
    ("<input name=a type=checkbox checked><input name=b type=checkbox value=2>", [("a", "on")]),
    ("<input name=a type=radio value=1><input name=a type=radio value=2 checked>", [("a", "2")]),
    ("<input name=a value=x disabled><button name=b value=1>go</button><input type=submit name=c>", []),
    ("<select name=a><option value=1>one<option selected>two </select>", [("a", "two")]),
    ("<select name=a><option value=''>none<option value=2>two</select>", [("a", "")]),
    ("<select name=a multiple><option value=1 selected>x<option value=2 selected>y</select>", [("a", "1"), ("a", "2")]),
    ("<select name=a multiple><option value=1>x</select>", []),
]


@pytest.mark.parametrize(("markup", "sent"), FORMS)
def test_a_control_is_sent_as_a_browser_sends_it(markup: str, sent: list[tuple[str, str]]) -> None:
    tree = LexborHTMLParser(f"<form>{markup}</form>")
    controls = tree.css("input, textarea, select, button")
    assert [pair for control in controls for pair in successful(control)] == sent
