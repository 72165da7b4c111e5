"""What the settings say about passwords: words of the installation they must not lean on (ASVS 6.1.2), lists, rules."""

from datetime import timedelta
from urllib.parse import urlsplit

from gateway.access.breached import BreachFile
from gateway.access.password_rules import PasswordRules
from gateway.settings import PasswordPreset, Settings

PRODUCT = "crmgate"
MLPS_CLASSES = 3  # of four kinds of characters


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


def rules_of(settings: Settings) -> PasswordRules:
    """What is asked beyond the usual: nothing, or the preset for 等保."""
    chosen = settings.passwords
    if chosen.preset is not PasswordPreset.MLPS:
        return PasswordRules()
    return PasswordRules(chosen.least_chars, MLPS_CLASSES, timedelta(days=chosen.expire_days), chosen.remember)
