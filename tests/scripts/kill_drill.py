"""Certify digits over and over under 1, 2 and 3 processes in turn, and kill them all at a random instant, 20 times.

Processes are forked after the imports, so that their start costs nothing; the kills are real. Printed: for every kill
the finished examples before it.
"""

import os
import random
import signal
import sys
import time

import torch

from lightning_rs.certification import Certification, CertificationSettings, certify_examples
from lightning_rs.data import Digits
from lightning_rs.models import build_base_classifier
from lightning_rs.noise import Gaussian
from lightning_rs.results import RunDirectory

EXAMPLES, KILLS = 60, 20

torch.set_num_threads(1)
torch.manual_seed(0)
classifier = build_base_classifier("digits_cnn", 10, (1, 8, 8), Digits.mean, Digits.std).eval()
settings = CertificationSettings(
    n0=20, n=1500, batch_size=100, mechanisms=["cohen", "kumar_score", "voracek"], limit=EXAMPLES
)
dataset = Digits().dataset("test")
certification = Certification(classifier, "digits_cnn", 10, Gaussian(0.25), dataset, "Digits", "test", settings)
run = certification.describe()


def start(directory: RunDirectory, world: int) -> list[int]:
    """Processes that write as those of `certify_together` do; their shares are fixed."""
    directory.check(run)
    directory.create(run)
    # All have read before any appends: the shares are cut from one and the same list.
    known = {record.index for record in directory.read()}
    missing = [i for i in run.indices if i not in known]
    children = []
    for rank in range(world):
        child = os.fork()
        if not child:
            with directory.appender(rank) as file:
                for record in certify_examples(certification, missing[rank::world]):
                    file.append(record)
            os._exit(0)
        children.append(child)
    return children


whole, drilled = RunDirectory(sys.argv[1]), RunDirectory(sys.argv[2])
begin = time.perf_counter()
for child in start(whole, 1):
    os.waitpid(child, 0)
each = (time.perf_counter() - begin) / EXAMPLES
generator = random.Random(int(sys.argv[3]))
for kill in range(KILLS):
    children = start(drilled, 1 + kill % 3)
    # On average the part of what is left that leaves work for the other kills, whatever else the machine does.
    left = (EXAMPLES - len(drilled.read())) * each / (KILLS + 1 - kill)
    time.sleep(generator.uniform(0.0, 2.0 * left))
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    print(len(drilled.read()), end=" ", flush=True)
for child in start(drilled, 2):
    os.waitpid(child, 0)
