"""The one road from the examples of a data set to records: settings, examples, sharing, and certifying again."""

from lightning_rs.certification.examples import Certification, certify_examples, weights_digest
from lightning_rs.certification.recertify import recertify
from lightning_rs.certification.settings import CertificationSettings
from lightning_rs.certification.sharding import certify_together

__all__ = [
    "Certification",
    "CertificationSettings",
    "certify_examples",
    "certify_together",
    "recertify",
    "weights_digest",
]
