"""Synthetic records for the benchmark: five personal values each, the rest is what a CRM adds."""

from typing import Any

FAMILY = "王李张刘陈杨黄赵吴周徐孙马朱胡郭何林罗高"
GIVEN = "伟芳娜敏静丽强磊军洋勇艳杰娟涛明超霞平刚"
_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)


def record(number: int) -> dict[str, Any]:
    """The record of this number; the same number gives the same record."""
    name = FAMILY[number % 20] + GIVEN[number // 20 % 20] + GIVEN[(number * 7 + 3) % 20]
    return {
        "name": name,
        "phone": f"138{number:08d}",
        "email": f"person{number}@example.org",
        "id_card": _id_card(number),
        "address": f"上海市静安区人民路{number}号{number % 30 + 1}室",
        "stage": ("lead", "qualified", "customer")[number % 3],
        "segment": "mid-market",
        "currency": "CNY",
        "turnover": 120_000 + number * 17,
        "created": f"2026-03-{number % 28 + 1:02d}T08:00:00Z",
        "updated": f"2026-09-{number % 28 + 1:02d}T16:30:00Z",
        "tags": ["newsletter", "trade-fair", f"campaign-{number % 9}"],
        "score": number % 100,
        "active": True,
        "source": "trade fair Shanghai",
        "industry": "machine tools and parts",
        "language": "zh-Hans",
        "timezone": "Asia/Shanghai",
        "parent": None,
        "links": {"self": f"/record/{number}", "activities": f"/record/{number}/activities"},
        "notes": "Met at the trade fair; wants an offer for the larger package before the end of the quarter. " * 16,
    }


def _id_card(number: int) -> str:
    body = f"310106{1960 + number % 40}{number % 12 + 1:02d}{number % 28 + 1:02d}{number % 1000:03d}"
    total = sum(int(digit) * weight for digit, weight in zip(body, _WEIGHTS, strict=True))
    return body + "10X98765432"[total % 11]
