"""A scanner with the interface of the real one, values to show, and hostile values for every context."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pytest

from gateway.body.layer import Net
from gateway.body.limits import Limits
from gateway.body.media import Media
from gateway.body.page import open_page
from policies.decision import Form
from privacy.render import Shown

NAME = "Zq" + "abcdefghijklmn"
EMAIL = "e." + "abcdefgh" * 4 + "@enc.invalid"
PHONE = "+888" + "7" + "1234567" + "890"
HOSTILE = (
    "<img src=x onerror=alert(1)>",
    '"onmouseover="alert(1)',
    "' onmouseover='alert(1)",
    "</script><script>alert(1)</script>",
    "</textarea></title></style>--><b>x",
    "=cmd|' /C calc'!A0",
    "{{7*7}}${7*7}",
    "`'\"\\\\'\\\"\\",
    "\u202e\u200fשלום\u2066",
    "𠀀𡃁 𪚥",
    "javascript:alert(1)",
    "x" * 250,
    "line\r\nbreak\u2028\u2029\ttab",
    "&lt;script&gt;&amp;#39;&quot;",
    "O'Brien & Söhne <AG>",
    "]]><!--x-->--!>",
    "%3Cscript%3E%22",
)


@dataclass(frozen=True, slots=True)
class FakeHit:
    start: int
    end: int
    canonical: str
    kind: str
    upper: bool


class FakeScanner:
    """Finds the three surrogates of these tests in the spellings that the tests use."""

    _at = rb"(?:@|%40|&#64;|&#x40;|\\u0040|=40)"
    _pattern = re.compile(
        rb"(?P<name>Zqabcdefghijklmn)|(?P<email>e\.(?:abcdefgh){4}" + _at + rb"enc\.invalid)"
        rb"|(?P<phone>'?(?:\+|%2[Bb]|&#43;|&plus;|\\u002[bB])?88871234567890)",
        re.IGNORECASE,
    )

    def find(self, data: bytes) -> list[FakeHit]:
        kinds = {"name": NAME, "email": EMAIL, "phone": PHONE}
        return [
            FakeHit(m.start(), m.end(), kinds[m.lastgroup or ""], m.lastgroup or "", m.group().isupper())
            for m in self._pattern.finditer(data)
        ]


Render = Callable[..., bytes]


@pytest.fixture(params=HOSTILE, ids=lambda value: ascii(value[:20]))
def hostile(request: pytest.FixtureRequest) -> str:
    value: str = request.param
    return value


@pytest.fixture
def limits() -> Limits:
    return Limits()


@pytest.fixture
def scanner() -> FakeScanner:
    return FakeScanner()


@pytest.fixture
def render(scanner: FakeScanner) -> Render:
    """render(media, body, {surrogate: Shown or clear text}, net=…, charset=…) → bytes."""

    def run(
        media: Media,
        body: bytes | str,
        shown: Mapping[str, Shown | str],
        net: Net | None = None,
        charset: str = "utf-8",
    ) -> bytes:
        page = open_page(media, body.encode() if isinstance(body, str) else body, charset, Limits())
        found = page.surrogates(scanner)
        table = {
            key: Shown(Form.CLEAR, value, value) if isinstance(value, str) else value for key, value in shown.items()
        }
        assert found <= {NAME, EMAIL, PHONE}
        return page.render(table.get, net)

    return run


@pytest.fixture
def mask_phones() -> Net:
    """Recogniser that masks 11-digit mobiles and one address."""

    def net(text: str) -> list[tuple[int, int, str]]:
        return [
            (m.start(), m.end(), "138****8000" if m.group().isdigit() else "z***@example.com")
            for m in re.finditer(r"(?<![0-9])13800138000(?![0-9])|zhang@example\.com", text)
        ]

    return net
