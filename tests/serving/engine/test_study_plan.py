from hypothesis import given
from hypothesis import strategies as st

from features.history import History
from sensei.curriculum import Topic
from serving.engine.study_plan import in_order, open_topics
from serving.state.catalogue import Catalogue


def catalogue(*prerequisites: tuple[int, ...]) -> Catalogue:
    """Topics 0, 1, 2, ... with these prerequisites."""
    return Catalogue.of(
        Topic(topic_id=number, title=f"T{number}", domain="D", prerequisites=before)
        for number, before in enumerate(prerequisites)
    )


def after(*scores: tuple[int, float]) -> dict[int, list[float]]:
    """Numbers of the topics after quizzes (topic, score)."""
    return History.of(
        ("quiz_complete", topic, score, 60.0, at) for at, (topic, score) in enumerate(scores)
    ).topics


CHAIN = catalogue((), (0,), (1,), (2,))


def planned(goal: int, topics: dict[int, list[float]], of: Catalogue = CHAIN) -> list[int]:
    steps = in_order(open_topics([goal], topics, of), 50, of, lambda _: 0.0)
    return [each.topic_id for each in steps]


def test_what_a_goal_builds_on_comes_first_and_what_is_finished_is_left_out() -> None:
    assert planned(2, {}) == [0, 1, 2]
    assert planned(2, after((0, 0.7))) == [1, 2]
    assert planned(2, after((0, 0.7), (1, 0.6), (2, 0.9))) == []


def test_a_failed_quiz_brings_a_finished_topic_back() -> None:
    passed = [(0, 0.7), (1, 0.7)]
    assert planned(2, after(*passed)) == [2]
    assert planned(2, after(*passed, (1, 0.3))) == [1, 2]


def test_failing_again_and_again_opens_what_the_topic_builds_on_unless_it_is_mastered() -> None:
    begun = [(0, 0.7), (1, 0.2)]
    assert planned(1, after(*begun)) == [1]
    steps = open_topics([1], after(*begun, (1, 0.3)), CHAIN)
    assert (steps[0].status, steps[0].because) == ("shaky", 1)
    assert planned(1, after(*begun, (1, 0.3))) == [0, 1]
    assert planned(1, after((0, 0.9), (0, 0.9), (1, 0.2), (1, 0.3))) == [1]


def test_what_was_begun_comes_before_what_is_new_and_then_the_most_appealing() -> None:
    free = catalogue((), (), (), ())
    steps = open_topics([0, 1, 2, 3], after((3, 0.1)), free)
    order = in_order(steps, 3, free, {0: 0.0, 1: 0.1, 2: 0.6, 3: 0.0}.__getitem__)
    assert [each.topic_id for each in order] == [3, 2, 1]


@st.composite
def graphs(draw: st.DrawFn) -> Catalogue:
    """Any graph without circles: each topic builds on earlier ones."""
    size = draw(st.integers(1, 12))
    return catalogue(
        *(
            tuple(draw(st.sets(st.integers(0, number - 1), max_size=3))) if number else ()
            for number in range(size)
        )
    )


SCORES = st.lists(st.tuples(st.integers(0, 11), st.sampled_from([0.1, 0.7, 1.0])), max_size=30)


@given(graphs(), SCORES, st.randoms(use_true_random=False))
def test_no_step_comes_before_an_open_topic_that_it_builds_on(of, scores, random) -> None:
    appeal = {each: random.random() for each in of.topics}
    steps = open_topics(of.topics, after(*scores), of)
    order = [each.topic_id for each in in_order(steps, 50, of, appeal.__getitem__)]
    assert sorted(order) == sorted(steps)
    for place, topic in enumerate(order):
        assert not set(of.prerequisites(topic)) & set(order[place:])
