"""No spelling of the field that names a person reaches a CRM from a client."""

import pytest

from gateway.exchange import Exchange, Head
from gateway.headers import upstream_headers
from gateway.identity.bearing import Bearing, flat
from gateway.network import Allowlist, Tenant
from gateway.origin import Origins
from policies.profile import load_profile
from tests.unit.gateway.glue import NOW

PROFILE = load_profile("bottle")  # it takes a token in a field of its own, too
TENANT = Tenant("main", Origins("https://crm.example", "http://10.0.0.5:80"), PROFILE, None, Allowlist())  # type: ignore[arg-type]
SPELLINGS = ["x-crm-user", "x_crm_user", "x.crm.user", "x-crm_user", "x~crm-user", "x-crm-user"]


def sent(bearing: Bearing | None, *fields: tuple[str, str], withheld: tuple[str, ...] = ()) -> list[str]:
    head = Head("GET", "/", "/", "", "crm.example", (("host", "crm.example"), *fields), False, None)
    exchange = Exchange("x", NOW, head)
    exchange.bearing = bearing
    pairs = [("sid", "forged"), ("theme", "dark")]
    lines = upstream_headers(head, exchange, TENANT, target="/", length=None, pairs=pairs, withheld=withheld)
    return lines.decode("latin-1").split("\r\n")


@pytest.mark.parametrize("name", SPELLINGS)
def test_a_claim_of_the_client_is_dropped_in_every_spelling(name: str) -> None:
    bearing = Bearing("X-CRM-User: wang\r\n", (), frozenset({flat("X-CRM-User")}))
    assert [line for line in sent(bearing, (name, "root")) if "root" in line] == []
    assert "X-CRM-User: wang" in sent(bearing, (name, "root"))


def test_no_other_credential_of_the_client_goes_along() -> None:
    assert PROFILE.credential_headers == {"token"}
    assert [line for line in sent(Bearing("X-CRM-User: wang\r\n", ()), ("token", "stolen")) if "stolen" in line] == []
    assert "token: mine" in sent(None, ("token", "mine"))


def test_without_a_bearing_the_same_field_passes() -> None:
    assert "x-crm-user: root" in sent(None, ("x-crm-user", "root"))


def test_the_session_of_the_gateway_stands_in_the_place_of_the_client_s() -> None:
    lines = sent(Bearing("", (("sid", "ours"),)), withheld=("sid",))
    assert "cookie: theme=dark; sid=ours" in lines
