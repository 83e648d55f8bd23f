"""Time and peak memory of ``python -m helpers.audit``, whole command: ``python tests/bench_audit.py [N ...]``."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
SIZES = [2_000, 10_000, 25_000]
CLASSES = 9


def generate(folder, number, seed=0):
    """Write ``number`` different RGB JPEGs of 64 x 64 px, soft blots of colour, into ``CLASSES`` class folders."""
    rng = np.random.default_rng(seed)
    for name in range(CLASSES):
        (folder / f"class {name}").mkdir()
    for index in range(number):
        blots = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        file = folder / f"class {index % CLASSES}" / f"image_{index:06d}.jpg"
        blots.resize((64, 64), Image.Resampling.BICUBIC).save(file, quality=85)


def measure(folder):
    """Run the audit of ``folder`` in a process of its own; return its seconds and its peak memory in MiB."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "helpers.audit", str(folder), "--json", str(folder / "findings.json")]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"the audit ended with {process.returncode}")
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
    return time.perf_counter() - start, usage.ru_maxrss * unit / 2**20


if __name__ == "__main__":
    print(f"{'images':>8} {'seconds':>8} {'peak MiB':>9}")
    for size in [int(argument) for argument in sys.argv[1:]] or SIZES:
        with tempfile.TemporaryDirectory() as place:
            generate(Path(place), size)
            seconds, memory = measure(Path(place))
        print(f"{size:8,d} {seconds:8.1f} {memory:9.0f}", flush=True)
