"""Answers with the gunicorn and the Python that serve it."""

import platform

import gunicorn

ANSWER = f"gunicorn {gunicorn.__version__} on {platform.python_implementation()} {platform.python_version()}"
BODY = ANSWER.encode() + b"\n"


def app(environ, start_response):
    start_response("200 OK", [("Content-Length", str(len(BODY)))])
    return [BODY]
