"""Second-factor codes against the vectors of RFC 6238 and the window around them."""

from base64 import b32encode
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.access import totp
from gateway.access.totp import CodeWrong

# RFC 6238, appendix B, SHA-1: secret "12345678901234567890"; the last six of the eight digits printed there.
RFC_SECRET = b32encode(b"12345678901234567890").decode()
RFC_VECTORS = [
    (59, "287082"),
    (1111111109, "081804"),
    (1111111111, "050471"),
    (1234567890, "005924"),
    (2000000000, "279037"),
    (20000000000, "353130"),
]


@pytest.mark.parametrize(("second", "code"), RFC_VECTORS)
def test_codes_of_the_rfc_are_found_at_their_step(second, code) -> None:
    now = datetime.fromtimestamp(second, UTC)
    assert totp.match(RFC_SECRET, code, now) == second // 30


@pytest.mark.parametrize("offset", [-30, 30])
def test_a_neighbouring_step_is_found_as_itself(offset) -> None:
    now = datetime.fromtimestamp(1111111111, UTC)
    assert totp.match(RFC_SECRET, "050471", now + timedelta(seconds=offset)) == 1111111111 // 30


@pytest.mark.parametrize("offset", [-60, 60, 3600])
def test_further_steps_are_not(offset) -> None:
    with pytest.raises(CodeWrong):
        totp.match(RFC_SECRET, "050471", datetime.fromtimestamp(1111111111 + offset, UTC))


def test_spaces_between_groups_are_ignored() -> None:
    assert totp.match(RFC_SECRET, " 050 471 ", datetime.fromtimestamp(1111111111, UTC)) == 37037037


@given(st.text(max_size=12).filter(lambda text: "".join(text.split()) not in {"050471", "081804", "266759", "306183"}))
def test_anything_else_is_wrong_and_never_a_fault(text) -> None:
    now = datetime.fromtimestamp(1111111111, UTC)
    maker_window = {totp.pyotp.TOTP(RFC_SECRET).generate_otp(37037037 + step) for step in (-1, 0, 1)}
    if "".join(text.split()) in maker_window:
        return
    with pytest.raises(CodeWrong):
        totp.match(RFC_SECRET, text, now)


def test_full_width_digits_are_no_code() -> None:
    with pytest.raises(CodeWrong):
        totp.match(RFC_SECRET, "０５０４７１", datetime.fromtimestamp(1111111111, UTC))


def test_a_secret_has_160_bits_from_the_randomness_given() -> None:
    assert totp.new_secret(lambda count: bytes(range(count))) == "AAAQEAYEAUDAOCAJBIFQYDIOB4IBCEQT"


def test_the_enrolment_address_names_issuer_and_login() -> None:
    uri = totp.enrolment_uri(RFC_SECRET, "li.wei@example.com", "crmgate")
    assert uri.startswith("otpauth://totp/crmgate:li.wei%40example.com?secret=")
    assert uri.endswith("&issuer=crmgate")


def test_the_qr_code_is_an_svg_that_fits_into_a_double_quoted_attribute() -> None:
    uri = totp.qr_data_uri(totp.enrolment_uri(RFC_SECRET, "li.wei", "crmgate"))
    assert uri.startswith("data:image/svg+xml,%3Csvg")
    assert not set('"<>#& \n') & set(uri.replace(" ", ""))
