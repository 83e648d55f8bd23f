"""Run, sweep and build the notebooks from the command line; no notebook and no other room imports this one."""

import os
import threading
import time


def follow_parent():
    """End this process, at once, within a second of the end of the process that started it (not on Windows).

    So a kernel follows its run, and a run its sweep. ipykernel's own watch misses it where orphans do not go to
    process 1, as under systemd.
    """
    parent = os.getppid()

    def watch():
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
