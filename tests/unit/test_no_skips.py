"""``pytest --no-skips``: what cannot run is a failure."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).parents[2] / "conftest.py"

PASSES = "def test_it(): pass"
SKIPS = {
    "decorator": "import pytest\n@pytest.mark.skip(reason='no GPU')\ndef test_it(): pass",
    "inside": "import pytest\ndef test_it(): pytest.skip('no GPU')",
    "fixture": "import pytest\n@pytest.fixture\ndef gpu(): pytest.skip('no GPU')\ndef test_it(gpu): pass",
    "module": "import pytest\npytest.skip('no GPU', allow_module_level=True)",
    "import": "import pytest\npytest.importorskip('no_such_module', reason='no GPU')",
}
EXPECTED_FAILURE = "import pytest\n@pytest.mark.xfail\ndef test_it(): assert False"


def outcome(folder: Path, source: str, *options: str) -> tuple[int, str]:
    shutil.copy(CONFTEST, folder)
    (folder / "test_it.py").write_text(source)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--rootdir={folder}", *options]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout


@pytest.mark.parametrize("source", SKIPS.values(), ids=SKIPS)
def test_a_skip_is_a_failure_that_gives_its_reason(tmp_path, source):
    code, shown = outcome(tmp_path, source, "--no-skips")
    assert code in (1, 2)  # a test failed, or a file could not be collected
    assert "no GPU" in shown
    assert "nothing may be skipped here" in shown


def test_without_the_option_a_skip_is_a_skip(tmp_path):
    code, shown = outcome(tmp_path, SKIPS["inside"])
    assert code == 0
    assert "1 skipped" in shown


@pytest.mark.parametrize("source", [PASSES, EXPECTED_FAILURE])
def test_what_runs_is_left_alone(tmp_path, source):
    assert outcome(tmp_path, source, "--no-skips")[0] == 0
