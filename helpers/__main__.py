"""The course's command line: python -m helpers run | sweep | audit | build | predict."""

import argparse
import contextlib
import os
import re
import signal
import sys


class Parser(argparse.ArgumentParser):
    """A parser that knows the notebooks' parameters: ``run --help`` lists them, ``--epochs 5`` is answered with -p."""

    def format_help(self):
        if self.prog.endswith(" run"):
            self.formatter_class = argparse.RawDescriptionHelpFormatter
            lines = [f"  {name:19}{of.meaning} [{of.default!r}]" for name, of in _parameters().items()]
            self.epilog = "\n".join(["parameters for -p, with their defaults:", *lines])
        return super().format_help()

    def error(self, message):
        name = "".join(re.findall("unrecognized arguments: --([a-z_-]+)", message)).upper().replace("-", "_")
        super().error(f"set a notebook's parameter with -p {name} VALUE" if name in _parameters() else message)


def _parameters():
    from helpers import runs  # only now: it takes a second

    return {name: parameter for notebook in runs.NOTEBOOKS for name, parameter in runs.declared(notebook).items()}


NAMED = ["LABELS_CSV", "IMAGE_COLUMN", "LABEL_COLUMN"]  # parameters of notebook 01 that say where the labels are


def main(arguments=None):
    """Do what the command line asks for; return the exit status: 0, 1 if it failed, 130 if it was interrupted."""
    options = _parser().parse_args(arguments)
    try:
        return _call(options) or 0
    except KeyboardInterrupt:
        print("Interrupted. Finished work is kept: the same command resumes from there.", file=sys.stderr)
        return 130
    except (OSError, ValueError) as error:  # what the course raises for the reader
        print(error, file=sys.stderr)
        return 1


def _parser():
    parser = Parser(prog="python -m helpers", description="Skin-lesion classification with a CNN.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name, text):
        return commands.add_parser(name, help=text, description=text).add_argument

    add = command("run", "Run notebooks, in the order of the course.")
    add("notebooks", nargs="*", metavar="NOTEBOOK", help="such as 03_baseline_cnn, or 03; default: all")
    add("--data-dir", default="", help="folder of images; default: look for one, else the synthetic sample")
    add("--out-dir", default="runs/course", help="run folder; default: runs/course")
    add("-p", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), help="set a notebook's parameter, below")
    add("--with-parent", type=int, help=argparse.SUPPRESS)

    add = command("sweep", "Run notebooks once for every combination of parameters in a YAML file.")
    add("file", metavar="SWEEP.yml", help="what to run; see the folder sweeps/")
    add("--out-dir", help="folder of the sweep; default: runs/<name of the file>")
    add("--dry-run", action="store_true", help="check the file, list its runs, and stop")
    add("--jobs", type=int, default=-1, help="runs at once; default: this machine's cores")
    add("--scheduler", metavar="ADDRESS", help="a Dask cluster to use instead, such as tcp://10.0.0.1:8786")

    add = command("audit", "Report what is wrong with a set of images.")
    add("data_dir", metavar="DATA_DIR", help='folder of images, or "sample"')
    add("--json", metavar="FILE", help="also write the findings as JSON")
    add("--html", metavar="FILE", help="also write a page that shows them")
    add("--metadata", metavar="FILE", default="", help="CSV of official labels; default: the course's own")
    add("-p", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), help=f"one of {', '.join(NAMED)}")

    add = command("predict", "Predict the class of pictures with a trained network. Not a medical device.")
    add("run_dir", metavar="RUN_DIR", help="run folder, such as runs/course")
    add("images", nargs="+", metavar="IMAGE", help="image file")
    add("--model", default="colours_exchanged", help="folder of the network in the run folder; default: %(default)s")
    add("--csv", metavar="FILE", help="write the table there instead of printing it")

    add = command("build", "Build the notebooks from their sources.")
    add("notebooks", nargs="*", metavar="NOTEBOOK", help="default: all")
    add("--check", action="store_true", help="build nothing; exit 1 if one differs from its source")
    text = "execute nothing; write this repository into badges and set-up cells"
    add("--repository", metavar="OWNER/NAME", help=text)
    add("--branch", default="main", help="with --repository: its branch; default: main")
    return parser


def _call(given):
    """Do a command. Its room is imported only now, so that the help and the audit start at once."""
    if given.command == "run":
        from helpers import batch

        if given.with_parent:
            batch.follow_parent(given.with_parent)
        elif sys.stdout.isatty():  # nobody waits for the first line of a log
            print("Opening the course", flush=True)  # papermill takes seconds to import
        from helpers.batch import execute

        values = {"DATA_DIR": given.data_dir, "OUT_DIR": given.out_dir} | dict(given.p)
        return execute.run(given.notebooks, values, alone=not given.with_parent)
    if given.command == "sweep":
        from helpers.batch import sweep

        return sweep.sweep(given.file, given.out_dir, given.jobs, given.scheduler, given.dry_run)
    if given.command == "audit":
        if odd := [name for name, _ in given.p if name not in NAMED]:
            raise ValueError(f"The audit has no parameter {odd[0]!r}; it has {', '.join(NAMED)}.")
        print(f"Reading the images of {given.data_dir}", file=sys.stderr)
        from helpers.data import audit

        with contextlib.redirect_stdout(sys.stderr):  # how far it is; the findings alone go to stdout
            named = {name.lower(): value for name, value in given.p} | {"draft": "runs/labels_draft.csv"}
            found = audit.command(given.data_dir, given.json, given.html, given.metadata, **named)
        return print(found)
    if given.command == "predict":
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's notes on this machine
        from helpers import runs

        runs.existing(given.run_dir)  # before Keras is imported, which takes seconds
        print(f"Opening the network {given.model} of {given.run_dir}", file=sys.stderr)
        from helpers.evaluation import predict

        return predict.command(given.run_dir, given.images, given.model, given.csv)
    from helpers.batch import build

    if given.repository:
        return build.rename(given.repository, given.branch)
    return build.check(given.notebooks) if given.check else build.build(given.notebooks)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # an exception: a running notebook's kernel is shut down
    sys.exit(main())
