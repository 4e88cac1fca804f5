"""pdf2png FILE OUT    the pages of a PDF as OUT-1.png, OUT-2.png …
"""
import subprocess
from pathlib import Path

from .debian import need_program
from .ui import Failure, say


def main(env, arguments):
    if len(arguments) != 2:
        raise Failure("./dev pdf2png FILE.pdf OUTPREFIX")
    source, prefix = (Path(argument).absolute() for argument in arguments)
    if not source.is_file():
        raise Failure(f"There is no file {source}.")
    program = need_program(env, ("pdftoppm",), "poppler-utils", "Turning a PDF into pictures")
    prefix.parent.mkdir(parents=True, exist_ok=True)
    done = subprocess.run([program, "-png", "-r", "80", source, prefix], capture_output=True, text=True)
    if done.returncode:
        raise Failure(f"{source} cannot be read as a PDF ({done.stderr.strip()}).")
    for page in sorted(prefix.parent.glob(f"{prefix.name}-*.png")):
        say(f"  {page}")
