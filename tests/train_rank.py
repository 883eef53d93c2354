"""Run under torchrun by test_train_ranks.py: one SFT run, its config as JSON in the first argument."""

import sys

import msgspec
import torch

from paqa.train import sft
from paqa.train.config import SftConfig

if __name__ == "__main__":
    torch.set_num_threads(1)
    sft.train(msgspec.json.decode(sys.argv[1], type=SftConfig))
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
