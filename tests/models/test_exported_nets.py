import zipfile

import pytest
import torch

from lightning_rs.models import load_named
from lightning_rs.models.exported_nets import exported_architecture


def test_a_program_of_torch_export_is_refused_with_the_way_to_onnx():
    with pytest.raises(ValueError, match=r"^exported/net\.pt2 is not read, .* runs code .* give onnx/net\.onnx$"):
        exported_architecture("net.pt2")
    with pytest.raises(ValueError, match="exported/net.pt2 is not read"):
        load_named("exported/net.pt2")


def test_the_reason_holds(tmp_path):
    """As long as it does: a size in the file is Python that torch evaluates."""
    ours, theirs, mark = tmp_path / "net.pt2", tmp_path / "theirs.pt2", tmp_path / "mark"
    images, shapes = torch.zeros(2, 1, 8, 8), ({0: torch.export.Dim("batch")},)
    torch.export.save(torch.export.export(torch.nn.Flatten(), (images,), dynamic_shapes=shapes), ours)
    with zipfile.ZipFile(ours) as source, zipfile.ZipFile(theirs, "w") as target:
        for entry in source.infolist():
            content = source.read(entry)
            if entry.filename.endswith("model.json"):
                content = content.replace(b"Symbol(", f"open('{mark}', 'w').close() or Symbol(".encode(), 1)
            target.writestr(entry, content)
    torch.export.load(theirs)
    assert mark.exists()
