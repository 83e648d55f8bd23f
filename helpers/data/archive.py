"""Images of the ISIC Archive, fetched once with its own command ``isic`` (package isic-cli, Python 3.12 or newer)."""

import contextlib
import hashlib
import itertools
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import urlopen

import pandas as pd
from filelock import FileLock

from helpers import manifest, messages

SEARCH = "https://api.isic-archive.com/api/v2/images/search/"
CLINICS = Path(__file__).resolve().parents[2] / "data" / "other_clinics.csv"
LISTED = [*(f"diagnosis_{level}" for level in range(1, 6)), "lesion_id"]  # the list says these of its images itself
AT_ONCE = 100  # ids in one search, so that its address does not become too long
PATIENCE = 300  # seconds without a new image: the connection is lost, though isic would still wait
REASON = r"^(?:[\w.]*Error\b.*|Unable .*|.*must upgrade.*|.*Insufficient disk space.*)$"  # why isic failed
ROOM = 50e6  # bytes; with less left, it is the disk if images did not arrive


def fetch(query):
    """Return (name, folder) of images of the ISIC Archive; they are downloaded once, and a stopped download goes on.

    ``query`` is "clinics" for the images that data/other_clinics.csv lists, or a search as the Archive has them, such
    as "fitzpatrick_skin_type:V". The folder, in the user's cache, has <isic_id>.jpg, metadata.csv (of the Archive; of
    listed images, diagnosis, lesion and collection are the list's), attribution.txt and licenses/. Delete it to fetch
    anew. FileNotFoundError, in a sentence or two, if the images cannot be had.
    """
    listed = pd.read_csv(CLINICS, dtype=str) if query == "clinics" else None
    name = re.sub(r"\W+", "_", query).strip("_")[:40]
    name += "" if query == "clinics" else f"-{hashlib.sha256(query.encode()).hexdigest()[:8]}"
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "isic-archive", name)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):  # another process may be fetching the same
        if not (folder / "metadata.csv").exists():
            ids = [] if listed is None else [f"isic_id:{isic_id}" for isic_id in listed["isic_id"]]
            searches = [" OR ".join(ids[at : at + AT_ONCE]) for at in range(0, len(ids), AT_ONCE)] or [query]
            _download(searches, folder, listed)
    rows = _read(folder)
    licences = ", ".join(rows["copyright_license"].value_counts().index)
    by = ", ".join(rows["attribution"].value_counts().index)
    print(f"{len(rows):,} images of the ISIC Archive, {licences}, by {by}; their licences and table: {folder}")
    if listed is not None and (gone := sorted({*listed["isic_id"]} - {*rows["isic_id"]})):
        print(f"The Archive no longer has {len(gone)} of the {len(listed)} that are listed, such as {gone[0]}.")
    return f"isic:{query}", folder


def clinics_in_colab():
    """Return "isic:clinics" in Colab, once its images are fetched; "" elsewhere, or if they cannot be had (said)."""
    if not os.environ.get("COLAB_RELEASE_TAG") or os.environ.get("KAGGLE_KERNEL_RUN_TYPE"):  # set on Kaggle, too
        return ""
    try:
        return fetch("clinics")[0]
    except FileNotFoundError as error:
        print(f"{error} Continuing without images from other clinics.")
        return ""


def _download(searches, folder, listed):
    """Fetch what the searches find into ``folder``. Its metadata.csv is written last and says that all is there."""
    command, total = _command(), sum(map(_count, searches))
    if not total:
        raise FileNotFoundError(f"The ISIC Archive has no image for {searches[0][:60]!r}: try it on isic-archive.com.")
    print(f"Fetching {total:,} images of the ISIC Archive into {folder}, once; if stopped, run it again to go on.")
    parts = [folder / ".parts" / str(number) for number in range(len(searches))]  # hidden: no set before all is there
    arriving = itertools.chain.from_iterable(_arriving(command, *each) for each in zip(searches, parts))
    for _ in messages.progress(arriving, "Fetching images", total):
        pass
    rows = pd.concat(map(_read, parts)).fillna("")
    arrived = {image.stem for image in folder.glob(".parts/*/ISIC_*")}
    if lost := rows.loc[~rows["isic_id"].isin(arrived), "isic_id"].tolist():
        if shutil.disk_usage(folder).free < ROOM:
            raise _failure("the disk is full", parts[0])
        print(f"{len(lost)} of {len(rows)} images did not arrive, though the Archive lists them, such as {lost[0]}.")
    rows = rows[rows["isic_id"].isin(arrived)]
    if listed is not None:
        rows = listed.merge(rows.drop(columns=LISTED, errors="ignore"), on="isic_id")
    (folder / "licenses").mkdir(exist_ok=True)
    for part in parts:
        for file in [*part.glob("ISIC_*"), *part.glob("licenses/*")]:
            file.replace(folder / file.relative_to(part))
    manifest.write_text("\n\n".join(rows["attribution"].value_counts().index), folder / "attribution.txt")
    manifest.write_text(rows.to_csv(index=False), folder / "metadata.csv")
    shutil.rmtree(folder / ".parts")


def _command():
    """Return how ``isic`` is started: as it is installed, or by uvx in an environment of its own, whatever Python."""
    beside = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    if isic := shutil.which("isic", path=beside):
        return [isic]
    if uvx := shutil.which("uvx", path=beside):
        return [uvx, "--python", ">=3.12", "--from", "isic-cli", "isic"]
    how = "pip install isic-cli" if sys.version_info >= (3, 12) else "pip install uv"
    raise FileNotFoundError(
        f"Images of the ISIC Archive are fetched with its own command isic, which is not installed: {how}, and run "
        f"this again. (isic-cli needs Python 3.12, uv brings one; this is {platform.python_version()}.)"
    )


def _count(query):
    """Return how many images a search finds; ask at once, as ``isic`` waits for a missing connection for minutes."""
    try:
        with urlopen(f"{SEARCH}?{urlencode({'query': query, 'limit': 1})}", timeout=30) as answer:
            return json.load(answer)["count"]
    except (OSError, ValueError, KeyError) as error:
        raise FileNotFoundError(
            f"The ISIC Archive cannot be searched for {query[:60]!r} ({error}). With HTTP Error 400, it does not "
            "understand the search; else, is the network up? What is fetched already is kept."
        ) from error


def _arriving(command, query, part):
    """Let ``isic`` fetch a search's images into the folder ``part``, and yield once for each that is there."""
    part.mkdir(parents=True, exist_ok=True)
    call = [*command, "image", "download", f"--search={query}", str(part)]
    log, seen, last, running = part / ".log", 0, time.monotonic(), True
    with log.open("wb") as said, subprocess.Popen(call, stdin=subprocess.DEVNULL, stdout=said, stderr=said) as process:
        try:
            while running and time.monotonic() < last + PATIENCE:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(0.5)
                running, new = process.poll() is None, len([*part.glob("ISIC_*")]) - seen
                seen, last = seen + new, time.monotonic() if new else last
                yield from range(new)
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)
            process.kill()  # it may wait for its own threads; what it has not finished has a hidden name
    if running or process.returncode:
        reasons = re.findall(REASON, log.read_text("utf-8", "replace"), re.MULTILINE) or ["isic failed"]
        raise _failure(f"no data arrived for {PATIENCE} s" if running else reasons[-1], part)


def _read(folder):
    return pd.read_csv(folder / "metadata.csv", dtype=str, keep_default_na=False)


def _failure(reason, folder):
    free = shutil.disk_usage(folder).free / 1e6
    return FileNotFoundError(
        f"The ISIC Archive's images could not be fetched into {folder}: {reason}. Run this again: what is here is not "
        f"fetched twice. {free:,.0f} MB are free there; the environment variable XDG_CACHE_HOME names another place. "
        "The full output of isic is in the file .log there."
    )
