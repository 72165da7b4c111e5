"""The short form of the fuzzing drill: every reader of what comes from outside, some hundred hostile examples each."""

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.drills.fuzz_seeds import changed, everything, seeds
from tests.drills.fuzz_targets import CLEAR, NAME, TARGETS, hide, run

EXAMPLES = 60
FEWER = {"page.xls": 4, "page.sheets": 15}  # each of these starts processes, or forks them
SLOW = ("xlsx", "xls", "sheets", "zip", "multipart")


@pytest.mark.parametrize("name", TARGETS)
def test_the_seeds_are_read(name: str) -> None:
    read = [run(name, data) for data in seeds()[name]]
    assert any(read)


@pytest.mark.parametrize("name", TARGETS)
def test_hostile_bytes_are_read_or_refused(name: str) -> None:
    choose = random.Random(f"fuzz {name}")
    bodies, others = seeds()[name], everything()
    for _ in range(FEWER.get(name, EXAMPLES)):
        run(name, changed(choose.choice(bodies), choose, others))


@pytest.mark.parametrize("name", [name for name in TARGETS if not name.endswith(SLOW)])
@settings(max_examples=25, deadline=None)
@given(data=st.binary(max_size=120) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_anything_is_read_or_refused(name: str, data: bytes) -> None:
    run(name, data)


TEXTS = st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"]), max_size=10)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | TEXTS | TEXTS.map(lambda text: f"{text} {CLEAR} {NAME}"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=10,
)


def test_the_recogniser_of_the_drill_finds_its_value() -> None:
    assert hide(f"a {CLEAR}") == [(2, 13, "138****8000")]


@settings(max_examples=60, deadline=None)
@given(value=VALUES)
def test_no_clear_value_is_left_in_a_json_answer(rendered: Callable[[str, bytes], bytes], value: object) -> None:
    import orjson

    out = orjson.loads(rendered("json", orjson.dumps(value)))

    def texts(one: object) -> list[str]:
        if isinstance(one, str):
            return [one]
        inner = one.values() if isinstance(one, dict) else one if isinstance(one, list) else ()
        return [text for item in inner for text in texts(item)]

    assert [text for text in texts(out) if CLEAR in text or NAME in text] == []


@settings(max_examples=60, deadline=None)
@given(texts=st.lists(TEXTS.map(lambda text: f"{text} {CLEAR} {NAME}"), min_size=1, max_size=4))
def test_no_clear_value_is_left_in_the_texts_of_pages(
    rendered: Callable[[str, bytes], bytes], texts: list[str]
) -> None:
    from html import escape

    html = "".join(f"<p title='{escape(one)}'>{escape(one)}</p><textarea>{escape(one)}</textarea>" for one in texts)
    rows = "\r\n".join('"' + one.replace('"', '""') + '"' for one in ("Note", *texts))
    for kind, body in (("html", html), ("xml", f"<r>{html}</r>"), ("csv", rows), ("text", "\n".join(texts))):
        out = rendered(kind, body.encode()).decode()
        assert CLEAR not in out, kind
        assert NAME not in out, kind


@pytest.fixture(scope="module")
def rendered() -> Callable[[str, bytes], bytes]:
    """A page for somebody who may see nothing."""
    from gateway.body.limits import Limits
    from gateway.body.media import Media
    from gateway.body.page import open_page
    from policies.decision import Form
    from privacy.render import Shown
    from tests.drills.fuzz_targets import Finder

    def show(kind: str, body: bytes) -> bytes:
        page = open_page(Media(kind), body, "utf-8", Limits())
        found = page.surrogates(Finder())
        return page.render({one: Shown(Form.MASKED, "***", "***") for one in found}.get, hide)

    return show
