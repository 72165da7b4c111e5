"""Documents of CRMs: names and formats are taken, nothing is made up, hostile ones are refused."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.learn.document import Document, DocumentInvalid, Told, read_document

OPENAPI = {
    "openapi": "3.0.3",
    "paths": {
        "/api/contacts/{id}/": {
            "patch": {"operationId": "contacts_partial_update"},
            "get": {"operationId": "contacts_retrieve"},
        },
        "/api/contacts/": {"post": {"operationId": "contacts_create"}, "get": {"operationId": "unclear"}},
    },
    "components": {
        "schemas": {
            "Contact": {
                "allOf": [{"$ref": "#/components/schemas/Base"}],
                "properties": {"mail_to": {"type": "string", "format": "email", "maxLength": 254, "title": "Mail"},
                               "stage": {"type": "string", "enum": ["a", "b"]}, "first_name": {"type": "string"}},
            },
            "Base": {"properties": {"born": {"type": "string", "format": "date"}, "rank": {"type": "integer"}}},
        }
    },
}  # fmt: skip


def test_openapi_tells_formats_lengths_and_what_operations_do() -> None:
    read = read_document(json.dumps(OPENAPI).encode())
    assert Told("contact", "mail_to", "email", 254, "Mail") in read.fields
    assert Told("contact", "born", "date") in read.fields
    assert read.told("stage") == read.told("rank") == "plain"
    assert read.told("first_name") == ""
    assert read.actions["PATCH /api/contacts/{uuid}"] == "update"
    assert read.actions["GET /api/contacts/{n}"] == "read"
    assert read.actions["POST /api/contacts"] == "create"
    assert "GET /api/contacts" not in read.actions


def test_a_name_with_two_formats_tells_nothing() -> None:
    two = Document("openapi", [Told("a", "x", "email"), Told("b", "x", "plain")])
    assert two.told("x") == ""


def test_yaml_is_read_as_well() -> None:
    text = b"openapi: 3.1.0\npaths: {}\ncomponents: {schemas: {Lead: {properties: {tel: {format: phone}}}}}\n"
    assert read_document(text).fields == [Told("lead", "tel", "phone")]


def test_graphql_introspection_tells_scalars() -> None:
    kind = {"kind": "NON_NULL", "ofType": {"kind": "SCALAR", "name": "EmailAddress"}}
    schema = {
        "types": [{"name": "Person", "fields": [{"name": "mail", "type": kind}]}, {"name": "__Type", "fields": []}]
    }
    assert read_document(json.dumps({"data": {"__schema": schema}}).encode()).fields == [
        Told("person", "mail", "email")
    ]


def test_odata_metadata_tells_types_and_lengths() -> None:
    xml = (
        b'<?xml version="1.0"?><edmx:Edmx xmlns:edmx="x"><Schema><EntityType Name="contact">'
        b'<Property Name="emailaddress1" Type="Edm.String" MaxLength="100"/>'
        b'<Property Name="birthdate" Type="Edm.Date"></Property><Property Name="age" Type="Edm.Int32"/>'
        b"</EntityType></Schema></edmx:Edmx>"
    )
    assert read_document(xml).fields == [
        Told("contact", "emailaddress1", "", 100),
        Told("contact", "birthdate", "date"),
        Told("contact", "age", "plain"),
    ]


@pytest.mark.parametrize(
    "data",
    [
        b'<!DOCTYPE x [<!ENTITY a "b">]><EntityType Name="&a;"/>',
        b"<html></html>",
        b"{broken",
        b'{"openapi": "3", "nothing": 1}',
        b"[1, 2]",
        b"\xff\xfe\x00",
        b"",
    ],
)
def test_what_is_no_such_document_is_refused(data: bytes) -> None:
    with pytest.raises(DocumentInvalid):
        read_document(data)


@given(st.binary(max_size=300))
def test_no_bytes_break_the_reader(data: bytes) -> None:
    with contextlib.suppress(DocumentInvalid):
        read_document(data)


def test_references_that_go_in_circles_end() -> None:
    circle = {
        "openapi": "3",
        "paths": {},
        "components": {"schemas": {"A": {"allOf": [{"$ref": "#/components/schemas/A"}]}}},
    }
    assert read_document(json.dumps(circle).encode()).fields == []


def test_it_comes_back_from_json_as_it_was() -> None:
    read = read_document(json.dumps(OPENAPI).encode())
    assert Document.of(json.loads(json.dumps(read.plain()))) == read
