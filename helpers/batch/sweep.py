"""Run notebooks once for every set of parameters that a small YAML file asks for, and make one table of the results."""

import contextlib
import itertools
import json
import math
import re
import reprlib
import sys
import time
from pathlib import Path

import joblib
import yaml
from tqdm import tqdm

from helpers import manifest
from helpers.batch import execute, results
from helpers.data import datasets
from helpers.runs import RunError, apart, open_folder

KEYS = {"notebooks": list, "parameters": dict, "grid": dict, "seeds": list, "one_at_a_time": bool, "record": list}
KINDS = {list: "a list", dict: "names with their values", bool: "true or false"}
MOST = 10_000  # runs of one sweep; more is a slip of the pen


def read(file):
    """Read and check a sweep's YAML file; RunError on the first thing that is wrong, with what is allowed.

    Its keys: ``notebooks`` (names); ``parameters`` {name: value}, the same for every run; ``grid`` {name: list of
    values} and ``seeds`` (values of ``SEED``), of which every combination is a run, or with ``one_at_a_time: true``
    every one in which at most one parameter of the grid has another than its first value (an ablation); ``record``:
    what goes into the table (``results.found``), by default each network's ``val_accuracy``. Only notebooks are needed.
    Returned is a dict of these keys, ``seeds`` being part of the grid; values are typed.
    """
    try:
        spec = yaml.safe_load(Path(file).read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        raise RunError(f"{file} cannot be read as YAML: {' '.join(str(error).split())}") from error
    if not isinstance(spec, dict) or "notebooks" not in spec:
        raise RunError(f"{file} names no notebooks; a sweep has the keys {', '.join(KEYS)}.")
    for key, value in spec.items():
        if key not in KEYS:
            raise RunError(f"{file}: {reprlib.repr(key)} is not one of {', '.join(KEYS)}.")
        if not isinstance(value, KEYS[key]) or value in ([], {}):
            raise RunError(f"{file}: {key} is {reprlib.repr(value)}, but it takes {KINDS[KEYS[key]]}.")
    seeds, fixed, grid = ([("SEED", spec["seeds"])] if "seeds" in spec else []), {}, {}
    try:
        notebooks = [notebook for notebook, _ in execute.plan([str(name) for name in spec["notebooks"]], {})]
        for name, value in spec.get("parameters", {}).items():
            fixed[name] = _typed(name, value, notebooks)
        for name, values in [*spec.get("grid", {}).items(), *seeds]:
            if name in fixed or name in grid or not isinstance(values, list) or not values:
                raise RunError(f"{name} takes one list of values in grid or seeds, or one value in parameters.")
            grid[name] = [_typed(name, value, notebooks) for value in values]
            if len(set(grid[name])) < len(values):
                raise RunError(f"{name} has a value twice: {reprlib.repr(values)}.")
    except RunError as error:
        raise RunError(f"{file}: {error}") from None
    record = list(dict.fromkeys(map(str, spec.get("record", []))))
    ablation = spec.get("one_at_a_time", False)
    return {"notebooks": notebooks, "parameters": fixed, "grid": grid, "one_at_a_time": ablation, "record": record}


def _typed(name, value, notebooks):
    if name == "OUT_DIR":
        raise RunError("OUT_DIR is each run's own folder: leave it out; --out-dir is the sweep's folder.")
    if not isinstance(value, (bool, int, float, str)):
        raise RunError(f"{name} is {reprlib.repr(value)}, but it takes one number, truth value or text.")
    return next(values[name] for _, values in execute.plan(notebooks, {name: value}) if name in values)


def plan(spec, folder):
    """Turn a sweep into runs: dicts of ``name, folder, notebooks, values``; each has a folder named by its parameters.

    RunError if there are too many runs, or two would share a folder.
    """
    if (count := math.prod(map(len, spec["grid"].values()))) > MOST:
        raise RunError(f"The sweep has {count} runs, more than {MOST}: make its grid smaller.")
    jobs = {}
    for combination in itertools.product(*spec["grid"].values()):
        swept = dict(zip(spec["grid"], combination))
        other = [key for key, value in swept.items() if key != "SEED" and value != spec["grid"][key][0]]
        if spec["one_at_a_time"] and len(other) > 1:
            continue
        named = [key for key in swept if key in (*other, "SEED") or not spec["one_at_a_time"]]
        name = ",".join(f"{key}={re.sub(r'[^A-Za-z0-9_.+-]+', '-', str(swept[key]))[-60:]}" for key in named) or "run"
        if name in jobs:
            raise RunError(f"Two runs would share the folder {name!r}: give values of other letters.")
        values = spec["parameters"] | swept
        jobs[name] = {"name": name, "folder": f"{folder}/{name}", "notebooks": spec["notebooks"], "values": values}
    return list(jobs.values())


def perform(job):
    """Do a run in a process of its own, which may crash or run out of memory alone; return (its name, its outcome).

    TensorFlow gets one thread, because its last digits depend on how many there are: the numbers are the same however
    many runs work at once. What the run prints goes to ``log.txt`` in its folder. The outcome is what
    ``results.finished`` returns, or has the ``status`` "failed" and an ``error``.
    """
    folder, begun = Path(job["folder"]), time.perf_counter()
    threads = {"TF_NUM_INTRAOP_THREADS": "1", "OMP_NUM_THREADS": "1", "TF_FORCE_GPU_ALLOW_GROWTH": "true"}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        images = datasets.find(job["values"].get("DATA_DIR", ""))
        with open(folder / "log.txt", "w", encoding="utf-8") as log:
            apart(job["notebooks"], job["values"] | {"OUT_DIR": str(folder)}, log, **threads)
        record = {
            "notebooks": job["notebooks"],
            "values": job["values"],
            "seconds": round(time.perf_counter() - begun, 1),
            "images": f"{images.source}{' (synthetic)' if images.synthetic else ''}",
        }
        manifest.write_text(json.dumps(record, indent=2), folder / results.MARK)
        return job["name"], results.finished(job)
    except Exception as error:  # whatever it is, it belongs to this run, and the sweep goes on
        return job["name"], {"status": "failed", "error": str(error) or repr(error)}


@contextlib.contextmanager
def cluster(address):
    """Let joblib's tasks go to a Dask scheduler, which gives those of a lost worker to another one; "" is this machine.

    See https://distributed.dask.org/en/stable/resilience.html; raises RunError if no scheduler with a worker answers.
    """
    if not address:
        yield
        return
    try:
        from dask import distributed

        client = distributed.Client(address, timeout=20)
        client.wait_for_workers(1, timeout=20)
    except ImportError as error:
        raise RunError("--scheduler needs Dask: python -m pip install 'dask[distributed]'") from error
    except (OSError, ValueError) as error:
        raise RunError(
            f"No Dask scheduler with a worker answers at {address!r} ({error}). In the course's folder start: "
            f"python -m dask scheduler, and: python -m dask worker {address} --nthreads 1"
        ) from error
    with client, joblib.parallel_config(backend="dask"):
        yield


def sweep(file, out_dir="", at_once=-1, scheduler="", dry_run=False):
    """Do what a sweep's file asks for and is not finished yet; return the exit status, 1 if a run failed.

    Parameters
    ----------
    file : path of the YAML file (see :func:`read`).
    out_dir : folder of the sweep, for one sweep at a time; "" is ``runs/<name of the file>``.
    at_once : runs at once on this machine; -1: as many as it has cores.
    scheduler : address of a Dask scheduler whose workers do the runs instead.
    dry_run : check, say how many runs there are, and stop.

    Before anything starts, RunError or FileNotFoundError if the file or what it asks for is wrong.
    """
    spec, folder = read(file), Path(out_dir or f"runs/{Path(file).stem}").expanduser().absolute()
    jobs = plan(spec, folder)
    outcomes = {job["name"]: record for job in jobs if (record := results.finished(job))}
    left = [job for job in jobs if job["name"] not in outcomes]
    print(f"{len(jobs)} runs, {len(outcomes)} finished, {len(left)} to do. Folder: {folder}", flush=True)
    if dry_run:
        return 0
    for place in set() if scheduler else {job["values"].get("DATA_DIR", "") for job in left}:
        datasets.find(place)  # a Dask worker finds its own images
    open_folder(folder)

    def written():
        """Write the tables as far as the runs have come; return the table and all names that could be recorded."""
        names = sorted({key for outcome in outcomes.values() for key in outcome.get("found", {})})
        record = spec["record"] or [key for key in names if key.endswith(".val_accuracy")]
        return results.write(jobs, outcomes, record, folder), names

    with cluster(scheduler):
        tasks = (joblib.delayed(perform)(job) for job in left)
        how = {"prefer": "threads", "batch_size": 1, "pre_dispatch": "all", "return_as": "generator_unordered"}
        ended = joblib.Parallel(-1 if scheduler else at_once, **how)(tasks)
        for name, outcome in tqdm(ended, total=len(left), disable=None):
            outcomes[name] = outcome
            row = written()[0].set_index("run").loc[name].drop([*jobs[0]["values"], "images"]).dropna()
            said = [str(value).splitlines()[-1] if key == "error" else f"{key} {value}" for key, value in row.items()]
            tqdm.write(f"{len(outcomes)}/{len(jobs)}  {name}  {'  '.join(said)}")
    table, names = written()
    failed, absent = (table["status"] == "failed").sum(), [key for key in spec["record"] if names and key not in names]
    print(f"{len(table) - failed} runs finished, {failed} failed. Table and plots: {folder / 'results.csv'} and .html")
    if absent:
        print(
            f"No run has {', '.join(absent)}. Correct it under record and sweep again (finished runs are only read "
            f"again); there are: {', '.join(names)}.",
            file=sys.stderr,
        )
    return int(failed > 0 or bool(absent))
