"""Which material may go into a dataset under which licence, and what a dataset comes under."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paqa.errors import PaqaError
from paqa.licensing.compatibility import (
    COMPATIBLE,
    INCOMPATIBLE,
    KNOWN,
    RANK,
    TARGETS,
    common,
    hub_header,
    parts,
    read,
    refusal,
    target,
)

CC = [
    f"CC-BY{kind}-{v}"
    for kind in ("", "-SA", "-NC", "-NC-SA", "-ND", "-NC-ND")
    for v in ("2.0", "3.0", "4.0")
]
MATERIAL = st.sampled_from(
    [*KNOWN, *CC, "unknown", "CC-BY", "CC-BY-SA", "all rights reserved", "LicenseRef-Mine"]
)
GOALS = [name for name in (*KNOWN, *CC, "LicenseRef-Mine") if read(name).kind != "sampling"]
SOME = st.lists(MATERIAL, min_size=1, max_size=6)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("cc-by-4.0", "CC-BY-4.0"),
        ("CC-BY-SA-3.0-DE", "CC-BY-SA-3.0"),
        ("http://creativecommons.org/licenses/by-nc/3.0/", "CC-BY-NC-3.0"),
        ("http://creativecommons.org/licenses/sampling+/1.0/", "LicenseRef-CC-Sampling-Plus-1.0"),
        ("https://creativecommons.org/publicdomain/zero/1.0/", "CC0-1.0"),
        ("MIT (pyannote.audio, which ships the file)", "MIT"),
        ("GPL-3.0", "GPL-3.0-only"),
        ("gpl-2.0+", "GPL-2.0-or-later"),
        ("attribution required, all rights reserved", "attribution required, all rights reserved"),
        ("", "unknown"),
    ],
)
def test_a_licence_is_read(text, name):
    assert read(text).id == name


@pytest.mark.parametrize(
    ("material", "wanted", "word"),
    [
        ("CC0-1.0", "CC-BY-4.0", None),
        ("CC-BY-3.0", "CC-BY-4.0", None),
        ("CC-BY-4.0", "CC0-1.0", "makers named"),
        ("CC-BY-4.0", "CC-BY-NC-SA-4.0", None),
        ("CC-BY-SA-3.0", "CC-BY-4.0", "CC-BY-SA-3.0 or CC-BY-SA-4.0 only"),
        ("CC-BY-SA-3.0", "CC-BY-SA-4.0", None),
        ("CC-BY-SA-4.0", "CC-BY-SA-3.0", "only"),
        ("CC-BY-SA-4.0", "CC-BY-NC-SA-4.0", "only"),
        ("CC-BY-SA-4.0", "GPL-3.0-only", None),
        ("GPL-3.0-only", "CC-BY-SA-4.0", "only"),
        ("CC-BY-NC-3.0", "CC-BY-4.0", "commercial"),
        ("CC-BY-NC-3.0", "CC-BY-SA-4.0", "commercial"),
        ("CC-BY-NC-3.0", "CC-BY-NC-4.0", None),
        ("CC-BY-NC-SA-4.0", "CC-BY-NC-4.0", "only"),
        ("CC-BY-ND-4.0", "CC-BY-ND-4.0", "no adaptations"),
        ("CC-BY-NC-ND-4.0", "CC-BY-NC-4.0", "no adaptations"),
        ("http://creativecommons.org/licenses/sampling+/1.0/", "CC-BY-4.0", "advertising"),
        ("http://creativecommons.org/licenses/sampling+/1.0/", "CC-BY-NC-4.0", None),
        ("Apache-2.0", "GPL-2.0-only", "patents"),
        ("Apache-2.0", "GPL-3.0-only", None),
        ("LAL-1.3", "CC-BY-SA-4.0", None),
        ("unknown", "CC-BY-NC-SA-4.0", "say which licence it is"),
        ("CC-BY-4.0; CC-BY-NC-4.0", "CC-BY-4.0", "CC-BY-NC-4.0: it forbids commercial"),
        ("LicenseRef-Mine", "LicenseRef-Mine", None),
        ("LicenseRef-Theirs", "LicenseRef-Mine", "not known"),
    ],
)
def test_the_table(material, wanted, word):
    found = refusal(material, wanted)
    assert (found is None) == (word is None), found
    assert word is None or word in found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("free for all", "SPDX"),
        ("CC-BY", "CC-BY-4.0"),
        ("CC-BY-SA", "CC-BY-SA-4.0"),
        ("unknown", "LicenseRef-NAME"),
    ],
)
def test_a_target_that_says_too_little_is_refused(text, words):
    with pytest.raises(PaqaError, match=words):
        target(text)


@given(MATERIAL)
def test_what_permits_adaptations_may_stay_under_its_own_licence(text):
    (one,) = parts(text)
    if text in GOALS and "no derivatives" not in one.kind:
        assert refusal(text, text) is None


@given(st.sampled_from([*KNOWN, *CC]), st.sampled_from(GOALS), st.sampled_from(GOALS))
def test_what_may_be_adapted_twice_may_be_adapted_once(material, middle, last):
    """Except on from the two copyleft licences that declare others compatible, and but for Apache's patent
    clause.
    """
    if refusal(material, middle) is None and refusal(middle, last) is None:
        declared = middle in ("CC-BY-SA-4.0", "LAL-1.3") and last in COMPATIBLE[middle]
        assert refusal(material, last) is None or declared or (material, last) in INCOMPATIBLE


@given(st.sampled_from([*KNOWN, *CC]), st.sampled_from(GOALS))
def test_no_adaptation_is_freer_than_its_material(material, goal):
    if refusal(material, goal) is None and read(material).kind in RANK and read(goal).kind in RANK:
        assert RANK[read(goal).kind] >= RANK[read(material).kind]


@given(SOME, SOME)
def test_more_material_leaves_fewer_licences(first, more):
    def permitted(material):
        return {goal for goal in GOALS if not any(refusal(text, goal) for text in material)}

    assert permitted(first + more) == permitted(first) & permitted(more)
    one, both = common(first), common(first + more)
    assert both is None or (one is not None and RANK[read(both).kind] >= RANK[read(one).kind])


@given(SOME, st.randoms())
def test_the_roll_up_asks_for_no_order_and_no_number(material, rng):
    shuffled = rng.sample(material, len(material)) + material[:2]
    assert common(shuffled) == common(material) == common(["; ".join(material)])
    found = common(material)
    assert found is None or common([*material, found]) == found


@given(SOME)
def test_the_common_licence_is_permitted_by_all_and_none_is_missed(material):
    found = common(material)
    if found:
        assert [refusal(text, found) for text in material] == [None] * len(material)
    else:
        assert all(any(refusal(text, goal) for text in material) for goal in TARGETS)


@pytest.mark.parametrize(
    ("material", "found"),
    [
        ([], None),
        (["CC0-1.0", "PDM-1.0"], "CC0-1.0"),
        (["CC0-1.0", "MIT"], "MIT"),
        (["CC-BY-3.0", "CC-BY-4.0", "MIT"], "CC-BY-4.0"),
        (["CC-BY"], "CC-BY-4.0"),
        (["CC-BY-4.0", "CC-BY-SA-3.0"], "CC-BY-SA-3.0"),
        (["LAL-1.3", "CC-BY-SA-3.0"], "CC-BY-SA-4.0"),
        (["CC-BY-4.0", "CC-BY-NC-3.0"], "CC-BY-NC-3.0"),
        (["CC0-1.0", "http://creativecommons.org/licenses/sampling+/1.0/"], "CC-BY-NC-4.0"),
        (["CC-BY-SA-4.0", "CC-BY-NC-4.0"], None),
        (["CC0-1.0", "unknown"], None),
        (["CC-BY-ND-4.0"], None),
    ],
)
def test_the_freest_licence_that_fits(material, found):
    assert common(material) == found


def test_the_hub_is_told_in_its_own_words():
    assert hub_header("CC-BY-4.0") == ["license: cc-by-4.0"]
    assert hub_header("GPL-3.0-or-later") == ["license: gpl-3.0"]
    assert hub_header("LAL-1.3") == ["license: other", "license_name: lal-1.3", "license_link: LICENSE.md"]
    assert hub_header("LicenseRef-Mine") == [
        "license: other",
        "license_name: mine",
        "license_link: LICENSE.md",
    ]
    assert hub_header(None) == ["license: other", "license_name: mixed", "license_link: LICENSE.md"]
