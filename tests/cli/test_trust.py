import datetime

import pytest

from lightning_rs.cli.trust import needing_trust, vouched_for

CLASS = {"class_path": "lightning_rs.data.digits.Digits", "init_args": {}}
EVIL = {"class_path": "os.system"}


def test_what_is_known_to_be_harmless_needs_none():
    stopping = {"class_path": "pytorch_lightning.callbacks.early_stopping.EarlyStopping"}
    stopping["init_args"] = {"monitor": "certify/salman:bound=betting/accuracy@0.25", "mode": "max", "patience": 3}
    averaging = {"class_path": "callbacks.EMA", "init_args": {"decay": 0.99}}
    config = {
        "model": CLASS | {"init_args": {"freeze": ["net.layer[0-2].*", "all_but_head"], "baseline": "a/b.ckpt"}},
        "data": CLASS | {"init_args": dict.fromkeys(("data_dir", "root", "path"), "/any.where")},
        "trainer": {"callbacks": [stopping, averaging], "strategy": "ddp", "precision": "bf16-mixed", "devices": "0,1"},
        "certification": {"mechanisms": ["cohen_two_sided:top_share=0.5"], "indices": [1, 2], "radii": None},
        "checkpoint": {"filename": "{epoch}-{step:03d}"},
        "denoiser": "a_small_one,width=3",
        "name": "v1.b",
        "plugins": None,
    }
    assert list(needing_trust(config)) == []


@pytest.mark.parametrize(
    "name", ["timm/vit_base_patch16_224.augreg_in21k", "torchvision/vit_b_16", "hf/owner/net.v1", "hf//home/me/net-1.0"]
)
def test_names_of_nets_in_libraries_need_none(name):
    assert list(needing_trust({"model": CLASS | {"init_args": {"architecture": name}}})) == []


@pytest.mark.parametrize(
    ("config", "found"),
    [
        ({"model": CLASS | {"class_path": "lightning_rs.files.write_whole"}}, "model.class_path"),
        ({"model": CLASS | {"init_args": {"noise": "lightning_rs.files.write_whole"}}}, "model.init_args.noise"),
        ({"model": CLASS | {"init_args": {"architecture": "os.system"}}}, "model.init_args.architecture"),
        ({"model": CLASS | {"init_args": {"architecture": "mine/a.b"}}}, "model.init_args.architecture"),
        ({"model": CLASS | {"init_args": {"architecture": "hf/[a"}}}, "model.init_args.architecture"),
        ({"data": CLASS | {"dict_kwargs": {"a": {"b": ["x.y"]}}}}, "data.dict_kwargs.a.b[0]"),
        ({"model": CLASS | {"init_args": {"filename": "os.system"}}}, "model.init_args.filename"),
        ({"data": CLASS | {"init_args": {"data_dir": EVIL}}}, "data.init_args.data_dir.class_path"),
        ({"model": CLASS | {"init_args": {"freeze": [EVIL]}}}, "model.init_args.freeze[0].class_path"),
        ({"certification": {"n": datetime.date(2026, 1, 1)}}, "certification.n"),
        ({"certification": {"n": b"1"}}, "certification.n"),
        ({"certification": {"n": {1, 2}}}, "certification.n"),
        ({"certification": {"n": (1, 2)}}, "certification.n"),
        ({"denoiser": "diffusion/theirs"}, "denoiser"),
        ({"model": CLASS | {"init_args": {"stages": ["denoiser:net=diffusion/a"]}}}, "model.init_args.stages[0]"),
        ({"model": CLASS | {"init_args": {"architecture": "onnx/theirs"}}}, "model.init_args.architecture"),
        ({"plugins": {"evil"}}, "plugins"),
        ({"trainer": {"profiler": "simple"}}, "trainer.profiler"),
        ({"trainer": {"callbacks": {"class_path": "callbacks.EMA", "init_args": "file"}}}, "trainer.callbacks[0]"),
        ({"trainer": {"max_time": "lg"}}, "trainer.max_time"),
        ({"trainer.logger": True}, "a key"),
        ({"trainer": {"log ger": True}}, "a key of trainer"),
        ({"name": ["a"]}, "name"),
    ],
)
def test_anything_else_does(config, found):
    assert [place for place, _ in needing_trust(config)] == [found]


def test_the_command_line_vouches_for_what_it_names_and_what_lies_below():
    vouched = vouched_for(["--plugins", "[mine, theirs.nets]", "--data=my.mod.C", "--model.sigma", "0.5"])
    assert vouched == {"mine", "theirs.nets", "my.mod.C"}
    for path, known in (("mine.x.C", 1), ("theirs.nets.C", 1), ("theirs.C", 0), ("my.mod.C", 1), ("my.mod.D", 0)):
        assert bool(list(needing_trust({"data": CLASS | {"class_path": path}}, vouched))) != bool(known)
    assert not list(needing_trust({"plugins": ["mine"]}, vouched))


def test_a_net_of_a_library_vouches_for_no_module_of_that_name():
    assert vouched_for(["--model.architecture=timm/resnet-18.a1", "--model.stages", "[mine.scale:a=2, net]"]) == {
        "mine.scale",
        "a",
        "2",
        "net",
    }
