#!/usr/bin/env bash
# On a machine with a GPU and paqa[dev] installed: the GPU tests, then the engines' speed, kept under benchmarks/results.
set -euo pipefail
cd "$(dirname "$0")/.."
export HF_HUB_OFFLINE=1 PYANNOTE_METRICS_ENABLED=false DO_NOT_TRACK=1
models=${1:-data/models}
mkdir -p benchmarks/results
python -m pytest -m gpu
test -f "$models/models.toml" || PYTHONPATH=benchmarks python -m localmodels "$models"
name=$(python -c 'import torch; print(torch.cuda.get_device_name().lower().replace(" ", "-"))')
python benchmarks/engines.py --models "$models" --device cuda --json "benchmarks/results/engines-$name.json"
