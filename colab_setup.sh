#!/usr/bin/env bash
# Prepare Colab for the course: install only what is missing, never replace Colab's own packages. Safe to run again.
set -euo pipefail
cd "$(dirname "$0")"
python=${PYTHON:-python3}

"$python" - <<'PY'
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def installed(name):
    try:
        return version(name)
    except PackageNotFoundError:
        return None


wanted = [line.split(";")[0].strip() for line in Path("requirements.txt").read_text().splitlines()
          if line.strip() and not line.startswith("#")]
names = list(dict.fromkeys(re.split(r"[=<>~!]", line)[0] for line in wanted))
before = {name: installed(name) for name in names}
missing = [next(line for line in wanted if line.startswith(name)) for name in names if before[name] is None]
if missing:
    print("Installing", " ".join(missing), flush=True)
    # What is here already is named as a constraint: pip may add packages, and change none of them.
    kept = Path("/tmp") / "course-constraints.txt"
    kept.write_text("".join(f"{name}=={have}\n" for name, have in before.items() if have))
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "-c", str(kept), *missing],
                   check=True)
for name in names:
    print(f"{name:14} {installed(name)}{'' if before[name] else '  (new)'}")
PY
