"""Everything the identity pages of the CRMs' hosts reach, by tenant; built by the composition."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.access.deps import AccessDeps
from gateway.identity.carried import CarriedSessions
from gateway.identity.crm_login import CrmLogins
from gateway.identity.events import IdentityTrail
from gateway.identity.signing_key import SigningKeys


@dataclass(frozen=True, slots=True)
class IdentityDeps:
    """stored: where people's CRM logins are kept and used; keys: where something is signed for the CRM."""

    access: AccessDeps
    logins: CrmLogins
    trail: IdentityTrail
    stored: Mapping[str, CarriedSessions] = field(default_factory=dict)
    keys: Mapping[str, SigningKeys] = field(default_factory=dict)
