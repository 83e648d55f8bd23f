"""What Colab says that it has (googlecolab/backend-info: pip-freeze.txt, os-info.txt), for the weekly check.

    python .github/colab.py packages | constraints | python | badge FOLDER

Prints the course's requirements that Colab has, at Colab's versions; all its versions, for pip to keep to; its Python;
or the badge, as https://shields.io/badges/endpoint-badge takes it. FOLDER holds the two files.
"""

import datetime
import json
import re
import sys
from pathlib import Path

COURSE = Path(__file__).resolve().parents[1]


def versions(folder):
    """Return {normal name: version} of Colab's packages that come from PyPI, as pip freeze lists them."""
    lines = re.findall(r"^([\w.-]+)==([\w.!]+)$", (folder / "pip-freeze.txt").read_text(encoding="utf-8"), re.MULTILINE)
    return {normal(name): version for name, version in lines}


def normal(name):
    """Return a package's name as PyPI compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def wanted():
    """Return the normal names of the course's requirements."""
    lines = (COURSE / "requirements.txt").read_text(encoding="utf-8")
    return dict.fromkeys(normal(name) for name in re.findall(r"^([\w.-]+)", lines, re.MULTILINE))


def main(what, folder):
    """Return what is asked for, as text."""
    has = versions(folder)
    python = re.search(r"^Python (\d+\.\d+)", (folder / "os-info.txt").read_text(encoding="utf-8"), re.MULTILINE)[1]
    if what == "python":
        return python
    if what == "badge":
        runtime = f"Python {python}, TensorFlow {has['tensorflow']} ({datetime.date.today():%Y-%m-%d})"
        return json.dumps({"schemaVersion": 1, "label": "Colab", "message": runtime, "color": "brightgreen"})
    names = has if what == "constraints" else [name for name in wanted() if name in has]
    return "\n".join(f"{name}=={has[name]}" for name in names)


if __name__ == "__main__":
    print(main(sys.argv[1], Path(sys.argv[2])))
