"""Run notebooks once for every set of parameters that a small YAML file asks for, and make one table of the results."""

import functools
import itertools
import json
import math
import re
import reprlib
import sys
import time
from concurrent.futures import CancelledError
from pathlib import Path

import joblib
import yaml

from helpers import manifest, processes
from helpers.batch import execute, results
from helpers.data import datasets
from helpers.runs import RunError, keep_outside, open_folder

KEYS = {"notebooks": list, "parameters": dict, "grid": (dict, list), "seeds": list, "record": list}
MOST = 10_000  # runs of a sweep; more is a slip of the pen


def plan(file, folder):
    """Read a sweep's YAML file; return its runs (dicts of ``name, folder, notebooks, values``), and what to record.

    Its keys: ``notebooks`` (names); ``parameters`` {name: value}, the same for every run; ``grid`` {name: list of
    values}, of which every combination is a run, or a list of such grids (what several ask for is run once); ``seeds``,
    values of ``SEED`` for each combination; ``record``: what goes into the table (see ``results.found``), by default
    each network's ``val_accuracy``. Only notebooks are needed. RunError on the first thing that is wrong.
    """
    try:
        return _jobs(yaml.load(Path(file).read_text(encoding="utf-8"), Loader), folder)
    except OSError as error:
        raise RunError(f"{file} cannot be read: {error.strerror}.") from error
    except (UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise RunError(f"{file} cannot be read as YAML: {' '.join(str(error).split())}") from error
    except RunError as error:
        raise RunError(f"{file}: {error}") from None


class Loader(yaml.BaseLoader):
    """Read all values as text, as on the command line: YAML would take 010 for 8, and 1:30 for 90.

    RunError if a name occurs twice, or if there are aliases, which may stand for more than any memory holds.
    """

    def compose_node(self, parent, index):
        if self.check_event(yaml.AliasEvent):
            raise RunError("aliases (*name) are not supported; write out their values.")
        node, names = super().compose_node(parent, index), []
        for name, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if name.value in names:
                raise RunError(f"{name.value} occurs twice, the second time in line {name.start_mark.line + 1}")
            names.append(name.value)
        return node


def _jobs(spec, folder):
    """Return the runs that a sweep's file asks for, as read, and what to record."""
    if not isinstance(spec, dict) or "notebooks" not in spec:
        raise RunError(f"it lists no notebooks; a sweep has the keys {', '.join(KEYS)}.")
    for key, value in spec.items():
        if key not in KEYS or not isinstance(value, KEYS[key]) or not value:
            raise RunError(
                f"{reprlib.repr(key)} is {reprlib.repr(value)}, but a sweep takes lists of notebooks, seeds and what "
                "to record, parameters with a value each, and a grid of lists of values or a list of grids."
            )
    notebooks, fixed, jobs, count = list(map(str, spec["notebooks"])), spec.get("parameters", {}), {}, 0
    grids, seeds = spec.get("grid", {}), {"SEED": spec["seeds"]} if "seeds" in spec else {}
    for grid in grids if isinstance(grids, list) else [grids]:
        if not isinstance(grid, dict) or not all(isinstance(values, list) and values for values in grid.values()):
            raise RunError(f"a grid takes names, each with a list of values; not {reprlib.repr(grid)}.")
        given = [*fixed, *grid, *seeds]
        if twice := [name for name in given if given.count(name) > 1]:
            raise RunError(f"{twice[0]} takes one value in parameters, or one list in grid or seeds.")
        if "OUT_DIR" in given:
            raise RunError("OUT_DIR is each run's own folder; --out-dir is the sweep's: leave it out.")
        count += math.prod(map(len, (grid | seeds).values()))
        if count > MOST:
            raise RunError(f"it has more than {MOST:,} runs; make it smaller.")
        for combination in itertools.product(*(grid | seeds).values()):
            steps = execute.plan(notebooks, fixed | dict(zip(grid | seeds, combination)))
            values = {name: value for _, typed in steps for name, value in typed.items()}
            words = {name: re.sub(r"[^A-Za-z0-9_.+-]+", "-", str(values[name]))[-60:] for name in grid | seeds}
            name = ",".join(f"{key}={word}" for key, word in words.items()) or "run"
            job = {"name": name, "folder": f"{folder}/{name}", "notebooks": list(dict(steps)), "values": values}
            if jobs.setdefault(name, job) != job:
                raise RunError(f"two runs would share the folder {name!r}; choose values whose names differ.")
    columns = {*results.COLUMNS, *(name for job in jobs.values() for name in job["values"])}
    record = list(map(str, spec.get("record", [])))
    if odd := [name for name in record if name in columns or record.count(name) > 1]:
        raise RunError(f"record lists {odd[0]}, which is in the table anyway; leave it out.")
    return list(jobs.values()), record


def perform(job):
    """Do a run in a process of its own, which may crash or run out of memory alone; return (its name, its outcome).

    TensorFlow gets one thread, because its last digits depend on how many there are. What the run prints goes to
    ``log.txt`` in its folder. The outcome is ``results.finished``'s, or has the ``status`` "failed" and an ``error``.
    """
    folder, begun = Path(job["folder"]), time.perf_counter()
    threads = {"TF_NUM_INTRAOP_THREADS": "1", "OMP_NUM_THREADS": "1", "TF_FORCE_GPU_ALLOW_GROWTH": "true"}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        images = datasets.find(job["values"].get("DATA_DIR", ""))
        record = {"notebooks": job["notebooks"], "values": job["values"], "state": datasets.state(images)}
        record["images"] = images.source + " (synthetic)" * images.synthetic
        with open(folder / "log.txt", "w", encoding="utf-8") as log:
            processes.apart(job["notebooks"], job["values"] | {"OUT_DIR": str(folder)}, log, **threads)
        record["seconds"] = round(time.perf_counter() - begun, 1)
        outcome = record | {"status": "finished", "found": results.found(folder)}
        manifest.write_text(json.dumps(record, indent=2), folder / results.MARK)
        return job["name"], outcome
    except Exception as error:  # whatever it is, it belongs to this run, and the sweep goes on
        return job["name"], {"status": "failed", "error": str(error) or repr(error)}


def on_cluster(jobs, scheduler):
    """Yield what :func:`perform` returns of the jobs, done by the workers of the Dask scheduler at this address.

    Dask gives the tasks of a lost worker to another one (https://distributed.dask.org/en/stable/resilience.html); what
    the cluster does not do has failed. RunError if Dask is not installed, or no scheduler with a worker answers.
    """
    try:
        import dask

        dask.config.set(logging={"distributed": "critical", "distributed.client": "critical"})  # its loss is said below
        from dask import distributed

        client = distributed.Client(scheduler, timeout=20)
        client.wait_for_workers(1, timeout=20)
    except ImportError as error:
        raise RunError("--scheduler needs Dask: python -m pip install 'dask[distributed]'") from error
    except (OSError, ValueError) as error:
        raise RunError(
            f"No Dask scheduler with a worker answers at {scheduler!r} ({error}). In the course's folder start: "
            f"python -m dask scheduler, and: python -m dask worker {scheduler} --nthreads 1"
        ) from error
    names = {client.submit(perform, job, pure=False): job["name"] for job in jobs}
    for future in distributed.as_completed(names):
        try:
            yield future.result()
        except (Exception, CancelledError) as error:  # the worker's process died with it, or the scheduler is gone
            lost = f"the cluster lost it ({error or 'no scheduler'}); sweep again"
            yield names[future], {"status": "failed", "error": lost}


def sweep(file, out_dir="", at_once=-1, scheduler="", dry_run=False):
    """Do what a sweep's file (see :func:`plan`) asks for and is not finished yet; return 1 if a run failed, else 0.

    ``out_dir``: folder of the sweep ("": ``runs/<name of the file>``); ``at_once``: how many runs work at once on this
    machine (-1: one a core); ``scheduler``: address of a Dask scheduler whose workers do them instead; ``dry_run``:
    they are only listed. RunError or FileNotFoundError, before anything starts, if what the file asks for is wrong.
    """
    folder = Path(out_dir or f"runs/{Path(file).stem}").expanduser().absolute()
    jobs, record = plan(file, folder)
    find, state = functools.cache(datasets.find), functools.cache(datasets.state)
    for job in [] if scheduler else jobs:  # a Dask worker finds its own images
        images = find(job["values"].get("DATA_DIR", ""))
        keep_outside(folder, images)
        job["state"] = state(images)
    outcomes = {job["name"]: outcome for job in jobs if (outcome := results.finished(job))}
    left = [job for job in jobs if job["name"] not in outcomes]
    print(f"{len(jobs)} runs, {len(outcomes)} finished, {len(left)} to do. Folder: {folder}", flush=True)
    if dry_run:
        print(*(f"  {job['name']}" for job in left[:100]), *["  …"] * (len(left) > 100), sep="\n")
        seconds = sum(outcome["seconds"] for outcome in outcomes.values()) / max(1, len(outcomes))
        hours = seconds * len(left) / joblib.effective_n_jobs(at_once) / 3600
        print(f"About {hours:.1f} hours." if outcomes else "How long they take is known once one has finished.")
        return 0
    print("The log.txt in each run's folder shows how far it is.", flush=True)
    here = joblib.Parallel(at_once, prefer="threads", batch_size=1, return_as="generator_unordered")
    with processes.claim(open_folder(folder), "sweep"):
        ended = on_cluster(left, scheduler) if scheduler else here(joblib.delayed(perform)(job) for job in left)
        for name, outcome in ended:
            if outcome["status"] == "finished" and not (folder / name / results.MARK).exists():
                outcome = {"status": "failed", "error": f"its worker wrote {folder / name} on another disk: share one"}
            outcomes[name] = outcome
            table = results.write(jobs, outcomes, record, folder)
            said = [f"{key} {value}" for key, value in outcome.get("found", {}).items() if key in table]
            error = outcome.get("error", "").splitlines()[-1:]
            print(f"{len(outcomes)}/{len(jobs)}", name, outcome["status"], *said, *error, sep="  ", flush=True)
    table = results.write(jobs, outcomes, record, folder)
    failed = int((table["status"] == "failed").sum())
    print(f"{len(table) - failed} runs finished, {failed} failed. Table and plots: {folder / 'results.csv'} and .html")
    if absent := [key for key in record if failed < len(table) and table[key].isna().all()]:
        there = sorted({key for outcome in outcomes.values() for key in outcome.get("found", {})})
        said = f"No run has {', '.join(absent)}; correct record and sweep again. Available: {', '.join(there)}."
        print(said, file=sys.stderr)
    return int(failed > 0 or bool(absent))
