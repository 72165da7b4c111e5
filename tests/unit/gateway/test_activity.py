"""Which requests keep a session alive."""

import pytest

from gateway.activity import is_activity
from gateway.exchange import Head
from policies.polling import compile_polling
from policies.profile import load_profile

POLLING = compile_polling(["/{db}/bus", "/ping.json"])


def head(path: str = "/contacts", method: str = "GET", **fields: str) -> Head:
    named = tuple((name.replace("_", "-"), value) for name, value in fields.items())
    return Head(method, path, path, "", "crm.example", named, False, None)


@pytest.mark.parametrize(
    ("asked", "counts"),
    [
        (head(sec_fetch_dest="document", sec_fetch_mode="navigate"), True),
        (head(sec_fetch_dest="iframe", sec_fetch_mode="navigate", sec_fetch_user="?1"), True),
        (head(sec_fetch_dest="iframe", sec_fetch_mode="navigate"), False),
        (head(sec_fetch_dest="empty", sec_fetch_mode="cors"), True),
        (head("/crm/bus", sec_fetch_dest="empty", sec_fetch_mode="cors"), False),
        (head("/ping.json", sec_fetch_dest="document", sec_fetch_mode="navigate"), False),
        (head("/pingxjson", sec_fetch_dest="empty"), True),
        (head("/a/b/bus", sec_fetch_dest="empty"), True),
        (head(sec_fetch_dest="image"), False),
        (head(sec_fetch_dest="script"), False),
        (head(user_agent="python-httpx/0.28"), True),
        (head("/crm/bus", "POST", user_agent="python-httpx/0.28"), False),
        (head(), True),
        (head(user_agent="Mozilla/5.0", accept="text/html,*/*"), True),
        (head(user_agent="Mozilla/5.0", accept="*/*"), False),
        (head(user_agent="Mozilla/5.0", accept="text/html", x_requested_with="XMLHttpRequest"), False),
        (head(method="POST", user_agent="Mozilla/5.0", accept="*/*"), True),
    ],
)
def test_what_shows_a_person_at_work_counts_and_nothing_else(asked, counts) -> None:
    assert is_activity(asked, POLLING) is counts


def test_the_bus_of_tryton_keeps_nobody_signed_in() -> None:
    polling = load_profile("tryton").polling
    assert not is_activity(head("/crm/bus", "POST", sec_fetch_dest="empty"), polling)
    assert is_activity(head("/crm/", "POST", sec_fetch_dest="empty"), polling)


def test_a_profile_without_polling_names_no_path() -> None:
    assert compile_polling(()) is None
