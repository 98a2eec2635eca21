"""An application that loads for LOAD seconds, by sleeping or by computing, and answers with its version.

A version that is "broken" does not load. What has loaded leaves a file in the directory
"loaded", so that it can be awaited.
"""

import os
import pathlib
import time

LOAD = float(os.environ["LOAD"])
if os.environ["LOAD_BY"] == "computing":
    while time.process_time() < LOAD:
        sum(range(10000))
else:
    time.sleep(LOAD)
VERSION = pathlib.Path("version").read_bytes()
if VERSION == b"broken":
    raise RuntimeError("this version does not load")
pathlib.Path("loaded", str(os.getpid())).touch()
HEADERS = [("content-type", "text/plain"), ("content-length", str(len(VERSION)))]
RAW_HEADERS = [(name.encode(), value.encode()) for name, value in HEADERS]


def wsgi(environ, start_response):
    start_response("200 OK", HEADERS)
    return [VERSION]


async def asgi(scope, receive, send):
    if scope["type"] == "lifespan":
        return await lifespan(receive, send)
    await send({"type": "http.response.start", "status": 200, "headers": RAW_HEADERS})
    await send({"type": "http.response.body", "body": VERSION})


async def lifespan(receive, send):
    while True:
        event = (await receive())["type"]
        await send({"type": event + ".complete"})
        if event == "lifespan.shutdown":
            return
