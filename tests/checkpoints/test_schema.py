import copy
from pathlib import Path

import pytest
import torch

from lightning_rs.checkpoints.schema import our_content, shown

PATH = Path("runs/x/last.ckpt")
CONTENT = {
    "state_dict": {"base_classifier.net.weight": torch.zeros(1)},
    "hyper_parameters": {
        "architecture": "digits_cnn",
        "num_classes": 10,
        "input_shape": [1, 8, 8],
        "mean": [0.3],
        "std": [0.4],
        "sigma": 0.25,
        "optimizer": {"name": "sgd", "lr": 0.1},
        "schedule": {"name": "cosine"},
        "noise": "gaussian",
        "stages": ["normalize", "net"],
        "copies": 2,
    },
    "lightning_rs": {
        "version": "0.2.0",
        "objective": "Stability",
        "data": {
            "name": "Digits",
            "init_args": {"batch_size": 64},
            "facts": {"num_classes": 10, "shape": [1, 8, 8], "mean": [0.3], "std": [0.4], "levels": 16},
        },
    },
}


def changed(place, value):
    content = copy.deepcopy(CONTENT)
    *way, last = place.split(".")
    inner = content
    for key in way:
        inner = inner[key]
    inner[last] = value
    return content


def test_what_train_writes_is_understood():
    held = our_content(PATH, copy.deepcopy(CONTENT))
    assert held.hyper_parameters.input_shape == (1, 8, 8)
    assert held.lightning_rs.data.init_args == {"batch_size": 64}
    assert our_content(PATH, changed("lightning_rs.data", None)).lightning_rs.data is None


@pytest.mark.parametrize(
    ("place", "values"),
    [
        ("state_dict", [None, 1, [], {1: torch.zeros(1)}, torch.zeros(3), torch.zeros(())]),
        ("hyper_parameters", [None, [], "x", {1: 2}, torch.zeros(2)]),
        ("hyper_parameters.architecture", [None, 1, "", ["digits_cnn"]]),
        ("hyper_parameters.num_classes", [None, 1, -10, True, 10.0, "10", 2**31, 2**1000, float("nan"), [10]]),
        ("hyper_parameters.input_shape", [None, [8, 8], [1, 8, 0], [1, 8, 8.0], [1, 8, True], [1, 8, 2**40], "188"]),
        ("hyper_parameters.mean", [None, 0.3, [float("nan")], [float("inf")], ["0.3"], [None], [2**2000]]),
        ("hyper_parameters.std", [None, [0.0], [-0.4], [float("nan")], [float("inf")]]),
        ("hyper_parameters.sigma", [None, 0.0, -1.0, float("nan"), float("inf"), "0.25", True, torch.tensor(0.25)]),
        ("hyper_parameters.noise", [None, 1, ""]),
        ("hyper_parameters.optimizer", [None, 1, [], torch.zeros(1)]),
        ("hyper_parameters.stages", [None, "net", [1], [""]]),
        ("hyper_parameters.copies", [torch.tensor(2), float("nan"), 2**1000, b"2", {1: 2}, [[float("inf")]]]),
        ("lightning_rs", [None, [], "x"]),
        ("lightning_rs.objective", [None, 1, ""]),
        ("lightning_rs.data", [[], "Digits", {}]),
        ("lightning_rs.data.name", [None, 1, ""]),
        ("lightning_rs.data.init_args", [None, [], "x", 64, {1: 2}, torch.zeros(2)]),
        ("lightning_rs.data.init_args.batch_size", [float("inf"), float("nan"), torch.zeros(1), 2**70, {"a": {1: 2}}]),
        ("lightning_rs.data.facts", [[], 1]),
        ("lightning_rs.data.facts.levels", [0, -1, 1.5, float("inf")]),
    ],
)
def test_every_misfit_is_one_line_with_its_place(place, values):
    for value in values:
        with pytest.raises(ValueError, match=r"^runs/x/last\.ckpt is no whole checkpoint of train\.py: ") as caught:
            our_content(PATH, changed(place, value))
        text = str(caught.value)
        assert text.isprintable() and len(text) < 400
        assert place.split(".")[-1] in text or "a tensor stands for a dictionary" in text, text


@pytest.mark.parametrize("place", ["hyper_parameters.sigma", "lightning_rs.objective", "lightning_rs.data.init_args"])
def test_what_is_missing_is_named(place):
    content, (*way, last) = copy.deepcopy(CONTENT), place.split(".")
    inner = content
    for key in way:
        inner = inner[key]
    del inner[last]
    with pytest.raises(ValueError, match=rf"train.py: missing required field `{last}` - at `{'.'.join(way)}`$"):
        our_content(PATH, content)


def test_values_are_shown_short_and_in_one_line():
    assert shown("Gaussian") == "Gaussian"
    assert shown(0.25) == "0.25" and shown(None) == "None" and shown([1, 2]) == "[1, 2]"
    assert shown(torch.zeros(3)) == "a Tensor"
    for value in ("a\nb", "\x1b[2J", "x" * 10**6, "\ud800", list(range(10**6)), 2**3000, {"a": "\n" * 1000}):
        assert shown(value).isprintable() and len(shown(value)) < 120
