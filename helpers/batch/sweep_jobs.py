"""Do one job of a sweep (notebooks with given parameters, in a folder of its own), here or on another machine."""

import contextlib
import fcntl
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from helpers import course, datasets, manifest, sweep_report

MARK = "sweep.json"  # written last: a folder that has it is finished


def finished(job):
    """Return the record that a finished job left in its folder, or None.

    Raises
    ------
    CourseError
        If what is finished there was made with other notebooks or parameters.
    """
    file = Path(job["folder"]) / MARK
    if not file.exists():
        return None
    record = json.loads(file.read_text())
    there, asked = ({"notebooks": found["notebooks"], **found["values"]} for found in (record, job))
    odd = sorted(name for name in {*there, *asked} if there.get(name) != asked.get(name))
    if odd:
        was, now = (values.get(odd[0], "not given") for values in (there, asked))
        raise course.CourseError(f"{file.parent} holds a finished run with {odd[0]} {was!r}, but this sweep says "
                                 f"{now!r}: choose another --out-dir.")
    return record


def start(job, stdin=subprocess.PIPE):
    """Do a job in a process of its own, which ends when ``stdin``'s other side is closed or gone; wait for it.

    It needs nothing of the course in the process that calls it (a Dask worker, say), only in the folder where that was
    started, or else in ``job["course"]``. TensorFlow gets one thread, because its last digits depend on how many there
    are: the numbers are the same however many jobs run at once.

    Returns
    -------
    dict: the finished job's record with ``status`` "finished", or ``status`` "failed" with an ``error``.
    """
    folder = Path(job["folder"])
    folder.mkdir(parents=True, exist_ok=True)
    home = os.getcwd() if Path("helpers/course.py").exists() else job["course"]
    settings = {"TF_NUM_INTRAOP_THREADS": "1", "OMP_NUM_THREADS": "1", "TF_FORCE_GPU_ALLOW_GROWTH": "true"}
    with open(folder / "log.txt", "wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "helpers.sweep_jobs", json.dumps(job)], cwd=home, stdin=stdin,
                                   stdout=log, stderr=subprocess.STDOUT, env={**settings, **os.environ},
                                   start_new_session=True)
        status = process.wait()
    if status == 0:
        return {"status": "finished", **json.loads((folder / "sweep.json").read_text())}
    error = folder / "error.txt"
    return {"status": "failed", "error": error.read_text() if error.exists() else
            f"The process ended with status {status} (negative: killed by that signal); see {folder / 'log.txt'}."}


def work(job):
    """Do a job in this process: take what is shared, execute the notebooks, leave the record; return the exit status.

    A folder is worked on by one process at a time; a second one waits, and then finds the job finished.
    """
    folder, begun = Path(job["folder"]), time.perf_counter()
    with open(folder / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        (folder / "error.txt").unlink(missing_ok=True)
        try:
            if finished(job):
                return 0
            images = datasets.find(job["values"].get("DATA_DIR", ""))
            for source in job["takes"]:
                _take(Path(source), folder)
            for notebook in job["notebooks"]:
                course.execute(notebook, job["values"] | {"OUT_DIR": str(folder)}, folder, progress=False)
            record = {"notebooks": job["notebooks"], "values": job["values"],
                      "images": f"{images.source}{' (synthetic)' if images.synthetic else ''}",
                      "seconds": round(time.perf_counter() - begun, 1), "found": sweep_report.collect(folder)}
        except Exception as error:  # whatever it is, it belongs to this run, and the sweep goes on
            manifest.write_text(f"{error or repr(error)}", folder / "error.txt")
            return 1
        manifest.write_text(json.dumps(record, indent=2), folder / MARK)
    return 0


def _take(source, folder):
    """Give ``folder`` the results in ``source``: files are copied, images linked where the disk can."""
    def copy(file, target):
        Path(target).unlink(missing_ok=True)
        try:
            (os.link if Path(file).suffix in manifest.IMAGE_SUFFIXES else shutil.copyfile)(file, target)
        except OSError:
            shutil.copyfile(file, target)

    if not (source / MARK).exists():
        raise course.CourseError(f"What this run builds on did not end: see {source / 'error.txt'}.")
    shutil.copytree(source, folder, dirs_exist_ok=True, copy_function=copy,
                    ignore=shutil.ignore_patterns(".*", MARK, "log.txt", "leak", "cache"))


def _end_with_parent():
    """Wait until the process that started this one is gone or has closed our input; then end, with all we started."""
    import psutil

    os.read(0, 1)
    for process in psutil.Process().children(recursive=True):
        process.kill()
    os._exit(1)


def _outcome(future):
    error = future.exception()
    return {"status": "failed", "error": repr(error)} if error else future.result()


@contextlib.contextmanager
def pool(processes):
    """Give a function that does jobs in processes of this machine and yields (job, outcome) as they end."""
    alive, hold = os.pipe()
    pool = ThreadPoolExecutor(processes)

    def perform(jobs):
        futures = {pool.submit(start, job, alive): job for job in jobs}
        for future in as_completed(futures):
            yield futures[future], _outcome(future)

    try:
        yield perform
    finally:
        os.close(hold)  # what still runs sees its input end, and ends
        pool.shutdown(cancel_futures=True)
        os.close(alive)


@contextlib.contextmanager
def cluster(address):
    """Give a function that does jobs on the workers of a Dask scheduler and yields (job, outcome) as they end.

    Dask gives the task of a lost worker to another one (https://distributed.dask.org/en/stable/resilience.html).
    """
    try:
        import cloudpickle
        from dask import distributed
    except ImportError as error:
        raise course.CourseError("--scheduler needs Dask: python -m pip install 'dask[distributed]'") from error
    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # scheduler and workers need not have it on their path
    try:
        client = distributed.Client(address, timeout=20)
    except (OSError, ValueError) as error:
        raise course.CourseError(f"No Dask scheduler answers at {address!r} ({error}); start one with: dask scheduler "
                                 "--host its-address") from error

    def remotely(job):  # being local, it is sent as code, and start with it; plain pickle would send only their names
        return start(job)

    def perform(jobs):
        futures = {client.submit(remotely, job, pure=False): job for job in jobs}
        for future in distributed.as_completed(futures):
            yield futures[future], _outcome(future)

    with client:
        if not client.scheduler_info()["workers"]:
            print(f"The scheduler has no workers yet; start some with: dask worker {address} --nthreads 1", flush=True)
        yield perform


@contextlib.contextmanager
def sole_use(folder):
    """Hold the sweep's folder for this process, or raise CourseError; the lock goes when the process does."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.seek(0)
            raise course.CourseError(f"Another sweep works in {folder} ({lock.read()}): wait for its end, or choose "
                                     "another --out-dir.") from error
        lock.truncate(0)
        lock.write(f"process {os.getpid()} on {socket.gethostname()}")
        lock.flush()
        yield


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    sys.exit(work(json.loads(sys.argv[1])))
