"""Whatever a client may send: nothing crashes, no text goes unlooked-at, and a rewritten request means the same."""

import json
from collections.abc import Iterator
from typing import Any

from graphql import GraphQLError, parse, print_ast, visit
from graphql.language import StringValueNode, Visitor, ast
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from policies.graphql.answer import clear_places
from policies.graphql.asked import Asked
from policies.graphql.rewrite import Rewrite
from policies.graphql.value import Shape, Value
from policies.profile import Profile, load_profile
from tests.hosted.twenty import PATH, PROFILE, Twenty

MARK = "MARKED"
FIELDS = (
    "id",
    "city",
    "idCard",
    "intro",
    "emails",
    "primaryEmail",
    "name",
    "lastName",
    "company",
    "edges",
    "node",
    "odd",
)
KEYS = (*FIELDS, "and", "or", "not", "eq", "in", "ilike", "gt", "create", "connect")
ARGUMENTS = ("filter", "orderBy", "first", "data", "id", "email", "term", "odd")
ROOTS = ("people", "person", "personByEmail", "searchPeople", "createPerson", "updatePerson", "odd", "__typename")
_PROFILE: list[Profile] = []


def profile() -> Profile:
    if not _PROFILE:
        _PROFILE.append(load_profile(PROFILE))
    return _PROFILE[0]


names = st.sampled_from(FIELDS)
marks = st.integers(0, 9).map(lambda number: f'{MARK} {number} "\\é\n')
json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-5, 5), marks),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(KEYS), inner, max_size=3)),
    max_leaves=8,
)
leaf_literals = st.one_of(
    marks.map(json.dumps),
    st.just(f'"""{MARK} block\n  text"""'),
    st.sampled_from(("1", "2.5", "true", "null", "RED", "ID_CARD_ASC", "$a", "$b", "$c")),
)
literals = st.recursive(
    leaf_literals,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]"),
        st.dictionaries(st.sampled_from(KEYS), inner, max_size=3).map(
            lambda members: "{" + ", ".join(f"{key}: {value}" for key, value in members.items()) + "}"
        ),
    ),
    max_leaves=8,
)
arguments = st.dictionaries(st.sampled_from(ARGUMENTS), literals, max_size=3).map(
    lambda members: "(" + ", ".join(f"{key}: {value}" for key, value in members.items()) + ")" if members else ""
)
aliases = st.one_of(st.just(""), names.map(lambda name: f"{name}: "))
conditions = st.sampled_from(("", "", "", " @include(if: true)", " @skip(if: $yes)"))


def field(name: st.SearchStrategy[str], inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    below = st.one_of(st.just(""), inner)
    return st.tuples(aliases, name, arguments, conditions, below).map("".join)


def selections(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    some = st.one_of(
        field(names, inner),
        inner.map(lambda text: f"... on Person {text}"),
        inner.map(lambda text: f"... {text}"),
        st.just("...F"),
    )
    return st.lists(some, min_size=1, max_size=3).map(lambda items: " { " + f" # {MARK}\n".join(items) + " }")


bodies = st.recursive(st.just(" { id }"), selections, max_leaves=6)
roots = st.lists(field(st.sampled_from(ROOTS), bodies), min_size=1, max_size=3).map(
    lambda items: "{ " + " ".join(items) + " ...R }"
)
kinds = st.sampled_from(("query", "mutation"))
defaults = st.one_of(st.just(""), marks.map(lambda mark: " = " + json.dumps(mark)))
variables = st.dictionaries(st.sampled_from(("a", "b", "c", "spare")), json_values, max_size=4)


@st.composite
def documents(draw: st.DrawFn) -> str:
    kind = draw(kinds)
    fragment = draw(bodies)
    text = f"{draw(roots)} {fragment}"
    used = [name for name in ("a", "b", "c", "yes") if f"${name}" in text and draw(st.integers(0, 19))]
    head = ", ".join(f"${name}: Boolean" if name == "yes" else f"${name}: String{draw(defaults)}" for name in used)
    text = text.removesuffix(f" {fragment}")
    text = f"{kind} Q{f'({head})' if head else ''} {text} fragment R on {kind.title()} {{ people {{ ...F }} }}"
    return f"{text} fragment F on Person {fragment.replace('...F', 'city')}"


def asked_of(body: bytes, content_type: str = "application/json") -> Asked:
    found = profile().classify("POST", PATH, "", body, content_type).graphql
    assert found is not None
    return found


def values_of(asked: Asked) -> list[tuple[int, Value]]:
    """All that the gateway looks at, as gateway.graphql takes it."""
    found: list[tuple[int, Value]] = [*asked.unused, *((call, value) for call, _, value in asked.rest)]
    for part in asked.parts:
        found += [(part.call, one) for test in part.tests for one in test.operands]
        found += [(part.call, one.value) for one in (*part.stored, *part.boxes)]
        found += [(part.call, one) for _, one in part.loose]
    return [(call, leaf) for call, value in found for leaf in value.leaves() if leaf.shape is Shape.TEXT]


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(documents(), variables)
def test_every_text_of_a_request_is_looked_at(text: str, given_variables: dict[str, Any]) -> None:
    body = json.dumps({"query": text, "variables": given_variables}).encode()
    asked = asked_of(body)
    if asked.problem:
        return
    assert asked.read is not None
    rewrite = Rewrite(asked.read)
    for call, value in values_of(asked):
        rewrite.change(call, value, "S")
    sent = rewrite.body()
    told = json.loads(sent)
    assert MARK not in json.dumps(told, ensure_ascii=False)
    assert not asked_of(sent).problem
    assert _without_texts(told["query"]) == _without_texts(text)
    assert _shape(told["variables"]) == _shape(given_variables)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(documents(), variables)
def test_what_changes_nothing_leaves_the_request_as_it_is(text: str, given_variables: dict[str, Any]) -> None:
    asked = asked_of(json.dumps({"query": text, "variables": given_variables}).encode())
    if asked.problem:
        return
    assert asked.read is not None
    rewrite = Rewrite(asked.read)
    for call, value in values_of(asked):
        rewrite.change(call, value, None)
    told = json.loads(rewrite.body())
    assert print_ast(parse(told["query"])) == print_ast(parse(text))
    assert told["variables"] == given_variables


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.one_of(st.text(max_size=200), st.text(alphabet='{}()[]:$@!.,="# \naF1', max_size=120)), st.binary(max_size=60)
)
def test_no_document_makes_it_fall_over(text: str, raw: bytes) -> None:
    for body in (
        json.dumps({"query": text}).encode(),
        raw,
        b'{"query": "{ people { totalCount } }", "variables": ' + raw,
    ):
        assert asked_of(body) is not None
    assert asked_of(text.encode("utf-8", "replace"), "application/graphql") is not None


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(documents(), st.integers(0, 400), st.sampled_from(('"', "{", "}", "$", "#", '"""', "...", "@x", "\\")))
def test_a_broken_document_is_refused_or_means_one_thing(text: str, at: int, sign: str) -> None:
    broken = text[: at % len(text)] + sign + text[at % len(text) :]
    asked = asked_of(json.dumps({"query": broken}).encode())
    try:
        parse(broken)
    except GraphQLError:
        assert asked.problem
    else:
        assert asked.problem or asked.read is not None


def _without_texts(text: str) -> str:
    class Blank(Visitor):
        def enter_string_value(self, node: StringValueNode, *_: object) -> ast.Node:
            return StringValueNode(value="", block=False)

    return print_ast(visit(parse(text), Blank()))


def _shape(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _shape(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_shape(one) for one in value]
    return "" if isinstance(value, str) else value


# -- answers -----------------------------------------------------------------------------------------------------

CLEAR = {
    "person": {
        "name": {"firstName": "CLEAR one", "lastName": "CLEAR two"},
        "emails": {"primaryEmail": "CLEAR three", "additionalEmails": ["CLEAR four", "CLEAR five"]},
        "phones": {"primaryPhoneNumber": "CLEAR six"},
        "idCard": "CLEAR seven",
        "city": "plain",
    },
    "company": {"name": "CLEAR eight", "employees": 3},
}
other_names = st.one_of(st.just(""), st.sampled_from(("id", "city", "createdAt", "jobTitle", "name", "idCard", "x")))
plain_fields = st.sampled_from(("id", "city", "createdAt", "jobTitle", "idCard", "idCard", "__typename"))


def aliased(text: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(other_names, text).map(lambda pair: f"{pair[0]}: {pair[1]}" if pair[0] else pair[1])


def braced(items: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.lists(items, min_size=1, max_size=3).map(lambda some: "{ " + " ".join(some) + " }")


name_fields = braced(aliased(st.sampled_from(("firstName", "lastName"))))
email_fields = braced(aliased(st.sampled_from(("primaryEmail", "additionalEmails"))))
phone_fields = braced(aliased(st.just("primaryPhoneNumber")))
leaves_of_person = st.one_of(
    aliased(plain_fields),
    aliased(name_fields.map(lambda text: f"name {text}")),
    aliased(email_fields.map(lambda text: f"emails {text}")),
    aliased(phone_fields.map(lambda text: f"phones {text}")),
)


def people_below(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    nested = braced(
        st.one_of(
            aliased(st.sampled_from(("name", "id", "employees"))),
            aliased(inner.map(lambda text: f"people {{ edges {{ node {text} }} }}")),
        )
    )
    return braced(
        st.one_of(
            leaves_of_person,
            inner.map(lambda text: f"... on Person {text}"),
            st.just("...F"),
            aliased(nested.map(lambda text: f"company {text}")),
        )
    )


persons = st.recursive(braced(leaves_of_person), people_below, max_leaves=5)
_STORE: list[tuple[Twenty, str]] = []


def store() -> tuple[Twenty, str]:
    """A CRM with one clear person, and the id."""
    if not _STORE:
        crm = Twenty()
        company = crm.create("company", CLEAR["company"])
        _STORE.append((crm, crm.create("person", {**CLEAR["person"], "companyId": company["id"]})["id"]))
    return _STORE[0]


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(persons, persons, st.sampled_from(("a: ", "", "node: ")))
def test_no_clear_value_of_a_declared_field_is_overlooked(text: str, fragment: str, alias: str) -> None:
    crm, record = store()
    spread = " fragment F on Person " + fragment.replace("...F", "id") if "...F" in text else ""
    query = (
        f'{{ {alias}person(id: "{record}") {text} people {{ edges {{ cursor node {{ ... on Person {text} }} }} }} }}'
    )
    query += spread
    asked = asked_of(json.dumps({"query": query}).encode())
    answer = crm.run(query, None, None)
    assume(not asked.problem and answer.get("data") is not None)
    found = {text for text, _ in clear_places(asked, answer)}
    clear = {text for text in texts_of(answer) if text.startswith("CLEAR")}
    assert clear <= found
    assert "plain" not in found


def texts_of(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    for one in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from texts_of(one)
