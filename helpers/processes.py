"""Other processes: run notebooks in one of their own, and let one process alone write what several might."""

import os
import platform
import subprocess
import sys
import tempfile
import time

from filelock import FileLock, Timeout

from helpers import manifest
from helpers.data import datasets
from helpers.parameters import RunError


def apart(notebooks, values, log=subprocess.PIPE, **variables):
    """Run notebooks with these parameters in a process of their own, which ends with this one.

    What they print goes to the open file ``log``, by default, line by line, to where this process prints;
    ``variables`` are set in their environment, unless somebody has set them. RunError if they fail.
    """
    given = [text for name, value in values.items() for text in ("-p", name, str(value))]
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as complaints:
        child = subprocess.Popen(
            [sys.executable, "-m", "helpers", "run", *notebooks, "--with-parent", str(os.getpid()), *given],
            cwd=datasets.ROOT,
            env={"PYTHONIOENCODING": "utf-8:replace"} | variables | os.environ,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=complaints,
            encoding="utf-8",
        )
        with child:
            try:
                for line in child.stdout or ():
                    print(f"    {line}", end="", flush=True)
                child.wait()
            except BaseException:  # an interrupt above all: its files are whole at any time
                child.kill()
                raise
        complaints.seek(0)
        if child.returncode:
            ended = f"{', '.join(notebooks)} ended with status {child.returncode} (negative: killed by that signal)."
            raise RunError(complaints.read().strip()[-4000:] or ended)


def claim(folder, what):
    """Return a lock with which this process alone does ``what`` in ``folder`` (Path), until it is released or ends.

    What this process has claimed before, it gets again. RunError, which names the other process, if another holds it.
    Where a file system knows no locks (some network drives), processes of other machines may be overlooked.
    """
    writer = folder / ".locks" / f"{what}.txt"
    writer.parent.mkdir(exist_ok=True)
    lock = FileLock(writer.with_suffix(".lock"), is_singleton=True, thread_local=False)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        known = writer.read_text(encoding="utf-8") if writer.exists() else "another process"
        raise RunError(
            f"{what} is already running in {folder}: {known}. Wait for it, or end it (in Jupyter: Kernel > Shut Down)."
        ) from None
    manifest.write_text(f"process {os.getpid()} on {platform.node()}, since {time.strftime('%H:%M')}", writer)
    return lock
