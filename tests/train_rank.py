"""Run under torchrun by test_train_ranks.py: sft or grpo (first argument), its config as JSON in the
second.
"""

import sys

import msgspec
import torch
import train_tiny as tiny

from paqa.train import grpo, sft
from paqa.train.config import GrpoConfig, SftConfig

if __name__ == "__main__":
    torch.set_num_threads(1)
    if sys.argv[1] == "sft":
        sft.train(msgspec.json.decode(sys.argv[2], type=SftConfig))
    else:
        grpo.train(msgspec.json.decode(sys.argv[2], type=GrpoConfig), tiny.early)
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
