"""Answers with the greeting that gunicorn.conf.py gives."""

import os

greeting = os.environ.get("GREETING", "Hello").encode() + b"\n"


def app(environ, start_response):
    start_response("200 OK", [("Content-Length", str(len(greeting)))])
    return [greeting]
