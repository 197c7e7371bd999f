import numpy as np
import pytest
from cases import make_certification

from lightning_rs.certification import certify_examples
from lightning_rs.certification.prior import Prior
from lightning_rs.mechanisms.ugare import Ugare


@pytest.fixture(scope="module")
def prior():
    certification = make_certification(mechanisms=["cohen"], limit=5)
    records = {record.index: record for record in certify_examples(certification, certification.indices)}
    return Prior(certification.describe(), records, certification)


def test_what_is_known_is_what_the_records_say(prior):
    known = prior.known(Ugare(0.9), 10)
    assert prior.draws == 350 and set(known) == set(prior.records)
    for index, record in prior.records.items():
        assert {c: n for c, n in enumerate(known[index].selection_counts) if n} == record.selection
        assert (known[index].votes, known[index].draws) == (record.counts.get(record.selected, 0), 300)
        assert known[index].alone is bool(known[index].votes >= 270)
    assert len({before.alone for before in known.values()}) == 2


def test_labels_have_to_be_those_of_the_records(prior):
    index = next(iter(prior.records))
    label = prior.records[index].label
    prior.check_label(index, label)
    with pytest.raises(ValueError, match=rf"image {index} has the label {label + 1}, and its record of the classifier"):
        prior.check_label(index, label + 1)


def test_the_classifier_is_prepared_as_it_was(prior):
    image = prior.certification.image(0)[0]
    prepared = prior.prepared(image, 64)
    assert prepared.preparation == prior.certification.settings.preparation
    assert np.allclose(prepared(image[None]).detach(), prior.certification.base_classifier(image[None]).detach())
