"""Requests to the explorer, good and bad."""

import http.client
import io
import json

import numpy as np
from PIL import Image
from small_space import NUMBERS

DIRECTIONS = 16
JSON, OCTETS = "application/json", "application/octet-stream"


def send(server, method, path, body=b"", kind="", address="127.0.0.1", **headers):
    """The status, headers and body of an answer; `_` in a header's name stands for a hyphen."""
    port = server.server_port
    connection = http.client.HTTPConnection(address, port, timeout=20)
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    given = {"Host": f"127.0.0.1:{port}", "Content-Length": str(len(body))} | given
    given |= {"Content-Type": kind} if kind else {}
    connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
    for name, value in given.items():
        for one in value if isinstance(value, list) else [value]:
            connection.putheader(name, one)
    connection.endheaders(body or None)
    try:
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def refused(answer):
    """The status of a refusal that is a readable sentence."""
    status, headers, content = answer
    assert headers["Content-Type"] == JSON
    sentence = json.loads(content)["error"]
    assert 10 < len(sentence) < 200
    assert "Traceback" not in sentence
    return status


def point(values=(), residual=None):
    start = list(values) + [0] * (DIRECTIONS - len(values))
    return {"coordinates": start, "residual": residual or [0] * NUMBERS}


def decode(server, body):
    return send(server, "POST", "/decode", json.dumps(body).encode(), JSON)


def encode(server, file):
    return send(server, "POST", "/encode", file, OCTETS)


def pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)))


def file_of(picture, kind="PNG", **options):
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()
