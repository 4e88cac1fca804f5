"""wkhtmltopdf, which turns Odoo's reports into PDFs: the build with patched Qt, and the libraries and fonts it needs.

It links against libraries of X and fontconfig that small machines lack. Where one is missing, they are fetched from
the machine's own Debian and unpacked beside it, without root.
"""
import os
import shutil
import subprocess
from pathlib import Path

from . import debian
from .ui import Failure, Step, run_logged

REVISION = "1"
PACKAGES = ("libxrender1", "libxext6", "libx11-6", "libfontconfig1", "libfreetype6", "fonts-dejavu-core")
# The machine's own, never ours: mixing them would break every program.
BASIC = ("libc6_", "libc-bin_", "libgcc-s1_", "gcc-", "libcrypt1_", "libstdc++6_", "libpam", "debconf", "dpkg_", "perl")
FONTS = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <dir>/usr/share/fonts</dir>
  <dir>{prefix}/usr/share/fonts</dir>
  <cachedir>{prefix}/cache</cachedir>
</fontconfig>
"""


def prepare(env):
    """Put a working `wkhtmltopdf` into the venv.

    :raises Failure: it does not start and its libraries cannot be had
    """
    target = env.venv / "bin" / "wkhtmltopdf"
    if env.stamp("wkhtmltopdf") == REVISION and target.exists():
        return
    target.unlink(missing_ok=True)
    packed = env.venv / "bin" / "wkhtmltopdf-pack"
    target.symlink_to(packed.name)
    if not (works(target) and has_fonts()):
        sentence = (
            "wkhtmltopdf, which makes the PDFs, lacks libraries or fonts: "
            f"sudo apt install {' '.join(PACKAGES)}, then try again."
        )
        prefix = fetch_libraries(env, sentence)
        libraries = ":".join(sorted({str(path.parent) for path in prefix.rglob("*.so*")}))
        target.unlink()
        target.write_text(
            "#!/bin/sh\n"
            f"LD_LIBRARY_PATH='{libraries}' FONTCONFIG_FILE='{prefix / 'fonts.conf'}' exec '{packed}' \"$@\"\n"
        )
        target.chmod(0o755)
        if not works(target):
            raise Failure(sentence)
    env.set_stamp("wkhtmltopdf", REVISION)


def works(program):
    return subprocess.run([program, "--version"], stdin=subprocess.DEVNULL, capture_output=True).returncode == 0


def has_fonts():
    files = (name for _folder, _folders, names in os.walk("/usr/share/fonts") for name in names)
    return Path("/etc/fonts/fonts.conf").exists() and any(name.endswith((".ttf", ".otf", ".pfb")) for name in files)


def fetch_libraries(env, failure):
    """Fetch the libraries with all that they need themselves; returns the folder they are unpacked in."""
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise Failure(failure)
    prefix, folder = env.home / "libraries", env.home / "apt" / "libraries"
    shutil.rmtree(prefix, ignore_errors=True)
    apt = debian.apt_of_our_own(env, folder, [debian.own_source()], failure)
    command = [*apt, "install", "-y", "--download-only", *PACKAGES]
    run_logged("Fetching the libraries of wkhtmltopdf", command, env.logs / "apt.log", failure)
    with Step("Unpacking the libraries of wkhtmltopdf"):
        archives = (folder / "cache" / "archives").glob("*.deb")
        debian.unpack([path for path in archives if not path.name.startswith(BASIC)], prefix)
        (prefix / "fonts.conf").write_text(FONTS.format(prefix=prefix))
    shutil.rmtree(folder, ignore_errors=True)
    return prefix
