"""The AudioSet table: complete, acyclic, and saying what everybody knows about dogs."""

import csv

import pytest

from paqa import ontology
from paqa.engines.base import package_file
from paqa.engines.yamnet import YamNet
from paqa.errors import PaqaError

DOG, BARK, ANIMAL, PETS, CAT, SIREN = "/m/0bt9lr", "/m/05tny_", "/m/0jbk", "/m/068hy", "/m/01yrx", "/m/03kmc9"


def yamnet_classes() -> list[dict[str, str]]:
    with open(package_file(YamNet.weights[1]), newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def test_covers_audioset_and_every_yamnet_class_under_the_same_name():
    assert len(ontology.classes()) == 527
    rows = yamnet_classes()
    assert len(rows) == 521
    assert {row["mid"] for row in rows} <= set(ontology.classes())
    assert [ontology.label(row["mid"]) for row in rows] == [row["display_name"] for row in rows]


def test_every_parent_exists_and_only_seven_sounds_have_none():
    everything = set(ontology.classes()).union(*(ontology.ancestors(m) for m in ontology.classes()))
    for m in everything:
        assert m not in ontology.ancestors(m)
        assert set(ontology.parents(m)) <= everything
    assert {ontology.label(m) for m in everything if not ontology.parents(m)} == {
        "Human sounds",
        "Animal",
        "Music",
        "Natural sounds",
        "Sounds of things",
        "Source-ambiguous sounds",
        "Channel, environment and background",
    }


def test_labels_and_ids_are_one_to_one():
    assert ontology.label(DOG) == "Dog"
    assert ontology.mid("dog") == DOG
    assert all(ontology.mid(ontology.label(m)) == m for m in ontology.classes())


def test_a_bark_is_a_dog_is_a_pet_is_an_animal():
    assert {DOG, PETS, ANIMAL} == ontology.ancestors(BARK)
    assert ontology.ancestors(ANIMAL) == frozenset()


def test_several_parents_count():
    growling = ontology.mid("Growling")
    assert {DOG, CAT} <= ontology.ancestors(growling)
    assert ontology.related(growling, CAT)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [(DOG, DOG, True), (DOG, BARK, True), (BARK, ANIMAL, True), (DOG, CAT, False), (BARK, SIREN, False)],
)
def test_related_is_symmetric(a, b, expected):
    assert ontology.related(a, b) is expected
    assert ontology.related(b, a) is expected


def test_errors_say_what_to_do_next():
    with pytest.raises(PaqaError, match=r"did you mean .*Dog"):
        ontology.mid("dogs")
    with pytest.raises(PaqaError, match=r"audioset\.tsv lists all"):
        ontology.label("/m/nothing")
