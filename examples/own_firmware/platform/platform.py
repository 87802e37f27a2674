"""A PlatformIO platform that downloads nothing: the compiler is the one on PATH, SCons the one of the Python that runs PlatformIO."""

import importlib.util
import json
import shutil
import tempfile
from pathlib import Path

from platformio.dependencies import get_core_dependencies
from platformio.package.manager.core import get_core_package_dir
from platformio.package.manager.tool import ToolPackageManager
from platformio.public import PlatformBase

START_SCONS = """\
import os
import sys

here = os.path.dirname(os.path.abspath(__file__))
sys.path[:] = [folder for folder in sys.path if os.path.abspath(folder or ".") != here]
import SCons.Script

SCons.Script.main()
"""
"""This file is named as the package that it starts, and must not be found in its place."""


def offer_installed_scons():
    """Make the SCons that pip installed PlatformIO's package "tool-scons"; without one, PlatformIO downloads its own."""
    if get_core_package_dir("tool-scons", auto_install=False) or importlib.util.find_spec("SCons") is None:
        return
    version = get_core_dependencies()["tool-scons"].lstrip("~^=<> ")
    packages = Path(ToolPackageManager().package_dir)
    packages.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="_tmp_installing-", dir=packages))
    (folder / "scons.py").write_text(START_SCONS)
    (folder / "package.json").write_text(json.dumps({"name": "tool-scons", "version": version}))
    spec = {"owner": "platformio", "id": None, "name": "tool-scons", "requirements": None, "uri": f"symlink://{packages}/tool-scons"}
    (folder / ".piopm").write_text(json.dumps({"type": "tool", "name": "tool-scons", "version": version, "spec": spec}))
    try:
        folder.rename(packages / f"tool-scons@{version}")
    except OSError:  # another project was faster
        shutil.rmtree(folder)


class KilotunePlatform(PlatformBase):
    """The board is the option custom_board, a folder of boards/; `board` is not used."""

    def configure_default_packages(self, options, targets):
        offer_installed_scons()
        return super().configure_default_packages(options, targets)

    def is_embedded(self):
        """False for an emulated board: `pio test` then builds without uploading."""
        return not self.project_env or not self.config.get(f"env:{self.project_env}", "custom_board", "").startswith("qemu/")
