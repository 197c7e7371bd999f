from lightning_rs.models import Architecture


def test_which_images_fit():
    small, large = Architecture("a", None, channels=1, size=8), Architecture("b", None, 3, 32, any_larger=True)
    whatever = Architecture("c", None)
    assert [small.takes(shape) for shape in ((1, 8, 8), (1, 9, 8), (3, 8, 8))] == [True, False, False]
    assert [large.takes(shape) for shape in ((3, 32, 40), (3, 31, 40))] == [True, False]
    assert [whatever.takes(shape) for shape in ((5, 2, 9), (2, 9))] == [True, False]
    assert list(map(str, (small, large, whatever))) == ["1x8x8", "3x32x32 or larger", "anyxanyxany"]
