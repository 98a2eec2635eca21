"""An application whose greeting comes from the environment, as its secrets would."""

import os

greeting = os.environ.get("GREETING", "no greeting")
banner = os.environ.get("BANNER", "no banner")


def app(environ, start_response):
    body = f"{greeting}, {banner}\n".encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
