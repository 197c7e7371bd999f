"""Values that nobody means, for tests that throw them at every parameter."""

import numpy as np
import torch
from hypothesis import strategies as st

ODD = [
    *("", "a", "0.5", "1", b"1", None, True, False, [], [1], ["a"], [None], [[0.1]], {}, {"a": 1}, object(), object),
    *(0, 1, -1, 2**31, 3 * 10**9, 2**63, 2**64, 10**400, -(10**5000)),
    *(0.5, 1.5, -0.5, 0.0, 1e-320, 1e308, float("nan"), float("inf"), -float("inf"), 1j, 0.5 + 0j),
    *(np.float32(0.5), np.complex64(1j), np.array([1.0, 2.0]), np.array("a"), np.bool_(True), np.int64(3)),
    *(torch.tensor([1.0, 2.0]), torch.tensor(0.5), torch.empty((), device="meta"), torch.zeros(2).to_sparse()),
]

odd = st.one_of(
    st.sampled_from(ODD),
    st.text(max_size=3),
    st.floats(),
    st.integers(-(2**70), 2**70),
    st.lists(st.one_of(st.floats(), st.integers(-5, 5), st.none(), st.text(max_size=2)), max_size=3),
)
