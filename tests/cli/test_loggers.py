from lightning_rs.cli import make_loggers, wandb_id


def test_the_last_wandb_run_of_a_directory(tmp_path):
    assert wandb_id(tmp_path) is None
    for name in ("offline-run-20260101_000000-first", "run-20260102_000000-second"):
        (tmp_path / "wandb" / name).mkdir(parents=True)
    assert wandb_id(tmp_path) == "second"


def test_a_resumed_log_keeps_its_rows_up_to_the_step(tmp_path):
    path = tmp_path / "run" / "metrics.csv"
    path.parent.mkdir()
    text = "epoch,step,loss\n0,15,1.5\n1,31,0.5\n1,"
    path.write_text(text)
    (logger,) = make_loggers(tmp_path / "run", "project", "disabled", resumed_at=20)
    logger.log_metrics({"epoch": 1, "loss": 0.25}, step=31)
    logger.save()
    assert path.read_text().splitlines() == ["epoch,loss,step", "0,1.5,15", "1,0.25,31"]
