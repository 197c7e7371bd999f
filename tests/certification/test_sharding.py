import dataclasses
import json
import os

import pytest
import torch
from cases import make_certification
from torch import distributed, multiprocessing

from lightning_rs.certification import certify_together
from lightning_rs.certification.merge import merge_directories
from lightning_rs.random_state import random_state, set_random_state
from lightning_rs.results import Environment, RunDirectory, Shard, directory
from lightning_rs.results.stored_records import find_records


def plain(records):
    return [dataclasses.replace(record, seconds=0.0) for record in records]


def certify_as(rank, world, port, folder):
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    distributed.init_process_group("gloo", rank=rank, world_size=world)
    certification = make_certification(batch_size="auto", limit=5)
    if rank:  # The first one's weights and directory count.
        torch.nn.init.zeros_(certification.base_classifier[1].weight)
    run, records = certify_together(certification, folder / ("out" if not rank else "elsewhere"), shown=False)
    lines = [record.to_json() for record in plain(records)]
    with pytest.raises(ValueError, match="processes certify different things; they differ in indices") as refused:
        certify_together(make_certification(batch_size=40, limit=5 + rank), folder / "other", shown=False)
    (folder / f"rank{rank}.json").write_text(json.dumps([run.to_dict(), lines, str(refused.value)]))
    distributed.destroy_process_group()


def test_processes_share_the_examples_and_agree(tmp_path, unused_port):
    multiprocessing.start_processes(certify_as, (2, unused_port, tmp_path), nprocs=2, start_method="fork")
    first, second = (json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in range(2))
    assert first == second
    assert not (tmp_path / "elsewhere").exists() and not (tmp_path / "other").exists()
    files = [path.read_text().splitlines() for path in (tmp_path / "out").glob("records-*.jsonl")]
    # None twice, and whoever certified any says where it was made.
    assert sum(len(lines) - 1 for lines in files if lines) == 5
    (made,) = RunDirectory(tmp_path / "out").environments()
    alone = certify_together(make_certification(batch_size=made.batch_size, limit=5), shown=False)[1]
    assert [record.to_json() for record in plain(alone)] == first[1]


def test_it_goes_on_where_it_stopped_and_takes_the_batch_size_of_before(tmp_path):
    certification = make_certification(batch_size=40)
    run, records = certify_together(certification, tmp_path / "out", shown=False)
    path = tmp_path / "out" / "records-0.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:3]))
    again, more = certify_together(make_certification(batch_size="auto"), tmp_path / "out", shown=False)
    assert again == run and plain(more) == plain(records)
    assert [made.batch_size for made in RunDirectory(tmp_path / "out").environments()] == [40]
    with pytest.raises(ValueError, match="holds another run; it differs in alpha"):
        certify_together(make_certification(batch_size=40, alpha=0.01), tmp_path / "out", shown=False)


def test_to_go_on_the_files_are_looked_through_once(tmp_path, monkeypatch):
    looked = []
    monkeypatch.setattr(directory, "find_records", lambda *of: looked.append(of) or find_records(*of))
    run, records = certify_together(make_certification(limit=2), tmp_path, shown=False)
    assert not looked
    assert certify_together(make_certification(limit=2), tmp_path, shown=False) == (run, records)
    assert len(looked) == 1


def test_a_random_seed_is_drawn_once_and_gone_on_with(tmp_path):
    state, seeds = random_state(), set()
    for _ in range(2):
        set_random_state(state)  # Whoever knows the seeds of a program does not know it.
        seeds.add(certify_together(make_certification(seed="random", limit=2), shown=False)[0].seed)
    assert len(seeds) == 2
    run, records = certify_together(make_certification(seed="random"), tmp_path / "out", shown=False)
    path = tmp_path / "out" / "records-0.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:2]))
    again, more = certify_together(make_certification(seed="random"), tmp_path / "out", shown=False)
    assert again == run and plain(more) == plain(records)
    assert run.seed_drawn and run.seed == again.seed
    # A secret seed is wanted: not that of a run that began with a known one.
    certify_together(make_certification(limit=2), tmp_path / "known", shown=False)
    with pytest.raises(ValueError, match=r"differs in seed_drawn \(false there, true now\)"):
        certify_together(make_certification(limit=2, seed="random"), tmp_path / "known", shown=False)


def test_nobody_else_writes_to_a_directory_in_use(tmp_path):
    """Not even one that starts at the same moment; and it takes nothing away."""
    certification, held, refused = make_certification(limit=2), [], []

    def begun():
        held.extend((tmp_path / "out").iterdir())
        for other in (certification, make_certification(limit=3)):
            with pytest.raises(ValueError) as error:
                certify_together(other, tmp_path / "out", shown=False)
            refused.append(str(error.value))

    _, records = certify_together(certification, tmp_path / "out", shown=False, begun=begun)
    # What others write into the directory comes after these, so that a kill at any time leaves a known one.
    assert sorted(path.name for path in held) == ["records-0.jsonl", "run.json"]
    assert refused[0].startswith(f"another certification is writing to {tmp_path}/out: let it end, or name another")
    assert "holds another run; it differs in indices" in refused[1]
    assert RunDirectory(tmp_path / "out").read() == records
    again = []
    certify_together(certification, tmp_path / "out", shown=False, begun=lambda: again.append(1))
    assert again == [1] and RunDirectory(tmp_path / "out").read() == records


def test_a_training_directory_is_refused(tmp_path):
    (tmp_path / "metrics.csv").write_text("step\n1\n")
    with pytest.raises(ValueError, match=r"is not the directory of a certification: it holds metrics.csv and no run"):
        certify_together(make_certification(limit=2), tmp_path, shown=False)
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.csv"]


def test_without_a_directory_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert len(certify_together(make_certification(limit=2), shown=False)[1]) == 2
    assert not list(tmp_path.iterdir())


def test_a_failure_before_the_first_record_leaves_no_run_behind(tmp_path):
    certification = make_certification(limit=2)
    broken = dataclasses.replace(certification, num_classes=11)
    with pytest.raises(ValueError, match="must return 11 scores a row"):
        certify_together(broken, tmp_path / "out", shown=False)
    assert not (tmp_path / "out" / "run.json").exists()
    assert len(RunDirectory(tmp_path / "out").read()) == 0
    assert len(certify_together(certification, tmp_path / "out", shown=False)[1]) == 2


def test_shards_that_are_killed_and_repeated_are_together_one_run(tmp_path):
    certification = make_certification(limit=7)
    run, whole = certify_together(certification, tmp_path / "whole", shown=False)
    paths = [tmp_path / "whole" / Shard(number, 3).folder for number in (1, 2, 3)]  # As the command line has them.
    for number, path in enumerate(paths, start=1):
        part = dataclasses.replace(certification, shard=Shard(number, 3))
        _, first = certify_together(part, path, shown=False)
        assert [record.index for record in first] == list(range(number - 1, 7, 3))
        file = path / "records-0.jsonl"
        file.write_bytes(file.read_bytes()[:-40])  # It was killed while it wrote the last record.
        assert plain(certify_together(part, path, shown=False)[1]) == plain(first)
        with pytest.raises(ValueError, match=f'holds another run; it differs in shard .*"{number}/3" there, "1/4" now'):
            certify_together(dataclasses.replace(part, shard=Shard(1, 4)), path, shown=False)
    merged = merge_directories(paths)
    assert merged.run == run and plain(merged) == plain(whole) and merged.missing is None
    assert RunDirectory(tmp_path / "whole").read() == whole


def test_a_shard_without_images_is_finished_at_once(tmp_path):
    part = dataclasses.replace(make_certification(limit=5), shard=Shard(7, 10))
    run, records = certify_together(part, tmp_path / "out", shown=False)
    assert records == [] and run.shard == "7/10" and run.indices == (0, 1, 2, 3, 4)
    assert RunDirectory(tmp_path / "out").run() == run


def test_shards_draw_no_seeds_of_their_own():
    with pytest.raises(ValueError, match="every shard would draw a seed of its own, .*: draw one, and give --seed NUM"):
        dataclasses.replace(make_certification(seed="random"), shard=Shard(1, 2))


def test_another_environment_goes_on_with_a_line(tmp_path):
    path = tmp_path / "out" / "records-0.jsonl"
    certify_together(make_certification(batch_size=40), tmp_path / "out", shown=False)
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:3]))
    with pytest.warns(UserWarning, match=f"^{tmp_path}/out goes on with batch_size 50; 2 records were made with "):
        certify_together(make_certification(batch_size=50), tmp_path / "out", shown=False)
    counts = {made.batch_size: count for made, count in RunDirectory(tmp_path / "out").environments().items()}
    assert counts == {40: 2, 50: 4}
    # Of another device no batch size is taken over.
    directory = RunDirectory(tmp_path / "gpu")
    directory.create(RunDirectory(tmp_path / "out").run())
    with directory.appender(0, Environment(device="NVIDIA H200", batch_size=41)) as file:
        file.append(RunDirectory(tmp_path / "out").read()[0])
    with pytest.warns(UserWarning, match="1 records were made with device NVIDIA H200, batch_size 41"):
        certify_together(make_certification(batch_size="auto"), tmp_path / "gpu", shown=False)
    assert [made.batch_size == 41 for made in directory.environments()] == [True, False]
