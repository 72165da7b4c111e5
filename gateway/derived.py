"""Copies that the CRM derives from a value: of a surrogate it derives the surrogate, so the copy is derived here anew.

Only what the answer shows already is rewritten: a clear number in its other spelling. Masks, surrogates and what is no
number stay as they are.
"""

import re
from collections.abc import Mapping
from functools import lru_cache

import phonenumbers

_NUMBER = re.compile(r"[+(]?[0-9][0-9()+\-./ ]{4,30}")


def derive(body: bytes, keys: Mapping[str, str]) -> bytes:
    """A rendered JSON answer with its derived copies; keys: member of an object → country of numbers without one."""
    for key, region in keys.items():
        name = f'"{key}"'.encode()
        if name in body:
            body = _member(name).sub(lambda match, region=region: _again(match, region), body)  # type: ignore[misc]
    return body


@lru_cache(maxsize=64)
def _member(name: bytes) -> re.Pattern[bytes]:
    return re.compile(re.escape(name) + rb'\s*:\s*"([^"\\]{5,32})"')


def _again(match: re.Match[bytes], region: str) -> bytes:
    whole, text = match.group(), match.group(1).decode("utf-8", "replace")
    derived = e164(text, region)
    return whole if derived is None else whole[: match.start(1) - match.start()] + derived.encode() + b'"'


def e164(text: str, region: str) -> str | None:
    """A phone number in E.164 (ITU-T), None for what is none. region: ISO 3166 code for numbers without a country."""
    if not _NUMBER.fullmatch(text):
        return None
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_possible_number(number):
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
