"""Who is to blame where listening or decoding fails: the audio, the memory, the device or the disk."""

import ctypes
import os
import signal
import time
from dataclasses import replace
from typing import ClassVar

import pytest
from test_build import Picky, clip

from paqa.config.recipe import AudioConfig, SourceConfig
from paqa.engines import base
from paqa.engines.base import EngineOutput
from paqa.errors import OutOfMemory, PaqaError, TimedOut, WorkerDied
from paqa.execution.processes import Workers
from paqa.perception import engine_runs, inference
from paqa.perception.engine_errors import device_lost, short_of_memory
from paqa.perception.engine_runs import EngineRun
from paqa.pipeline import ingest
from paqa.pipeline.fault_isolation import (
    MAX_FAILURES_IN_A_ROW,
    CrashTracker,
    DecodeBatch,
    EngineBatch,
    EnginePlace,
)
from paqa.pipeline.recipe_files import for_folder
from paqa.pipeline.time_limits import Limits
from paqa.storage.store import Store
from paqa.types import Recording

SEPARATE = EngineRun("separate", "mix", "troubled", "{}")


class Troubled(Picky):
    """A separator in trouble with clips whose first sample says which, or with all after so many calls."""

    name: ClassVar[str] = "troubled"
    calls: ClassVar[list[int]] = []
    most: ClassVar[int] = 1000  # inputs that memory holds at once
    lives: ClassVar[int] = 1000  # calls until the GPU is lost
    words: ClassVar[str] = "CUDA error: unspecified launch failure"
    errors: ClassVar[list[Exception]] = []

    def __call__(self, batch):
        self.calls.append(len(batch))
        if self.errors:
            raise self.errors.pop()
        if len(self.calls) > self.lives:
            raise RuntimeError(self.words)
        if len(batch) > self.most or any(a.samples[0, 0] == 0.75 for a in batch):
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        if any(a.samples[0, 0] == 0.5 for a in batch):
            time.sleep(600)
        if any(a.samples[0, 0] == 0.25 for a in batch):
            os.kill(os.getpid(), signal.SIGKILL)
        return [EngineOutput(stems={"speech": a}) for a in batch]


def enlist():
    """In a worker process."""
    base.ENGINES["troubled"] = f"{__name__}:Troubled"


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


@pytest.fixture(autouse=True)
def troubled(monkeypatch):
    monkeypatch.setitem(base.ENGINES, "troubled", f"{__name__}:Troubled")
    for name, value in (("calls", []), ("most", 1000), ("lives", 1000), ("errors", [])):
        monkeypatch.setattr(Troubled, name, value)
    inference._engine.cache_clear()


def here(seconds, step, *args):
    return step(*args)


def listening(clips, store, run=here, tracker=None, heard=()):
    tracker = tracker or CrashTracker()
    return EngineBatch(clips, SEPARATE, SEPARATE, store, EnginePlace(run), tracker, all_clips=heard)


def clips(store, count, first=0.0):
    return [clip(f"{first} {n}", store, n, first) for n in range(count)]


def test_a_batch_that_memory_does_not_hold_is_heard_in_smaller_ones(store, monkeypatch):
    monkeypatch.setattr(Troubled, "most", 3)
    given = clips(store, 8)
    spent, lost = listening(given, store)()
    assert (spent.clips, lost) == (8, [])
    assert Troubled.calls == [8, 4, 2, 2, 4, 2, 2]


def test_a_clip_that_memory_does_not_hold_alone_is_said_to_be_too_large(store):
    given = [*clips(store, 2), *clips(store, 1, first=0.75)]
    _, (lost,) = listening(given, store)()
    assert (lost.id, lost.reason) == ("0.75 0", "out_of_memory")
    assert "needs more memory than there is" in lost.detail
    assert "--workers" in lost.detail
    assert not engine_runs.without_output(given[:2], SEPARATE, SEPARATE, store)


def test_a_failing_disk_is_no_fault_of_a_clip(store, monkeypatch):
    monkeypatch.setattr(Troubled, "errors", [OSError(5, "Input/output error")])
    batch = listening(clips(store, 2), store)
    with pytest.raises(OSError, match="Input/output"):
        batch()
    assert batch()[1] == []  # as the flow calls it again


@pytest.mark.parametrize("words", ["CUDA error: unspecified launch failure", "no network was found"])
def test_an_engine_that_fails_on_everything_ends_the_build(store, monkeypatch, words):
    """A GPU that is lost after the first clips; and an engine that raises on each clip, in a process that
    lives.
    """
    monkeypatch.setattr(Troubled, "words", words)
    monkeypatch.setattr(Troubled, "lives", 1)
    tracker = CrashTracker()
    assert listening(clips(store, 3), store, tracker=tracker)()[1] == []
    later = [listening([clip(f"later {n}", store, 50 + n)], store, tracker=tracker) for n in range(40)]
    with pytest.raises(PaqaError, match=rf"separate: \d+ inputs in a row failed.*{words}"):
        [batch() for batch in later]
    assert len(Troubled.calls) < 5 * MAX_FAILURES_IN_A_ROW


def test_many_clips_at_once_that_an_engine_raises_on_end_the_build(store, monkeypatch):
    monkeypatch.setattr(Troubled, "words", "no network was found")
    monkeypatch.setattr(Troubled, "lives", 0)
    with pytest.raises(PaqaError, match=r"separate: 8 inputs in a row failed.*no network"):
        listening(clips(store, 40), store)()


def test_a_build_of_nothing_but_known_poison_goes_on_where_the_engine_still_works(store):
    """The second build of a corpus: only the clips are left that the first one could not hear."""
    fine, large = clips(store, 2), clips(store, 2 * MAX_FAILURES_IN_A_ROW, first=0.75)
    inference.run_engine(fine, SEPARATE, SEPARATE, store)
    _, lost = listening(large, store, heard=[*fine, *large])()
    assert {q.reason for q in lost} == {"out_of_memory"}
    assert len(lost) == 2 * MAX_FAILURES_IN_A_ROW


def test_a_clip_that_an_engine_hangs_on_is_ended_and_the_others_are_heard(store):
    given = [*clips(store, 1), *clips(store, 1, first=0.5)]
    with Workers(1) as workers:

        def run(seconds, step, *args):
            workers.run(enlist)
            return workers.run_within(seconds, step, *args)

        _, (lost,) = listening(given, store, run, CrashTracker(Limits(1 / 1000)))()
    assert (lost.id, lost.reason) == ("0.5 0", "timed_out")
    assert "no answer in" in lost.detail
    assert "--timeout 10" in lost.detail
    assert [c.id for c in engine_runs.without_output(given, SEPARATE, SEPARATE, store)] == ["0.5 0"]


def test_the_time_limit_does_not_count_the_wait_for_a_worker():
    from concurrent.futures import ThreadPoolExecutor

    with Workers(1) as workers, ThreadPoolExecutor(6) as threads:
        workers.run(pow, 2, 3)
        calls = [threads.submit(workers.run_within, 1.5, time.sleep, 0.4) for _ in range(6)]
        assert [call.result() for call in calls] == [None] * 6
        with pytest.raises(TimedOut, match="no answer in 0 s"):
            workers.run_within(0.2, time.sleep, 60)
        assert workers.run(pow, 2, 3) == 8


def exhaust():
    raise MemoryError("12 GiB")


def test_a_process_that_the_kernel_kills_has_run_out_of_memory():
    with Workers(1) as workers:
        before = workers.run(os.getpid)
        with pytest.raises(OutOfMemory, match="12 GiB"):
            workers.run(exhaust)
        assert workers.run(os.getpid) != before
        with pytest.raises(OutOfMemory, match="SIGKILL"):
            workers.run(signal.raise_signal, signal.SIGKILL)
        with pytest.raises(WorkerDied, match="SIGSEGV") as crashed:
            workers.run(ctypes.string_at, 0)
    assert not isinstance(crashed.value, OutOfMemory)


def lost_device():
    raise WorkerDied(f"{os.getpid()}")


def test_a_process_that_says_it_is_of_no_use_is_replaced():
    with Workers(1) as workers:
        before = workers.run(os.getpid)
        with pytest.raises(WorkerDied, match=f"{before}"):
            workers.run(lost_device)
        assert workers.run(os.getpid) != before


def test_a_recording_that_memory_does_not_hold_is_said_to_be_too_large(tmp_path):
    def run(seconds, step, part, *args):
        if any(recording.id == "large" for recording in part):
            raise OutOfMemory("a worker process ran out of memory: 12 GiB")
        return ingest.DecodedBatch(tuple(clip(recording.id, args[-1]) for recording in part))

    given = [Recording(n, f"{n}.wav", n, "s", "CC0-1.0", n) for n in ("a", "large", "b")]
    source = SourceConfig("s", "folder", ".")
    recipe = replace(for_folder(tmp_path), sources=(source,))
    done = DecodeBatch(given, source, recipe, Store(tmp_path / "store"), run, CrashTracker())()
    assert [c.id for c in done.clips] == ["a", "b"]
    assert [(q.id, q.reason) for q in done.quarantined] == [("large", "out_of_memory")]
    assert "decoding large.wav needs more memory" in done.quarantined[0].detail


def test_limits_grow_with_the_audio_and_can_be_put_off():
    config = AudioConfig()
    ten, twenty = (Limits().for_engine([30.0] * n, "cpu") for n in (10, 20))
    start = Limits().for_engine([], "cpu")
    assert twenty - start == pytest.approx(2 * (ten - start))
    assert Limits().for_engine([30.0] * 10, "cuda:1") < ten
    assert Limits(2).for_engine([30.0] * 10, "cpu") == 2 * ten
    assert Limits().for_decoding([10**6, 10**6], config) > Limits().for_decoding([10**6], config) > start
    assert Limits().for_decoding([10**15], config) == start + config.max_file_ms / 1000
    assert Limits(0).for_engine([30.0], "cpu") is None
    assert Limits(0).for_decoding([10**6], config) is None


@pytest.mark.parametrize(
    ("error", "short", "lost"),
    [
        (MemoryError(), True, False),
        (RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB"), True, False),
        (RuntimeError("CUDA failed with error out of memory"), True, False),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
            True,
            False,
        ),
        (OSError(12, "Cannot allocate memory"), True, False),
        (RuntimeError("CUDA error: device-side assert triggered"), False, True),
        (RuntimeError("CUDA failure 700: an illegal memory access was encountered"), False, True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), False, True),
        (RuntimeError("too loud"), False, False),
        (OSError(5, "Input/output error"), False, False),
    ],
    ids=str,
)
def test_what_errors_say(error, short, lost):
    assert (short_of_memory(error), device_lost(error)) == (short, lost)
