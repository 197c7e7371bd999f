import logging
import warnings

from conftest import ROOT, run_python

from lightning_rs.cli import quiet_libraries


def test_remarks_that_nobody_can_act_on_are_hidden_and_others_are_not(caplog):
    with warnings.catch_warnings(record=True) as shown:
        quiet_libraries()
        warnings.warn("The 'val_dataloader' does not have many workers which may be a bottleneck", stacklevel=1)
        warnings.warn("something else", stacklevel=1)
    assert [str(warning.message) for warning in shown] == ["something else"]
    logger = logging.getLogger("pytorch_lightning.utilities.rank_zero")
    with caplog.at_level(logging.INFO, logger.name):
        logger.addHandler(caplog.handler)
        logger.info("TPU available: False")
        logger.info("`Trainer.fit` stopped")
    assert set(caplog.messages) == {"`Trainer.fit` stopped"}


def test_a_log_of_a_library_that_cannot_hold_a_letter_is_no_matter(tmp_path):
    code = (
        "import logging, sys; from lightning_rs.cli import quiet_libraries; quiet_libraries()\n"
        "logging.getLogger('theirs').addHandler(logging.FileHandler(sys.argv[1], encoding='ascii'))\n"
        "logging.getLogger('theirs').warning('σ')"
    )
    assert run_python("-c", code, tmp_path / "log", cwd=ROOT).stderr == ""


def test_a_warning_is_one_line():
    code = "import warnings; from lightning_rs.cli import quiet_libraries; quiet_libraries(); warnings.warn('a\\nb')"
    assert run_python("-c", code, cwd=ROOT).stderr == "warning: a b\n"
