"""A course of the same helpers with notebooks of a few lines: what runs it is tested in seconds, killed and all."""

import os
import shutil
import subprocess
import sys
import time

import jupytext
import psutil

from helpers.data import datasets

PARAMETERS = """# %% tags=["parameters"]
# folder of the images
DATA_DIR = ""  # @param {type:"string"}
# run folder
OUT_DIR = "runs/course"  # @param {type:"string"}
# which labels to learn from
LABELS = "audited"  # @param ["audited", "published"]
# images a batch
BATCH_SIZE = 16  # @param {type:"integer", min:1, max:512}
# learning rate
LEARNING_RATE = 0.001  # @param {type:"number", min:0, max:1}
# seed
SEED = 0  # @param {type:"integer", min:0, max:99}

# %%
"""
TRAIN = """import json, os, pathlib
folder = pathlib.Path(OUT_DIR) / "baseline"
folder.mkdir(parents=True, exist_ok=True)
if BATCH_SIZE == 13:
    raise MemoryError()
accuracy = BATCH_SIZE / 100 + SEED
(folder / "run.json").write_text(json.dumps({"best_epoch": 2, "parameters": {}, "versions": {}}))
(folder / "history.csv").write_text(f"epoch,val_loss,val_accuracy,seconds\\n1,3,.1,9\\n2,1,{accuracy},9\\n")
(folder / "predictions.csv").write_text("image_id,split,label,p_a,p_b\\ni,val,a,.9,.1\\nj,val,a,.2,.8\\n")
"""
WAIT = """import os, pathlib, time
pathlib.Path(OUT_DIR, "kernel.tmp").write_text(f"{os.getpid()} {os.getppid()}")
pathlib.Path(OUT_DIR, "kernel.tmp").rename(pathlib.Path(OUT_DIR, "kernel.txt"))
time.sleep(600)
"""


def course(folder, **bodies):
    """Write a course whose notebooks (say, ``n03_baseline_cnn``) do what the text says into ``folder``; return it."""
    shutil.copytree(datasets.ROOT / "helpers", folder / "helpers", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "notebooks" / "src").mkdir(parents=True)
    (folder / "data").mkdir()
    for table in (datasets.ROOT / "data").glob("*.csv"):
        shutil.copy(table, folder / "data")
    for name, body in bodies.items():
        source = folder / "notebooks" / "src" / f"{name[1:]}.py"
        source.write_text(PARAMETERS + body)
        notebook = jupytext.read(source, fmt="py:percent")
        notebook["metadata"] = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
        jupytext.write(notebook, folder / "notebooks" / f"{name[1:]}.ipynb")
    return folder


def start(folder, *arguments, **options):
    """Start the command line of the course in ``folder``; return its Popen."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ISIC9")}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": folder}
    return subprocess.Popen([sys.executable, "-m", "helpers", *map(str, arguments)], env=environment, **pipes | options)


def call(folder, *arguments):
    """Do a command of the course in ``folder``; return its exit status, and what it said on stdout and on stderr."""
    process = start(folder, *arguments)
    said = process.communicate(timeout=300)
    return process.returncode, *said


def ended(number):
    """Say whether a process has ended, if nobody has yet asked for its exit status too."""
    try:
        return psutil.Process(number).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_for(condition, seconds=300):
    """Wait until a condition holds; fail after so many seconds."""
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "it did not come about"
        time.sleep(0.05)
