"""Nobody is sent to another host after signing in."""

from urllib.parse import urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.access.next_path import safe_next

BASE = "https://crm.example/.crmgate/sign-in"


@pytest.mark.parametrize("path", ["/", "/contacts", "/contacts/318?tab=history&x=%2F%2Fy", "/.crmgate/account", "/a#b"])
def test_plain_paths_are_kept(path) -> None:
    assert safe_next(path) == path


@pytest.mark.parametrize(
    "wanted",
    [
        "",
        "contacts",
        "//evil.example",
        "///evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "https://evil.example",
        "/a//b",
        "/..//evil.example",
        "/%2e%2e//evil.example",
        "/./a",
        "/a\r\nset-cookie: x",
        "/a b",
        "/a\tb",
        "/\u2028",
        '/a"b',
        "/<script>",
        "/.crmgate/sign-in",
        "/.crmgate/sign-out",
        "/" + "a" * 3000,
    ],
)
def test_everything_else_leads_to_the_start(wanted) -> None:
    assert safe_next(wanted) == "/"


@given(st.one_of(st.text(max_size=60), st.text(alphabet="/\\.:@%2eE?#ht ps\t\r\n", max_size=30)))
def test_the_result_always_stays_on_this_host(wanted) -> None:
    result = safe_next(wanted)
    assert urlsplit(urljoin(BASE, result)).netloc == "crm.example"
    assert result.startswith("/")
    assert not set("\r\n\\") & set(result)
