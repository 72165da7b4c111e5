"""What `crmgate check` finds about passwords: that the preset for 等保 is bought with two requirements of ASVS."""

from collections.abc import Iterator

from gateway.finding import Finding, Weight, finding
from gateway.settings import PasswordPreset, Settings


def check_passwords(settings: Settings) -> Iterator[Finding]:
    """Findings about [passwords]."""
    if settings.passwords.preset is PasswordPreset.MLPS:
        yield finding("passwords-mlps", Weight.WARNING, "passwords.preset", days=settings.passwords.expire_days)
