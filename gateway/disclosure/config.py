"""[tenant.NAME.reveal] of the settings: whether and how masked values can be revealed with a reason."""

from dataclasses import dataclass
from pathlib import Path

from gateway.toml_tree import SettingInvalid, read_section, setting

REASONS = ("contact", "order", "complaint", "correction", "other")
FREE = "other"
REASON_LIMIT_CHARS = 120


@dataclass(frozen=True, slots=True)
class RevealSettings:
    """[tenant.NAME.reveal]."""

    enabled: bool = setting(False, "masked values can be revealed by those whom the policy lets (right `reveal`)")
    per_hour: int = setting(20, "values that one person can reveal in an hour", least=1)
    step_up: bool = setting(True, "a fresh code of the second factor is asked for each time")
    reasons: tuple[str, ...] = setting(
        REASONS, "reasons to pick from: contact, order, complaint, correction, other, or words of your own"
    )
    words_chars: int = setting(
        10, "least number of characters in a reason in somebody's own words, which goes with `other`", least=1
    )
    shown_s: int = setting(60, "seconds that a value stays on the screen", least=5)
    copy: bool = setting(False, "a button to copy the value; without it selecting is made hard, not impossible")


def read_reveal(raw: object, name: str, folder: Path) -> RevealSettings:
    """The section of one CRM; raises SettingInvalid."""
    read = read_section(RevealSettings, raw, name, folder)
    if not read.reasons or len(set(read.reasons)) != len(read.reasons):
        raise SettingInvalid(f"{name}.reasons", "must name at least one reason, and none twice")
    if not all(one.strip() and len(one) <= REASON_LIMIT_CHARS and one.isprintable() for one in read.reasons):
        raise SettingInvalid(f"{name}.reasons", f"must be words of 1 to {REASON_LIMIT_CHARS} characters")
    return read
