import random

import numpy as np
import torch
from pytorch_lightning import seed_everything

from lightning_rs.random_state import OwnRandomness, random_state, set_random_state


def draw():
    return random.random(), np.random.random(), torch.rand(3).tolist(), np.random.normal()  # noqa: NPY002


def test_random_state_is_restored_to_the_bit_and_loads_safely(tmp_path):
    seed_everything(5, verbose=False)
    np.random.normal()  # noqa: NPY002 (leaves the second normal draw of a pair in store)
    torch.save(random_state(), tmp_path / "state.pt")
    expected = draw()
    draw()
    set_random_state(torch.load(tmp_path / "state.pt", weights_only=True))
    assert draw() == expected


def test_an_own_stream_goes_on_where_it_was_and_leaves_the_others_alone():
    seed_everything(5, verbose=False)
    expected = [draw() for _ in range(3)]
    inside, among = OwnRandomness(torch.device("cpu")), []
    seed_everything(5, verbose=False)
    for outside in expected:
        with inside:
            among.append(draw())
        assert draw() == outside
    for generator in zip(*(among + expected), strict=True):
        assert len(set(map(str, generator))) == 6
    seed_everything(5, verbose=False)
    with OwnRandomness(torch.device("cpu")):
        among.append(draw())  # Another one begins elsewhere, whatever seeds there were.
    for generator in zip(*(among + expected), strict=True):
        assert len(set(map(str, generator))) == 7


def test_an_own_stream_is_left_on_an_error_too():
    state, stream = random_state(), OwnRandomness(torch.device("cpu"))
    try:
        with stream:
            draw()
            raise ValueError
    except ValueError:
        expected = draw()
    set_random_state(state)
    assert draw() == expected
