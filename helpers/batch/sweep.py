"""Run notebooks once for every set of parameters that a small YAML file asks for, and make one table of the results.

    python -m helpers.course sweep SWEEP.yml [--out-dir O] [--jobs N | --scheduler ADDRESS] [--dry-run]
"""

import argparse
import hashlib
import itertools
import json
import math
import os
import re
import sys
import time
from pathlib import Path

from tqdm import tqdm

from helpers import course, datasets, sweep_file, sweep_jobs, sweep_report

MOST = 10_000  # runs of one sweep; more is a slip of the pen
SHARED = ["01_eda", "02_augmentation", "03_baseline_cnn"]


def plan(spec, out_dir):
    """Turn a sweep into jobs: dicts of ``name, folder, notebooks, values, takes, course``.

    Parameters
    ----------
    spec : dict, as ``sweep_file.read`` returns it.
    out_dir : folder of the sweep.

    Returns
    -------
    list of three lists of jobs: notebook 01 once for each set of its parameters; then 02 and 03 likewise, where runs
    build on them; then the runs. A job takes the results of the folders in ``takes``.

    Raises
    ------
    CourseError
        If there are too many runs, or two would share a folder.
    """
    count = math.prod(map(len, spec["grid"].values()))
    if count > MOST:
        raise course.CourseError(f"The sweep has {count} runs, more than {MOST}: make its grid smaller.")
    stages, defaults = ({}, {}, {}), {notebook: course.declared(notebook) for notebook in SHARED}

    def add(stage, name, notebooks, values, takes):
        folder = str(Path(out_dir).absolute() / name)
        stage[name] = {"name": name, "folder": folder, "notebooks": notebooks, "values": values, "takes": list(takes),
                       "course": str(course.FOLDER.parent)}
        return folder

    for combination in itertools.product(*spec["grid"].values()):
        swept = dict(zip(spec["grid"], combination))
        named = swept
        if spec["one_at_a_time"]:
            changed = {key: value for key, value in swept.items() if key != "SEED" and value != spec["grid"][key][0]}
            if len(changed) > 1:
                continue
            named = changed | {key: value for key, value in swept.items() if key == "SEED"}
        name = ",".join(f"{key}={_plain(value)}" for key, value in named.items()) or "run"
        if name in stages[2]:
            raise course.CourseError(f"Two runs would share the folder {name!r}: give values of other letters.")
        values, takes = spec["parameters"] | swept, []
        shared = _shared(spec["notebooks"], values)
        for notebook in shared:
            own, base = ({key: value for key, value in values.items() if key in defaults[part]}
                         for part in (notebook, SHARED[0]))
            digits = hashlib.sha256(json.dumps([own, base], sort_keys=True).encode()).hexdigest()[:8]
            takes.append(add(stages[notebook != SHARED[0]], f"shared/{notebook}-{digits}", [notebook], own, takes[:1]))
        add(stages[2], name, [notebook for notebook in spec["notebooks"] if notebook not in shared], values, takes)
    return [list(stage.values()) for stage in stages]


def _plain(value):
    """Return a value as it can stand in a folder's name."""
    return re.sub(r"[^A-Za-z0-9_.+-]+", "-", str(value))[-60:]


def _shared(notebooks, values):
    """Return what a run of these notebooks builds on and others may share; their last is what the run is about."""
    wanted = {SHARED[0], *notebooks}
    if {"04_dropout_augmented_cnn", "05_evaluation"} & wanted:
        wanted.add("03_baseline_cnn")
    if "04_dropout_augmented_cnn" in wanted and values.get("AUGMENTATION") in ("augmentor", "both"):
        wanted.add("02_augmentation")
    return [notebook for notebook in SHARED if notebook in wanted and notebook != notebooks[-1]]


def run(spec, stages, out_dir, perform):
    """Do what is not finished yet; rewrite ``out_dir/results.csv`` after each run, ``results.html`` at the end.

    Parameters
    ----------
    spec, stages : from ``sweep_file.read`` and :func:`plan`.
    out_dir : folder of the sweep.
    perform : function of a list of jobs that yields (job, outcome) as they end, such as ``sweep_jobs.pool`` gives.

    Returns
    -------
    DataFrame, str : one row a run that has ended (see ``sweep_report.table``); what was to be recorded and is nowhere.
    """
    runs, outcomes = stages[-1], {}
    for job in runs:
        if record := sweep_jobs.finished(job):
            outcomes[job["name"]] = {"status": "finished", **record}
    left = [job for job in runs if job["name"] not in outcomes]
    needed = {folder for job in left for folder in job["takes"]}
    before = [[job for job in stage if job["folder"] in needed and not sweep_jobs.finished(job)]
              for stage in stages[:-1]]
    table = sweep_report.table(runs, outcomes, spec["record"])
    try:
        with tqdm(total=len(runs), initial=len(outcomes), disable=None, unit="run") as bar:
            for stage in [*before, left]:
                begun, ended = time.monotonic(), itertools.count(1)
                for job, outcome in perform(stage):
                    text = sweep_report.line(job, outcome, spec["record"])
                    if stage is left:
                        outcomes[job["name"]] = outcome
                        minutes = (time.monotonic() - begun) / next(ended) * (len(runs) - len(outcomes)) / 60
                        text += f"; about {minutes:.1f} min to go"
                        bar.update()
                        table = sweep_report.table(runs, outcomes, spec["record"])
                        sweep_report.write_csv(table, out_dir)
                    with bar.external_write_mode():
                        print(f"{len(outcomes)}/{len(runs)}  {text}", flush=True)
    finally:
        sweep_report.write_csv(table, out_dir)
        sweep_report.write_html(table, spec, out_dir)
    return table, sweep_report.absent(table, spec["record"], outcomes)


def estimate(stages, at_once):
    """Return a sentence: how many runs there are, how many are finished, and about how long the others will take."""
    done = [record["seconds"] for job in stages[-1] if (record := sweep_jobs.finished(job))]
    left = len(stages[-1]) - len(done)
    minutes = left * sum(done) / len(done) / at_once / 60 if done else 0
    guess = f"about {minutes:.1f} min with {at_once} at once" if done else "time known once one has ended"
    return f"{len(stages[-1])} runs, {len(done)} finished, {left} to do ({guess})."


def main(arguments):
    """The command line after ``sweep``; returns the exit status: 1 if a run failed or cannot start, 130 if stopped."""
    parser = argparse.ArgumentParser(prog="python -m helpers.course sweep", description=__doc__.splitlines()[0])
    parser.add_argument("file", metavar="SWEEP.yml", help="what to run; see the folder sweeps/")
    parser.add_argument("--out-dir", help="folder of the sweep; default: runs/<name of the file>")
    parser.add_argument("--dry-run", action="store_true", help="check the file, say how many runs there are, and stop")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--jobs", type=int, default=os.cpu_count(), help="runs at once; default: this machine's cores")
    where.add_argument("--scheduler", metavar="ADDRESS", help="a Dask scheduler, such as tcp://10.0.0.1:8786")
    options = parser.parse_args(arguments)
    if options.jobs < 1:
        parser.error(f"--jobs is {options.jobs}, but it takes a number from 1 on")
    out_dir = Path(options.out_dir or Path("runs") / Path(options.file).stem).expanduser().absolute()
    try:
        spec = sweep_file.read(options.file)
        stages = plan(spec, out_dir)
        print(f"{estimate(stages, 1 if options.scheduler else options.jobs)} Folder: {out_dir}", flush=True)
        if options.dry_run:
            return 0
        for place in [] if options.scheduler else {job["values"].get("DATA_DIR", "") for job in stages[-1]}:
            datasets.find(place)  # a Dask worker finds its own images
        engine = sweep_jobs.cluster(options.scheduler) if options.scheduler else sweep_jobs.pool(options.jobs)
        with sweep_jobs.sole_use(out_dir), engine as perform:
            table, absent = run(spec, stages, out_dir, perform)
    except (course.CourseError, FileNotFoundError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"Stopped. What is finished stays in {out_dir}; the same command goes on from there.", file=sys.stderr)
        return 130
    failed = (table["status"] == "failed").sum()
    print(f"{len(table) - failed} runs finished, {failed} failed. Table: {out_dir / 'results.csv'}; "
          f"with spread and plots: {out_dir / 'results.html'}")
    if absent:
        print(absent, file=sys.stderr)
    return int(failed > 0 or bool(absent))
