"""What is noted of losses, and when one looks."""

import pytest
import torch

from lightning_rs.objectives.finite import STEPS_BETWEEN_LOOKS, FiniteLosses, NotFinite


def noted(*losses):
    finite = FiniteLosses()
    for step, loss in enumerate(losses):
        finite.note(step, torch.tensor(loss), {"a": torch.tensor(1.0 + step), "b": torch.tensor(loss - 1.0 - step)})
    return finite


def test_finite_losses_leave_no_note():
    assert FiniteLosses().look() is None
    assert noted(1.0, 2.0, 3e38).look() is None


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_the_first_loss_that_is_not_finite_stays_noted(bad):
    found = noted(1.0, bad, 2.0, float("nan")).look()
    assert found.step == 1
    assert found.parts == pytest.approx({"a": 2.0, "b": bad}, nan_ok=True)
    assert isinstance(found, NotFinite)


def test_the_parts_may_become_others_on_the_way():
    finite, bad = noted(1.0), torch.tensor(float("nan"))
    finite.note(1, torch.tensor(1.0), {"c": torch.tensor(1.0)})
    assert finite.look() is None
    finite.note(2, bad, {"c": bad})
    finite.note(3, bad, {"a": bad, "b": bad})
    assert (finite.look().step, list(finite.look().parts)) == (2, ["c"])


def test_a_cpu_looks_at_every_step_and_another_device_now_and_then():
    assert all(noted(1.0).due(batch) for batch in range(5))
    elsewhere = FiniteLosses()
    loss = torch.zeros((), device="meta")
    elsewhere.note(0, loss, {"a": loss})
    due = [batch for batch in range(3 * STEPS_BETWEEN_LOOKS) if elsewhere.due(batch)]
    assert due == [STEPS_BETWEEN_LOOKS - 1, 2 * STEPS_BETWEEN_LOOKS - 1, 3 * STEPS_BETWEEN_LOOKS - 1]


def test_to_note_asks_the_device_for_nothing_and_to_look_does():
    finite, loss = FiniteLosses(), torch.zeros((), device="meta")
    finite.note(0, loss, {"a": loss})
    finite.note(1, loss, {"a": loss})
    with pytest.raises(RuntimeError, match="meta tensor"):
        finite.look()
