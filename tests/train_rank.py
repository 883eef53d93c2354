"""Run under torchrun by test_train_ranks.py: sft, eval or grpo (first argument), its config as JSON in the
second.
"""

import sys

import msgspec
import torch
import train_tiny as tiny

from paqa.train import evaluate, grpo, sft
from paqa.train.config import EvalConfig, GrpoConfig, SftConfig

if __name__ == "__main__":
    torch.set_num_threads(1)
    if sys.argv[1] == "sft":
        sft.train(msgspec.json.decode(sys.argv[2], type=SftConfig))
    elif sys.argv[1] == "eval":
        evaluate.run(msgspec.json.decode(sys.argv[2], type=EvalConfig))
    else:
        grpo.train(msgspec.json.decode(sys.argv[2], type=GrpoConfig), tiny.early)
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
