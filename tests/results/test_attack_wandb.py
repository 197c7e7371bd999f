"""An offline run of W&B, read back."""

import json

import wandb
import wandb_reader
from attack_cases import RUN

from lightning_rs.results.attack_wandb import send_attack


def test_curves_and_certificates(tmp_path):
    (tmp_path / "attack.json").write_text("{}")
    with wandb.init(dir=tmp_path, mode="offline", settings=wandb.Settings(silent=True)) as run:
        send_attack(run, RUN, tmp_path)
    (path,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    wandb_reader.wait(path)
    rows = [row for row in wandb_reader.history(path) if "attack/certificates/path" in row]
    table = json.loads((path.parent / "files" / rows[0]["attack/certificates/path"]).read_text())
    assert table["columns"][:3] == ["index", "label", "mechanism"] and len(table["data"]) == 8
    assert table["data"][0] == [3, 1, "cohen", "l2", 1, 0.5, 0.8, False]
    assert table["data"][2][6] is None
    curves = json.loads((path.parent / "files" / rows[0]["attack/robust_accuracy_table/path"]).read_text())
    lines = {f"{mechanism} {what}" for mechanism in ("cohen", "a_b|c") for what in ("certified", "not broken")}
    assert {row[1] for row in curves["data"]} == lines
