"""The examples of docs/python.md are run."""

import os
import re
import warnings
from pathlib import Path

from conftest import ROOT

from voxelcast import FitWarning


def test_examples_of_the_docs_run(command, tmp_path, monkeypatch, capsys):
    text = (ROOT / "docs" / "python.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == 3
    assert len(blocks[0].splitlines()) <= 10
    command("--help")
    program = Path(os.environ.get("VOXELCAST_BIN", ROOT / "target" / "release" / "voxelcast"))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "voxelcast").symlink_to(program)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    names = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FitWarning)
        for block in blocks:
            exec(compile(block, "docs/python.md", "exec"), names)
    assert "gram (" in capsys.readouterr().out
    assert names["model"].cv_scores_.shape == (25, 200)
