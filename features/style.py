"""Observed format preference of a learner: it describes choices, not learning gains."""

from collections.abc import Mapping


def evidence(by_kind: Mapping[str, float]) -> dict[str, int]:
    """Build the arguments of `detect_learning_style` from a learner's event counts by kind."""
    kinds = {
        "video_views": "video_view",
        "text_reads": "text_read",
        "practice_attempts": "practice_attempt",
        "quiz_attempts": "quiz_complete",
    }
    return {name: int(by_kind.get(kind, 0)) for name, kind in kinds.items()}


def detect_learning_style(
    video_views: int, text_reads: int, practice_attempts: int, quiz_attempts: int
) -> str:
    """Name the format that a learner prefers.

    Args:
        video_views: Events of kind `video_view`.
        text_reads: Events of kind `text_read`.
        practice_attempts: Events of kind `practice_attempt`.
        quiz_attempts: Events of kind `quiz_complete`.

    Returns:
        "visual" for more than twice as many videos as texts, else "kinesthetic" for more practice
        than quizzes, else "mixed"; therefore "mixed" for a learner without events.

    Source:
        The rule of the mission. It claims no learning gain: studies found none (Pashler et al.
        2008).
    """
    if video_views > 2 * text_reads:
        return "visual"
    if practice_attempts > quiz_attempts:
        return "kinesthetic"
    return "mixed"
