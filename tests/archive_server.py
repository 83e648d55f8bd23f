"""A stand-in for the ISIC Archive's server, as isic-cli 12.7 speaks with it, that serves drawings.

Where the environment variable ISIC_DEV is set, `isic` looks for its server at DEVELOPMENT; http_proxy leads it here.
"""

import functools
import io
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlparse

import numpy as np
from PIL import Image

DEVELOPMENT = "http://127.0.0.1:8000"


class Archive(ThreadingHTTPServer):
    """``records`` are {isic_id: clinical facts}; ``gate`` lets so many images through, ``served`` are their ids."""

    daemon_threads = True

    def __init__(self, records):
        self.records, self.gate, self.served = records, threading.Semaphore(10**6), []
        self.size, self.gone = None, set()  # a size to claim; images that are listed, but cannot be had
        super().__init__(("127.0.0.1", 0), _Answer)
        self.address = f"http://127.0.0.1:{self.server_port}"

    def __enter__(self):
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error):
        self.shutdown()
        self.server_close()

    def found(self, query):
        """Return the ids that a search finds: "isic_id:A OR isic_id:B", or "field:value"."""
        if named := re.findall(r"isic_id:(\w+)", query):
            return [name for name in named if name in self.records]
        field, value = query.split(":")
        return [name for name, facts in self.records.items() if facts.get(field) == value.strip('"')]


@functools.cache
def drawing(isic_id):
    """Return the bytes of an image, another for each id."""
    pixels = np.random.default_rng(int(isic_id[5:])).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).resize((64, 64)).save(stream, "JPEG")
    return stream.getvalue()


class _Answer(BaseHTTPRequestHandler):
    def log_message(self, *said):
        pass

    def do_GET(self):
        place, archive = urlparse(self.path), self.server
        query = parse_qs(place.query).get("query", [""])[0]
        if place.path.startswith("/files/"):
            isic_id = place.path[7:-4]
            archive.gate.acquire()
            if isic_id in archive.gone:
                return self.reply(404, b"")
            archive.served.append(isic_id)
            return self.reply(200, drawing(isic_id), "image/jpeg")
        if "license-file" in place.path:
            return self.reply(200, f"The text of {place.path.split('/')[-2]}".encode(), "text/plain")
        if ":" not in query:
            return self.reply(400, b'{"message": "Invalid query"}')
        results = [self.record(isic_id) for isic_id in archive.found(query)]
        if place.path.endswith("/size/"):
            size = archive.size or sum(each["files"]["full"]["size"] for each in results)
            return self.reply(200, json.dumps({"size": size}).encode())
        return self.reply(200, json.dumps({"count": len(results), "next": None, "results": results}).encode())

    def record(self, isic_id):
        full = {"url": f"{DEVELOPMENT}/files/{isic_id}.jpg", "size": len(drawing(isic_id))}
        number = int(isic_id[5:])
        return {
            "isic_id": isic_id,
            "attribution": "Clinic A" if number % 3 else "Clinic B",
            "copyright_license": "CC-BY-NC" if number % 2 else "CC-0",
            "files": {"full": full},
            "metadata": {"acquisition": {"image_type": "dermoscopic"}, "clinical": self.server.records[isic_id]},
        }

    def reply(self, code, data, kind="application/json"):
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
