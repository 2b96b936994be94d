import pytest

from tools.check_language import MAX_PROSE, WORDS, markdown_faults, python_faults
from tools.source_tree import Fault


def python(text: str, *, messages: bool = True) -> list[str]:
    return [str(fault) for fault in python_faults("m.py", text, messages=messages)]


def markdown(text: str) -> list[Fault]:
    return markdown_faults("p.md", text)


@pytest.mark.parametrize("opening", ["What", "Whether", "Which", "How", "Who", "Where"])
def test_a_docstring_that_opens_with_a_free_relative_is_refused(opening: str) -> None:
    advice = "open with an imperative verb or a noun phrase"
    for text, line in (
        (f'"""{opening} is asked."""', 1),
        (f'def f() -> None:\n    """{opening} is asked."""', 2),
        (f'LIMIT = 3\n"""{opening} is asked."""', 2),
    ):
        assert python(text) == [f'm.py:{line}: docstring opens with "{opening}": {advice}']


def test_a_docstring_may_hold_such_a_word_later_or_open_with_a_longer_one() -> None:
    assert python('"""Say which topic comes next."""') == []
    assert python('"""Whole rows."""') == []
    assert python('title = "What to study next"') == []


@pytest.mark.parametrize("word", [word for words in WORDS for word in words.split("|")])
def test_each_word_to_avoid_is_refused_with_its_replacement(word: str) -> None:
    advice = next(advice for words, advice in WORDS.items() if word in words.split("|"))
    said = f'word "{word}": {advice}'
    assert python(f'"""Read it {word} today."""') == [f"m.py:1: {said}"]
    assert python(f"x = 1\ny = 2  # read it {word} today") == [f"m.py:2: {said}"]
    assert [str(fault) for fault in markdown(f"Read it\n{word} today.\n")] == [f"p.md:2: {said}"]


def test_a_longer_word_or_one_in_code_is_no_fault() -> None:
    assert python('"""Theme: platelets, history, besides, amended (`lately.py`)."""') == []
    assert (
        markdown("Besides, see `serving/state/topic_popularity.py`.\n\n```sh\nmend --anew\n```\n")
        == []
    )


def test_a_sentence_in_a_message_is_checked_but_not_a_key() -> None:
    word = next(iter(WORDS)).partition("|")[0]
    assert len(python(f'raise ValueError("{word} was erased")')) == 1
    assert len(python(f'raise ValueError(f"{{name}}: {word} was erased")')) == 1
    assert python(f'row["{word}"]') == []
    assert python(f'expected = "{word} was erased"', messages=False) == []


def test_a_long_line_of_prose_is_refused() -> None:
    line = "word " * (MAX_PROSE // 5) + "more"
    assert [(fault.line, fault.correction) for fault in markdown(f"short\n\n{line}\n")] == [
        (3, f"wrap at {MAX_PROSE}")
    ]
    assert len(markdown(f"- {line}\n")) == 1


@pytest.mark.parametrize(
    "text",
    [
        "w" * MAX_PROSE,
        f"| {'cell ' * 30}|",
        f"```text\n{'word ' * 30}\n```",
        f"  ```\n  {'word ' * 30}\n  ```",
        f"[a page]({'folder/' * 20}page.md)",
        f"<https://example.org/{'a' * 100}>",
    ],
    ids=["of the limit", "table", "code", "indented code", "link", "address"],
)
def test_tables_code_and_links_may_be_long(text: str) -> None:
    assert markdown(text + "\n") == []


def test_prose_after_a_code_block_is_checked_again() -> None:
    assert [fault.line for fault in markdown(f"```\ncode\n```\n{'word ' * 30}\n")] == [4]
