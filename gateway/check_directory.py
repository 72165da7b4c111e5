"""What `crmgate check` finds about directories: whether each server can be asked, as a sign-in would ask it.

It binds with crmgate's own account and looks for a login nobody has; nobody's password is needed or used.
"""

from collections.abc import AsyncIterator
from dataclasses import replace

from gateway.directory.check import open_directories
from gateway.directory.config import PLACE
from gateway.directory.outcome import DirectoryUnavailable
from gateway.finding import Finding, Weight, finding
from gateway.settings import Settings
from gateway.toml_tree import SettingInvalid

# Why a server cannot be asked (DirectoryUnavailable) → finding.
_FINDINGS = {
    "unreachable": "directory-unreachable",
    "tls": "directory-tls",
    "slow": "directory-slow",
    "nonsense": "directory-nonsense",
    "busy": "directory-busy",
    "secret": "directory-secret",
    "own-account": "directory-own-account",
    "search": "directory-search",
}


async def check_directories(settings: Settings) -> AsyncIterator[Finding]:
    """Findings about [[sign_in.directory]], one for each server at least."""
    for one in settings.sign_in.directories:
        place = f"{PLACE} {one.name}"
        if one.clear_text_on_loopback:
            yield finding("directory-clear", Weight.WARNING, f"{place}.clear_text_on_loopback")
        for url in one.urls:
            try:
                await open_directories([replace(one, urls=(url,))])[one.name].pass_time()
            except SettingInvalid:
                yield finding("directory-ca", Weight.PROBLEM, f"{place}.ca", file=one.ca)
                break
            except DirectoryUnavailable as fault:
                yield finding(_FINDINGS[fault.reason], Weight.PROBLEM, place, url=url)
            else:
                yield finding("directory-fine", Weight.FINE, place, url=url)
