"""An application whose greeting comes from gunicorn.conf.py."""

import os

body = (os.environ.get("GREETING", "hello") + "\n").encode()


def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
