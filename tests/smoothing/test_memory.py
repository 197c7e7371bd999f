"""Memory as the operating system sees it: freed pages stay with the process inside, and go back afterwards."""

import json

from conftest import ROOT, run_python

# In a process of its own: what ran before in this one has told the C library other things.
SCRIPT = """
import json, resource, torch
from lightning_rs.smoothing.memory import keep_freed_memory

CPU, SIZE = torch.device("cpu"), 16 * 2**20  # Large enough that glibc returns it at once by default.

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()

def kept_after_use():
    before = resident()
    block = torch.ones(SIZE, dtype=torch.uint8)
    assert resident() - before > 0.9 * SIZE
    del block
    return (resident() - before) / SIZE

with keep_freed_memory(CPU):  # Leaves glibc's default thresholds, which no longer adapt to what is freed.
    pass
seen = {"before": kept_after_use()}
with keep_freed_memory(torch.device("cuda", 0)):  # First: what follows leaves a gap in the heap that may serve again.
    seen["inside of another device"] = kept_after_use()
outside = resident()
with keep_freed_memory(CPU):
    with keep_freed_memory(CPU):
        pass
    seen["inside"] = kept_after_use()
seen["returned"] = (resident() - outside) / SIZE
seen["after"] = kept_after_use()
outside = resident()
try:
    with keep_freed_memory(CPU):
        kept_after_use()
        raise KeyError
except KeyError:
    seen["returned after an error"] = (resident() - outside) / SIZE
print(json.dumps(seen))
"""


def test_freed_memory_is_kept_inside_and_returned_after(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    seen = json.loads(run_python(tmp_path / "script.py", cwd=tmp_path, fresh=True, PYTHONPATH=str(ROOT)).stdout)
    assert seen.pop("inside") > 0.9
    assert {name: share for name, share in seen.items() if share > 0.1} == {}
