"""How many planted copies the near-duplicate search misses, and what it reports among the originals themselves.

    python tests/bench_duplicates.py DATA_DIR

Each readable picture of the set gets one copy: mirrored or turned or neither, resized to 0.5 to 2 times, compressed again
with JPEG quality 40 to 95. A pair among the originals is a false alarm unless looking at it shows one picture.
"""

import io
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from helpers import manifest  # noqa: E402
from helpers.data import audit, datasets  # noqa: E402


def plant(originals, folder, seed=0):
    """Write one changed copy of each original into ``folder``; return a manifest of them, named "<image_id> copy"."""
    rng, rows = np.random.default_rng(seed), []
    for row in originals.itertuples():
        with Image.open(row.path) as file:
            (folder / f"{row.image_id}.jpg").write_bytes(_changed(file.convert("RGB"), rng))
        rows.append({"image_id": f"{row.image_id} copy", "path": str(folder / f"{row.image_id}.jpg")})
    return pd.DataFrame(rows).reindex(columns=manifest.COLUMNS, fill_value="")


def _changed(image, rng):
    turn = [None, *Image.Transpose][rng.integers(8)]
    copy = image.transpose(turn) if turn is not None else image
    scale, stream = rng.uniform(0.5, 2), io.BytesIO()
    copy.resize([round(side * scale) for side in copy.size]).save(stream, "JPEG", quality=int(rng.integers(40, 96)))
    return stream.getvalue()


def main(data_dir):
    """Print the figures of one set."""
    originals = audit.inspect(datasets.list_images(datasets.find(data_dir).root))
    originals = originals[originals["flag"] == ""].drop_duplicates("picture")
    with tempfile.TemporaryDirectory() as folder:
        copies = plant(originals, Path(folder))
        pairs = audit.near_duplicates(audit.inspect(pd.concat([originals, copies], ignore_index=True)))
    own = set(zip(originals["image_id"], copies["image_id"]))
    found = own & set(zip(pairs["image_id"], pairs["other_id"]))
    among = pairs[~pairs["image_id"].str.endswith(" copy") & ~pairs["other_id"].str.endswith(" copy")]
    count = len(originals)
    print(f"planted {len(own)} copies, missed {len(own - found)}")
    print(f"{len(among)} pairs reported among {count * (count - 1) // 2:,} pairs of originals:")
    print(among.round(3).to_string(index=False))


if __name__ == "__main__":
    main(sys.argv[1])
