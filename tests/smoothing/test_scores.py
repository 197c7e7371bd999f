import pytest
import torch
from torch import nn

from lightning_rs.smoothing import SmoothedClassifier
from lightning_rs.smoothing.scores import ask

ROWS = torch.linspace(-1, 1, 10).view(5, 2)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda x: x.to(torch.complex64), "real numbers in a dense tensor on cpu, got torch.complex64 on cpu"),
        (lambda x: x > 0, "got torch.bool on cpu"),
        (lambda x: x.to_sparse(), "got torch.float32, not dense, on cpu"),
        (lambda x: x.to("meta"), "got torch.float32 on meta"),
        (lambda x: [x], "must return one tensor of scores, got list"),
        (lambda x: None, "must return one tensor of scores, got NoneType"),
        (lambda x: x.numpy(), "must return one tensor of scores, got ndarray"),
        (lambda x: 1 / 0, "failed on 5 rows .*: ZeroDivisionError: division by zero$"),
        (lambda x: {}["a"], r"failed on 5 rows of shape \(2,\), torch.float32 on cpu: KeyError: 'a'$"),
        (nn.Linear(2, 2).double(), "torch.float32 on cpu, with weights in torch.float64 on cpu: RuntimeError: "),
        (nn.Linear(2, 2, device="meta"), "with weights in torch.float32 on meta: "),
    ],
)
def test_other_answers_end_in_one_line(answer, message):
    with torch.no_grad(), pytest.raises(ValueError, match=f"^the base classifier .*{message}") as caught:
        ask(answer, ROWS)
    assert "\n" not in str(caught.value)


def test_its_own_error_is_the_cause():
    with pytest.raises(ValueError, match="KeyError") as caught:
        ask(lambda x: {}["a"], ROWS)
    assert isinstance(caught.value.__cause__, KeyError)


def test_memory_that_is_not_enough_is_left_to_the_caller():
    def hungry(x):
        raise MemoryError

    with pytest.raises(MemoryError):
        ask(hungry, ROWS)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.uint8])
def test_scores_of_any_real_type_vote(dtype):
    def answer(x):
        return torch.stack([(x[:, 0] > 0) * 3, (x[:, 0] <= 0) * 3], dim=1).to(dtype)

    assert ask(answer, ROWS).is_floating_point()
    smoothed = SmoothedClassifier(answer, 2, 0.5)
    expected = SmoothedClassifier(lambda x: answer(x).float(), 2, 0.5)
    x, mechanisms = torch.tensor([[1.0], [-1.0]]), ["cohen", "salman:bound=betting"]
    found, known = (g.certify(x, n0=10, n=500, mechanisms=mechanisms) for g in (smoothed, expected))
    for name in mechanisms:
        assert found[name].prediction.tolist() == known[name].prediction.tolist() == [0, 1]
        assert found[name].radius.tolist() == known[name].radius.tolist()
