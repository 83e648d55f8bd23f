# @title Set-up: run me first, and after each restart (Colab, Kaggle: a minute, to fetch the course)
import os
import subprocess
import sys
from pathlib import Path

root = next((place for place in [Path.cwd(), *Path.cwd().parents] if (place / "helpers" / "runs.py").exists()), None)
if root is None and {"COLAB_RELEASE_TAG", "KAGGLE_KERNEL_RUN_TYPE"} & {*os.environ}:
    root = Path.cwd() / "{{name}}"
    print("Fetching the course")
    clone = ["git", "clone", "-q", "--depth", "1", "-b", "{{branch}}", "{{clone}}", str(root)]
    fetched = root.exists() or not subprocess.run(clone).returncode
    fetched = fetched and not subprocess.run(["bash", "colab_setup.sh"], cwd=root).returncode
    assert fetched, "The course was not fetched. On Kaggle, switch Internet on: panel on the right, Session options."
assert root, "Open this notebook from inside the course's folder: it needs the folder helpers/ beside notebooks/."
os.chdir(root)
sys.path.insert(0, str(root))
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
print("Ready. The imports below may take ten seconds.")
