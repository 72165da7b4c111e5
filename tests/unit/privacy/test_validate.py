"""Ordinary human input passes, hostile values pass as data, and only what no CRM field could hold is refused."""

import contextlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.demo.people import make_organisations, make_people
from policies.taxonomy import Kind
from privacy.validate import PROBLEMS, ValueRefused, check

ACCEPTED = [
    (Kind.NAME, "张伟"),
    (Kind.NAME, "𠮷田貴 𬍛"),
    (Kind.NAME, "O'Brien-McKay, Jr."),
    (Kind.NAME, "محمد \u200fعلي\u200e"),
    (Kind.NAME, "\u202eevil\u202c"),
    (Kind.NAME, "<img src=x onerror=alert(1)>"),
    (Kind.NAME, "=cmd|'/c calc'!A1"),
    (Kind.NAME, '{{7*7}} "quoted" `tick` \\ back'),
    (Kind.NAME, "tab\there"),
    (Kind.NAME, "👩‍👩‍👧 ﷽"),
    (Kind.NAME, "N/A"),
    (Kind.NAME, " "),
    (Kind.EMAIL, "zhang.wei@example.com"),
    (Kind.EMAIL, " Zhang.Wei+crm@Mail.Example.CO.UK "),
    (Kind.EMAIL, "o'brien_99@example.museum"),
    (Kind.EMAIL, "!#$%&'*+-/=?^_`{|}~@example.com"),
    (Kind.EMAIL, '"odd one"@example.com'),
    (Kind.EMAIL, "张三@例子.公司"),
    (Kind.EMAIL, "jürgen@müller.example"),
    (Kind.EMAIL, "root@localhost"),
    (Kind.EMAIL, "a@[192.0.2.1]"),
    (Kind.EMAIL, "a" * 64 + "@example.com"),
    (Kind.EMAIL, "x@xn--fsqu00a.xn--55qx5d"),
    (Kind.PHONE, "13800138000"),
    (Kind.PHONE, "+86 138-0013-8000"),
    (Kind.PHONE, "(010) 6255 1234 ext. 801"),
    (Kind.PHONE, "010-62551234转801"),
    (Kind.PHONE, "+1 415.555.0123 x9"),
    (Kind.PHONE, "１３８００１３８０００"),
    (Kind.PHONE, "\u202d13800138000\u202c"),
    (Kind.PHONE, "٠٥٠١٢٣٤٥٦٧"),
    (Kind.PHONE, "13800138000 / 13912345678"),
    (Kind.PHONE, "13800138000；010-62551234"),
    (Kind.PHONE, "13800138000、13912345678"),
    (Kind.PHONE, "+49\u00a030\u2011901820"),
    (Kind.PHONE, "110"),
    (Kind.PHONE, "400-800-1234,,12#"),
    (Kind.ID_CARD, "11010519491231002X"),
    (Kind.ID_CARD, "A123456(7)"),
    (Kind.ID_CARD, "12.345.678-9"),
    (Kind.ID_CARD, "１１０１０５１９４９１２３１００２Ｘ"),
    (Kind.BANK_CARD, "6222 0212 3456 7890 128"),
    (Kind.BANK_CARD, "DE89 3704 0044 0532 0130 00"),
    (Kind.ADDRESS, "北京市朝阳区建国路88号\n2栋101室"),
    (Kind.ADDRESS, "12, rue de l'Église\r\n75001 Paris"),
    (None, "任何\n文字\t<b>x</b> \u202e"),
    ("unknown", "anything"),
]

REFUSED = [
    (Kind.NAME, "a" * 101, "too-long"),
    (Kind.NAME, "𠮷" * 101, "too-long"),
    (Kind.NAME, "Zhang\x00Wei", "control-character"),
    (Kind.NAME, "Zhang\x1bWei", "control-character"),
    (Kind.NAME, "Zhang\x7fWei", "control-character"),
    (Kind.NAME, "Zhang\x9fWei", "control-character"),
    (Kind.NAME, "Zhang\uffffWei", "control-character"),
    (Kind.NAME, "Zhang\nWei", "newline"),
    (Kind.NAME, "Zhang\rWei", "newline"),
    (Kind.NAME, "Zhang\u2028Wei", "newline"),
    (Kind.NAME, "Zhang\x85Wei", "newline"),
    (Kind.NAME, "Zhang\ud83dWei", "lone-surrogate"),
    (Kind.EMAIL, "zhang", "email-syntax"),
    (Kind.EMAIL, "@example.com", "email-syntax"),
    (Kind.EMAIL, "zhang@", "email-syntax"),
    (Kind.EMAIL, "zhang wei@example.com", "email-syntax"),
    (Kind.EMAIL, "zhang..wei@example.com", "email-syntax"),
    (Kind.EMAIL, ".zhang@example.com", "email-syntax"),
    (Kind.EMAIL, "zhang@@example.com", "email-syntax"),
    (Kind.EMAIL, "<zhang@example.com>", "email-syntax"),
    (Kind.EMAIL, "zhang@example", "email-domain"),
    (Kind.EMAIL, "zhang@-example.com", "email-domain"),
    (Kind.EMAIL, "zhang@example-.com", "email-domain"),
    (Kind.EMAIL, "zhang@example..com", "email-domain"),
    (Kind.EMAIL, "zhang@192.0.2.1", "email-domain"),
    (Kind.EMAIL, "zhang@exa mple.com", "email-domain"),
    (Kind.EMAIL, "a" * 65 + "@example.com", "email-local-too-long"),
    (Kind.EMAIL, "z***@example.com\n", "newline"),
    (Kind.PHONE, "call me", "phone-characters"),
    (Kind.PHONE, "138001380OO", "phone-characters"),
    (Kind.PHONE, "<13800138000>", "phone-characters"),
    (Kind.PHONE, "12", "phone-digits"),
    (Kind.PHONE, "1" * 30, "phone-digits"),
    (Kind.PHONE, "---", "phone-digits"),
    (Kind.ID_CARD, "1101051949'; --", "id-characters"),
    (Kind.BANK_CARD, "6222_0212", "card-characters"),
    (Kind.ADDRESS, "北京\x00", "control-character"),
    (None, "note\x00", "control-character"),
    (None, "note\udc80", "lone-surrogate"),
]


@pytest.mark.parametrize(("kind", "clear"), ACCEPTED)
def test_accepts_what_people_and_attackers_type(kind: str | None, clear: str) -> None:
    check(kind, clear, 254)


@pytest.mark.parametrize(("kind", "clear", "problem"), REFUSED)
def test_refuses_what_the_crm_would_refuse(kind: str | None, clear: str, problem: str) -> None:
    with pytest.raises(ValueRefused) as caught:
        check(kind, clear, 100)
    assert caught.value.problem == problem
    assert caught.value.permanent


@pytest.mark.parametrize(("kind", "clear", "problem"), REFUSED)
def test_a_refusal_never_repeats_the_value(kind: str | None, clear: str, problem: str) -> None:
    with pytest.raises(ValueRefused) as caught:
        check(kind, clear, 100)
    assert problem in PROBLEMS
    assert clear.strip() not in str(caught.value) or len(clear.strip()) < 4


@pytest.mark.parametrize("kind", [*Kind, None])
def test_nothing_is_always_accepted(kind: str | None) -> None:
    check(kind, "", 1)


def test_length_counts_code_points_and_may_be_unlimited() -> None:
    check(Kind.NAME, "𠮷" * 50, 50)
    check(Kind.NAME, "x" * 10_000, 0)


@pytest.mark.parametrize(
    ("kind", "clear", "problem"),
    [
        (Kind.ID_CARD, "110105194912310021", "id-check"),
        (Kind.ID_CARD, "A1234567", "id-check"),
        (Kind.BANK_CARD, "6222021234567890120", "card-check"),
        (Kind.PHONE, "110", "phone-digits"),
    ],
)
def test_strict_also_wants_a_real_number(kind: str, clear: str, problem: str) -> None:
    check(kind, clear, 40)
    with pytest.raises(ValueRefused, match=r"not valid|too few") as caught:
        check(kind, clear, 40, strict=True)
    assert caught.value.problem == problem


def test_synthetic_people_and_organisations_pass_even_strictly() -> None:
    for person in make_people(random.Random(5), 300):
        for kind, clear in person.values:
            check(kind, clear, 254, strict=True)
        check(None, person.notes, 65_000)
    for organisation in make_organisations(random.Random(5), 50):
        check(Kind.NAME, organisation.name, 100)
        check(Kind.PHONE, organisation.phone, 40, strict=True)


@given(st.emails())
def test_no_valid_address_is_refused(clear: str) -> None:
    """Hypothesis makes addresses of RFC 5322 dot-atoms up to the limits of RFC 5321."""
    check(Kind.EMAIL, clear, 320)


@given(st.sampled_from([*Kind, None]), st.text(max_size=60), st.integers(0, 60))
def test_any_text_is_either_accepted_or_refused(kind: str | None, clear: str, limit: int) -> None:
    with contextlib.suppress(ValueRefused):
        check(kind, clear, limit)


@given(st.text(alphabet=st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp", "Cn"]), max_size=80))
def test_every_printable_text_is_a_name(clear: str) -> None:
    check(Kind.NAME, clear, 80)
