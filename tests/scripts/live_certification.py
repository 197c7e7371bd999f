"""Certify a fixed classifier live, as `trainer.validate` does it, on any number of processes; write the records.

Its batch-norm statistics differ from rank to rank, as they do in data-parallel training: the first rank's count.
"""

import json
import sys
from dataclasses import asdict

import torch
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import LambdaCallback

from lightning_rs.callbacks import CertificationCallback
from lightning_rs.data import Digits
from lightning_rs.objectives import Gaussian

path, devices, limit = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
torch.set_num_threads(1)
torch.manual_seed(0)
data = Digits(batch_size=32)
module = Gaussian("digits_cnn", 10, [1, 8, 8], list(data.mean), list(data.std), sigma=0.25)
norm = torch.nn.BatchNorm2d(1)
module.base_classifier = torch.nn.Sequential(*module.base_classifier[:1], norm, *module.base_classifier[1:])
callback = CertificationCallback(limit=limit, n=200, batch_size=50)


def part_the_ranks(trainer, _):
    norm.running_mean.fill_(trainer.global_rank)


trainer = Trainer(
    accelerator="cpu",
    devices=devices,
    # Lightning makes the ranks equal at the start of a validation; training steps would part them again.
    callbacks=[LambdaCallback(on_validation_start=part_the_ranks), callback],
    logger=False,
    enable_progress_bar=False,
    enable_checkpointing=False,
)
results = trainer.validate(module, data, verbose=False)[0]
# Every rank holds all records and the same metrics; each writes them, for the test to compare.
with open(f"{path}-{trainer.global_rank}.json", "w") as file:
    records = [asdict(record) | {"seconds": 0} for record in callback.records]
    metrics = {key: value for key, value in trainer.callback_metrics.items() if key.startswith("certify/")}
    json.dump({"records": records, "metrics": {k: float(v) for k, v in metrics.items() if "seconds" not in k}}, file)
