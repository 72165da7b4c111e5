"""Keys, signatures, thumbprints and the rules a session hangs on its device by."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.access.device import (
    Approval,
    Binding,
    DeviceRules,
    Lack,
    ProofInvalid,
    check_proof,
    decode,
    name_of,
    signed_text,
    thumbprint,
)
from tests.unit.gateway.access.key_holder import KeyHolder, text

NOW = datetime(2026, 11, 27, 9, 0, tzinfo=UTC)
SOON = NOW + timedelta(minutes=5)
BOUND = DeviceRules(Binding.BOUND)


def test_a_signature_of_the_key_over_this_very_text_is_taken_and_nothing_else() -> None:
    holder, other = KeyHolder(), KeyHolder()
    said = signed_text("https://crm.example", "c" * 43)
    good = holder.sign(said)
    check_proof(holder.point, good, said)
    for point, signature, message in (
        (other.point, good, said),
        (holder.point, other.sign(said), said),
        (holder.point, good, signed_text("https://evil.example", "c" * 43)),
        (holder.point, good, signed_text("https://crm.example", "d" * 43)),
        (holder.point, bytes(64), said),
        (holder.point, b"\xff" * 64, said),
        (holder.point, good[:63], said),
        (b"\x04" + bytes(64), good, said),
        (b"", good, said),
    ):
        with pytest.raises(ProofInvalid):
            check_proof(point, signature, message)


def test_a_key_of_another_curve_is_none() -> None:
    larger = KeyHolder(key=ec.generate_private_key(ec.SECP384R1()))
    with pytest.raises(ProofInvalid):
        thumbprint(larger.point)
    with pytest.raises(ProofInvalid):
        check_proof(larger.point, bytes(64), b"x")


def test_the_thumbprint_is_that_of_rfc_7638() -> None:
    # RFC 7515, appendix A.3: the key; the digest was computed with joserfc from its JWK.
    from joserfc.jwk import ECKey

    jwk = {
        "kty": "EC",
        "crv": "P-256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    }
    point = b"\x04" + decode(jwk["x"], 32) + decode(jwk["y"], 32)
    assert thumbprint(point) == ECKey.import_key(jwk).thumbprint()


@pytest.mark.parametrize("given", ["", "=", "a" * 86 + "=", "é" * 87, "!" * 87, text(bytes(64)), text(bytes(66))])
def test_what_is_not_exactly_that_many_bytes_is_refused(given) -> None:
    with pytest.raises(ProofInvalid):
        decode(given, 65)


@pytest.mark.parametrize(
    ("rules", "device", "approved", "until", "program", "expected"),
    [
        (DeviceRules(), "", False, None, False, None),
        (BOUND, "", False, None, False, Lack.NO_DEVICE),
        (BOUND, "d1", False, SOON, False, Lack.NOT_APPROVED),
        (BOUND, "d1", True, None, False, Lack.NO_PROOF),
        (BOUND, "d1", True, NOW, False, Lack.NO_PROOF),
        (BOUND, "d1", True, SOON, False, None),
        (BOUND, "", False, None, True, Lack.NO_DEVICE),
        (replace(BOUND, programs=True), "", False, None, True, None),
        (replace(BOUND, programs=True), "", False, None, False, Lack.NO_DEVICE),
        (DeviceRules(Binding.KNOWN), "d1", True, None, False, None),
        (DeviceRules(Binding.KNOWN), "d1", False, None, False, Lack.NOT_APPROVED),
        (DeviceRules(Binding.KNOWN), "", True, None, False, Lack.NO_DEVICE),
    ],
)
def test_what_a_session_lacks(rules, device, approved, until, program, expected) -> None:
    assert rules.lack(device, approved, until, program, NOW) is expected


def test_no_proof_lives_longer_than_five_minutes() -> None:
    with pytest.raises(ValueError, match="five minutes"):
        DeviceRules(Binding.BOUND, Approval.NONE, 10, timedelta(minutes=6))
    with pytest.raises(ValueError, match="allowed a device"):
        DeviceRules(Binding.BOUND, Approval.NONE, 0)


@pytest.mark.parametrize(
    ("told", "name"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140.0.0.0 Safari/537.36", "Chromium on Linux"),
        ("Mozilla/5.0 (Windows NT 10.0) Chrome/140.0 Safari/537.36 Edg/140.0", "Edge on Windows"),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15) Version/18 Safari/605.1", "Safari on macOS"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Safari/604.1", "Safari on iOS"),
        ("Mozilla/5.0 (Android 14; Mobile; rv:130.0) Gecko/130.0 Firefox/130.0", "Firefox on Android"),
        ("<script>alert(1)</script>", "Browser"),
        ("", "Browser"),
    ],
)
def test_the_name_is_coarse_and_never_what_the_browser_wrote(told, name) -> None:
    assert name_of(told) == name
