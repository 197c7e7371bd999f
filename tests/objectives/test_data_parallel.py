import json

import pytest
from conftest import ROOT, run_script


@pytest.fixture(scope="module")
def differences(tmp_path_factory):
    script = ROOT / "tests" / "scripts" / "data_parallel_loss.py"
    done = run_script(script, cwd=tmp_path_factory.mktemp("ddp"), PYTHONPATH=str(ROOT))
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", ["Gaussian", "Stability", "MACER", "Consistency", "SmoothAdv", "SmoothMix"])
def test_two_processes_have_the_loss_and_gradient_of_one(name, differences):
    loss, gradient = differences[name]
    assert loss < 1e-5
    assert gradient < 1e-4
