"""Requests to the explorer, good and bad."""

import contextlib
import http.client
import json
import threading


@contextlib.contextmanager
def answering(server):
    """Let a server answer in a thread."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def send(server, method, path, body=None, address="127.0.0.1", **headers):
    """The status, headers and body of an answer; `_` in a header's name stands for a hyphen."""
    connection = http.client.HTTPConnection(address, server.server_port, timeout=20)
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        connection.request(method, path, body, given)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def refused(answer):
    """The status of a refusal, which has a readable sentence."""
    status, headers, content = answer
    assert headers["Content-Type"] == "application/json"
    assert 10 < len(json.loads(content)["error"]) < 200
    return status
