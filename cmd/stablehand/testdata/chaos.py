"""The application of a round of chaos: it does what its content says.

{"version": "v1", "load": 0.5, "fails": ""}: it takes so long to load, and answers
so. It may also fail to: see below.
"""

import json
import os
import time

with open(os.environ["CONTENT"]) as file:
    content = json.load(file)
if content["fails"] == "hang":
    time.sleep(3600)
time.sleep(content["load"])
if content["fails"] == "exit-1-worker":
    raise SystemExit(1)
if content["fails"] == "exit-3":
    raise RuntimeError("this content does not load")
VERSION = content["version"].encode()
HEADERS = [("Content-Type", "text/plain"), ("Content-Length", str(len(VERSION)))]


def wsgi(environ, start_response):
    if environ["PATH_INFO"] == "/slow":
        time.sleep(0.5)
    start_response("200 OK", HEADERS)
    return [VERSION]


if content["fails"] == "exit-4":
    del wsgi
