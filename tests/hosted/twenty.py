"""A CRM with a GraphQL API of the shape of Twenty's: graphql-core runs every document over tables of SQLite.

Nothing is answered from memory of a request: filters, orders, groups, nested relations, aliases, fragments, directives
and errors are those of a real schema.
"""

import contextlib
import json
import re
import sqlite3
import threading
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from graphql import ExecutionResult, GraphQLError, build_schema, graphql_sync

from tests.hosted.calls import Call, Hosted, Named, Reply, serving

PROFILE = Path(__file__).with_name("twenty.yaml")
PATH = "/graphql"
_SDL = """
interface Node { id: ID! createdAt: String }
type FullName { firstName: String lastName: String }
type Emails { primaryEmail: String additionalEmails: [String!] }
type Phones { primaryPhoneNumber: String primaryPhoneCountryCode: String }
type Person implements Node {
  id: ID! createdAt: String name: FullName emails: Emails phones: Phones idCard: String intro: String jobTitle: String
  city: String company: Company companyId: ID secretScore: String
}
type Company implements Node {
  id: ID! createdAt: String name: String employees: Int
  people(filter: PersonFilterInput, orderBy: [PersonOrderByInput!], first: Int): PersonConnection
}
type PersonEdge { node: Person cursor: String }
type CompanyEdge { node: Company cursor: String }
type PageInfo { hasNextPage: Boolean }
type PersonConnection { edges: [PersonEdge!]! totalCount: Int pageInfo: PageInfo uniqueEmails: Int }
type CompanyConnection { edges: [CompanyEdge!]! totalCount: Int pageInfo: PageInfo }
type PersonGroup { key: String count: Int }
input StringFilter {
  eq: String neq: String in: [String!] ilike: String like: String startsWith: String gt: String lt: String is: FilterIs
}
input UUIDFilter { eq: ID in: [ID!] }
enum FilterIs { NULL NOT_NULL }
enum OrderByDirection { AscNullsFirst DescNullsLast }
enum PersonFieldEnum { CITY PRIMARY_EMAIL FIRST_NAME }
input FullNameFilter { firstName: StringFilter lastName: StringFilter }
input EmailsFilter { primaryEmail: StringFilter }
input PhonesFilter { primaryPhoneNumber: StringFilter }
input PersonFilterInput {
  and: [PersonFilterInput!] or: [PersonFilterInput!] not: PersonFilterInput id: UUIDFilter name: FullNameFilter
  emails: EmailsFilter phones: PhonesFilter idCard: StringFilter city: StringFilter jobTitle: StringFilter
  intro: StringFilter company: CompanyFilterInput secretScore: StringFilter
}
input CompanyFilterInput { and: [CompanyFilterInput!] or: [CompanyFilterInput!] id: UUIDFilter name: StringFilter }
input FullNameOrder { firstName: OrderByDirection lastName: OrderByDirection }
input EmailsOrder { primaryEmail: OrderByDirection }
input PersonOrderByInput {
  name: FullNameOrder emails: EmailsOrder city: OrderByDirection createdAt: OrderByDirection idCard: OrderByDirection
}
input CompanyOrderByInput { name: OrderByDirection }
input FullNameInput { firstName: String lastName: String }
input EmailsInput { primaryEmail: String additionalEmails: [String!] }
input PhonesInput { primaryPhoneNumber: String primaryPhoneCountryCode: String }
input PersonInput {
  name: FullNameInput emails: EmailsInput phones: PhonesInput idCard: String intro: String jobTitle: String city: String
  companyId: ID company: CompanyNested
}
input CompanyNested { create: CompanyInput }
input CompanyInput { name: String employees: Int }
type Query {
  people(filter: PersonFilterInput, orderBy: [PersonOrderByInput!], first: Int, after: String): PersonConnection
  person(filter: PersonFilterInput, id: ID): Person
  personByEmail(email: String!): Person
  peopleGroupBy(groupBy: [PersonFieldEnum!]!): [PersonGroup!]
  searchPeople(term: String!): [Person!]
  companies(filter: CompanyFilterInput, orderBy: [CompanyOrderByInput!], first: Int): CompanyConnection
  node(id: ID!): Node
  webhooks: [String!]
}
type Mutation {
  createPerson(data: PersonInput!): Person
  createPeople(data: [PersonInput!]!): [Person!]
  updatePerson(id: ID!, data: PersonInput!): Person
  deletePerson(id: ID!): Person
  createCompany(data: CompanyInput!): Company
  createWebhook(url: String!): String
}
type Subscription { onPerson: Person }
"""
_COLUMNS = {
    ("name", "firstName"): "first_name",
    ("name", "lastName"): "last_name",
    ("emails", "primaryEmail"): "email",
    ("emails", "additionalEmails"): "other_emails",
    ("phones", "primaryPhoneNumber"): "phone",
    ("phones", "primaryPhoneCountryCode"): "country",
    ("idCard",): "id_card",
    ("intro",): "intro",
    ("jobTitle",): "job",
    ("city",): "city",
    ("companyId",): "company_id",
    ("id",): "id",
    ("createdAt",): "made",
    ("secretScore",): "score",
}
_GROUPS = {"CITY": "city", "PRIMARY_EMAIL": "email", "FIRST_NAME": "first_name"}
_OPERATORS = {
    "eq": "{0} = ?", "neq": "{0} <> ?", "ilike": "lower({0}) LIKE lower(?)", "like": "{0} LIKE ?",
    "startsWith": "{0} LIKE ? || '%'", "gt": "{0} > ?", "lt": "{0} < ?",
}  # fmt: skip


class Twenty:
    """The tables and what runs documents over them."""

    def __init__(self) -> None:
        self.base = sqlite3.connect(":memory:", check_same_thread=False)
        self.base.row_factory = sqlite3.Row
        self.base.executescript(
            "CREATE TABLE person (id TEXT PRIMARY KEY, made INTEGER, first_name TEXT, last_name TEXT,"
            " email TEXT UNIQUE, other_emails TEXT, phone TEXT, country TEXT, id_card TEXT, intro TEXT, job TEXT,"
            " city TEXT, company_id TEXT, score TEXT);"
            "CREATE TABLE company (id TEXT PRIMARY KEY, made INTEGER, name TEXT, employees INTEGER);"
        )
        self.lock = threading.Lock()
        self.made = 0
        self.schema = build_schema(_SDL)
        for kind in ("Query", "Mutation"):
            for name, one in self.schema.type_map[kind].fields.items():  # type: ignore[attr-defined]
                one.resolve = getattr(self, "do_" + re.sub("([A-Z])", lambda found: "_" + found[1].lower(), name), None)
        kinds = self.schema.type_map
        kinds["Company"].fields["people"].resolve = self.people_of  # type: ignore[attr-defined]
        kinds["Person"].fields["company"].resolve = lambda row, _: self.one("company", row["companyId"])  # type: ignore[attr-defined]
        self.schema.type_map["Node"].resolve_type = lambda row, *_: row["_type"]  # type: ignore[attr-defined]

    # -- running -----------------------------------------------------------------------------------------------

    def answer(self, call: Call) -> Reply:
        """One call over HTTP: a document, an array of them, or one in the address."""
        if call.method == "GET":
            given = {key: values[0] for key, values in call.query.items()}
            return Reply(
                self.run(given["query"], json.loads(given.get("variables") or "null"), given.get("operationName"))
            )
        if call.headers.get("content-type", "").startswith("application/graphql"):
            return Reply(self.run(call.body.decode(), None, None))
        body = call.json()
        many = [self.run(one["query"], one.get("variables"), one.get("operationName")) for one in _listed(body)]
        return Reply(many if isinstance(body, list) else many[0])

    def run(self, text: str, variables: Mapping[str, Any] | None, name: str | None) -> dict[str, Any]:
        """What a server answers to a document."""
        with self.lock:
            result: ExecutionResult = graphql_sync(self.schema, text, variable_values=variables, operation_name=name)  # type: ignore[arg-type]
        return dict(result.formatted)

    # -- queries -----------------------------------------------------------------------------------------------

    def do_people(self, _: Any, info: Any, **given: Any) -> Any:
        return self.connection("person", **given)

    def people_of(self, row: Any, info: Any, **given: Any) -> Any:
        own = {"company": {"id": {"eq": row["id"]}}}
        return self.connection("person", **{**given, "filter": {"and": [own, given.get("filter") or {}]}})

    def do_companies(self, _: Any, info: Any, **given: Any) -> Any:
        return self.connection("company", **given)

    def do_person(self, _: Any, info: Any, **given: Any) -> Any:
        found = self.rows("person", filter=given.get("filter"))
        return self.one("person", given["id"]) if "id" in given else next(iter(found), None)

    def do_person_by_email(self, _: Any, info: Any, email: str) -> Any:
        return next(iter(self.rows("person", filter={"emails": {"primaryEmail": {"eq": email}}})), None)

    def do_search_people(self, _: Any, info: Any, term: str) -> Any:
        like = {"like": f"%{term}%"}
        return self.rows("person", filter={"or": [{"name": {"lastName": like}}, {"emails": {"primaryEmail": like}}]})

    def do_people_group_by(self, _: Any, info: Any, **given: Any) -> Any:
        column = _GROUPS[given["groupBy"][0]]
        found = self.base.execute(f"SELECT {column} AS key, count(*) AS count FROM person GROUP BY {column}")
        return [dict(row) for row in found]

    def do_node(self, _: Any, info: Any, **given: Any) -> Any:
        return self.one("person", given["id"]) or self.one("company", given["id"])

    def do_webhooks(self, _: Any, info: Any) -> Any:
        return []

    # -- mutations ---------------------------------------------------------------------------------------------

    def do_create_person(self, _: Any, info: Any, data: Any) -> Any:
        return self.create("person", data)

    def do_create_people(self, _: Any, info: Any, data: Any) -> Any:
        return [self.create("person", one) for one in data]

    def do_create_company(self, _: Any, info: Any, data: Any) -> Any:
        return self.create("company", data)

    def do_update_person(self, _: Any, info: Any, data: Any, **given: Any) -> Any:
        if self.one("person", given["id"]) is None:
            raise GraphQLError("Record not found", extensions={"code": "NOT_FOUND"})
        values = self.columns("person", data)
        if values:
            names = ", ".join(f"{name} = ?" for name in values)
            self.base.execute(f"UPDATE person SET {names} WHERE id = ?", (*values.values(), given["id"]))
        return self.one("person", given["id"])

    def do_delete_person(self, _: Any, info: Any, **given: Any) -> Any:
        row = self.one("person", given["id"])
        self.base.execute("DELETE FROM person WHERE id = ?", (given["id"],))
        return row

    def do_create_webhook(self, _: Any, info: Any, url: str) -> Any:
        return url

    # -- tables ------------------------------------------------------------------------------------------------

    def create(self, table: str, data: Mapping[str, Any]) -> Any:
        values = self.columns(table, data)
        self.made += 1
        values |= {"id": str(uuid.UUID(int=0x4000_8000_0000_0000_0000 + self.made)), "made": self.made}
        if table == "person" and isinstance(data.get("company"), dict):
            values["company_id"] = self.create("company", data["company"]["create"])["id"]
        names, marks = ", ".join(values), ", ".join("?" * len(values))
        try:
            self.base.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(values.values()))
        except sqlite3.IntegrityError:
            message = f"A duplicate entry was detected: {values.get('email')}"
            raise GraphQLError(
                message, extensions={"code": "BAD_USER_INPUT", "userValue": values.get("email")}
            ) from None
        return self.one(table, values["id"])

    def columns(self, table: str, data: Mapping[str, Any]) -> dict[str, Any]:
        if table == "company":
            return {key: data[key] for key in ("name", "employees") if key in data}
        found: dict[str, Any] = {}
        for path, column in _COLUMNS.items():
            value: Any = data
            for step in path:
                value = value.get(step, ...) if isinstance(value, dict) else ...
            if value is not ...:
                found[column] = json.dumps(value) if isinstance(value, list) else value
        return found

    def one(self, table: str, record: str | None) -> Any:
        return next(iter(self.rows(table, filter={"id": {"eq": record}})), None) if record else None

    def rows(self, table: str, **given: Any) -> list[dict[str, Any]]:
        where, values = self.where(table, given.get("filter") or {})
        order = ", ".join([*self.order(table, given.get("orderBy") or ()), "made"])
        limit = given.get("first") or 1000
        found = self.base.execute(f"SELECT * FROM {table} WHERE {where} ORDER BY {order} LIMIT {limit:d}", values)
        return [_shown(table, dict(row)) for row in found]

    def connection(self, table: str, **given: Any) -> Any:
        rows = self.rows(table, **given)
        edges = [{"node": row, "cursor": row["id"]} for row in rows]
        emails = {row["emails"]["primaryEmail"] for row in rows} if table == "person" else set()
        page = {"hasNextPage": False}
        return {"edges": edges, "totalCount": len(rows), "pageInfo": page, "uniqueEmails": len(emails)}

    def order(self, table: str, given: Iterable[Mapping[str, Any]]) -> Iterable[str]:
        for one in given:
            for path, direction in _flat(one):
                column = "name" if table == "company" else _COLUMNS[path]
                yield f"{column} {'ASC' if direction.startswith('Asc') else 'DESC'}"

    def where(self, table: str, given: Mapping[str, Any]) -> tuple[str, list[Any]]:
        clauses, values = ["1"], []
        for key, one in given.items():
            if key in ("and", "or"):
                made = [self.where(table, each) for each in one]
                clauses.append("(" + f" {key} ".join(text for text, _ in made) + ")" if made else "1")
                values += [value for _, each in made for value in each]
            elif key == "not":
                text, more = self.where(table, one)
                clauses.append(f"NOT ({text})")
                values += more
            elif key == "company":
                text, more = self.where("company", one)
                clauses.append(f"company_id IN (SELECT id FROM company WHERE {text})")
                values += more
            else:
                for path, operators in _tests((key,), one):
                    column = "name" if table == "company" and key == "name" else _COLUMNS[path]
                    for name, operand in operators.items():
                        text, more = _clause(column, name, operand)
                        clauses.append(text)
                        values += more
        return " AND ".join(clauses), values


def _clause(column: str, name: str, operand: Any) -> tuple[str, list[Any]]:
    if name == "in":
        return f"{column} IN ({', '.join('?' * len(operand))})", list(operand)
    if name == "is":
        return f"{column} IS {'NULL' if operand == 'NULL' else 'NOT NULL'}", []
    return _OPERATORS[name].format(column), [operand]


def _tests(path: tuple[str, ...], value: Mapping[str, Any]) -> Iterable[tuple[tuple[str, ...], Mapping[str, Any]]]:
    if path in _COLUMNS or (path == ("name",) and not {"firstName", "lastName"} & value.keys()):
        yield path, value
    else:
        for key, one in value.items():
            yield from _tests((*path, key), one)


def _flat(given: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterable[tuple[tuple[str, ...], str]]:
    for key, one in given.items():
        if isinstance(one, dict):
            yield from _flat(one, (*path, key))
        else:
            yield (*path, key), one


def _shown(table: str, row: Mapping[str, Any]) -> dict[str, Any]:
    made = str(row["made"])
    if table == "company":
        return {
            "_type": "Company",
            "id": row["id"],
            "createdAt": made,
            "name": row["name"],
            "employees": row["employees"],
        }
    return {
        "_type": "Person",
        "id": row["id"],
        "createdAt": made,
        "name": {"firstName": row["first_name"], "lastName": row["last_name"]},
        "emails": {"primaryEmail": row["email"], "additionalEmails": json.loads(row["other_emails"] or "[]")},
        "phones": {"primaryPhoneNumber": row["phone"], "primaryPhoneCountryCode": row["country"]},
        "idCard": row["id_card"],
        "intro": row["intro"],
        "jobTitle": row["job"],
        "city": row["city"],
        "companyId": row["company_id"],
        "secretScore": row["score"],
    }


def _listed(body: Any) -> list[Any]:
    return body if isinstance(body, list) else [body]


@dataclass(slots=True)
class GraphqlHosted(Hosted):
    """The running server with its tables."""

    store: Twenty = field(default_factory=Twenty)


def twenty() -> contextlib.AbstractContextManager[Hosted]:
    """The running server; its tables are in `store`."""
    server = GraphqlHosted(Named(str(PROFILE)))
    for method in ("GET", "POST"):
        server.route(method, PATH, server.store.answer)
    return serving(server)
