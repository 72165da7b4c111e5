"""The client address comes from trusted hops only; garbage is refused."""

from ipaddress import ip_network
from typing import Any, cast

import pytest

from gateway.exchange import Head
from gateway.network import Allowlist, Network, Tenant, canonical, locate
from gateway.origin import Origins
from gateway.refusal import ADDRESS_NOT_ALLOWED, HOST_UNKNOWN, MALFORMED_REQUEST, Refusal

TRUSTED = Network([ip_network("10.0.0.0/8"), ip_network("fd00::/8")])


def head(*hops: str, host: str = "crm.localhost:8443") -> Head:
    return Head("GET", "/", "/", "", host, tuple(("x-forwarded-for", hop) for hop in hops), False, None)


def tenant(*networks: str) -> Tenant:
    origins = Origins("https://crm.localhost:8443", "http://127.0.0.1:1")
    return Tenant(
        "main", origins, cast("Any", None), cast("Any", None), Allowlist([ip_network(one) for one in networks])
    )


class TestClientAddress:
    def test_without_trusted_hops_the_header_means_nothing(self) -> None:
        assert Network().client_address("198.51.100.1", head("203.0.113.9")) == "198.51.100.1"
        assert TRUSTED.client_address("198.51.100.1", head("203.0.113.9")) == "198.51.100.1"

    def test_the_rightmost_untrusted_hop_is_the_client(self) -> None:
        assert TRUSTED.client_address("10.0.0.1", head("1.2.3.4, 203.0.113.9, 10.0.0.2")) == "203.0.113.9"
        assert TRUSTED.client_address("10.0.0.1", head("1.2.3.4", "203.0.113.9")) == "203.0.113.9"

    def test_only_trusted_hops_give_the_outermost(self) -> None:
        assert TRUSTED.client_address("10.0.0.1", head("10.0.0.3, 10.0.0.2")) == "10.0.0.3"
        assert TRUSTED.client_address("10.0.0.1", head()) == "10.0.0.1"

    @pytest.mark.parametrize(
        "hop", ["unknown", "203.0.113.9:1234", "a, ", "1.2.3", "::1%eth0", "203.0.113.9,,", "_hidden"]
    )
    def test_a_hop_that_is_no_address_is_refused(self, hop: str) -> None:
        with pytest.raises(Refusal) as caught:
            TRUSTED.client_address("10.0.0.1", head(hop))
        assert caught.value.reason is MALFORMED_REQUEST

    def test_one_address_has_one_spelling(self) -> None:
        assert canonical("::ffff:203.0.113.9") == "203.0.113.9"
        assert canonical("2001:DB8:0:0::1") == "2001:db8::1"


class TestLocate:
    SCOPE = {"client": ("203.0.113.9", 1)}  # noqa: RUF012 - never changed

    def test_the_host_names_the_tenant(self) -> None:
        one = tenant()
        assert locate({"crm.localhost:8443": one}, Network(), self.SCOPE, head()) == (one, "203.0.113.9")

    def test_an_unknown_host_is_refused(self) -> None:
        with pytest.raises(Refusal) as caught:
            locate({"crm.localhost:8443": tenant()}, Network(), self.SCOPE, head(host="crm.localhost"))
        assert caught.value.reason is HOST_UNKNOWN

    def test_the_allowlist_decides_by_the_true_address(self) -> None:
        tenants = {"crm.localhost:8443": tenant("203.0.113.0/24", "2001:db8::/32")}
        assert locate(tenants, Network(), self.SCOPE, head())[1] == "203.0.113.9"
        with pytest.raises(Refusal) as caught:
            locate(tenants, Network(), {"client": ("198.51.100.1", 1)}, head())
        assert caught.value.reason is ADDRESS_NOT_ALLOWED
        with pytest.raises(Refusal):
            locate(tenants, Network(), {"client": None}, head())
