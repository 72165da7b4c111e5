"""Search boxes show what was typed, and the CRM's own parameters what was given."""

import json
from urllib.parse import quote

from gateway.echo import named_again, typed_again, widened_again
from gateway.exchange import Narrowed
from gateway.narrow import EMPTY_Q, joined, q

CONDITION = q("last_name", ["Zqa", "Zqb"], "contains", None, ())
SENT = joined("", [CONDITION])
BOX = Narrowed("q_filter", CONDITION, "last_name", "search-last_name", "O'\"Neil <x>")
RESTORED = {"q_filter": (SENT, EMPTY_Q)}


def test_a_box_shows_what_was_typed_instead_of_the_surrogate() -> None:
    page = b'<input name="q" value="Zqaaaa"><input name="r" value="Zqaaaa">'
    assert typed_again(page, {"q": ("Zqaaaa", "<李>")}) == (
        '<input name="q" value="&lt;李&gt;"><input name="r" value="Zqaaaa">'.encode()
    )


def test_an_emptied_box_shows_what_was_typed_encoded_for_where_it_stands() -> None:
    for given in (
        b'<input name="search-last_name" type="text"/>',
        b'<input value="" name="search-last_name" type="text"/>',
    ):
        shown = widened_again(given, [BOX], RESTORED).decode()
        assert shown.count("value=") == 1
        assert "Neil &lt;x&gt;" in shown
        assert '"Neil' not in shown


def test_the_crms_condition_is_its_own_again_in_fields_and_links() -> None:
    inside = SENT.replace('"', "&quot;")
    link = f"/export?x=1&extra_q={quote(SENT, safe='')}&search-last_name="
    page = f'<input value="{inside}" name="q_filter"><a href="{link}">x</a><a href="{link}&y=2">x</a>'.encode()
    shown = widened_again(page, [BOX], RESTORED).decode()
    assert "Zqa" not in shown
    assert shown.count(quote(EMPTY_Q, safe="")) == 2
    assert shown.count(f"search-last_name={quote(BOX.typed, safe='')}") == 2
    assert "&y=2" in shown


def test_other_parts_of_a_page_stay() -> None:
    page = b'<p>search-last_name= q_filter</p><input name="other" value="1"><input name="search-last_name2">'
    assert widened_again(page, [BOX], RESTORED) == page


def test_the_member_that_repeats_the_search_shows_the_typed_text_and_no_other_does() -> None:
    sent = "e.aaaa@enc.invalid"
    body = json.dumps({"query": sent, "results": [{"title": sent}]}).encode()
    told = json.loads(named_again(body, "query", {"q": (sent, 'Dar"cy 张')}))
    assert told == {"query": 'Dar"cy 张', "results": [{"title": sent}]}
    compact = json.dumps({"query": sent}, separators=(",", ":")).encode()
    assert json.loads(named_again(compact, "query", {"q": (sent, "x")})) == {"query": "x"}
    assert named_again(compact, "other", {"q": (sent, "x")}) == compact
