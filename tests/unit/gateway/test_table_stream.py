"""Long tables rendered group by group are what the whole would have been, for every role, or are not cut."""

import random
from collections.abc import Mapping

import pytest

from gateway.body.csv import walk_csv
from gateway.body.csv_rows import HEAD_BYTES
from gateway.body.fault import BodyFault
from gateway.body.limits import Limits
from gateway.body.page import TextualPage
from gateway.exchange import Exchange
from gateway.outward import Outward
from gateway.table_stream import TableStream
from gateway.unprotected import Unprotected
from tests.unit.gateway.glue import ANNA, BORIS, Glue

EXPORT = "/creme_core/mass_export?ct_id=98&type=csv"
PLAIN = ("N", "Télé", "Who", "Note")
DECLARED = ("Last name", "First name", "Birthday", "Phone")


def asked(glue: Glue, role: str) -> Exchange:
    glue.installation.learn("/persons/contacts", 200, b"/creme_core/mass_import/98\n")
    return glue.exchange("GET", EXPORT, role=role)


async def opened(glue: Glue, exchange: Exchange, data: bytes, kind: str, **fields: str) -> TableStream | None:
    given = [("content-type", kind), *((k.replace("_", "-"), v) for k, v in fields.items())]
    found = await glue.outward.open_table(exchange, glue.installation.current, given, data[:HEAD_BYTES])
    return found[1] if found is not None else None


async def streamed(glue: Glue, exchange: Exchange, data: bytes, kind: str, seed: int) -> bytes:
    """The table as it leaves, with chunks of any size."""
    table = await opened(glue, exchange, data, kind)
    assert table is not None
    rand, at, out = random.Random(seed), 0, []
    while at < len(data):
        chunk = data[at : at + rand.randint(1, 90_000)]
        at += len(chunk)
        out += [await table.render(group) for group in table.groups.feed(chunk)]
    return b"".join([*out, await table.render(table.groups.finish())])


async def people(glue: Glue, count: int = 4) -> list[Mapping[str, str]]:
    """What the CRM holds of some people, every second one Boris'."""
    return [
        await glue.create(str(one), (ANNA, BORIS)[one % 2], phone=f"1380013800{one}", last_name=f'=Li "{one}", x')
        for one in range(5, 5 + count)
    ]


def rows(held: list[Mapping[str, str]], line: int) -> str:
    """A row with everything that has to be quoted, guarded, rendered or caught."""
    one = held[line % len(held)]
    note = f'"say ""hi"",\r\n{one["first_name"]} and 1391234567{line % 10} né"' if line % 3 else "plain"
    return f"{line},'{one['phone']},{one['last_name']},{note}\r\n"


@pytest.mark.parametrize("role", ["manager", "sales"])
@pytest.mark.parametrize(
    ("charset", "codec", "start"),
    [
        ("utf-8", "utf-8", "\ufeff"),
        ("gbk", "gbk", ""),
        ("", "utf-16-le", "\ufeff"),
        ("iso-8859-1", "latin-1", "sep=,\n"),
    ],
)
async def test_a_table_is_what_the_whole_would_be(creme: Glue, role: str, charset: str, codec: str, start: str) -> None:
    held = await people(creme)
    text = start + ",".join(PLAIN) + "\r\n" + "".join(rows(held, line) for line in range(1500))
    data = text.encode(codec)
    kind = f"text/csv; charset={charset}" if charset else "text/csv"
    one, other = asked(creme, role), asked(creme, role)
    _, whole = await creme.answer(one, data, kind)
    assert await streamed(creme, other, data, kind, seed=len(role)) == whole
    assert (other.shown, other.caught) == (one.shown, one.caught)
    assert (whole.count("13912345671".encode(codec)) > 0) is (role == "manager")


@pytest.mark.parametrize("role", ["manager", "sales"])
@pytest.mark.parametrize(("charset", "start"), [("utf-8", "\ufeff"), ("gbk", ""), ("utf-16-le", "\ufeff")])
async def test_a_table_is_what_a_look_at_every_cell_would_make_of_it(
    creme: Glue, role: str, charset: str, start: str
) -> None:
    held = await people(creme)
    lines = [rows(held, line) for line in range(1500)]
    one = held[0]
    lines += [f'"{one["phone"]}",{one["last_name"][:-3]},"{one["first_name"]}",a@example.com\n', f'"{one["phone"]}\n']
    data = (start + ",".join(PLAIN) + "\r\n" + "".join(lines)).encode(charset, "replace")
    plainly, other = asked(creme, role), asked(creme, role)
    page = TextualPage(data, charset, walk_csv)
    plain, _ = await creme.reveal.render_page(plainly, page, creme.profile.mask_char)
    kind = "text/csv" if charset.startswith("utf-16") else f"text/csv; charset={charset}"
    assert await streamed(creme, other, data, kind, seed=5) == plain
    assert (other.shown, other.caught) == (plainly.shown, plainly.caught)
    assert plain != data


@pytest.mark.parametrize("role", ["manager", "sales"])
async def test_columns_found_by_their_label_are_shown_by_the_record_of_their_row(creme: Glue, role: str) -> None:
    held = await people(creme)
    text = ",".join(DECLARED) + "\n"
    for line in range(3000):
        one, other = held[line % len(held)], held[line * 7 % len(held)]
        text += f"{one['last_name']},{other['first_name']},1970-02-0{line % 9 + 1},{one['phone']}\n"
    kind = "text/csv; charset=utf-8"
    one_, other_ = asked(creme, role), asked(creme, role)
    data = text.encode()
    _, whole = await creme.answer(one_, data, kind)
    assert await streamed(creme, other_, data, kind, seed=3) == whole
    assert (b"1970-02-01" in whole) is (role == "manager")
    assert other_.shown == one_.shown


async def test_a_row_that_cannot_be_read_ends_a_table_with_such_columns(creme: Glue) -> None:
    head = (",".join(DECLARED) + "\n" + "a,b,1970-02-03,c\n" * 6000).encode()
    for end, kind in ((b"a,\0,1970-02-03,c\n", "text/csv; charset=utf-8"), (b"\xff,b,1970-02-03,c\n", "text/csv")):
        with pytest.raises(BodyFault):
            await streamed(creme, asked(creme, "sales"), head + end, kind, seed=1)


async def test_clear_values_at_declared_places_are_looked_for_in_the_whole(creme: Glue) -> None:
    data = (",".join(DECLARED) + "\n" + "a,b,1970-02-03,c\n" * 6000).encode()
    other = (",".join(PLAIN) + "\n" + "a,b,1970-02-03,c\n" * 6000).encode()
    for migrated in (False, True):
        look = Unprotected(lambda _: creme.scanner, lambda _, is_=migrated: is_, Limits())  # type: ignore[misc]
        creme.outward = Outward(creme.reveal, creme.binding, Limits(), unprotected=look)
        for role in ("manager", "sales"):
            cut = await opened(creme, asked(creme, role), data, "text/csv")
            assert (cut is not None) is (migrated or role == "manager")
            assert await opened(creme, asked(creme, role), other, "text/csv") is not None


async def test_what_is_no_long_table_or_teaches_something_is_not_cut(creme: Glue) -> None:
    data = b"a,b\n" + b"1,2\n" * 50_000
    assert await opened(creme, asked(creme, "sales"), b'{"a":1}' + data, "text/html") is None
    assert await opened(creme, asked(creme, "sales"), data[:1000], "text/csv") is None
    assert await opened(creme, asked(creme, "sales"), data, "application/vnd.ms-excel") is not None
    typed = asked(creme, "sales")
    typed.typed.add("x")
    assert await opened(creme, typed, data, "text/csv") is None
    add = creme.exchange("POST", "/persons/contact/add", body=b"a=1")
    assert await opened(creme, add, data, "text/csv") is None


async def test_the_name_of_the_file_is_rendered(creme: Glue) -> None:
    held = await creme.create("5")
    exchange, data = asked(creme, "manager"), b"a,b\n" + b"1,2\n" * 50_000
    given = [("content-type", "text/csv"), ("content-disposition", f'attachment; filename="{held["last_name"]}.csv"')]
    found = await creme.outward.open_table(exchange, creme.installation.current, given, data[:HEAD_BYTES])
    assert found is not None
    assert held["last_name"] not in dict(found[0])["content-disposition"]
