"""lint                ruff and pylint-odoo
"""
import hashlib
import os
import subprocess

from ..environment.ui import Step, say


def main(env, arguments):
    return check(env, cached=False, fix="--fix" in arguments)


def check(env, cached=True, fix=False):
    """Run the linters; returns 0 when they find nothing.

    :param bool cached: leave them out when no file has changed since they last found nothing
    """
    state = digest(env)
    stamp = f"lint-{env.key}"
    if cached and env.stamp(stamp) == state:
        say("· Lint: nothing has changed since it last passed")
        return 0
    failed = 0
    with Step("Lint: ruff"):
        command = [str(env.venv / "bin" / "ruff"), "check", "--no-cache", *(["--fix"] if fix else []), str(env.root)]
        failed |= subprocess.run(command, stdin=subprocess.DEVNULL).returncode
    with Step("Lint: pylint-odoo"):
        addons = [env.addon.name, *(path.name for path in env.bridges)]
        command = [str(env.python), "-m", "pylint", "--rcfile", str(env.root / ".pylintrc"), *addons]
        variables = {**os.environ, "PYLINTHOME": str(env.home / "pylint")}
        variables.pop("PYTHONPATH", None)  # its rules need no look into Odoo, which would take three times as long
        failed |= subprocess.run(command, cwd=env.addons, env=variables, stdin=subprocess.DEVNULL).returncode
    if failed:
        say("Lint has found faults, listed above.")
        return 1
    env.set_stamp(stamp, digest(env) if fix else state)
    return 0


def digest(env):
    """A digest of all files that a linter reads."""
    state = hashlib.sha1()
    for folder, folders, files in os.walk(env.root):
        folders[:] = sorted(name for name in folders if name not in (".git", "__pycache__"))
        for name in sorted(files):
            if name.endswith((".py", ".xml", ".csv", ".po", ".pot", ".js", ".toml", ".md", ".txt", ".pylintrc")):
                path = os.path.join(folder, name)
                state.update(os.path.relpath(path, env.root).encode())
                with open(path, "rb") as content:
                    state.update(content.read())
    return state.hexdigest()
