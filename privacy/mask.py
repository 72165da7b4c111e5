"""Masks: how a value looks to somebody who may know that it is there, and little more.

`mask` is for reading. The number of mask characters is fixed, so the length of the value is never betrayed; what is too
short, too odd or of the wrong shape is masked whole. `wire_mask` is for programs that may post it back: it passes the
usual validators and carries the surrogate, so nothing has to be remembered until the next exchange. `looks_masked`
recognises readable masks that come back, which must be refused and never stored.
"""

import re
import unicodedata
from collections.abc import Callable
from typing import NamedTuple

from phonenumbers import COUNTRY_CODE_TO_REGION_CODE

from policies.taxonomy import Kind
from privacy.email import ascii_host, host_ok

MASK_CHARS = "*\u2022"  # the second one where a CRM renders notes as Markdown
WIRE_DOMAIN = "masked.invalid"

# Compound surnames still in use; the list decides only about names of 3 and 4 characters.
_COMPOUND_SURNAMES = frozenset(
    re.findall(
        "..",
        "欧阳歐陽司马司馬上官诸葛諸葛东方東方皇甫尉迟尉遲公孙公孫慕容令狐宇文长孙長孫轩辕軒轅司徒司空夏侯端木百里呼延"
        "南宫南宮独孤獨孤赫连赫連澹台澹臺公冶太史申屠公羊闻人聞人钟离鐘離鲜于鮮于拓跋西门西門东郭東郭左丘梁丘南门南門"
        "第五万俟萬俟濮阳濮陽淳于单于單于公良漆雕壤驷仲孙仲孫亓官司寇巫马巫馬子车宗政公西颛孙顓孫乐正樂正谷梁穀梁",
    )
)
_EMAIL_STARS, _NAME_STARS_CJK, _NAME_STARS, _ID_STARS, _STARS = 3, 2, 3, 16, 4
_PROVINCE = (
    r"(?:(?:北京|上海|天津|重庆)市|(?:河北|山西|辽宁|吉林|黑龙江|江苏|浙江|安徽|福建|江西|山东|河南|湖北|湖南|广东|海南|四川|贵州|云南|陕西"
    r"|甘肃|青海|台湾)省|(?:内蒙古|西藏)自治区|广西壮族自治区|宁夏回族自治区|新疆维吾尔自治区|(?:香港|澳门)特别行政区)"
)
# Only behind a known province may a city or district be long: whatever else stands in front is somebody's text.
_CITY = r"[\u4e00-\u9fff]{2,6}?(?:(?<![超门城])市|地区|盟)|[\u4e00-\u9fff]{2,12}?自治州"
_DISTRICT = (
    r"[\u4e00-\u9fff]{1,6}?(?:(?<![小园社校厂片街])区|县|(?<![超门城])市|(?<=[\u4e00-\u9fff]{2})旗(?![\u4e00-\u9fff]?[街路]))"
    r"|[\u4e00-\u9fff]{2,15}?自治[县旗]"
)
_PLACE = re.compile(
    rf"(?:中国)?(?:(?P<province>{_PROVINCE})(?P<city>{_CITY})?|(?P<town>[\u4e00-\u9fff]{{2,3}}(?<![超门城])市))"
    rf"(?P<district>{_DISTRICT})?"
)
_WIRE_EMAIL = re.compile(
    r"(?P<first>[a-z0-9])\.(?P<token>[a-z2-7]{32})@(?:(?P<domain>[^@\s]{1,240})\.)?masked\.invalid", re.IGNORECASE
)
_WIRE_PHONE = re.compile(r"(?:\+|00)?8889(?P<token>[0-9]{7})(?P<last>[0-9]{3})")
_SURROGATE_EMAIL = re.compile(r"e\.([a-z2-7]{32})@", re.IGNORECASE)
_SURROGATE_PHONE = re.compile(r"\+8887([0-9]{7})[0-9]{3}")
_SEPARATORS = re.compile(r"[\s().\-\u00a0\u2009\u202f]")
_M = f"[{re.escape(MASK_CHARS)}]"
_MASK_SHAPES = re.compile(
    rf"(?<![0-9])1[3-9][0-9]{_M}{{4}}[0-9]{{4}}(?![0-9])"  # mobile
    rf"|\+[1-9][0-9]{{0,2}}{_M}{{4}}[0-9]{{0,4}}(?![0-9])"  # foreign phone
    rf"|(?<![0-9])0[0-9]{{2,3}}-{_M}{{4}}[0-9]{{2}}(?![0-9])"  # landline
    rf"|{_M}{{3}}@[^\s@]*\."  # e-mail
    rf"|(?<![0-9])[1-9]{_M}{{16}}[0-9X]"  # ID card
    rf"|(?<!{_M}){_M}{{3}} [0-9]{{4}}(?![0-9])"  # bank card
    rf"|(?<![0-9])[0-9]{{4}}-{_M}{{2}}-{_M}{{2}}(?!{_M})"  # date of birth
    rf"|[区县市旗省州盟]{_M}{{4}}(?!{_M})"  # address
)
# Names and hidden values have no shape of their own inside prose (`**` is also Markdown): they count as whole only.
_HAN = r"\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_MARK = r"(?![\w\s])[^\x00-\x7f\u2022]"
# The alternatives exclude one another, so that a long row of masks cannot make the match explode.
_MASK_WHOLE = re.compile(
    rf"(?:(?:[{_HAN}]{{1,2}}{_M}{{2}}|[^\W_](?:{_MARK}){{0,4}}{_M}{{3}}|{_M}{{2,16}}|{_M}{{4}}[0-9]{{2}})(?:[\s,、，;/]+|$))+"
)


class WireMask(NamedTuple):
    """What a wire mask carries: token is the base32 part (e-mail) or the serial (phone) of the surrogate.

    shown: the part of the clear value in it, `x@domain` or the last digits; a caller compares it with the vault's value
    through `wire_mask` and refuses an edited mask.
    """

    kind: Kind
    token: str
    shown: str


def mask(kind: str, clear: str, *, char: str = "*") -> str:
    """The readable mask of a value of this kind, by the custom of the field (reference table in README.md).

    char: one mask character of MASK_CHARS. An unknown kind is masked whole. Never raises, whatever the value is.
    """
    masker = _MASKERS.get(kind)
    return masker(clear, char) if masker else char * _STARS


def wire_mask(kind: str, clear: str, surrogate: str) -> str:
    """A mask that is a syntactically valid value and names its surrogate; kinds without one get the surrogate itself.

    E-mail: `z.<32 base32>@example.com.masked.invalid`. Phone: `+8889`, serial of the surrogate, last 3 digits: behind
    +888 numbering-plan libraries accept 11 digits, no more.
    """
    if kind == Kind.EMAIL and (found := _SURROGATE_EMAIL.match(surrogate)):
        return _wire_email(clear, found[1].lower())
    if kind == Kind.PHONE and (found := _SURROGATE_PHONE.fullmatch(surrogate)):
        digits = _digits(clear)
        return f"+8889{found[1]}{digits[-3:] if len(digits) >= 8 else '000'}"
    return surrogate


def unmask_wire(text: str) -> WireMask | None:
    """The parts of a wire mask that came back, re-formatted or not; None when the whole text is not one."""
    trimmed = text.strip()
    if len(trimmed) > 320:
        return None
    if found := _WIRE_EMAIL.fullmatch(trimmed):
        domain = found["domain"]
        shown = f"{found['first']}@{domain}" if domain else found["first"]
        return WireMask(Kind.EMAIL, found["token"].lower(), shown.lower())
    if found := _WIRE_PHONE.fullmatch(_SEPARATORS.sub("", trimmed)):
        return WireMask(Kind.PHONE, found["token"], found["last"])
    return None


def looks_masked(text: str) -> bool:
    """Whether a text is, or holds, a readable mask of ours in any mask character we ship."""
    if "*" not in text and "\u2022" not in text:
        return False
    trimmed = text.strip()
    return _MASK_SHAPES.search(text) is not None or (len(trimmed) <= 320 and _MASK_WHOLE.fullmatch(trimmed) is not None)


def first_character(text: str) -> str:
    """The first letter or digit as a reader sees it, with its combining marks (at most 4); "" if none stands in front.

    Invisible and white-space characters before it are passed over; punctuation, symbols and marks are not shown.
    """
    text = unicodedata.normalize("NFC", text[:64])
    for index, char in enumerate(text):
        category = unicodedata.category(char)
        if category[0] in "CZ":
            continue
        if category[0] not in "LN":
            return ""
        end = index + 1
        while end < len(text) and end <= index + 4 and unicodedata.category(text[end])[0] == "M":
            end += 1
        return text[index:end]
    return ""


def _mask_email(clear: str, char: str) -> str:
    local, _, domain = clear.strip().rpartition("@")
    if not local or not host_ok(domain):
        return char * _STARS
    first = first_character(local)
    visible = "" if len(_visible(local)) <= len(first) else first
    return f"{visible}{char * _EMAIL_STARS}@{domain}"


def _mask_phone(clear: str, char: str) -> str:
    digits, stars = _digits(clear), char * 4
    plus = _is_international(clear)
    national = digits.removeprefix("00").removeprefix("86") if plus or len(digits) in {13, 15} else digits
    if len(national) == 11 and re.match("1[3-9]", national) and (not plus or digits.removeprefix("00")[:2] == "86"):
        return f"{national[:3]}{stars}{national[-4:]}"
    if plus:
        digits = digits.removeprefix("00") if not clear.strip().startswith(("+", "\uff0b")) else digits
        code = next((digits[:n] for n in (1, 2, 3) if int(digits[:n] or 0) in COUNTRY_CODE_TO_REGION_CODE), "")
        rest = len(digits) - len(code)
        code = code if rest >= 4 else ""
        return f"+{code}{stars}{digits[-4:] if rest >= 8 else digits[-2:] if rest >= 6 else ''}" if code else stars
    if 10 <= len(digits) <= 12 and (area := re.match("0(?:10|2[0-9]|[3-9][0-9]{2})", digits)):
        return f"{area[0]}-{stars}{digits[-2:]}"
    return f"{stars}{digits[-2:]}" if len(digits) >= 7 else stars


def _mask_id_card(clear: str, char: str) -> str:
    text = _SEPARATORS.sub("", unicodedata.normalize("NFKC", clear[:64])).upper()
    if not re.fullmatch("[1-9](?:[0-9]{14}|[0-9]{16}[0-9X])", text, re.ASCII):
        return char * _ID_STARS
    return f"{text[0]}{char * _ID_STARS}{text[-1]}"


def _mask_bank_card(clear: str, char: str) -> str:
    digits = _digits(clear)
    return f"{char * 3} {digits[-4:]}" if 12 <= len(digits) <= 19 else char * 3


def _mask_name(clear: str, char: str) -> str:
    visible = _visible(clear)
    first = first_character(clear)
    if not first or len(visible) <= len(first):
        return char * (_NAME_STARS_CJK if first and _is_han(first) else _NAME_STARS)
    if not _is_han(first):
        return first + char * _NAME_STARS
    if len(visible) in {3, 4} and visible[:2] in _COMPOUND_SURNAMES:
        first = visible[:2]
    return first + char * _NAME_STARS_CJK


def _mask_address(clear: str, char: str) -> str:
    text = clear.strip()
    place = _PLACE.match(text)
    if place is None:
        return char * _STARS
    ends = [place.end(group) for group in ("district", "city", "town", "province") if place[group]]
    # Where the district is the whole value, one step up: a mask never shows everything.
    shown = next((end for end in ends if end < len(text)), 0)
    return text[:shown] + char * _STARS


def _mask_birth_date(clear: str, char: str) -> str:
    year = re.fullmatch("([0-9]{4})-[0-9]{2}-[0-9]{2}", clear.strip(), re.ASCII)
    return f"{year[1]}-{char * 2}-{char * 2}" if year else char * _STARS


_MASKERS: dict[str, Callable[[str, str], str]] = {
    Kind.NAME: _mask_name,
    Kind.EMAIL: _mask_email,
    Kind.PHONE: _mask_phone,
    Kind.ID_CARD: _mask_id_card,
    Kind.BANK_CARD: _mask_bank_card,
    Kind.ADDRESS: _mask_address,
    Kind.BIRTH_DATE: _mask_birth_date,
}


def _wire_email(clear: str, token: str) -> str:
    local, _, domain = clear.strip().rpartition("@")
    first = local[:1].lower() if len(local) > 1 else ""
    # `e.<token>` is the local part of the surrogate itself and must not be taken for it.
    first = first if first.isascii() and first.isalnum() and first != "e" else "x"
    host = ascii_host(domain) if host_ok(domain) else None
    room = 254 - len(f"{first}.{token}@.{WIRE_DOMAIN}")
    if host is None or len(host) > room or not re.fullmatch(r"[a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63})+", host):
        return f"{first}.{token}@{WIRE_DOMAIN}"
    return f"{first}.{token}@{host}.{WIRE_DOMAIN}"


def _digits(text: str) -> str:
    """The decimal digits of any script, in ASCII."""
    return "".join(str(unicodedata.decimal(char)) for char in text[:64] if char.isdecimal())


def _is_international(text: str) -> bool:
    start = text.strip().lstrip("(\uff08")
    return start.startswith(("+", "\uff0b")) or _digits(start[:2]) == "00"


def _visible(text: str) -> str:
    """The text without white space and invisible characters, composed."""
    composed = unicodedata.normalize("NFC", text[:64])
    return "".join(char for char in composed if unicodedata.category(char)[0] not in "CZ")


def _is_han(char: str) -> bool:
    return "\u3400" <= char[0] <= "\u9fff" or "\U00020000" <= char[0] <= "\U0003ffff" or "\uf900" <= char[0] <= "\ufaff"
