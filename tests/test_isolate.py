"""Poison is found by halving: every other unit is done once and in order, and one dies alone before it is
blamed.
"""

import threading
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paqa.errors import PaqaError, WorkerDied
from paqa.pipeline.fault_isolation import MAX_FAILURES_IN_A_ROW, Batch, CrashTracker, with_retry


class Place:
    """Does units until one of them is poison; `kept` are those that are complete, as the store has them."""

    def __init__(self, poison=(), bad_luck=0, one_by_one=False):
        self.poison = set(poison)
        self.bad_luck = bad_luck  # calls that die though nothing is wrong with their units
        self.one_by_one = (
            one_by_one  # whether units before the poison are kept, or the batch is lost as a whole
        )
        self.kept = []
        self.calls = []

    def __call__(self, part):
        self.calls.append(list(part))
        if self.bad_luck:
            self.bad_luck -= 1
            raise WorkerDied("a worker process died: killed by SIGKILL")
        for n, unit in enumerate(part):
            if unit in self.poison:
                self.kept += part[:n] if self.one_by_one else []
                raise WorkerDied("a worker process died: killed by SIGSEGV")
        self.kept += part
        return list(part)

    def left(self, part):
        return [unit for unit in part if unit not in self.kept]


class Units(Batch):
    """Units for a place; all of a part are left after a crash, unless `left` says which."""

    def __init__(self, units, place, work="tag", tracker=None, left=None):
        super().__init__(units, work, place, tracker or CrashTracker())
        self.left = left or super().left

    def arguments(self, units):
        return (units,)


@given(st.integers(1, 40), st.sets(st.integers(0, 39), max_size=5), st.booleans())
def test_only_poison_is_lost_and_nothing_is_done_twice(count, poison, one_by_one):
    place, tracker = Place(poison, one_by_one=one_by_one), CrashTracker()
    batch = Units(range(count), place, tracker=tracker, left=place.left)
    batch()
    assert [unit for unit, _ in batch.crashed] == sorted(poison & set(range(count)))
    assert sorted(place.kept) == sorted(set(range(count)) - poison)
    assert max(Counter(place.kept).values(), default=1) == 1
    tried_alone = Counter(call[0] for call in place.calls if len(call) == 1)
    assert all(tried_alone[unit] == 2 for unit, _ in batch.crashed)
    assert len(place.calls) <= 1 + len(poison) * (2 * count.bit_length() + 3)


def test_results_are_in_order_of_the_units():
    place = Place({3})
    batch = Units(range(8), place, "ingest")
    batch()
    assert [unit for part in batch.results for unit in part] == [0, 1, 2, 4, 5, 6, 7]


def test_one_bad_moment_costs_no_unit():
    place = Place(bad_luck=1)
    batch = Units(["only"], place, left=place.left)
    batch()
    assert (batch.crashed, place.kept) == ([], ["only"])


def test_another_error_is_raised_and_what_is_complete_is_not_tried_again():
    place, errors = Place(), [OSError("the disk is away")]

    def fails_once(part):
        if errors and len(part) > 1:
            place.kept += part[:2]
            raise errors.pop()
        return place(part)

    batch = Units(range(5), fails_once, left=place.left)
    with pytest.raises(OSError, match="away"):
        batch()
    batch()
    assert place.calls == [[2, 3, 4]]
    assert sorted(place.kept) == [0, 1, 2, 3, 4]


def test_suspects_are_alone():
    tracker, inside, most = CrashTracker(), [0], [0]
    lock = threading.Lock()

    def dies(part):
        suspect = tracker.one_suspect.locked()
        with lock:
            inside[0] += suspect
            most[0] = max(most[0], inside[0])
        threading.Event().wait(0.05)
        with lock:
            inside[0] -= suspect
        raise WorkerDied("a worker process died: killed by SIGKILL")

    batches = [Units([n], dies, f"work {n}", tracker) for n in range(4)]
    threads = [threading.Thread(target=batch._after_crash, args=([n],)) for n, batch in enumerate(batches)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most[0] == 1
    assert sum(len(batch.crashed) for batch in batches) == 4


def test_crashes_in_a_row_end_the_build_whatever_was_done_before():
    place, tracker = Place(range(1, 100)), CrashTracker()
    tracker.success("separate")  # and so does a GPU that dies in the middle
    batch = Units(range(1, 100), place, "separate", tracker, place.left)
    with pytest.raises(
        PaqaError, match=f"separate: {MAX_FAILURES_IN_A_ROW} inputs in a row failed.*SIGSEGV.*paqa doctor"
    ) as raised:
        batch()
    assert not isinstance(raised.value, WorkerDied)
    assert len(place.calls) < 4 * MAX_FAILURES_IN_A_ROW


def test_crashes_with_something_done_between_are_the_audios():
    place = Place(n for n in range(60) if n % 6)
    batch = Units(range(60), place, left=place.left)
    batch()
    assert len(batch.crashed) == 50


def test_what_was_heard_before_and_still_is_clears_the_engine():
    tries = []

    def still_works():
        tries.append(True)
        return True

    place = Place(range(50))
    batch = Units(range(50), place)
    batch.still_works = still_works
    batch()
    assert len(batch.crashed) == 50
    assert len(tries) == 50 // MAX_FAILURES_IN_A_ROW


def test_work_that_nobody_can_be_blamed_for_has_two_tries():
    place = Place(bad_luck=1)
    assert with_retry(lambda call: place(call()), "mix", lambda: [1]) == [1]
    place = Place(bad_luck=2)
    with pytest.raises(
        PaqaError, match=r"mix: a worker process died: .*SIGKILL.*run the same command again"
    ) as raised:
        with_retry(lambda call: place(call()), "mix", lambda: [1])
    assert not isinstance(raised.value, WorkerDied)
    assert len(place.calls) == 2
