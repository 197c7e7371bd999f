"""What docs/own_models.md says, done: each section's files written and commands run in a folder of its own."""

import re
import shlex
from functools import cache

import pytest
from conftest import ROOT, run_script

# What the tests leave out of a section's commands would only take time: accounts, and validation while training.
QUIET = {
    "train.py": ("--wandb.mode=disabled", "--live_certification.every_n_epochs=0", "--trainer.accelerator=cpu"),
    "certify.py": ("--wandb_mode=disabled", "--accelerator=cpu"),
}
LIMITED = ("--certification.limit=4", "--trainer.limit_train_batches=6", "--trainer.limit_test_batches=1")


def sections(path):
    """Title of each section of a page to its fenced blocks, (language, text) each."""
    parts = re.split(r"^## (.+)$", path.read_text(), flags=re.MULTILINE)
    blocks = [re.findall(r"^```(\w+)\n(.*?)^```$", part, flags=re.MULTILINE | re.DOTALL) for part in parts[2::2]]
    return dict(zip(parts[1::2], blocks, strict=True))


def commands(text):
    """The command lines of a block, in words."""
    return [shlex.split(line, comments=True) for line in text.replace("\\\n", " ").splitlines() if line.strip()]


def run_block(language, text, folder):
    """Write the file that a block's first line names, or run its commands as a reader would; returns what they said."""
    if language != "bash":
        (folder / re.match(r"[#/]+ (\S+)\n", text)[1]).write_text(text)
        return []
    said = []
    for interpreter, script, *arguments in commands(text):
        assert interpreter == "python", "a command of the page begins with python"
        if script == "train.py" and "--resume" not in arguments:
            arguments = [*LIMITED, *arguments]
        known = () if script not in QUIET or arguments[0] in ("report", "recertify") else QUIET[script]
        said.append(run_script(_found(script, folder), *known, *arguments, cwd=folder))
    return said


def _found(script, folder):
    return ROOT / script if (ROOT / script).exists() else folder / script


PAGE = "docs/own_models.md"


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """Folder and finished commands of a section, by its title; each is run once."""

    @cache
    def run(title):
        folder = tmp_path_factory.mktemp("section")
        blocks = sections(ROOT / PAGE)[title]
        return folder, [done for language, text in blocks for done in run_block(language, text, folder)]

    return run


@pytest.mark.parametrize("title", sections(ROOT / PAGE))
def test_every_section_runs(title, ran):
    assert ran(title)[1], f"{title} has no command"


def test_own_code_is_certified_as_it_was_trained_and_only_when_its_user_names_it(ran):
    folder, (trained, _, certified, reported, again) = ran("Your own code")
    for done in (trained, certified, reported, again):
        assert "mine.Unanimous" in done.stdout
    (folder / "mine.py").write_text("open('imported', 'w').close()\n" + (folder / "mine.py").read_text())
    checkpoint = "--checkpoint=runs/mine/checkpoints/last.ckpt"
    for script, arguments, message in (
        ("certify.py", (checkpoint, "--limit=2", "--n=100", "--output=other"), "give --arch mine.net"),
        ("certify.py", ("recertify", "mine", "--alpha=0.01"), "give --mechanisms '[mine.Unanimous]' or --plugins mine"),
        ("train.py", ("--resume=runs/mine", "--trainer.max_epochs=4"), "which is no part of this project"),
    ):
        done = run_script(script, *arguments, cwd=folder, status=2)
        assert message in done.stderr
        assert len(done.stderr.splitlines()) == 1
    assert not (folder / "imported").exists()
    assert not (folder / "other").exists()
