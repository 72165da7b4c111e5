"""Every reason has words in every language, and no word is left without a reason."""

import re

import pytest

from gateway import refusal as reasons
from gateway.messages import FRAMES, LANGUAGES, MESSAGES, message
from gateway.refusal import Refusal
from gateway.respond import page


@pytest.mark.parametrize("reason", reasons.ALL, ids=lambda reason: reason.id)
@pytest.mark.parametrize("language", LANGUAGES)
def test_every_reason_has_words_in_every_language(reason: reasons.Reason, language: str) -> None:
    words = MESSAGES[language, reason.id]
    assert all((words.title, words.text, words.action))
    assert (language == "zh") == bool(re.search("[一-鿿]", words.title + words.text + words.action))
    assert FRAMES[language].quote in page(Refusal(reason), "x1", language).decode()


def test_no_words_without_a_reason() -> None:
    assert {reason for _, reason in MESSAGES} == {reason.id for reason in reasons.ALL}


def test_an_unknown_language_gets_english() -> None:
    assert message("crm-down", "fr") == message("crm-down", "en")
