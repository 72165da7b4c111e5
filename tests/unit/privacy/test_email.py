"""Syntax of addresses as usual web validators judge it, and the boundaries of one in prose."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privacy.email import ascii_host, find_at, host_ok, is_address, problem


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("（zhang@example.com）", "zhang@example.com"),
        ("see...zhang@example.com", "zhang@example.com"),
        ("'zhang@example.com'", "zhang@example.com"),
        ("to=-zhang@example.com;", "zhang@example.com"),
        ("zhang@example.com.", "zhang@example.com"),
        ("zhang@example.com,wei@example.com", "zhang@example.com"),
        ("zhang@example.com.cn的邮箱", "zhang@example.com.cn"),
        ("mailto://zhang@example.com?x", None),
        ("https://example.org/?to=zhang@example.com", "zhang@example.com"),
        ("https://user:pw@example.com/", None),
        ("logo@2x.example.png", None),
        ("@example.com", None),
        ("zhang@example", None),
        ("zhang@1.2.3.4", None),
        ("zhang@-example.com", None),
        ("你好@example.com", None),
        ("a" * 65 + "@example.com", None),
    ],
)
def test_finds_the_address_around_an_at_sign_and_no_more(text: str, address: str | None) -> None:
    span = find_at(text, text.index("@"))
    assert (text[slice(*span)] if span else None) == address


@given(st.text(max_size=90), st.text(max_size=90))
def test_any_surroundings_give_a_span_around_the_sign_or_none(head: str, tail: str) -> None:
    span = find_at(f"{head}@{tail}", len(head))
    assert span is None or 0 <= span[0] < len(head) < span[1] <= len(head) + 1 + len(tail)


def test_a_value_without_a_problem_is_an_address_unless_it_is_ours() -> None:
    assert problem("zhang@example.com") is None
    assert is_address("zhang@example.com")
    ours = "e." + "a" * 32 + "@enc.invalid"
    assert problem(ours) is None
    assert not is_address(ours)


@pytest.mark.parametrize(
    "domain", ["example.com", "例子.公司", "müller.example", "xn--fsqu00a.xn--55qx5d", "a.b.c.example"]
)
def test_host_names_are_accepted_in_every_script(domain: str) -> None:
    assert host_ok(domain)


@pytest.mark.parametrize(
    "domain",
    ["", "example", "example.c", "-a.com", "a-.com", "a..com", "192.0.2.1", "a_b.com", "a b.com", "x" * 64 + ".com"],
)
def test_what_is_no_host_name_is_refused(domain: str) -> None:
    assert not host_ok(domain)


def test_host_names_turn_into_ascii_where_they_can() -> None:
    """RFC 3492 §7.1 style samples, made with an independent encoder."""
    assert ascii_host("Example.COM") == "example.com"
    assert ascii_host("bücher.example") == "xn--bcher-kva.example"
    assert ascii_host("例子.公司") == "xn--fsqu00a.xn--55qx5d"
    assert ascii_host("ü" * 64 + ".com") is None
