"""What `crmgate check` finds about [[sign_in.provider]]: files that cannot be used, providers that do not answer."""

from gateway.composition_federation import provider_of
from gateway.federation.config import ProviderKind
from gateway.federation.flow import Flow
from gateway.federation.vouched import ProviderDown, VouchRefused
from gateway.finding import Finding, Weight, finding
from gateway.settings import Settings
from gateway.toml_tree import SettingInvalid


async def check_sign_in(settings: Settings) -> list[Finding]:
    """Findings in the order of the file. An OpenID provider is asked for its discovery document, the others nothing."""
    found = []
    for number, one in enumerate(settings.sign_in.providers, 1):
        place = f"sign_in.provider.{number}"
        try:
            provider = provider_of(one, place)
            await provider.address(Flow(""), "")
        except SettingInvalid as fault:
            found.append(finding("provider-file", Weight.PROBLEM, fault.name, problem=fault.problem))
        except ProviderDown:  # people have their password
            found.append(finding("provider-unreachable", Weight.WARNING, place, name=one.name, issuer=one.issuer))
        except VouchRefused as refused:
            found.append(finding("provider-document", Weight.PROBLEM, place, name=one.name, why=refused.why))
        else:
            asked = one.kind is ProviderKind.OPENID
            found.append(finding("provider-fine" if asked else "provider-not-asked", Weight.FINE, place, name=one.name))
    return found
