"""Synthetic people and organisations for the demo, the leak test and the benchmarks: the same seed, the same people.

Nobody here exists. E-mail domains are reserved (RFC 2606), Chinese numbers lie in real blocks because validators check
them, ID numbers and cards have valid check digits. Every e-mail, phone, ID number, card, address and full name is
unique in its set, so that a value found anywhere says whose it is.
"""

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, timedelta

import phonenumbers

from kms.surrogate import id_check_character, luhn_digit


@dataclass(frozen=True, slots=True)
class Person:
    """One synthetic person; phone is national in China (11 digits), E.164 elsewhere; card numbers hold no separators.

    notes: running text with some of the values. foreign: not from China; then id_card is "" because there is none.
    language: "zh" or "en", of the notes.
    """

    key: str
    last_name: str
    first_name: str
    full_name: str
    email: str
    phone: str
    id_card: str
    bank_card: str
    address: str
    city: str
    birthday: date
    notes: str
    foreign: bool
    language: str

    @property
    def values(self) -> tuple[tuple[str, str], ...]:
        """(kind, value) of every personal value that may never be seen in the clear by mistake."""
        pairs = (
            ("name", self.full_name),
            ("email", self.email),
            ("phone", self.phone),
            ("id_card", self.id_card),
            ("bank_card", self.bank_card),
            ("address", self.address),
        )
        return tuple(pair for pair in pairs if pair[1])


@dataclass(frozen=True, slots=True)
class Organisation:
    """One synthetic organisation with a switchboard number and a general mailbox."""

    key: str
    name: str
    email: str
    phone: str
    address: str
    city: str
    notes: str
    foreign: bool


_SURNAMES = (
    *"王李张刘陈杨黄赵吴周徐孙马朱胡郭何林高罗郑梁谢宋唐许韩冯邓曹彭曾萧田董袁潘于蒋蔡余杜叶程苏魏吕丁任沈",
    *"姚卢姜崔钟谭陆汪范金石廖贾夏韦付方白邹孟熊秦邱江尹薛闫段雷侯龙史陶黎贺顾毛郝龚邵万钱严覃武戴莫孔向汤",
    *("欧阳", "司马", "上官", "诸葛", "慕容", "令狐"),
)
_GIVEN = (
    "伟芳娜敏静丽强磊军洋勇艳杰娟涛明超秀霞平刚桂英华玉萍红鑫玲辉宇浩凯健俊帆旭晨瑞佳嘉欣雨婷雪琳慧颖莹倩楠怡诗涵子轩梓思博文昊天泽睿逸航铭诚远志鹏飞翔"
    "海波建国庆春兰菊梅竹松柏云峰岩川溪湖清澄澈润泉源洁冰霜露雯霏霖岚岑峻巍"
)
_RARE_NAMES = (("𠮷", "田贵"), ("王", "𬍛"), ("李", "㛃"), ("张", "𣲘"), ("陈", "𤧛洋"))
_WESTERN = (
    (
        "FR",
        "Paris",
        ("Marie", "Luc", "Chloé", "Jean-Pierre", "Zoé"),
        ("Dupont", "Lefèvre", "Moreau", "d'Arcy", "Girard"),
    ),
    (
        "DE",
        "München",
        ("Jürgen", "Anke", "Björn", "Käthe", "Uwe"),
        ("Müller", "Schröder", "Weiß", "von Bergen", "Vogel"),
    ),
    (
        "US",
        "Springfield",
        ("John", "Olivia", "Mary-Ann", "Ethan", "Grace"),
        ("Smith", "O'Brien", "Johnson", "McKay", "Reed"),
    ),
    (
        "GB",
        "Leeds",
        ("Alfie", "Poppy", "Nigel", "Freya", "Rhys"),
        ("Hughes", "Clarke", "Pemberton", "Lloyd-Jones", "Shaw"),
    ),
    (
        "ES",
        "Sevilla",
        ("José", "Lucía", "Íñigo", "Carmen", "Nuria"),
        ("García", "Núñez", "Ibáñez", "de la Cruz", "Ruiz"),
    ),
    ("PL", "Łódź", ("Łukasz", "Zofia", "Żaneta", "Piotr", "Ewa"), ("Wójcik", "Kowalski", "Śliwa", "Zając", "Nowak")),
    ("RU", "Казань", ("Анна", "Иван", "Ольга", "Пётр", "Юлия"), ("Иванова", "Петров", "Сидорова", "Орлов", "Ёлкина")),
    ("AE", "دبي", ("محمد", "فاطمة", "عمر", "ليلى", "سارة"), ("الهاشمي", "المنصوري", "حداد", "النجار", "خليل")),
    ("VN", "Huế", ("Thị Hoa", "Văn Nam", "Minh Anh", "Đức", "Lan"), ("Nguyễn", "Trần", "Phạm", "Đặng", "Võ")),
)
_SYLLABLES = (
    "al",
    "ber",
    "cas",
    "dor",
    "el",
    "fin",
    "gar",
    "hol",
    "ing",
    "kel",
    "lan",
    "mer",
    "nor",
    "ost",
    "per",
    "quin",
)
_STREETS = {
    "FR": ("{n} rue {x}", "Rivoli-{x}"),
    "DE": ("{x}straße {n}", "{x}weg {n}"),
    "US": ("{n} {x} Avenue, Apt {m}", "{n} {x} Street"),
    "GB": ("{n} {x} Lane", "Flat {m}, {n} {x} Road"),
    "ES": ("Calle {x} {n}, {m}º", "Avenida {x} {n}"),
    "PL": ("ul. {x}ska {n}/{m}", "al. {x}owa {n}"),
    "RU": ("ул. {x}ская, д. {n}, кв. {m}", "пр. {x}ов, {n}"),
    "AE": ("شارع {x} {n}", "برج {x} شقة {n}"),
    "VN": ("{n} đường {x}", "{m}/{n} phố {x}"),
}
_CITIES = (
    ("110105", "北京市朝阳区", "北京"),
    ("310104", "上海市徐汇区", "上海"),
    ("440106", "广东省广州市天河区", "广州"),
    ("440305", "广东省深圳市南山区", "深圳"),
    ("330106", "浙江省杭州市西湖区", "杭州"),
    ("510107", "四川省成都市武侯区", "成都"),
    ("320106", "江苏省南京市鼓楼区", "南京"),
    ("420106", "湖北省武汉市武昌区", "武汉"),
    ("610113", "陕西省西安市雁塔区", "西安"),
    ("210202", "辽宁省大连市中山区", "大连"),
)
_ROADS = "建国文三解放人民中山长江黄河光华科技学院滨海清泉松柏云峰兰溪"
_BLOCKS = (
    "138",
    "139",
    "135",
    "136",
    "150",
    "151",
    "158",
    "159",
    "182",
    "186",
    "187",
    "188",
    "133",
    "177",
    "199",
    "166",
)
_DOMAINS = ("example.com", "example.org", "example.net", "mail.example.com", "post.example.org")
_CARD_ISSUERS = (("622202", 19), ("621700", 19), ("625955", 16), ("622848", 19), ("436742", 16), ("411111", 16))
_NOTES_ZH = (
    "{name}来电，手机{phone}，约周四下午面谈。",
    "已发合同到{email}，{name}确认收到；身份证{id}已核对。",
    "客户{name}（电话{phone}）希望改期，邮箱{email}。",
    "与{name}沟通：付款卡号{card}，备用联系{phone}。",
    "证件号码{id}，本人{name}签字。发票寄{address}。",
)
_NOTES_EN = (
    "{name} called from {phone} and wants an offer by e-mail ({email}).",
    "Met {name}; send the papers to {address}. Phone: {phone}.",
    "Card {card} belongs to {name}, confirmed by {email}.",
    "Please write to {email} before calling {phone}.",
)
_TRADES_ZH = ("科技", "贸易", "实业", "物流", "医药", "机械", "文化传媒", "建筑工程")
_TRADES_EN = ("Trading Ltd", "Logistics GmbH", "Engineering SA", "Foods Inc", "Textiles BV", "Consulting Ltd")


class _Unique:
    """Draws until a value is new; gives up loudly, because a set that repeats would make every count meaningless."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._seen = {value.casefold() for value in taken}

    def draw(self, make: Callable[[], str]) -> str:
        for _ in range(1_000):
            value = make()
            if value.casefold() not in self._seen:
                self._seen.add(value.casefold())
                return value
        raise ValueError("the pool of synthetic values is exhausted")


def make_people(rng: random.Random, count: int, *, foreign_share: float = 0.3) -> list[Person]:
    """`count` people with values unique across the set, in a mixed order; 10,000 are possible.

    foreign_share: part of the people who are not from China, 0 to 1.
    """
    unique = _Unique()
    return [
        _foreigner(rng, unique, number) if rng.random() < foreign_share else _chinese(rng, unique, number)
        for number in range(1, count + 1)
    ]


def make_organisations(
    rng: random.Random, count: int, *, foreign_share: float = 0.3, apart_from: Iterable[Person] = ()
) -> list[Organisation]:
    """`count` organisations with values unique across the set, and none of those of the people in apart_from."""
    unique = _Unique(value for person in apart_from for _, value in person.values)
    return [_organisation(rng, unique, number, foreign=rng.random() < foreign_share) for number in range(1, count + 1)]


def _chinese(rng: random.Random, unique: _Unique, number: int) -> Person:
    names: dict[str, tuple[str, str]] = {}

    def full_name() -> str:
        rare = rng.random() < 0.01
        last, first = rng.choice(_RARE_NAMES) if rare else (rng.choice(_SURNAMES), "".join(rng.choices(_GIVEN, k=2)))
        first += rng.choice(_GIVEN) if rare else ""
        names[last + first] = last, first
        return last + first

    name = unique.draw(full_name)
    region, district, city = rng.choice(_CITIES)
    born = date(1950, 1, 1) + timedelta(days=rng.randrange(55 * 365))
    person = {
        "name": name,
        "email": unique.draw(lambda: _email(rng, "user")),
        "phone": unique.draw(lambda: rng.choice(_BLOCKS) + f"{rng.randrange(10**8):08d}"),
        "id": unique.draw(lambda: _id_card(rng, region, born)),
        "card": unique.draw(lambda: _bank_card(rng)),
        "address": unique.draw(lambda: _chinese_address(rng, district)),
    }
    last, first = names[name]
    notes = rng.choice(_NOTES_ZH).format(**person)
    return _person(number, last, first, person, city, born, notes, language="zh")


def _foreigner(rng: random.Random, unique: _Unique, number: int) -> Person:
    region, city, first_names, last_names = rng.choice(_WESTERN)
    names: dict[str, tuple[str, str]] = {}

    def full_name() -> str:
        first, last = rng.choice(first_names), _surname(rng, region, rng.choice(last_names))
        names[f"{first} {last}"] = last, first
        return f"{first} {last}"

    name = unique.draw(full_name)
    last, first = names[name]
    person = {
        "name": name,
        "email": unique.draw(lambda: _email(rng, _ascii(last))),
        "phone": unique.draw(lambda: _foreign_phone(rng, region)),
        "id": "",
        "card": unique.draw(lambda: _bank_card(rng)),
        "address": unique.draw(lambda: _foreign_address(rng, region, city)),
    }
    born = date(1950, 1, 1) + timedelta(days=rng.randrange(55 * 365))
    return _person(number, last, first, person, city, born, rng.choice(_NOTES_EN).format(**person), language="en")


def _person(
    number: int, last: str, first: str, person: dict[str, str], city: str, born: date, notes: str, *, language: str
) -> Person:
    return Person(
        key=f"P{number:05d}",
        last_name=last,
        first_name=first,
        full_name=person["name"],
        email=person["email"],
        phone=person["phone"],
        id_card=person["id"],
        bank_card=person["card"],
        address=person["address"],
        city=city,
        birthday=born,
        notes=notes,
        foreign=language != "zh",
        language=language,
    )


def _organisation(rng: random.Random, unique: _Unique, number: int, *, foreign: bool) -> Organisation:
    if foreign:
        region, city, _, _ = rng.choice(_WESTERN)
        name = unique.draw(lambda: f"{_made_up(rng).capitalize()} {rng.choice(_TRADES_EN)}")
        phone = unique.draw(lambda: _foreign_phone(rng, region))
        address = unique.draw(lambda: _foreign_address(rng, region, city))
        notes = f"General enquiries for {name}: {phone}."
    else:
        _, district, city = rng.choice(_CITIES)
        name = unique.draw(lambda: f"{city}{''.join(rng.choices(_GIVEN, k=2))}{rng.choice(_TRADES_ZH)}有限公司")
        phone = unique.draw(lambda: rng.choice(_BLOCKS) + f"{rng.randrange(10**8):08d}")
        address = unique.draw(lambda: _chinese_address(rng, district))
        notes = f"{name}总机{phone}，工作日九点至六点。"
    email = unique.draw(lambda: _email(rng, "info"))
    return Organisation(f"O{number:05d}", name, email, phone, address, city, notes, foreign)


def _email(rng: random.Random, stem: str) -> str:
    return f"{stem}.{_made_up(rng)}{rng.randrange(10_000)}@{rng.choice(_DOMAINS)}".lower()


def _ascii(name: str) -> str:
    kept = "".join(char for char in name if char.isascii() and char.isalpha())
    return kept.lower() or "guest"


def _made_up(rng: random.Random) -> str:
    return "".join(rng.choices(_SYLLABLES, k=3))


def _surname(rng: random.Random, region: str, stem: str) -> str:
    """A double surname in scripts that have them, else the stem with a made-up second half: thousands are needed."""
    if region in {"RU", "AE"}:
        others = next(last for code, _, _, last in _WESTERN if code == region)
        initial = (
            rng.choice("АБВГДЕЖЗИКЛМНОПРСТУФХЦЧШЭЮЯ") if region == "RU" else rng.choice("ابتثجحخدذرزسشصضطظعغفقكلمنهوي")
        )
        return f"{stem}-{initial}{rng.choice(others).lower()}"
    return f"{stem}-{_made_up(rng).capitalize()}"


def _foreign_phone(rng: random.Random, region: str) -> str:
    """A valid mobile number in E.164: the country's example with its last six digits drawn anew until it is valid."""
    example = phonenumbers.example_number_for_type(region, phonenumbers.PhoneNumberType.MOBILE)
    assert example is not None
    assert example.national_number is not None
    while True:
        number = phonenumbers.PhoneNumber(
            country_code=example.country_code,
            national_number=example.national_number // 10**6 * 10**6 + rng.randrange(10**6),
        )
        if phonenumbers.is_valid_number(number):
            return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def _id_card(rng: random.Random, region: str, born: date) -> str:
    digits = f"{region}{born:%Y%m%d}{rng.randrange(1, 1000):03d}"
    return digits + id_check_character(digits)


def _bank_card(rng: random.Random) -> str:
    issuer, length = rng.choice(_CARD_ISSUERS)
    digits = issuer + "".join(str(rng.randrange(10)) for _ in range(length - 1 - len(issuer)))
    return digits + luhn_digit(digits)


def _chinese_address(rng: random.Random, district: str) -> str:
    road = "".join(rng.choices(_ROADS, k=2))
    return f"{district}{road}路{rng.randrange(1, 999)}号{rng.randrange(1, 30)}栋{rng.randrange(101, 2999)}室"


def _foreign_address(rng: random.Random, region: str, city: str) -> str:
    street = rng.choice(_STREETS[region])
    word = _made_up(rng).capitalize()
    line = street.format(n=rng.randrange(1, 400), m=rng.randrange(1, 90), x=word)
    return f"{line}, {rng.randrange(10_000, 99_999)} {city}"
