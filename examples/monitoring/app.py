"""An application that counts its requests for Prometheus, over all workers."""

from prometheus_client import Counter

requests = Counter("app_requests", "Requests that were answered.")


def app(environ, start_response):
    requests.inc()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"counted\n"]
