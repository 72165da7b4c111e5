"""What is typed as a login is a value in the filter; templates that would not compare it are refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as some
from sansldap import FilterAnd, FilterEquality, LDAPFilter

from gateway.directory.query import Template, TemplateInvalid

HOSTILE = ("*", "*)(uid=*", "a)(|(uid=*", "\\2a", "\x00", "{login}", "王*", "a*b", ")(", "\\")


@pytest.mark.parametrize("login", HOSTILE)
def test_a_hostile_login_is_only_a_value(login: str) -> None:
    filled = Template("(&(objectClass=person)(uid={login}))").for_login(login)
    assert filled == FilterAnd(
        filters=[FilterEquality("objectClass", b"person"), FilterEquality("uid", login.encode())]
    )


@given(login=some.text(alphabet=some.characters(exclude_categories=["Cs"])))
def test_any_login_comes_back_from_the_written_filter_as_it_was(login: str) -> None:
    """Written after RFC 4515 and read again, it is one comparison with exactly what was typed."""
    filled = Template("(uid={login})").for_login(login)
    assert LDAPFilter.from_string(str(filled)) == FilterEquality("uid", login.encode()) or not login


@pytest.mark.parametrize(
    "text",
    [
        "(uid={login})",
        "(&(objectClass=user)(|(sAMAccountName={login})(userPrincipalName={login}@corp.example)))",
        "(&(uid={login})(!(loginShell=/bin/false)))",
        "(cn:caseExactMatch:={login})",
    ],
)
def test_templates_that_compare_the_login_are_taken(text: str) -> None:
    Template(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "(uid=*)",
        "(uid=lin)",
        "(uid={login}*)",
        "(uid=*{login})",
        "(!(uid={login}))",
        "(|(uid={login})(objectClass=*))",
        "(|(uid={login})(cn=anybody))",
        "(&(uid={login})(!(cn={login})))",
        "(uid>={login})",
        "({login}=x)",
        "(&(uid={login})",
        "((((",
    ],
)
def test_templates_that_would_find_others_are_refused(text: str) -> None:
    with pytest.raises(TemplateInvalid):
        Template(text)
