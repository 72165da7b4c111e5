"""What a query would mean, in names only."""

from policies.operation import SearchRule, Where
from policies.profile import load_profile
from policies.query.explain import columns_of, path_operands


def test_columns_are_told_and_never_values() -> None:
    profile = load_profile("salesforce")
    rule = SearchRule(Where.QUERY, ("*",), language="soql")
    text = "SELECT Name, X__c FROM Contact WHERE Email = 'zhang@example.com'"
    told = [(column, what, spec and spec.name) for column, what, spec in columns_of(rule, "q", text, profile.tables)]
    assert told == [("Email", "equal", "email"), ("Name", "select", "name"), ("X__c", "select unknown", None)]
    assert "zhang" not in str(told)


def test_what_is_not_understood_is_said_to_be_refused() -> None:
    rule = SearchRule(Where.QUERY, ("*",), language="soql")
    assert list(columns_of(rule, "q", "DELETE", load_profile("salesforce").tables)) == [("", "refused: grammar", None)]


def test_a_value_in_the_path_is_told_by_its_template() -> None:
    path = "/api/data/v9.2/contacts(emailaddress1='a')"
    rules = load_profile("dynamics").classify("GET", path, "", None, "").searches
    told = [(template, spec and spec.name) for template, spec in path_operands(rules, path)]
    assert told == [("contacts(emailaddress1='{}')", "email")]
    assert list(path_operands(rules, "/elsewhere")) == []
