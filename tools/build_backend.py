"""Builds the wheel `odoo-addon-account-dunning` with whool, whatever the folder of the checkout is called.

Whool names an addon after its folder and packs every file that git knows; here the folder is a copy with the
addon's own name, and what only serves development stays out.
"""
import contextlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import whool.buildapi

NAME = "account_dunning"
DEVELOPMENT = ("tools", "bench", "bridges", ".ci", "dev", ".gitignore", ".pylintrc", "PKG-INFO")


@contextlib.contextmanager
def _named_copy(everything=False):
    """Work in a copy of the checkout that bears the addon's name."""
    source = Path.cwd()
    listed = subprocess.run(["git", "ls-files"], cwd=source, capture_output=True, text=True)
    files = listed.stdout.splitlines() if listed.returncode == 0 else _all_files(source)
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / NAME
        for file in files:
            if (everything or file.split("/")[0] not in DEVELOPMENT) and (source / file).is_file():
                (target / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source / file, target / file)
        os.chdir(target)
        try:
            yield
        finally:
            os.chdir(source)


def _all_files(source):
    return [str(path.relative_to(source)) for path in source.rglob("*") if "__pycache__" not in path.parts]


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    wheel_directory = os.path.abspath(wheel_directory)
    with _named_copy():
        return whool.buildapi.build_wheel(wheel_directory, config_settings, metadata_directory)


def build_sdist(sdist_directory, config_settings=None):
    sdist_directory = os.path.abspath(sdist_directory)
    with _named_copy(everything=True):
        return whool.buildapi.build_sdist(sdist_directory, config_settings)


def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):
    metadata_directory = os.path.abspath(metadata_directory)
    with _named_copy():
        return whool.buildapi.prepare_metadata_for_build_wheel(metadata_directory, config_settings)
