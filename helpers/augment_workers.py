"""The draws of an Augmentor pipeline and the processes that make them; without pandas, so that those start fast."""

import hashlib
import io
import multiprocessing
import os
import random
import signal
import threading
from collections import deque
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager

import numpy as np
from PIL import Image

from helpers.augment_operations import perform

_LOCK = threading.Lock()
# A worker keeps some of the memory of its last images for the next ones, and starts no threads for matrix products.
_WORKER_ENVIRONMENT = {"PILLOW_BLOCKS_MAX": "8", "OPENBLAS_NUM_THREADS": "1"}


def apply(pipeline, image, seed):
    """Return one random draw of ``pipeline`` on ``image``: the same draw for the same seed.

    Each operation is applied with the probability that was written. (``Augmentor`` 0.2.12 compares the
    probability with a draw rounded to one decimal, ``Pipeline._execute``, and so applies p = 0.5 in 55 % of
    the cases.) The states of ``random`` and ``numpy.random``, which the operations use, are left as they were.

    Parameters
    ----------
    pipeline : Augmentor.Pipeline; only its operations are used.
    image : PIL image of any mode; it is not changed.
    seed : int or str.

    Returns
    -------
    PIL image, of the mode (RGB unless changed) and size that the operations give.
    """
    with _random_kept():
        return _draw(pipeline.operations, image, seed)


def make(operations, quality, tasks):
    """Write augmented images as JPEG files, each whole or not at all.

    Parameters
    ----------
    operations : list of Augmentor.Operations.Operation.
    quality : int, 1 to 100.
    tasks : list of (path of the original, list of (path to write, seed)). The seed is kept as the file's comment.

    Returns
    -------
    dict of path to (sha256, width in px, height in px).
    """
    facts = {}
    with _random_kept():
        for source, draws in tasks:
            with Image.open(source) as opened:
                original = opened.convert("RGB")
            for path, seed in draws:
                buffer = io.BytesIO()
                image = _draw(operations, original, seed)
                if image.mode != "RGB":
                    image = image.convert("RGB")
                image.save(buffer, "JPEG", quality=quality, comment=seed.encode())
                part = f"{path}.{os.getpid()}.part"
                with open(part, "wb") as stream:
                    stream.write(buffer.getbuffer())
                os.replace(part, path)
                facts[path] = hashlib.sha256(buffer.getbuffer()).hexdigest(), *image.size
    return facts


def shared(function, chunks, workers):
    """Yield ``function(chunk)`` of every chunk, in any order, made by this process and ``workers - 1`` others.

    Processes, because Augmentor's operations draw from the interpreter's one random state; spawned, because forking
    after TensorFlow has started its threads can deadlock. While they start, this process works already.

    Raises
    ------
    RuntimeError
        If a worker process ends early.
    """
    pool = ProcessPoolExecutor(workers - 1, multiprocessing.get_context("spawn"), _begin_worker)
    chunks, running = deque(chunks), set()
    try:
        while chunks or running:
            while chunks and len(running) < 2 * (workers - 1):
                with _worker_environment():
                    running.add(pool.submit(function, chunks.popleft()))
            if chunks:
                yield function(chunks.popleft())
            else:
                wait(running, return_when=FIRST_COMPLETED)
            done = {future for future in running if future.done()}
            running -= done
            yield from (future.result() for future in done)
    except BrokenProcessPool as error:
        raise RuntimeError("A worker process ended early; what it made is kept. In a script, put the call under "
                           "`if __name__ == \"__main__\":`; where memory is short, pass workers=1.") from error
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _worker_environment():
    """Set what a process that starts here inherits, where the user has not set it."""
    missing = {name: value for name, value in _WORKER_ENVIRONMENT.items() if name not in os.environ}
    os.environ.update(missing)
    try:
        yield
    finally:
        for name in missing:
            del os.environ[name]


@contextmanager
def _random_kept():
    with _LOCK:
        states = random.getstate(), np.random.get_state()
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])


def _draw(operations, image, seed):
    digest = hashlib.sha256(str(seed).encode()).digest()
    random.seed(int.from_bytes(digest[:16], "big"))
    np.random.seed(np.frombuffer(digest[16:], ">u4").astype(np.uint32))
    image = image.convert("RGB")  # a copy: some operations paint on the image that they are given
    for operation in operations:
        if random.random() < operation.probability:
            image = perform(operation, image)
    return image


def _begin_worker():
    """Leave interrupts to the parent process, and end with it even if it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def end():
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=end, daemon=True).start()
