"""Run, sweep and build the notebooks from the command line; no notebook and no other room imports this one."""

import os
import threading
import time


def follow_parent(parent):
    """End this process, at once, within a second of the end of the process number ``parent``, which started it.

    So a kernel follows its run, and a run its sweep (not on Windows). ipykernel's own watch misses it where orphans do
    not go to process 1, as under systemd.
    """

    def watch():
        while os.getppid() == parent or os.name == "nt":
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
