import pytest

from lightning_rs.models import ARCHITECTURES, Architecture


@pytest.mark.parametrize(
    ("name", "parameters"),
    # He et al. 2015, Table 6: .27, .85 and 1.7 million for depth 20, 56 and 110; projections add 2,752.
    [("cifar_resnet20", 272_474), ("cifar_resnet56", 855_770), ("cifar_resnet110", 1_730_714), ("digits_cnn", 151_306)],
)
def test_sizes(name, parameters):
    entry = ARCHITECTURES[name]
    net = entry.build(10)
    assert sum(p.numel() for p in net.parameters()) == parameters


def test_which_images_fit():
    small, large = Architecture("a", None, channels=1, size=8), Architecture("b", None, 3, 32, any_larger=True)
    whatever = Architecture("c", None)
    assert [small.takes(shape) for shape in ((1, 8, 8), (1, 9, 8), (3, 8, 8))] == [True, False, False]
    assert [large.takes(shape) for shape in ((3, 32, 40), (3, 31, 40))] == [True, False]
    assert [whatever.takes(shape) for shape in ((5, 2, 9), (2, 9))] == [True, False]
    assert list(map(str, (small, large, whatever))) == ["1x8x8", "3x32x32 or larger", "anyxanyxany"]
