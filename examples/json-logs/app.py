"""An application that logs, in Python's own way."""

import logging

log = logging.getLogger(__name__)
greeting = "Hello, version 1"


def app(environ, start_response):
    log.info("%s was asked for", environ["PATH_INFO"])
    if environ["PATH_INFO"] == "/broken":
        raise RuntimeError("what is broken\nhas two lines")
    body = f"{greeting}\n".encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
