#!/usr/bin/env bash
# On a machine with a GPU: what real audio models answer to a build's test questions, with the audio, with silence and
# with another clip, by lmms-eval. Needs paqa without extras, and lmms-eval with the models' own packages:
#
#   benchmarks/ask_models.sh BUILD OUT [MODEL=HUB_ID ...]
#
# OUT/tasks is `paqa export lmms_eval`; OUT/MODEL has lmms-eval's results; the table of all is printed at the end.
set -euo pipefail
build=${1:?the folder of a build} out=${2:?a new folder}
shift 2
models=("$@")
[ ${#models[@]} -gt 0 ] || models=(
  qwen2_audio=Qwen/Qwen2-Audio-7B-Instruct
  qwen2_5_omni=Qwen/Qwen2.5-Omni-3B
  qwen2_5_omni=Qwen/Qwen2.5-Omni-7B
  audio_flamingo_3=nvidia/audio-flamingo-3-hf
)
mkdir -p "$out"
[ -d "$out/tasks" ] || paqa export lmms_eval "$build" "$out/tasks"
for model in "${models[@]}"; do
  name=${model#*=}
  lmms-eval eval --include_path "$out/tasks" --tasks paqa_all --model "${model%%=*}" --model_args "pretrained=$name" \
    --batch_size 1 --log_samples --output_path "$out/${name##*/}"
done
python - "$out" <<'PY'
import json
import sys
from pathlib import Path

print("| model | task | right | unclear | chance |\n|---|---|---|---|---|")
for path in sorted(Path(sys.argv[1]).rglob("*_results.json")):
    for task, figures in sorted(json.loads(path.read_text())["results"].items()):
        if "accuracy,none" in figures:
            values = [figures[f"{name},none"] for name in ("accuracy", "unclear", "chance")]
            name = path.relative_to(sys.argv[1]).parts[0]
            print(f"| {name} | {task} | " + " | ".join(f"{value:.3f}" for value in values) + " |")
PY
