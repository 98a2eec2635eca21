"""An application that takes LOAD_SECONDS to load and answers with its VERSION.

Both come from gunicorn.conf.py, by raw_env.
"""

import os
import time

time.sleep(float(os.environ.get("LOAD_SECONDS", "0")))
VERSION = os.environ.get("VERSION", "no version").encode()
HEADERS = [("Content-Type", "text/plain"), ("Content-Length", str(len(VERSION)))]


def wsgi(environ, start_response):
    start_response("200 OK", HEADERS)
    return [VERSION]


async def asgi(scope, receive, send):
    if scope["type"] == "lifespan":
        return await lifespan(receive, send)
    headers = [(name.lower().encode(), value.encode()) for name, value in HEADERS]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": VERSION})


async def lifespan(receive, send):
    while True:
        event = (await receive())["type"]
        await send({"type": event + ".complete"})
        if event == "lifespan.shutdown":
            return
