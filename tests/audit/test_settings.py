import torch

from lightning_rs.audit.settings import AuditSettings
from lightning_rs.smoothing import Preparation


def test_everything_as_it_is_unless_it_is_said():
    settings = AuditSettings()
    assert not settings.quick and settings.seed == 0
    assert settings.device == torch.device("cpu") and settings.preparation == Preparation()
    assert settings == AuditSettings() != AuditSettings(preparation=Preparation("bfloat16"))
