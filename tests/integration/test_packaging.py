"""The wheel, the sdist and the editable install, each in a virtual environment of its own.

The environments borrow this one's dependencies through a ``.pth`` file, so that nothing is
downloaded; fsbackup itself always comes from the install under test.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from fsbackup_tui import __version__

CHECKOUT = Path(__file__).resolve().parents[2]
RUNBOOKS = sorted(
    path.stem for path in (CHECKOUT / "fsbackup_tui" / "recovery" / "runbooks").glob("*.yaml")
)
THEMES = sorted(path.stem for path in (CHECKOUT / "themes").glob("*.yaml"))
_LIST_THEMES = (
    "import json, fsbackup_tui; from fsbackup_tui.tui.theme import theme_files, load_theme; "
    "files = theme_files({}); [load_theme(path) for path in files.values()]; "
    "print(json.dumps([fsbackup_tui.__file__, sorted(files)]))"
)


@dataclass(frozen=True)
class Install:
    """A virtual environment with fsbackup in it."""

    root: Path

    def run(self, program: str, *arguments: str, cwd: Path) -> str:
        """Run a program of the environment in ``cwd`` and return what it prints."""
        environment = {"PATH": os.environ["PATH"], "HOME": str(cwd), "LANG": "C.UTF-8"}
        completed = subprocess.run(
            [str(self.root / "bin" / program), *arguments],
            cwd=cwd,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert completed.returncode == 0, completed.stdout + completed.stderr
        return completed.stdout


def _pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    completed = subprocess.run(command, capture_output=True, text=True)
    assert completed.returncode == 0, completed.stdout + completed.stderr


def _install(root: Path, *what: str) -> Install:
    venv.create(root, with_pip=False, symlinks=True)
    purelib = sysconfig.get_path("purelib", vars={"base": str(root), "platbase": str(root)})
    borrowed = dict.fromkeys(sysconfig.get_path(kind) for kind in ("purelib", "platlib"))
    (Path(purelib) / "borrowed.pth").write_text("\n".join(borrowed) + "\n")
    python = str(root / "bin" / "python")
    # Or pip takes a fsbackup among the borrowed packages for the one that is asked for.
    offline = ("--no-deps", "--no-index", "--no-build-isolation", "--ignore-installed")
    _pip("--python", python, "install", "-q", *offline, *what)
    return Install(root)


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the sdist as a packager would."""
    target = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(target)]
    subprocess.run(build, cwd=CHECKOUT, check=True, capture_output=True)
    (sdist,) = target.glob("*.tar.gz")
    _pip("wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(target), str(sdist))
    (built,) = target.glob("*.whl")
    return built


@pytest.fixture(scope="session", params=["wheel", "editable"])
def install(
    request: pytest.FixtureRequest, wheel: Path, tmp_path_factory: pytest.TempPathFactory
) -> Install:
    root = tmp_path_factory.mktemp(request.param) / "venv"
    if request.param == "wheel":
        return _install(root, str(wheel))
    return _install(root, "-e", str(CHECKOUT))


def test_the_wheel_holds_the_package_and_the_themes_and_no_tests(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert tops == {"fsbackup_tui", f"fsbackup_tui-{__version__}.dist-info"}
    themes = [name for name in names if name.startswith("fsbackup_tui/themes/")]
    assert sorted(Path(name).stem for name in themes) == THEMES
    assert "fsbackup_tui/demo/sample_data.sql" in names
    runbooks = [name for name in names if name.startswith("fsbackup_tui/recovery/runbooks/")]
    assert sorted(Path(name).name for name in runbooks) == [f"{name}.yaml" for name in RUNBOOKS]


def test_both_ways_to_call_it_tell_the_version_from_an_empty_directory(
    install: Install, tmp_path: Path
) -> None:
    for program in (["fsbackup"], ["python", "-m", "fsbackup_tui"]):
        assert install.run(*program, "--version", cwd=tmp_path) == f"fsbackup {__version__}\n"
    assert list(tmp_path.iterdir()) == []


def test_the_themes_are_found_and_good(install: Install, tmp_path: Path) -> None:
    origin, themes = json.loads(install.run("python", "-P", "-c", _LIST_THEMES, cwd=tmp_path))
    assert themes == THEMES
    inside = Path(origin).is_relative_to(install.root)
    assert inside is (install.root.parent.name.startswith("wheel"))


def test_the_runbooks_are_found(install: Install, tmp_path: Path) -> None:
    for name in RUNBOOKS:
        shown = install.run("fsbackup", "runbook", "show", name, "--yaml", cwd=tmp_path)
        assert f"id: {name}" in shown.splitlines()


def test_modules_in_the_current_directory_are_not_ours(install: Install, tmp_path: Path) -> None:
    site, here = tmp_path / "site", tmp_path / "here"
    site.mkdir(mode=0o700)
    here.mkdir()
    for name in ("yaml", "pydantic", "json", "fsbackup_tui_hook"):
        (here / f"{name}.py").write_text("raise SystemExit('a file of the current directory ran')")
    config = str(site / "fsbackup.yaml")
    new = ["--site", "shop", "--url", "postgresql://shop@localhost/shop"]
    repository = ["--repository", str(tmp_path / "repository"), "--output", config]
    for program in (["fsbackup"], ["python", "-m", "fsbackup_tui"]):
        if not Path(config).exists():
            install.run(*program, "init", "--yes", *new, *repository, cwd=here)
        listed = install.run(*program, "--config", config, "list", "--json", cwd=here)
        assert json.loads(listed)["points"] == []
