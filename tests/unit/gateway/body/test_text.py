"""Plain text as a request body: one leaf, its charset kept."""

import pytest

from gateway.body.fault import BodyTooLarge
from gateway.body.limits import Limits
from gateway.body.text import open_text


def test_text_is_one_leaf() -> None:
    text = open_text("电话 13800138000".encode("gbk"), "gbk")
    assert [(leaf.path, leaf.text) for leaf in text.leaves] == [((), "电话 13800138000")]
    assert text.encode() == "电话 13800138000".encode("gbk")
    text.leaves[0].new = "电话 +8887"
    assert text.encode() == "电话 +8887".encode("gbk")


def test_broken_utf8_is_kept() -> None:
    text = open_text(b"a\xffb")
    assert text.encode() == b"a\xffb"
    text.leaves[0].new = text.leaves[0].text.replace("a", "c")
    assert text.encode() == b"c\xffb"


def test_limit() -> None:
    with pytest.raises(BodyTooLarge):
        open_text(b"abc", limits=Limits(body=2))
