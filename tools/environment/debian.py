"""Odoo 19 from Debian's unstable suite, without root: fetched and unpacked, never installed.

The mirror and the keyring are those that the machine's own apt is configured with, read at run time.
"""
import os
import re
import shutil
import subprocess
from pathlib import Path

from .ui import Failure, Step, run_logged

UNSTABLE = (
    "odoo-19", "libjs-jquery", "libjs-jquery-form", "libjs-underscore", "fonts-roboto-unhinted",
    "fonts-montserrat", "fonts-inconsolata", "fonts-ocr-b",
)  # fmt: skip
STABLE = ("fonts-font-awesome",)  # version 4.7, as Odoo draws its icons; unstable's is too new
REVISION = "2"  # raise it when the way of unpacking changes
SITE = "usr/lib/python3/dist-packages"
OWN_ODOO = "or name the folder of an Odoo 19 source in ODOO_SOURCE"


def odoo(env):
    """The folder with the package `odoo`, fetched when it is not there yet.

    :raises Failure: apt is missing, has no Debian mirror, or cannot fetch the package
    """
    prefix = env.home / "odoo"
    site = prefix / SITE
    if env.stamp("odoo") == REVISION and (site / "odoo" / "release.py").exists():
        return site
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise Failure(f"Odoo 19 comes as a Debian package, and this machine has no apt: use Debian, {OWN_ODOO}.")
    env._check_space()
    env.clear_stamp("odoo")
    folder, log = env.home / "apt", env.logs / "apt.log"
    mirror, options, _suite = find_mirror()
    shutil.rmtree(prefix, ignore_errors=True)
    sentence = f"Debian's package of Odoo 19 could not be fetched: check the network and apt's mirror, {OWN_ODOO}."
    for name, source, wanted in (
        ("unstable", f"deb {options} {mirror} unstable main", UNSTABLE),
        ("own", own_source(), STABLE),
    ):
        apt = apt_of_our_own(env, folder / name, [source], sentence)
        title = "Fetching Odoo 19 (about 125 MB)" if name == "unstable" else f"Fetching {' '.join(wanted)}"
        run_logged(title, [*apt, "download", *wanted], log, sentence, cwd=folder / name / "cache" / "archives")
    with Step("Unpacking Odoo 19"):
        unpack(folder.glob("*/cache/archives/*.deb"), prefix)
        missing = site / "odoo/addons/mail/static/lib/selfie_segmentation/selfie_segmentation.js"
        missing.parent.mkdir(parents=True, exist_ok=True)
        missing.touch()  # the package lacks it, and the browser's console would complain
    shutil.rmtree(folder, ignore_errors=True)
    env.set_stamp("odoo", REVISION)
    return site


def apt_of_our_own(env, folder, lines, failure):
    """The `apt-get` command with sources, lists, status and cache in a folder of ours, its lists read.

    :param list lines: its sources, one-line
    :param str failure: the sentence to end with when the lists cannot be read
    """
    for path in (folder / "lists" / "partial", folder / "cache" / "archives" / "partial", folder / "preferences"):
        path.mkdir(parents=True, exist_ok=True)
    (folder / "sources.list").write_text("\n".join(lines) + "\n")
    (folder / "status").touch()
    apt = [
        "apt-get",
        "-o", f"Dir::Etc::sourcelist={folder}/sources.list",
        "-o", "Dir::Etc::sourceparts=/dev/null",
        "-o", "Dir::Etc::preferences=/dev/null",
        "-o", f"Dir::Etc::preferencesparts={folder}/preferences",
        "-o", f"Dir::State={folder}",
        "-o", f"Dir::State::Lists={folder}/lists",
        "-o", f"Dir::State::status={folder}/status",
        "-o", f"Dir::Cache={folder}/cache",
        "-o", f"Dir::Log={folder}",
        "-o", "Debug::NoLocking=true",
        "-o", "APT::Sandbox::User=",
        "-o", "APT::Install-Recommends=false",
        "-o", "Acquire::Languages=none",
        "-o", "Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled=false",
        "-o", "Acquire::Retries=3",
        "-o", "APT::Update::Error-Mode=any",
        "-o", "APT::Update::Post-Invoke::=",
    ]  # fmt: skip
    run_logged(f"Reading Debian's package lists ({folder.name})", [*apt, "update"], env.logs / "apt.log", failure)
    return apt


def unpack(packages, prefix):
    """Unpack Debian packages into a folder, readable by all.

    :raises Failure: one of them cannot be unpacked
    """
    for package in packages:
        done = subprocess.run(["dpkg-deb", "-x", package, prefix], capture_output=True, text=True)
        if done.returncode:
            reason = next((line for line in done.stderr.splitlines() if "No space" in line), done.stderr.strip()[-200:])
            raise Failure(f"{package.name} could not be unpacked ({reason}): is the disk full?")
    for path in prefix.rglob("*"):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)  # dpkg-deb lets only the owner in


def own_source():
    """The one-line source of the machine's own Debian."""
    mirror, options, suite = find_mirror()
    return f"deb {options} {mirror} {suite} main"


# === THE MACHINE'S APT === #


def find_mirror():
    """Mirror, options (keyring) and suite of the machine's own Debian, from /etc/apt.

    :return: address of the mirror, one-line options such as "[signed-by=…]" or "", name of the suite
    :rtype: tuple(str, str, str)
    """
    entries = [entry for path in source_files() for entry in read_sources(path)]
    for uri, suite, signed in entries:
        base = suite.split("-")[0].split("/")[0]
        if suite == base and is_debian(uri):
            keyring = signed or default_keyring()
            return uri, f"[signed-by={keyring}]" if keyring else "", suite
    raise Failure(f"This machine's apt has no Debian mirror, and Odoo 19 comes as a Debian package: {OWN_ODOO[3:]}.")


def is_debian(uri):
    """Whether an address is Debian's main archive, by the end of its path; not a security or third-party one."""
    return re.sub(r"^[a-z+]+://[^/]*", "", uri).rstrip("/").endswith("/debian") or uri.startswith("mirror+file:")


def default_keyring():
    for path in ("/usr/share/keyrings/debian-archive-keyring.gpg", "/usr/share/keyrings/debian-archive-keyring.pgp"):
        if os.path.exists(path):
            return path
    return ""


def source_files():
    main = Path("/etc/apt/sources.list")
    parts = Path("/etc/apt/sources.list.d")
    files = sorted(parts.iterdir()) if parts.is_dir() else []
    return [path for path in [main, *files] if path.is_file() and path.suffix in (".list", ".sources")]


def read_sources(path):
    """Entries (uri, suite, keyring) of a file of apt sources, one-line or deb822."""
    try:
        text = path.read_text()
    except OSError:
        return []
    if path.suffix == ".sources":
        return read_deb822(text)
    entries = []
    for line in text.splitlines():
        match = re.match(r"\s*deb\s+(?:\[(?P<options>[^]]*)\]\s*)?(?P<uri>\S+)\s+(?P<suite>\S+)", line)
        if match:
            signed = re.search(r"signed-by=(\S+)", match["options"] or "", re.IGNORECASE)
            entries.append((match["uri"], match["suite"], signed[1] if signed else ""))
    return entries


def read_deb822(text):
    entries = []
    for stanza in re.split(r"\n\s*\n", text):
        fields, last = {}, None
        for line in stanza.splitlines():
            if line.startswith("#"):
                continue
            if line[:1] in " \t" and last:
                fields[last] += " " + line.strip()
            elif ":" in line:
                last, value = line.split(":", 1)
                last = last.strip().lower()
                fields[last] = value.strip()
        if "deb" not in fields.get("types", "").split() or fields.get("enabled", "yes").lower() in ("no", "false"):
            continue
        signed = fields.get("signed-by", "")
        signed = signed if signed.startswith("/") else ""  # a key may also stand in the file itself
        suites = fields.get("suites", "").split()
        entries += [(uri, suite, signed) for uri in fields.get("uris", "").split() for suite in suites]
    return entries


def install(env, packages, failure):
    """Install packages on the machine itself, as root.

    :raises Failure: with the sentence ``failure``
    """
    log = env.logs / "apt.log"
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    command = ["apt-get", "install", "-y", "--no-install-recommends", *packages]
    run_logged("Reading the machine's package lists", ["apt-get", "update"], log, failure, env=quiet)
    run_logged(f"Installing {' '.join(packages)} through apt", command, log, failure, env=quiet)


def need_program(env, names, package, purpose):
    """Path of a program; root gets it through apt, anyone else is told the one command.

    :param names: the names under which it may stand on the path
    :param str purpose: what it is needed for, in a few words
    """
    for name in names:
        if found := shutil.which(name):
            return found
    if os.geteuid() == 0 and shutil.which("apt-get"):
        install(env, [package], f"{purpose} needs {package}, which apt could not install.")
        for name in names:
            if found := shutil.which(name):
                return found
    raise Failure(f"{purpose} needs {package}: sudo apt install {package}, then try again.")

