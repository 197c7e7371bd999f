import logging
import warnings

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
