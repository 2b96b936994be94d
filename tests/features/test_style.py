import pytest

from features.style import detect_learning_style


@pytest.mark.parametrize(
    ("videos", "texts", "practice", "quizzes", "style"),
    [
        (0, 0, 0, 0, "mixed"),
        (1, 0, 0, 0, "visual"),
        (2, 1, 0, 0, "mixed"),
        (3, 1, 9, 0, "visual"),
        (2, 1, 1, 0, "kinesthetic"),
        (0, 5, 3, 3, "mixed"),
    ],
)
def test_style_follows_the_missions_rule(videos, texts, practice, quizzes, style):
    assert detect_learning_style(videos, texts, practice, quizzes) == style
