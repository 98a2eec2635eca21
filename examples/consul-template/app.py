"""An application whose greeting comes from config/settings.json."""

import json

with open("config/settings.json", encoding="utf-8") as file:
    body = (json.load(file)["greeting"] + "\n").encode()


def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
