"""docs/promises.md quotes what is promised as it stands there, leaves nothing out, and names tests that exist."""

import ast
import re
from functools import cache

import numpy as np
import pytest
import torch
from conftest import ROOT

BASES = ("theorem", "enumeration", "simulation", "construction", "measured", "assumed", "somebody read them")
DOCUMENTS = ("README.md", "docs/soundness.md")


def words(text):
    """The text without line ends and repeated blanks."""
    return " ".join(text.split())


def rows():
    """(document, section, promise, what it rests on, names of tests) of every row of the page."""
    document = section = None
    for line in (ROOT / "docs" / "promises.md").read_text().splitlines():
        if line.startswith("## "):
            document = line[3:]
        elif line.startswith("### "):
            section = line[4:]
        elif line.startswith("| ") and not line.startswith("| promise |"):
            promise, basis, held = (cell.strip() for cell in line.strip("|").split(" | "))
            yield document, section, promise, basis, re.findall(r"`(tests/[^`]*)`", held)


ROWS = list(rows())


@cache
def functions(path):
    """Names of the functions of a file, and of the methods of its classes behind the class's."""
    found = set()
    for node in ast.parse((ROOT / path).read_text()).body:
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}::{method.name}" for method in node.body if isinstance(method, ast.FunctionDef)}
        elif isinstance(node, ast.FunctionDef):
            found.add(node.name)
    return found


def sections(document):
    """Titles of a document: of the README also that of the page, and bullets in place of the list of what holds."""
    text = (ROOT / document).read_text()
    titles = re.findall(r"^## (.*)$", text, re.MULTILINE)
    if document != "README.md":
        return titles
    (page,) = re.findall(r"^# (\w+)$", text, re.MULTILINE)
    _, _, rest = text.partition("\n## What you can rely on\n")
    bullets = re.findall(r"^- \*\*(.*?)\*\*", rest.partition("\n## ")[0], re.MULTILINE)
    assert len(bullets) >= 6
    return [page, *(title for title in titles if title not in ("What you can rely on", "Layout")), *bullets]


def test_tests_that_are_named_exist():
    for *_, names in ROWS:
        for path, _, name in (name.partition("::") for name in names):
            assert name.rpartition("::")[2].startswith("test_") and name in functions(path), f"{path}::{name}"


def test_a_promise_without_a_test_is_measured_assumed_or_mathematics():
    for _, _, promise, basis, names in ROWS:
        assert basis.startswith(BASES), basis
        assert names or basis.startswith(("measured", "assumed", "theorem")), promise


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_section_is_covered(document):
    assert list(dict.fromkeys(section for where, section, *_ in ROWS if where == document)) == sections(document)


def test_quotations_stand_in_their_documents():
    texts = {document: words((ROOT / document).read_text()) for document in DOCUMENTS}
    quotations = [(document, quoted) for document, _, promise, *_ in ROWS for quoted in re.findall("“(.*?)”", promise)]
    assert len(quotations) > 80
    missing = [(document, quoted) for document, quoted in quotations if words(quoted) not in texts[document]]
    assert not missing


def test_the_example_of_the_readme_runs():
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    names = {}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        exec(code, names)
    answers = names["smoothed"].predict(names["images"], n=1000, alpha=0.001, sequential=True, seed=0)
    for mechanism in ("cohen", "cohen_two_sided"):
        certificate = names["certificates"][mechanism]
        both = (certificate.prediction != -1) & (answers != -1)
        assert np.array_equal(certificate.prediction[both], answers[both])
        assert np.array_equal(certificate.prediction != -1, certificate.radius > 0)
