import dataclasses
import json
import math
import os
import time
from functools import partial

import torch
from cases import make_certification
from torch import distributed, multiprocessing
from torch.utils.data import TensorDataset

from lightning_rs.certification import certify_examples, certify_together, sharding
from lightning_rs.certification.claims import Claims
from lightning_rs.data import Digits

WORLD = 2


def together(work, port, folder):
    """What `work(rank, folder)` returns on each of two forked processes of a group."""
    arguments = (work, port, folder)
    multiprocessing.start_processes(_in_group, arguments, nprocs=WORLD, start_method="fork")
    return [json.loads((folder / f"rank{rank}.json").read_text()) for rank in range(WORLD)]


def _in_group(rank, work, port, folder):
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    distributed.init_process_group("gloo", rank=rank, world_size=WORLD)
    (folder / f"rank{rank}.json").write_text(json.dumps(work(rank, folder)))
    distributed.barrier()
    distributed.destroy_process_group()


def lines(records):
    return [dataclasses.replace(record, seconds=0.0).to_json() for record in records]


def test_alone_everything_is_claimed_in_order_whatever_is_held():
    claims = Claims([7, 5, 9, 1, 2, 3], "alone", unequal=True)
    assert list(claims) == [7, 5, 9, 1, 2, 3]
    assert [claims.finish() for _ in range(3)] == [1, 2, 3]
    assert list(claims) == [] == list(Claims([], "alone", unequal=False))


def claim_by_hand(rank, folder):
    """One process after the other, through the store of one group, under several keys."""
    held = {}
    for key, unequal in (("equal", False), ("unequal", True)):
        claims = Claims(range(40), key, unequal)
        for turn in range(WORLD):
            if turn == rank:
                held[key] = []
                while (index := next(claims)) is not None:
                    held[key].append(index)
            distributed.barrier()
        for _ in held[key][1:]:
            claims.finish()
        distributed.barrier()
        held[f"{key} later"] = next(claims, None) if rank else None
    time.sleep(0.11)  # What is finished is told that often.
    for turn in range(WORLD):
        if turn == rank:
            held["all finished"] = claims.finish()
        distributed.barrier()
    return held


def test_nobody_holds_more_than_its_share_of_what_is_left(tmp_path, unused_port):
    first, second = together(claim_by_hand, unused_port, tmp_path)
    # Equal costs: 1/2 of all. Unequal ones: until that many are held as half of those that nobody has claimed.
    assert first["equal"] == list(range(20)) and second["equal"] == list(range(20, 40))
    assert first["unequal"] == list(range(14))
    assert second["unequal"] == list(range(14, 23))
    assert second["unequal later"] == 23
    assert second["all finished"] == 14 + 9


def uneven(limit):
    """Every other image never reaches a certificate, which takes 1,000 draws at least; a digit has one after 50."""
    image, _ = Digits().dataset("test")[0]
    images = torch.stack([image if i % 2 else torch.zeros_like(image) for i in range(limit)])
    dataset = TensorDataset(images, torch.zeros(limit, dtype=torch.int64))
    chosen = {"mechanisms": ["sequential_betting:refusal=0"], "radii": [0.0], "n": 2000, "batch_size": 50}
    return dataclasses.replace(make_certification(limit=limit, **chosen), dataset=dataset)


def certify_unevenly(answered, rank, folder):
    """A batch takes the same time on both processes, whatever else this machine does: they wait for each other."""

    def in_step(*_):
        answered[rank] += 1
        while min(answered) < answered[rank]:
            time.sleep(0.001)

    def to_the_end(*given):
        yield from certify_examples(*given)
        answered[rank] = math.inf

    sharding.certify_examples = to_the_end  # In this process alone, which was forked for it.
    certification = uneven(16)
    certification.base_classifier.register_forward_hook(in_step)
    return [sum(record.counts.values()) for record in certify_together(certification, folder / "out", shown=False)[1]]


def test_an_uneven_load_ends_with_balanced_rows(tmp_path, unused_port):
    answered = multiprocessing.RawArray("d", WORLD)
    draws, same = together(partial(certify_unevenly, answered), unused_port, tmp_path)
    assert draws == same and min(draws[::2]) >= 1000 and max(draws[1::2]) <= 50  # In a fixed stride: all on the first.
    files = [map(json.loads, file.open()) for file in (tmp_path / "out").glob("records-*.jsonl")]
    rows = [sum(draws[line["index"]] for line in file if "index" in line) for file in files]
    assert sum(rows) == sum(draws) and max(rows) <= 0.65 * sum(rows), rows


def certify_twice(rank, folder):
    """Two certifications in one group, as live ones every epoch; the second goes on where one process stopped."""
    begun = []
    live = certify_together(make_certification(limit=3), shown=False, begun=lambda: begun.append(1))[1]
    few = certify_together(make_certification(limit=1), shown=False, begun=lambda: begun.append(1))[1]
    kept = certify_together(make_certification(limit=5), folder / "out", shown=False)[1]
    return [lines(live), lines(few), lines(kept), begun]


def test_certifications_of_one_group_do_not_disturb_each_other(tmp_path, unused_port):
    alone = certify_together(make_certification(limit=5), tmp_path / "out", shown=False)[1]
    path = tmp_path / "out" / "records-0.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:2]))
    first, second = together(certify_twice, unused_port, tmp_path)
    assert first == second == [lines(alone[:3]), lines(alone[:1]), lines(alone), [1, 1]]
