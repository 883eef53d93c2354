#!/usr/bin/env bash
# On a machine with a GPU and paqa[dev] installed: the GPU tests, the engines' speed, and training at Qwen2-Audio-7B's
# shape, kept under benchmarks/results. Parts may be run alone, one command each:
#
#   benchmarks/gpu.sh [MODELS] [tests] [engines] [train]
set -euo pipefail
cd "$(dirname "$0")/.."
export HF_HUB_OFFLINE=1 PYANNOTE_METRICS_ENABLED=false DO_NOT_TRACK=1 PYTHONPATH=.
export PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True
models=${1:-data/models} base=${BASE:-data/base}
shift || true
mkdir -p benchmarks/results
name=$(python -c 'import torch; print(torch.cuda.get_device_name().lower().replace(" ", "-"))')
for part in ${*:-tests engines train}; do
  case $part in
    tests) python -m pytest -m gpu ;;
    engines)
      test -f "$models/models.toml" || PYTHONPATH=benchmarks python -m localmodels "$models"
      python benchmarks/engines.py --models "$models" --device cuda --json "benchmarks/results/engines-$name.json" ;;
    train)  # random weights; of the base only the tokenizer and the processor are read
      test -f "$base/tokenizer.json" || python -m paqa.cli.train base --out "$base"
      python benchmarks/train.py --base "$base" --shape 7b --device cuda --prompts 8 --group 8 --seconds 30 --new 512 \
        --repeats 1 --compile --checkpointing --json "benchmarks/results/train-$name.json" ;;
    *) echo "unknown part $part; expected tests, engines or train" >&2; exit 2 ;;
  esac
done
