"""A form that is read and posted back says exactly what the CRM stores."""

from html import escape
from urllib.parse import parse_qsl, urlencode

from hypothesis import given
from hypothesis import strategies as st

from gateway.protect.html_form import attribute_values, read_form, refused_fields

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\x00", exclude_categories=("Cs",)), max_size=60)


@given(TEXTS, TEXTS)
def test_every_character_comes_back(line: str, area: str) -> None:
    """Django's way of writing a form: the value escaped, one line break right behind the tag of a text area."""
    page = f'<form><input name="a" value="{escape(line)}"><textarea name="b">\n{escape(area)}</textarea></form>'
    form = read_form(page.encode(), "a")
    assert form is not None
    assert dict(form.pairs) == {"a": line, "b": area}


def test_a_form_is_sent_as_a_browser_would() -> None:
    page = b"""<form action="/x"><input type=hidden name=t value=1><input name=n maxlength=5 value=v>
    <input type=checkbox name=c1 checked><input type=checkbox name=c2><input type=radio name=r value=1>
    <input type=radio name=r value=2 checked><input name=d disabled value=no><input type=submit name=s value=go>
    <select name=one><option value="">-<option value=7 selected>seven</select>
    <select name=two><option value=4>four</select><select name=many multiple><option value=1 selected>a
    <option value=2 selected>b</select><input type=file name=f></form>"""
    form = read_form(page, "n")
    assert form is not None
    wanted = "t=1&n=v&c1=on&r=2&one=7&two=4&many=1&many=2"
    assert urlencode(form.filled({})) == wanted
    assert form.texts == {"n"}
    assert form.limits == {"n": 5}
    assert form.choices["one"] == "7"
    assert dict(parse_qsl(urlencode(form.filled({"n": "w\r\n"}))))["n"] == "w\r\n"


def test_the_form_with_the_mark_is_taken_and_none_without() -> None:
    page = b"<form><input name=q></form><form><input name=last_name value=x></form>"
    form = read_form(page, "last_name", "input[required]")
    assert form is not None
    assert not form.shows
    assert read_form(page, "nothing") is None


def test_carriage_returns_in_markup_stay_markup() -> None:
    form = read_form(b'<form\r\n method="post">\r\n<input\r\nname="a"\r\nvalue="x\r\ny">\r\n</form>', "a")
    assert form is not None
    assert form.pairs == (("a", "x\r\ny"),)


def test_ids_and_complaints_are_read_from_pages() -> None:
    assert attribute_values(
        b"<input name=e value=3><input name=e value=4><input name=e>", "input[name=e]", "value"
    ) == [
        "3",
        "4",
    ]
    assert refused_fields(b'<div class="field-error"><input name=email value=secret></div>') == ["email"]
