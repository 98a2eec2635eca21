"""Answers with the greeting that gunicorn.conf.py gives."""

import os
import time

# Stands for what an application does while it loads: imports, models, caches.
time.sleep(float(os.environ.get("LOAD_SECONDS", "0")))

greeting = os.environ.get("GREETING", "Hello").encode() + b"\n"


def app(environ, start_response):
    start_response("200 OK", [("Content-Length", str(len(greeting)))])
    return [greeting]
