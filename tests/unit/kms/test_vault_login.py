"""When tokens are renewed, replaced and left alone (tests/contract asks the real server)."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from hvac import exceptions

from kms.provider import KeysUnavailable
from kms.vault_login import LOOK_AGAIN_S, Admission, Grant, granted


@dataclass
class Way:
    """Gives t1, t2, … for `ttl_s`; can be made to fail or to have changed."""

    name: str = "approle"
    ttl_s: float = 100.0
    renewable: bool = True
    logins: int = 0
    fault: Exception | None = None
    news: bool = field(default=False)

    def enter(self, client: Any) -> Grant:
        self.logins += 1
        if self.fault is not None:
            raise self.fault
        return Grant(f"t{self.logins}", self.ttl_s, self.renewable)

    def changed(self) -> bool:
        return self.news


class Bench:
    """An admission with a client that renews for what `renewals` say, None: refuses."""

    def __init__(self) -> None:
        self.now = 0.0
        self.way = Way()
        self.renewals: list[float | None] = []
        self.asked = 0

        bench = self

        class Token:
            def renew_self(self) -> Any:
                bench.asked += 1
                granted = bench.renewals.pop(0) if bench.renewals else 100.0
                if granted is None:
                    raise exceptions.Forbidden
                return {"auth": {"client_token": bench.client.token, "lease_duration": granted, "renewable": True}}

        class Auth:
            token = Token()

        class Carrier:
            token = ""
            auth = Auth()

        self.client = Carrier()
        self.admission = Admission(self.client, object(), self.way, lambda: self.now)


@pytest.fixture
def at() -> Bench:
    return Bench()


def test_a_token_is_got_once_and_renewed_at_half_of_its_life(at: Bench) -> None:
    assert [at.admission.ensure() for _ in range(3)] == ["t1"] * 3
    assert (at.way.logins, at.client.token) == (1, "t1")
    assert at.admission.tend() == LOOK_AGAIN_S
    at.now = 49.0
    assert at.admission.tend() == pytest.approx(1.0)
    assert at.asked == 0
    at.now = 50.0
    at.admission.tend()
    assert (at.asked, at.way.logins) == (1, 1)
    assert at.admission.status().left_s == 100.0


@pytest.mark.parametrize("renewal", [49.0, 0.5, None])
def test_a_renewal_that_grants_too_little_or_nothing_leads_to_a_new_login(at: Bench, renewal: float | None) -> None:
    at.admission.ensure()
    at.renewals = [renewal]
    at.now = 60.0
    at.admission.tend()
    assert (at.way.logins, at.client.token) == (2, "t2")


def test_a_token_that_cannot_be_renewed_is_replaced_in_time(at: Bench) -> None:
    at.way.renewable = False
    at.admission.ensure()
    at.now = 50.0
    at.admission.tend()
    assert (at.asked, at.client.token) == (0, "t2")


def test_an_ended_token_is_never_used(at: Bench) -> None:
    at.admission.ensure()
    at.now = 100.0
    assert at.admission.ensure() == "t2"


def test_news_in_the_file_are_a_new_login(at: Bench) -> None:
    at.admission.ensure()
    at.way.news = True
    assert at.admission.ensure() == "t2"


def test_a_file_that_is_half_written_keeps_the_token_in_use_until_it_ends(at: Bench) -> None:
    at.admission.ensure()
    at.way.news, at.way.fault = True, KeysUnavailable("vault-login-file", "nothing in it")
    assert at.admission.ensure() == "t1"
    at.admission.tend()
    assert at.client.token == "t1"
    at.now = 100.0
    with pytest.raises(KeysUnavailable):
        at.admission.ensure()


def test_a_token_without_an_end_is_left_alone(at: Bench) -> None:
    at.way.ttl_s = 0.0
    at.admission.ensure()
    at.now = 1e9
    assert at.admission.tend() == LOOK_AGAIN_S
    assert (at.admission.ensure(), at.admission.status().left_s) == ("t1", None)


def test_refused_calls_lead_to_one_login_and_then_to_none_for_a_while(at: Bench) -> None:
    token = at.admission.ensure()
    assert at.admission.refused(token)  # t2 now
    assert at.admission.refused(token)  # another thread with the old token: t2 is there already
    assert at.way.logins == 2
    assert not at.admission.refused("t2")
    assert at.way.logins == 2
    at.now = 5.0
    assert at.admission.refused("t2")
    assert at.way.logins == 3


@pytest.mark.parametrize(
    "fault", [exceptions.InvalidRequest("s3cret"), exceptions.Forbidden(), exceptions.InvalidPath()]
)
def test_a_refused_login_is_said_without_the_servers_words(at: Bench, fault: Exception) -> None:
    at.way.fault = fault
    with pytest.raises(KeysUnavailable) as caught:
        at.admission.ensure()
    assert caught.value.problem == "vault-login"
    assert "s3cret" not in str(caught.value)
    at.way.fault = None
    assert at.admission.ensure() == "t2"


@pytest.mark.parametrize(
    "answer", [{}, {"auth": None}, {"auth": {"client_token": 5, "lease_duration": 1, "renewable": True}}]
)
def test_a_nonsensical_answer_to_a_renewal_gives_no_token(answer: Any) -> None:
    with pytest.raises((KeyError, TypeError)):
        granted(answer)
