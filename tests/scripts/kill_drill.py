"""Certify digits over and over under 1, 2 and 3 processes in turn, and kill them all at a random instant, 20 times.

Processes are forked after the imports, so that their start costs nothing; the kills are real. When they come is told
by what has been written, not by the clock: however busy the machine is, they fall within the work. Printed: for every
kill the finished examples before it.
"""

import random
import sys
import time
from multiprocessing import get_context
from multiprocessing.process import BaseProcess

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
    n0=20, n=700, batch_size=100, mechanisms=["cohen", "kumar_score", "voracek"], limit=EXAMPLES
)
dataset = Digits().dataset("test")
certification = Certification(classifier, "digits_cnn", 10, Gaussian(0.25), dataset, "Digits", "test", settings)
run = certification.describe()


def work(directory: RunDirectory, rank: int, indices: list[int]) -> None:
    with directory.appender(rank) as file:
        for record in certify_examples(certification, indices):
            file.append(record)


def start(directory: RunDirectory, world: int) -> list[BaseProcess]:
    """Processes that write as those of `certify_together` do; their shares are fixed."""
    directory.check(run)
    directory.create(run)
    # All have read before any appends: the shares are cut from one and the same list.
    known = {record.index for record in directory.read()}
    missing = [i for i in run.indices if i not in known]
    shares = [(directory, rank, missing[rank::world]) for rank in range(world)]
    children = [get_context("fork").Process(target=work, args=share) for share in shares]
    for child in children:
        child.start()
    return children


def finish(directory: RunDirectory, world: int) -> None:
    for child in start(directory, world):
        child.join()


def size(directory: RunDirectory) -> int:
    return sum(file.stat().st_size for file in directory.path.glob("records-*.jsonl"))


whole, drilled = RunDirectory(sys.argv[1]), RunDirectory(sys.argv[2])
begin = time.perf_counter()
finish(whole, 1)
each = (time.perf_counter() - begin) / EXAMPLES
generator = random.Random(int(sys.argv[3]))
for kill in range(KILLS):
    # On average the part of what is left that leaves work for the other kills.
    left = EXAMPLES - len(drilled.read())
    further = generator.uniform(0.0, 2.0 * left / (KILLS + 1 - kill))
    # About one more is finished until the kill, which comes amid the next ones.
    enough = size(drilled) + max(0.0, further - 1) * size(whole) / EXAMPLES
    children = start(drilled, 1 + kill % 3)
    while size(drilled) < enough and any(child.is_alive() for child in children):
        time.sleep(each / 20)
    # Within the next example also where the machine is less busy than when they were timed.
    now, end = size(drilled), time.perf_counter() + generator.uniform(0.0, each)
    while size(drilled) == now and time.perf_counter() < end:
        time.sleep(each / 20)
    for child in children:
        child.kill()
        child.join()
    print(len(drilled.read()), end=" ", flush=True)
finish(drilled, 2)
