"""What the tagger's network says around an event, and what of it tells right from wrong."""

import os
import subprocess
import sys

import numpy as np
import pytest

from paqa import audioset
from paqa.engines._events import Hops
from paqa.engines.event_scores import NO_EVENTS, EventScores, event_scores
from paqa.perception.event_features import (
    MIX_TAG,
    Tagging,
    ancestor_features,
    background_features,
    event_features,
    logit,
    without_remains_of_speech,
)
from paqa.types import Event, Tag, Turn

DOG, BARK, BEE, ANIMAL, RAIN, SPEECH = map(
    audioset.mid, ("Dog", "Bark", "Bee, wasp, etc.", "Animal", "Rain", "Speech")
)
SILENCE = audioset.mid("Silence")
MIDS = (DOG, BARK, BEE, ANIMAL, RAIN, SPEECH, SILENCE)
HOPS = Hops(100)


def event(mid: str, start_ms: int = 1000, end_ms: int = 2000, score: float = 0.9) -> Event:
    return Event(start_ms, end_ms, audioset.label(mid), mid, score)


def scores_of(one: Event, **rows: float) -> EventScores:
    """The scores of an event of 30 rows of 100 ms, in which classes have constant probabilities."""
    probabilities = np.full((30, len(MIDS)), 0.01)
    for name, value in rows.items():
        probabilities[:, MIDS.index(globals()[name])] = value
    (scores,) = event_scores([one], probabilities, MIDS, HOPS)
    return scores


def tags(**of_classes: float) -> tuple[Tag, ...]:
    return tuple(Tag(globals()[name], score) for name, score in of_classes.items())


def test_scores_are_of_the_class_its_kin_and_its_rivals():
    scores = scores_of(event(DOG), DOG=0.8, BARK=0.7, ANIMAL=0.6, RAIN=0.3, SPEECH=0.5, SILENCE=0.2)
    assert scores.mid == DOG
    assert (scores.start_ms, scores.end_ms, scores.share) == (1000, 2000, 1.0)
    assert (scores.speech, scores.silence) == pytest.approx((0.5, 0.2), abs=1e-5)
    own, animal = scores.kinds[0], scores.kinds[-1]
    assert (own.itself, own.below, own.above, own.rival) == pytest.approx((0.8, 0.7, 0.6, 0.3), abs=1e-5)
    assert animal.mid == ANIMAL  # the farthest of the ancestors comes last
    assert (animal.itself, animal.below, animal.rival) == pytest.approx((0.6, 0.8, 0.3), abs=1e-5)
    assert [kind.mid for kind in scores.kinds[1:]] == list(audioset.ancestors_nearest_first(DOG))


def test_a_group_without_a_class_has_the_scores_of_what_is_below_it():
    pets = audioset.mid("Domestic animals, pets")
    scores = scores_of(event(DOG), DOG=0.8)
    (group,) = [kind for kind in scores.kinds if kind.mid == pets]
    assert (group.itself, group.below) == pytest.approx((0.0, 0.8), abs=1e-5)


def test_speech_and_silence_are_no_rivals():
    assert scores_of(event(DOG), SPEECH=0.99, SILENCE=0.99).kinds[0].rival == pytest.approx(0.01, abs=1e-5)
    assert {SPEECH, SILENCE} <= set(NO_EVENTS)


def test_a_single_row_above_the_threshold_counts_little():
    probabilities = np.full((30, len(MIDS)), 0.01)
    probabilities[15, 0] = 0.95
    (spike,) = event_scores([event(DOG)], probabilities, MIDS, HOPS)
    assert spike.kinds[0].itself < 0.1
    assert spike.share == pytest.approx(0.1)


@pytest.mark.parametrize("rows", [1, 3])
def test_short_clips_have_scores(rows):
    (scores,) = event_scores([event(DOG, 0, 10)], np.full((rows, len(MIDS)), 0.9), MIDS, HOPS)
    assert scores.kinds[0].itself == pytest.approx(0.9, abs=1e-5)


def test_a_sound_that_the_mix_does_not_confirm_is_a_remain_of_speech():
    events = [event(BEE), event(DOG)]
    mix = tags(SPEECH=0.99, BEE=MIX_TAG / 2, DOG=MIX_TAG)
    assert without_remains_of_speech(events, mix) == (events[1],)
    assert without_remains_of_speech(events, tags(SPEECH=0.99)) == ()
    assert without_remains_of_speech(events, ()) == tuple(events)  # an engine without tags


def test_features_of_an_event_and_of_its_ancestors_have_the_same_names():
    one = event(DOG)
    tagging = Tagging((scores_of(one, DOG=0.8, RAIN=0.1),), tags(DOG=0.9, RAIN=0.2), tags(DOG=0.4, RAIN=0.3))
    features = event_features(one, [Turn(1500, 3000, 1)], tagging)
    assert features["score"] == logit(0.9)
    assert features["itself"] == pytest.approx(logit(0.8), abs=1e-4)
    assert features["under_speech"] == 0.5
    assert (features["mix_itself"], features["mix_rival"]) == (logit(0.4), logit(0.3))
    assert features["clip_rival"] == logit(0.2)
    assert f"is {DOG}" in features
    ancestors = ancestor_features(one, [], tagging)
    assert list(ancestors) == list(audioset.ancestors_nearest_first(DOG))
    assert ancestors[ANIMAL]["branch"] == pytest.approx(logit(0.8), abs=1e-4)
    names = {name for name in features if not name.startswith("is ")}
    assert {name for name in ancestors[ANIMAL] if not name.startswith("is ")} == names - {"share"}


def test_an_event_whose_edges_moved_has_its_scores_and_one_without_scores_its_own():
    early, late = event(DOG, 0, 500), event(DOG, 1000, 2000)
    tagging = Tagging((scores_of(early, DOG=0.6), scores_of(late, DOG=0.8)))
    moved = event_features(event(DOG, 1010, 2010), [], tagging)
    assert moved["itself"] == pytest.approx(logit(0.8), abs=1e-4)
    assert event_features(late, [], Tagging())["itself"] == logit(0.9)
    assert set(event_features(late, [], Tagging())) == set(event_features(late, [], tagging))


def test_what_is_left_beside_the_events_speaks_against_an_empty_background():
    background, mix = tags(SPEECH=0.9, DOG=0.8, RAIN=0.3), tags(SPEECH=0.9, DOG=0.5, RAIN=0.2)
    tagging = Tagging((), background, mix)
    empty = background_features([], [Turn(0, 900, 1)], tagging)
    assert (empty["both"], empty["background"], empty["mix"]) == (logit(0.5), logit(0.8), logit(0.5))
    assert (empty["events"], empty["speech"]) == (0.0, 1.0)
    with_dog = background_features([event(BARK)], [], tagging)
    assert (with_dog["both"], with_dog["events"]) == (logit(0.2), 1.0)


SUMS = """
from paqa import audioset
from paqa.perception.event_features import Tagging, background_features
from paqa.types import Tag

tags = tuple(Tag(mid, 1 / (3 + i)) for i, mid in enumerate(sorted(audioset.classes())[:200]))
print(background_features([], [], Tagging((), tags, tags)))
"""


def test_features_do_not_depend_on_the_order_of_sets():
    """A sum in another order differs in its last bit, and with it the key of every row of the clip."""
    outputs = set()
    for seed in ("1", "2"):
        variables = {**os.environ, "PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", SUMS]
        outputs.add(subprocess.run(command, env=variables, capture_output=True, check=True).stdout)
    assert len(outputs) == 1
