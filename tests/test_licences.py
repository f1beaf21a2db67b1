"""The page of licences is that of the lock, and every package states one."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def script() -> ModuleType:
    found = importlib.util.spec_from_file_location("licences", ROOT / "docs" / "licences.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_every_package_of_the_lock_has_its_licence(script: ModuleType) -> None:
    listed = re.findall(
        r"^\| (\S+) \| (\S+) \| (.+) \| (?:test)? \|$", script.PAGE.read_text(), re.M
    )
    told = {name: version for name, version, licence in listed if licence.strip()}
    assert told == script.locked((ROOT / "requirements.lock").read_text("utf-8"))
    # What may be used with Apache-2.0 code; another kind is to be looked at first.
    assert not [row for row in listed if re.search(r"\bA?GPL|SSPL|BUSL|Commons Clause", row[2])]


def test_one_without_a_licence_is_named(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "requirements.lock").write_text("numpy==2.4.6\nno-such-package==1.0\n")
    monkeypatch.setattr(script, "ROOT", tmp_path)
    with pytest.raises(SystemExit, match=r"not installed: no-such-package"):
        script.page()
