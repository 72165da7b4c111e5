"""What a provider's answer comes to: an identity it vouches for, or why nobody is let in on it; plain values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.access.elsewhere import Elsewhere
from gateway.federation.flow import Flow


class ProviderDown(Exception):  # noqa: N818 - what the provider is
    """The provider cannot be reached, is too slow, or says that it has trouble of its own; later may help.

    `why` is a stable word for the trail, and never holds what was answered.
    """

    permanent = False

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class VouchRefused(Exception):  # noqa: N818 - what became of it
    """What came back does not prove who this is; `why` is a stable word for the trail, never what came back."""

    permanent = True

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


@dataclass(frozen=True, slots=True)
class Vouched:
    """Who it is, and whether the provider proved a second factor in a way the settings let count."""

    identity: Elsewhere
    factor_proved: bool = False


class Provider(Protocol):
    """One provider of the settings."""

    async def address(self, flow: Flow, redirect_uri: str) -> str:
        """Where the browser is sent to; raises ProviderDown, VouchRefused."""
        ...

    async def identify(self, told: Mapping[str, str], flow: Flow, redirect_uri: str) -> Vouched:
        """Who came back with these parameters, whose state was compared; raises ProviderDown, VouchRefused."""
        ...

    async def ended(self, logout_token: str) -> Elsewhere:
        """Whose sessions a back-channel logout ends; raises ProviderDown, VouchRefused."""
        ...


def only(pairs: Sequence[tuple[str, str]]) -> Mapping[str, str]:
    """Parameters of an answer, each once; raises VouchRefused where one comes twice."""
    told = dict(pairs)
    if len(told) != len(pairs):
        raise VouchRefused("parameter-twice")
    return told
