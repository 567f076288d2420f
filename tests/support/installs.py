"""The project's wheel, another version of it, and environments to install them into."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import sysconfig
import time
import venv
import zipfile
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
_BROKEN = ("cli", "config", "domain", "engines", "jobs", "operations", "repository", "tui")


def project_wheel(directory: Path) -> Path:
    """Build the wheel of the checkout into a directory."""
    directory.mkdir(parents=True)
    command = ["-m", "hatchling", "build", "-t", "wheel", "-d", str(directory)]
    subprocess.run([sys.executable, *command], cwd=CHECKOUT, check=True, capture_output=True)
    (built,) = directory.glob("*.whl")
    return built


def doctored_wheel(wheel: Path, directory: Path, *, version: str) -> Path:
    """Make a wheel of another version, in which nothing but ``--version`` works.

    Every second module is gone, the others raise when they are imported.
    """
    tree = directory / "tree"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tree)
    (info,) = tree.glob("*.dist-info")
    metadata = (info / "METADATA").read_text()
    (info / "METADATA").write_text(
        re.sub(r"^Version: .*$", f"Version: {version}", metadata, count=1, flags=re.MULTILINE)
    )
    (info / "RECORD").unlink()
    new_info = info.rename(info.with_name(f"fsbackup_tui-{version}.dist-info"))
    package = tree / "fsbackup_tui"
    for room in _BROKEN:
        for number, module in enumerate(sorted((package / room).rglob("*.py"))):
            if number % 2 and module.name != "__init__.py":
                module.unlink()
            else:
                module.write_text("raise SystemExit('this is another version')\n")
    (package / "__init__.py").write_text(f'__version__ = "{version}"\n')
    (package / "__main__.py").write_text(
        "import sys\nfrom fsbackup_tui import __version__\n\n\ndef main():\n"
        "    if '--version' in sys.argv:\n        print('fsbackup', __version__)\n"
        "    else:\n        import fsbackup_tui.operations\n"
    )
    target = directory / f"fsbackup_tui-{version}-py3-none-any.whl"
    files = [path for path in sorted(tree.rglob("*")) if path.is_file()]
    names = [str(path.relative_to(tree)) for path in files]
    record = f"{new_info.name}/RECORD"
    with zipfile.ZipFile(target, "w") as archive:
        for path, name in zip(files, names, strict=True):
            archive.write(path, name)
        archive.writestr(record, "".join(f"{name},,\n" for name in [*names, record]))
    shutil.rmtree(tree)
    return target


def make_environment(root: Path) -> Path:
    """Make a virtual environment that borrows this one's packages; return its Python."""
    venv.create(root, with_pip=False, symlinks=True)
    purelib = sysconfig.get_path("purelib", vars={"base": str(root), "platbase": str(root)})
    borrowed = dict.fromkeys(sysconfig.get_path(kind) for kind in ("purelib", "platlib"))
    (Path(purelib) / "borrowed.pth").write_text("\n".join(borrowed) + "\n")
    return root / "bin" / "python"


def install_wheel(python: Path, wheel: Path) -> float:
    """Install a wheel into an environment, without a network; return the seconds it took."""
    began = time.monotonic()
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(python)]
    offline = ["--no-deps", "--no-index", "--force-reinstall"]
    done = subprocess.run(
        [*pip, "install", "-q", *offline, str(wheel)], capture_output=True, text=True
    )
    if done.returncode:
        raise AssertionError(done.stdout + done.stderr)
    return time.monotonic() - began
