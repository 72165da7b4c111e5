"""The words of an installation that a password must not lean on (ASVS 6.1.2): its product, CRMs, hosts and tenants."""

from urllib.parse import urlsplit

from gateway.access.breached import BreachFile
from gateway.settings import Settings

PRODUCT = "crmgate"


def context_of(settings: Settings) -> tuple[str, ...]:
    """Names that anybody who attacks this installation tries first; login and name of the person are added later."""
    words = [PRODUCT, urlsplit(settings.console.public_url).hostname or ""]
    for name, tenant in settings.tenants.items():
        profile = tenant.profile.rpartition("/")[2].removesuffix(".toml").removesuffix(".yaml")
        words += [name, urlsplit(tenant.public_url).hostname or "", profile]
    return tuple(dict.fromkeys(word for word in words if word))


def breach_file_of(settings: Settings) -> BreachFile | None:
    """The file of breached passwords, where the settings name one; it is opened at each check."""
    path = settings.access.breached_passwords
    return None if path is None else BreachFile(path)
