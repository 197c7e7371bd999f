"""What a training goes on from: whole, of the same recipe, and without a path that the file names."""

import copy
import shutil

import pytest
import torch
from lightning_fabric.plugins import TorchCheckpointIO
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import ModelCheckpoint

from callbacks import EMA
from lightning_rs.checkpoints import data_of, load_checkpoint, resumable, without_paths
from lightning_rs.objectives import OBJECTIVES


@pytest.fixture(scope="module")
def content(checkpoint):
    return torch.load(checkpoint, weights_only=True)


@pytest.fixture(scope="module")
def data(checkpoint):
    return data_of(load_checkpoint(checkpoint))


def module_of(content):
    return OBJECTIVES[content["lightning_rs"]["objective"]](**content["hyper_parameters"])


def bests_of(content):
    return next(state for key, state in content["callbacks"].items() if key.startswith("ModelCheckpoint"))


class Given(TorchCheckpointIO):
    """Hands Lightning a content that was read before."""

    def __init__(self, content):
        self.content = content

    def load_checkpoint(self, *arguments, **options):
        return copy.deepcopy(self.content)


def train(module, data, folder, epochs, callbacks=(), content=None):
    """Train on two batches an epoch, on from `content` if there is one; returns the callback that saves."""
    keep = ModelCheckpoint(folder, save_last=True)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    some = {"max_epochs": epochs, "limit_train_batches": 2, "limit_val_batches": 1, "default_root_dir": folder}
    trainer = Trainer(callbacks=[*callbacks, keep], plugins=[Given(content)] if content else [], **quiet, **some)
    trainer.fit(module, datamodule=data, ckpt_path=str(folder / "last.ckpt") if content else None)
    return keep


def changed(content, place, value):
    """A copy with another value, or with none if it is `del`."""
    content = copy.deepcopy(content)
    inner, way = content, place.split("/") if "/" in place else place.split(".")
    way = [int(key) if key.isdigit() else key for key in way]
    for key in way[:-1]:
        inner = inner[key]
    if isinstance(inner, tuple):
        raise AssertionError("tuples are replaced as a whole")
    if isinstance(value, str) and value == "del":
        del inner[way[-1]]
    else:
        inner[way[-1]] = value
    return content


def test_a_whole_one_goes_on(checkpoint, content, data):
    found = resumable(checkpoint, module_of(content), data)
    assert (found.epochs, found.steps) == (content["epoch"] + 1, content["global_step"])
    assert found.at_end_of_epoch
    for key, value in content["state_dict"].items():
        assert torch.equal(found.content["state_dict"][key], value)
    assert found.content["lr_schedulers"][0]["last_epoch"] == content["lr_schedulers"][0]["last_epoch"]
    assert found.content["callbacks"].keys() == content["callbacks"].keys()


@pytest.mark.parametrize(
    ("optimizer", "schedule", "average"),
    [
        ({"name": "sgd", "momentum": 0.0}, {"name": "constant"}, False),
        ({"name": "sgd"}, {"name": "constant", "warmup": 2}, True),
        ({"name": "adam"}, {"name": "step", "step_size": 1}, False),
        ({"name": "adamw"}, {"name": "cosine", "warmup": 1}, True),
        ({"name": "adamw"}, {"name": "step", "warmup": 1}, False),
    ],
)
def test_every_recipe_goes_on(content, data, tmp_path, optimizer, schedule, average):
    recipe = {"optimizer": optimizer | {"lr": 0.01}, "schedule": schedule}
    content = content | {"hyper_parameters": content["hyper_parameters"] | recipe}
    callbacks = [EMA()] if average else []
    train(module_of(content), data, tmp_path, 1, callbacks)
    found = resumable(tmp_path / "last.ckpt", module_of(content), data)
    assert (found.epochs, found.steps) == (1, 2)
    assert ("current_model_state" in found.content) == average
    train(module_of(content), data, tmp_path, 2, callbacks, found.content)
    assert resumable(tmp_path / "last.ckpt", module_of(content), data).steps == 4
    if optimizer["name"] != "sgd":
        broken = changed(found.content, "optimizer_states/0/state/0/step", torch.tensor(-1.0))
        torch.save(broken, tmp_path / "last.ckpt")
        with pytest.raises(ValueError, match="what the optimiser knows of weight 0 is no number: step"):
            resumable(tmp_path / "last.ckpt", module_of(content), data)


def test_the_file_is_read_once(checkpoint, content, data, monkeypatch):
    loads, load = [], torch.load
    monkeypatch.setattr(torch, "load", lambda *a, **k: loads.append(a) or load(*a, **k))
    resumable(checkpoint, module_of(content), data)
    assert len(loads) == 1


def test_another_recipe_is_refused(checkpoint, content, data):
    for change, message in (
        ({"sigma": 0.5}, "cannot be resumed with another sigma: it has 0.25, got 0.5"),
        ({"noise": "grid_gaussian:levels=16"}, "with another noise: it has gaussian, got grid_gaussian:levels=16"),
    ):
        other = content | {"hyper_parameters": content["hyper_parameters"] | change}
        with pytest.raises(ValueError, match=message):
            resumable(checkpoint, module_of(other), data)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("epoch", -1, "Expected `int` >= 0 - at `epoch`"),
        ("epoch", True, "Expected `int`, got `bool` - at `epoch`"),
        ("epoch", 2**70, "at `epoch`"),
        ("epoch", "del", "missing required field `epoch`"),
        ("global_step", 7, "global_step is 7, and its optimiser made"),
        ("global_step", 1.5, "at `global_step`"),
        ("pytorch-lightning_version", "x", "at `pytorch-lightning_version`"),
        ("pytorch-lightning_version", "1.1.0", "at `pytorch-lightning_version`"),
        ("loops", None, "at `loops`"),
        ("loops/fit_loop", "del", "missing required field `fit_loop`"),
        ("loops/fit_loop/epoch_progress/current/ready", -3, "at `loops.fit_loop.epoch_progress.current.ready`"),
        ("loops/fit_loop/epoch_progress/current/reset", 1, "unknown field `reset`"),
        ("loops/fit_loop/epoch_loop.batch_progress/is_last_batch", "del", "missing required field `is_last_batch`"),
        ("loops/fit_loop/epoch_loop.state_dict", {}, "missing required field `_batches_that_stepped`"),
        ("callbacks", [], "at `callbacks`"),
        ("optimizer_states", "del", "holds the weights alone: it can be certified, but its training cannot be resumed"),
        ("optimizer_states", [], "at `optimizer_states`"),
        ("optimizer_states/0/state", [], "at `optimizer_states"),
        ("optimizer_states/0/state/0", {}, "knows of weight 0 does not fit: 1 missing: momentum_buffer"),
        ("optimizer_states/0/state/0/momentum_buffer", None, "momentum_buffer a NoneType for float"),
        ("optimizer_states/0/state/0/momentum_buffer", torch.zeros(3), r"momentum_buffer float \[3\] for float"),
        ("optimizer_states/0/state/0/momentum_buffer", torch.full((32, 1, 3, 3), float("nan")), "is no number: mom"),
        ("optimizer_states/0/state/0/step", torch.tensor(1.0), "1 unexpected: step"),
        ("optimizer_states/0/state/99", {}, "the optimiser knows a weight 99, the model has 8"),
        ("optimizer_states/0/param_groups", [], "the optimiser has 0 groups of weights, the model 1"),
        ("optimizer_states/0/param_groups/0/lr", float("nan"), "the optimiser's lr must be a number of at least 0"),
        ("optimizer_states/0/param_groups/0/lr", "0.1", "the optimiser's lr must be a number of at least 0"),
        ("optimizer_states/0/param_groups/0/momentum", 0.5, "the optimiser's momentum must be 0.9"),
        ("optimizer_states/0/param_groups/0/nesterov", torch.zeros(2), "the optimiser's nesterov must be False"),
        ("optimizer_states/0/param_groups/0/params", [0, 0, 1], "the optimiser's params must be"),
        ("optimizer_states/0/param_groups/0/params", [torch.zeros(2), *range(1, 8)], "the optimiser's params must be"),
        ("optimizer_states/0/param_groups/0/extra", 1, "the optimiser's extra must be None"),
        ("lr_schedulers", [], "its schedule must be cosine, and holds 0 others"),
        ("lr_schedulers/0", {}, "missing required field `_last_lr`"),
        ("lr_schedulers/0/T_max", 0, "at `lr_schedulers"),
        ("lr_schedulers/0/T_max", "del", "its schedule must be cosine"),
        ("lr_schedulers/0/base_lrs", [3.0], "its schedule is not whole, or of another learning rate"),
        ("lr_schedulers/0/last_epoch", "del", "its schedule is not whole"),
        ("lightning_rs/random_states", [], "at `lightning_rs.random_states`"),
        ("lightning_rs/random_states/0", None, "at `lightning_rs.random_states"),
        ("lightning_rs/random_states/0/torch", torch.zeros(5056, dtype=torch.uint8), "its random_states are none: "),
        ("lightning_rs/random_states/0/torch", torch.zeros(7), "its random_states are none: "),
        ("lightning_rs/random_states/0/cuda", torch.zeros(15, dtype=torch.uint8), "that of the GPU must have 16 bytes"),
        ("lightning_rs/random_states/0/python", (3, tuple(range(700)), None), "at `lightning_rs.random_states"),
        ("lightning_rs/random_states/0/python", (3, (*range(624), 625), None), "its random_states are none: invalid"),
        ("lightning_rs/random_states/0/numpy", ("MT19937", torch.zeros(9), 0, 0, 0.0), "must have 624 words"),
        (
            "lightning_rs/random_states/0/numpy",
            ("MT19937", torch.full((624,), -1), 0, 0, 0.0),
            "its random_states are none: NumPy's must have 624 words",
        ),
        ("state_dict/base_classifier.net.0.bias", "del", "its state_dict does not fit the model: 1 missing: base_"),
        ("state_dict/base_classifier.net.0.bias", torch.zeros(3), r"bias float \[3\] for float \[32\]"),
        ("state_dict/base_classifier.net.0.bias", torch.full((32,), float("nan")), "of state_dict holds NaN"),
        ("state_dict/new", torch.zeros(3), "1 unexpected: new"),
        ("current_model_state", {}, "its current_model_state does not fit the model: "),
        ("averaging_state", {"n_averaged": 3}, "its averaging_state does not fit the model: .*n_averaged a int"),
        ("callbacks/EMA", {"step": 1}, "missing required field `latest_update_step`"),
        ("callbacks/EarlyStopping{}", {"patience": 1}, "missing required field `wait_count`"),
    ],
)
def test_what_does_not_go_on_is_refused_in_one_line(content, data, tmp_path, place, value, message):
    path = tmp_path / "file.ckpt"
    torch.save(changed(content, place, value), path)
    with pytest.raises(ValueError, match=message) as caught:
        resumable(path, module_of(content), data)
    text = str(caught.value)
    assert text.startswith(str(path)) and text.isprintable() and text.count(str(path)) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"best_model_path": 3}, "at `best_model_path`"),
        ({"best_k_models": {"a.ckpt": 0.5}}, "at `best_k_models"),
        ({"best_k_models": {"a.ckpt": torch.zeros(3)}}, r"among its best models, .*a score float \[3\]"),
        ({"best_k_models": {"a.ckpt": torch.tensor(0.5)}}, "it has best models and no best score"),
        ({"kth_value": None}, "at `kth_value`"),
        ({"dirpath": ["a"]}, "at `dirpath`"),
    ],
)
def test_what_is_known_of_other_files_is_checked(content, data, tmp_path, change, message):
    path, content = tmp_path / "file.ckpt", copy.deepcopy(content)
    bests_of(content).update(change)
    torch.save(content, path)
    with pytest.raises(ValueError, match=message):
        resumable(path, module_of(content), data)


def test_a_foreign_file_is_not_resumed(content, data, tmp_path):
    torch.save(content["state_dict"], tmp_path / "file.ckpt")
    with pytest.raises(ValueError, match="is not a checkpoint of train.py: its training cannot be resumed"):
        resumable(tmp_path / "file.ckpt", module_of(content), data)


def test_attributes_that_pytorch_would_set_are_left_out(content, data, tmp_path):
    torch.save(changed(content, "lr_schedulers/0/get_lr", 3), tmp_path / "file.ckpt")
    found = resumable(tmp_path / "file.ckpt", module_of(content), data)
    assert "get_lr" not in found.content["lr_schedulers"][0]


def test_paths_are_those_of_the_own_folder(content, tmp_path):
    folder, content = tmp_path / "runs" / "x" / "checkpoints", copy.deepcopy(content)
    folder.mkdir(parents=True)
    for name in ("a.ckpt", "b.ckpt", "notes.txt"):
        (folder / name).touch()
    (folder / "victim.ckpt").mkdir()
    (folder / "link.ckpt").symlink_to(tmp_path)
    (tmp_path / "out.ckpt").touch()
    scores = {"a.ckpt": 0.5, "old/b.ckpt": 0.7, "gone.ckpt": 0.1, "../../../out.ckpt": 0.9, "notes.txt": 0.3}
    bests_of(content).update(
        dirpath="/elsewhere",
        best_model_path="/elsewhere/a.ckpt",
        last_model_path=f"{folder}/../../../victim",
        kth_best_model_path="C:\\runs\\gone.ckpt",
        best_k_models={path: torch.tensor(score) for path, score in scores.items()},
        best_model_score=torch.tensor(0.5),
    )
    bests = bests_of(without_paths(content, folder))
    own = str(folder.resolve())
    assert bests["dirpath"] == own
    assert bests["best_model_path"] == f"{own}/a.ckpt"
    assert bests["last_model_path"] == ""
    assert {path: float(score) for path, score in bests["best_k_models"].items()} == {
        f"{own}/a.ckpt": pytest.approx(0.5),
        f"{own}/b.ckpt": pytest.approx(0.7),
    }
    assert bests["kth_best_model_path"] == f"{own}/b.ckpt" and float(bests["kth_value"]) == pytest.approx(0.7)
    assert bests_of(content)["dirpath"] == "/elsewhere"  # The given one is as it was.
    for path in ("", "/", "..", ".", "../victim.ckpt", "link.ckpt", "notes.txt", "a.ckpt/", "a.ckpt\0"):
        bests_of(content).update(last_model_path=path)
        assert bests_of(without_paths(content, folder))["last_model_path"] == "", path


@pytest.fixture
def moved(checkpoint, tmp_path):
    """Checkpoints of a run in another place, under another name."""
    return shutil.copytree(checkpoint.parent, tmp_path / "runs" / "renamed" / "checkpoints")


def test_a_moved_run_goes_on_under_its_new_name(checkpoint, content, data, moved):
    before = {path: path.stat().st_mtime_ns for path in checkpoint.parent.iterdir()}
    found = resumable(moved / "last.ckpt", module_of(content), data)
    keep = train(module_of(content), data, moved, found.epochs + 1, content=without_paths(found.content, moved))
    assert keep.last_model_path == str(moved / "last.ckpt")
    assert len(list(moved.iterdir())) == 2  # Not last-v1.ckpt; and the older epoch is removed here, not there.
    assert torch.load(moved / "last.ckpt", weights_only=True)["epoch"] == found.epochs
    assert {path: path.stat().st_mtime_ns for path in checkpoint.parent.iterdir()} == before


def test_a_path_in_a_file_removes_nothing(content, data, moved, tmp_path):
    victim = tmp_path / "victim"
    for key in ("last_model_path", "best_model_path", "kth_best_model_path"):
        victim.mkdir(exist_ok=True)
        (victim / "thesis.txt").write_text("years")
        harmful = copy.deepcopy(content)
        bests_of(harmful).update({"dirpath": str(moved), key: f"{moved}/../../../victim"})
        torch.save(harmful, moved / "last.ckpt")
        found = resumable(moved / "last.ckpt", module_of(content), data)
        train(module_of(content), data, moved, found.epochs + 1, content=without_paths(found.content, moved))
        assert (victim / "thesis.txt").exists()
    bests_of(harmful).update({"last_model_path": f"{moved}/../../../victim"})
    train(module_of(content), data, moved, found.epochs + 1, content=harmful)
    assert not victim.exists()  # So Lightning would have done.
