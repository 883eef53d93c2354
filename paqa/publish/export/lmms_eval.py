"""lmms-eval: three tasks that ask any of its audio models our questions, and their group `paqa_all`.

Layout: EvolvingLMMs-Lab/lmms-eval 0.7, lmms_eval/tasks. `paqa_audio` asks with the audio, `paqa_silence` with
silence of the same length, `paqa_another_clip` with the audio of another clip. Its environment needs paqa
without extras.

    lmms-eval eval --include_path OUT --tasks paqa_all --model qwen2_5_omni --model_args pretrained=...
"""

from __future__ import annotations

from paqa.publish.export.harness import HEARINGS, ROWS, write_rows
from paqa.publish.export.job import Job
from paqa.types import Split

AUDIO = "wav"
SPLITS: tuple[Split, ...] = ("test",)

TASK = """\
# PAQA's questions, {how}
task: paqa_{hearing}
dataset_path: json
dataset_kwargs:
  data_files:
    test: "{rows}"
test_split: test
output_type: generate_until
doc_to_visual: !function utils.{hearing}
doc_to_text: !function utils.prompt
doc_to_target: answer
generation_kwargs:
  max_new_tokens: 1024
  do_sample: false
process_results: !function utils.score
metric_list:
  - metric: accuracy
    aggregation: mean
    higher_is_better: true
  - metric: unclear
    aggregation: mean
    higher_is_better: false
  - metric: chance
    aggregation: mean
    higher_is_better: false
metadata:
  version: 1.0
"""
UTILS = '''\
"""What the tasks beside this file call; paqa has to be installed in the environment of lmms-eval."""

from pathlib import Path

from paqa.publish.export import harness

FOLDER = Path(__file__).parent


def prompt(doc, lmms_eval_specific_kwargs=None):
    return doc["prompt"]


def score(doc, results):
    return harness.score(doc, results[0])
'''
HEAR = """\


def {hearing}(doc):
    return [harness.samples(FOLDER, doc, "{hearing}")]
"""


def export(job: Job) -> None:
    """Write `rows.jsonl`, `audio/`, a task for each way to ask, their group, and `utils.py`."""
    hearings = write_rows(job)
    for hearing in hearings:
        task = TASK.format(hearing=hearing, how=HEARINGS[hearing], rows=job.absolute(ROWS))
        (job.part / f"paqa_{hearing}.yaml").write_text(task, encoding="utf-8")
    group = "group: paqa_all\ntask:\n" + "".join(f"  - paqa_{hearing}\n" for hearing in hearings)
    (job.part / "paqa_all.yaml").write_text(group, encoding="utf-8")
    utils = UTILS + "".join(HEAR.format(hearing=hearing) for hearing in hearings)
    (job.part / "utils.py").write_text(utils, encoding="utf-8")
