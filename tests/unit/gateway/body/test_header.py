"""Content-Disposition: one safe file name, and no way to add a parameter or a header line."""

import re
from collections.abc import Callable
from typing import Protocol
from urllib.parse import unquote

import pytest

from gateway.body.header import render_disposition
from gateway.body.layer import Finder
from policies.decision import Form
from privacy.render import Shown

NAME = "Zqabcdefghijklmn"


class Rendered(Protocol):
    def __call__(self, value: str, text: str) -> str: ...


@pytest.fixture
def rendered(scanner: Finder) -> Callable[[str, str], str]:
    def run(value: str, text: str) -> str:
        found = scanner.find(value.encode())
        return render_disposition(value, found, {NAME: Shown(Form.CLEAR, text, text)}.get)

    return run


@pytest.mark.parametrize(
    ("value", "text", "expected"),
    [
        (
            f'attachment; filename="{NAME}.vcf"',
            "Müller",
            "attachment; filename=\"M_ller.vcf\"; filename*=UTF-8''M%C3%BCller.vcf",
        ),
        (
            f"inline; filename={NAME}.vcf; size=3",
            "张",
            "inline; size=3; filename=\"_.vcf\"; filename*=UTF-8''%E5%BC%A0.vcf",
        ),
        (
            f"attachment; filename*=UTF-8''a%20{NAME}.csv",
            "x",
            "attachment; filename=\"a x.csv\"; filename*=UTF-8''a%20x.csv",
        ),
        (
            f"attachment; filename=\"{NAME}.csv\"; filename*=utf-8''{NAME}.csv",
            "x",
            "attachment; filename=\"x.csv\"; filename*=UTF-8''x.csv",
        ),
        ('attachment; filename="a.csv"', "x", 'attachment; filename="a.csv"'),
        ("attachment", "x", "attachment"),
    ],
)
def test_names(rendered: Rendered, value: str, text: str, expected: str) -> None:
    assert rendered(value, text) == expected


def test_hostile_names_stay_names(rendered: Rendered, hostile: str) -> None:
    out = rendered(f'attachment; filename="{NAME}.vcf"', hostile)
    match = re.fullmatch(r"attachment; filename=\"([^\"\\/\r\n]+)\"; filename\*=UTF-8''([0-9A-Za-z%._~-]+)", out)
    assert match is not None
    assert match.group(1).isascii()
    assert not re.search(r'[/\\:*?"<>|\x00-\x1f]', unquote(match.group(2)))
    assert out.endswith(".vcf")


def test_an_unknown_surrogate_stays(scanner: Finder) -> None:
    value = f'attachment; filename="{NAME}"'
    assert render_disposition(value, scanner.find(value.encode()), lambda _: None) == value
