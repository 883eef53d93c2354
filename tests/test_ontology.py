"""The AudioSet table: complete, acyclic, and saying what everybody knows about dogs."""

import csv

import pytest

from paqa import audioset
from paqa.engines.base import package_file
from paqa.engines.yamnet import YamNet
from paqa.errors import PaqaError

DOG, BARK, ANIMAL, PETS, CAT, SIREN = "/m/0bt9lr", "/m/05tny_", "/m/0jbk", "/m/068hy", "/m/01yrx", "/m/03kmc9"


def yamnet_classes() -> list[dict[str, str]]:
    with open(package_file(YamNet.weights[1]), newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def test_covers_audioset_and_every_yamnet_class_under_the_same_name():
    assert len(audioset.classes()) == 527
    rows = yamnet_classes()
    assert len(rows) == 521
    assert {row["mid"] for row in rows} <= set(audioset.classes())
    assert [audioset.label(row["mid"]) for row in rows] == [row["display_name"] for row in rows]


def test_every_parent_exists_and_only_seven_sounds_have_none():
    everything = set(audioset.classes()).union(*(audioset.ancestors(m) for m in audioset.classes()))
    for m in everything:
        assert m not in audioset.ancestors(m)
        assert set(audioset.parents(m)) <= everything
    assert {audioset.label(m) for m in everything if not audioset.parents(m)} == {
        "Human sounds",
        "Animal",
        "Music",
        "Natural sounds",
        "Sounds of things",
        "Source-ambiguous sounds",
        "Channel, environment and background",
    }


def test_labels_and_ids_are_one_to_one():
    assert audioset.label(DOG) == "Dog"
    assert audioset.mid("dog") == DOG
    assert all(audioset.mid(audioset.label(m)) == m for m in audioset.classes())


def test_a_bark_is_a_dog_is_a_pet_is_an_animal():
    assert {DOG, PETS, ANIMAL} == audioset.ancestors(BARK)
    assert audioset.ancestors(ANIMAL) == frozenset()


def test_several_parents_count():
    growling = audioset.mid("Growling")
    assert {DOG, CAT} <= audioset.ancestors(growling)
    assert audioset.related(growling, CAT)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [(DOG, DOG, True), (DOG, BARK, True), (BARK, ANIMAL, True), (DOG, CAT, False), (BARK, SIREN, False)],
)
def test_related_is_symmetric(a, b, expected):
    assert audioset.related(a, b) is expected
    assert audioset.related(b, a) is expected


def test_errors_say_what_to_do_next():
    with pytest.raises(PaqaError, match=r"did you mean .*Dog"):
        audioset.mid("dogs")
    with pytest.raises(PaqaError, match=r"audioset\.tsv lists all"):
        audioset.label("/m/nothing")
