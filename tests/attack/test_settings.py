import pytest

from lightning_rs.attack.settings import AttackSettings


def test_defaults_are_accepted():
    assert AttackSettings() == AttackSettings(method="auto")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"starts": 0}, "starts must be an integer of at least 1, got 0"),
        ({"steps": 1.5}, "steps must be an integer of at least 1, got 1.5"),
        ({"copies": "many"}, "copies must be an integer of at least 1, got 'many'"),
        ({"n0": 0}, "n0 must be an integer of at least 1, got 0"),
        ({"n": 0}, "n must be an integer of at least 1, got 0"),
        ({"alpha": 1.0}, "alpha must lie in \\(0, 1\\), got 1.0"),
        ({"furthest": 0.0}, "furthest must be positive and finite, got 0.0"),
        ({"method": "magic"}, "unknown method 'magic'; known: auto, black_box, gradient"),
        ({"batch_size": 0}, "batch_size must be an integer of at least 1, got 0"),
        ({"seed": -1}, "seed must be an integer of at least 0, got -1"),
    ],
)
def test_what_is_out_of_range_is_refused_in_one_line(option, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        AttackSettings(**option)
