"""Words somebody searched for stand in the links of their answer as they were typed."""

from urllib.parse import parse_qs, quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.own_words import in_links
from kms.surrogate import no_match

NAME = no_match("name")


@pytest.mark.parametrize("words", ["王伟", "Smith & Sons", "a+b=c/d?", "50%"])
def test_every_layer_of_encoding_is_met(words: str) -> None:
    inner = urlencode({"all": "yes", "q": words})
    outer = urlencode({"_changelist_filters": inner})
    thrice = urlencode({"next": f"/list?{outer}"})
    typed = f'<a href="?{inner}"><a href="/add?{outer}"><a href="/in?{thrice}">'
    sent = typed.replace(quote(quote(quote_of(words), safe=""), safe=""), NAME)
    sent = sent.replace(quote(quote_of(words), safe=""), NAME).replace("q=" + quote_of(words), "q=" + NAME)
    assert sent.count(NAME) == 3
    assert in_links(sent.encode(), {NAME: words}).decode() == typed


def test_an_address_that_stands_as_a_text_is_written_as_one() -> None:
    page = '<option value="/ar/list/?all=yes&amp;q=王伟"><p>q=王伟</p><input value="王伟">'.encode()
    told = in_links(page, {NAME: "王伟"}).decode()
    assert told == f'<option value="/ar/list/?all=yes&amp;q={quote("王伟")}"><p>q=王伟</p><input value="王伟">'


def quote_of(words: str) -> str:
    return urlencode({"q": words})[2:]


def test_what_does_not_follow_an_equals_sign_stays() -> None:
    page = f"<p>{NAME}</p><a href='/{NAME}'>".encode()
    assert in_links(page, {NAME: "王伟"}) == page


@given(st.text(min_size=1, max_size=40).filter(lambda text: text.isprintable() and not text.isspace()))
def test_a_link_never_gets_a_sign_that_could_end_it(words: str) -> None:
    made = in_links(f'href="?q={NAME}"'.encode(), {NAME: words}).decode()
    assert made.startswith('href="?q=')
    assert made.endswith('"')
    assert not set(made[9:-1]) & set("\"'<> &#")
    assert parse_qs(made[6:-1], keep_blank_values=True)["?q" if made[6] == "?" else "q"] == [words]
