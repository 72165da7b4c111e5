"""What is rendered into a table for somebody who sees everything comes back cell by cell as it was."""

import csv
import io
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gateway.body.csv import open_csv
from gateway.body.fault import BodyMalformed
from gateway.body.media import Media
from gateway.body.xlsx import open_xlsx
from tests.unit.gateway.body.conftest import EMAIL, NAME, PHONE
from tests.unit.gateway.body.test_xlsx import workbook

Render = Callable[..., bytes]
HOSTILE = (
    '"',
    "''",
    ",;\t|",
    "\r\n",
    "\r",
    "=1+1",
    "'+86",
    "-",
    "@x",
    "+8613800138000",
    "0012",
    "\u202e\u200f",
    "👩‍👩‍👧",
    "张伟",
)
TEXTS = st.one_of(
    st.sampled_from(HOSTILE),
    st.lists(st.sampled_from(HOSTILE), min_size=1, max_size=4).map("".join),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=40),
)
# XML 1.0 has no other control characters than these (production 2), so a workbook cannot hold them.
WRITABLE = st.text(st.characters(exclude_categories=["Cs", "Cc", "Cn", "Co"]), min_size=1, max_size=40)
CELLS = st.fixed_dictionaries({NAME: TEXTS, EMAIL: TEXTS, PHONE: TEXTS})
often = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@often
@example({NAME: "x" * 32_767, EMAIL: "'=", PHONE: "''"}, ";", True, "utf-8-sig")
@given(CELLS, st.sampled_from(",;\t|"), st.booleans(), st.sampled_from(["utf-8", "utf-8-sig", "gb18030", "utf-16"]))
def test_csv(render: Render, values: dict[str, str], separator: str, quoted: bool, codec: str) -> None:
    text = io.StringIO(newline="")
    rows = [["Last name", "Email", "电话"], list(values), ["plain", "0012345678901234567890", ""]]
    quoting = csv.QUOTE_ALL if quoted else csv.QUOTE_MINIMAL
    csv.writer(text, quoting=quoting, delimiter=separator).writerows(rows)
    charset = codec.removesuffix("-sig")
    body = text.getvalue().encode(codec)
    shown = render(Media.CSV, body, values, charset="utf-16-le" if codec == "utf-16" else charset)
    leaves = open_csv(shown, "utf-16-le" if codec == "utf-16" else charset).leaves
    assert [leaf.text for leaf in leaves] == [*values.values(), *rows[2]]
    assert {leaf.path[0].lstrip("\ufeff") for leaf in leaves} == set(rows[0])


@often
@given(st.fixed_dictionaries({NAME: WRITABLE, EMAIL: WRITABLE, PHONE: WRITABLE}))
@example({NAME: "=1+1\r\n\tx", EMAIL: "x" * 32_767, PHONE: "007"})
def test_xlsx(render: Render, values: dict[str, str]) -> None:
    shown = render(Media.XLSX, workbook(["Last name", "Email", "Phone"], list(values)), values)
    assert [leaf.text for leaf in open_xlsx(shown).leaves] == list(values.values())


def test_a_nul_in_a_value_does_not_come_back(render: Render) -> None:
    shown = render(Media.CSV, f"name,phone\n{NAME},1\n", {NAME: "An\0na"})
    with pytest.raises(BodyMalformed):
        open_csv(shown)
