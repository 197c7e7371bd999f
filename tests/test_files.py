import errno
import os
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import ROOT, run_python

from lightning_rs.files import (
    check_own_directory,
    free_directory,
    new_directory,
    only_writer,
    remove_parts,
    replacing,
    sync_folder,
    write_whole,
)


def test_a_file_takes_the_place_of_another_and_nothing_stays_beside_it(tmp_path):
    path = tmp_path / "table.csv"
    write_whole(path, "σ\r\n")
    assert path.read_bytes() == "σ\r\n".encode()
    write_whole(path, b"\x00")
    assert path.read_bytes() == b"\x00"
    assert list(tmp_path.iterdir()) == [path]


def test_what_fails_leaves_what_was_there(tmp_path):
    path = tmp_path / "plot.png"
    path.write_text("before")
    with pytest.raises(RuntimeError), replacing(path) as part:
        assert part.suffix == ".png" and part.parent == tmp_path
        part.write_text("half")
        raise RuntimeError
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there_is_named(tmp_path):
    path = tmp_path / "none" / "file"
    with pytest.raises(OSError, match="none/file cannot be written .No such file") as caught:
        write_whole(path, "x")
    assert caught.value.errno == errno.ENOENT
    sync_folder(path.parent)


def test_a_killed_writer_leaves_the_file_that_was_there(tmp_path):
    path = tmp_path / "file"
    path.write_text("before")
    code = (
        "import os, sys; from lightning_rs.files import replacing\n"
        "with replacing(sys.argv[1]) as part:\n    part.write_text('half'); os.kill(os.getpid(), 9)"
    )
    run_python("-c", code, path, cwd=ROOT, status=-9)
    assert path.read_text() == "before"
    write_whole(path, "after")
    assert path.read_text() == "after"


def test_only_its_own_directories_are_written_to(tmp_path):
    check_own_directory(tmp_path / "new", "run.json", "a certification")
    check_own_directory(tmp_path, "run.json", "a certification")
    (tmp_path / ".run.1.part.json").touch()
    check_own_directory(tmp_path, "run.json", "a certification")
    (tmp_path / "metrics.csv").touch()
    message = "is not the directory of a certification: it holds metrics.csv and no run.json; name a new one"
    with pytest.raises(ValueError, match=message):
        check_own_directory(tmp_path, "run.json", "a certification")
    (tmp_path / "run.json").touch()
    check_own_directory(tmp_path, "run.json", "a certification")
    with pytest.raises(ValueError, match=r"metrics.csv is not a directory"):
        check_own_directory(tmp_path / "metrics.csv", "run.json", "a certification")


@pytest.mark.parametrize("name", ["records-0.jsonl", "plots/plot.png", "plots/more"])
def test_what_leads_out_of_a_directory_is_not_written_to(name, tmp_path):
    folder, victim = tmp_path / "own", tmp_path / "victim"
    (folder / "plots").mkdir(parents=True)
    (folder / "run.json").touch()
    (folder / "again.json").symlink_to("run.json")
    (folder / "wandb").mkdir()
    (folder / "wandb" / "debug.log").symlink_to("/elsewhere/debug.log")
    check_own_directory(folder, "run.json", "a certification")
    (folder / name).symlink_to(victim)
    with pytest.raises(ValueError, match=f"{name} is a link that leads out of {folder}$"):
        check_own_directory(folder, "run.json", "a certification")


def test_a_pipe_in_a_directory_is_not_waited_for(tmp_path):
    (tmp_path / "run.json").touch()
    os.mkfifo(tmp_path / "records-0.jsonl")
    with pytest.raises(ValueError, match=r"records-0\.jsonl is neither a file nor a folder$"):
        check_own_directory(tmp_path, "run.json", "a certification")


def test_a_directory_that_exists_is_not_taken(tmp_path):
    names = []
    for _ in range(3):
        path = free_directory(tmp_path, "run")
        path.mkdir()
        names.append(path.name)
    assert names == ["run", "run-2", "run-3"]
    (tmp_path / "run-4").symlink_to(tmp_path / "nowhere")
    assert free_directory(tmp_path, "run").name == "run-5"
    with pytest.raises(OSError, match="run-4"):
        new_directory(tmp_path / "run-4", "digits")


def test_programs_that_start_at_one_moment_get_directories_of_their_own(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: new_directory(tmp_path / "runs", "digits"), range(24)))
    assert {path.name for path in made} == {"digits", *(f"digits-{number}" for number in range(2, 25))}


def test_one_program_writes_to_a_directory_and_what_a_killed_one_left_is_removed(tmp_path):
    held = only_writer(tmp_path, "training")
    code = (
        "import os, sys; from lightning_rs.files import only_writer, replacing\n"
        "try:\n    only_writer(sys.argv[1], 'training')\nexcept ValueError as error:\n    sys.exit(str(error))\n"
        "with replacing(sys.argv[1] + '/a.ckpt') as part:\n    part.write_text('half'); os.kill(os.getpid(), 9)"
    )
    refused = run_python("-c", code, tmp_path, cwd=ROOT, status=1)
    assert refused.stderr == f"another training is writing to {tmp_path}: let it end, or name another output\n"
    os.close(held)
    run_python("-c", code, tmp_path, cwd=ROOT, status=-9)
    assert [path.suffix for path in tmp_path.iterdir()] == [".ckpt"]
    remove_parts(tmp_path)
    assert list(tmp_path.iterdir()) == []
