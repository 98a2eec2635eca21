"""An application that tells how it was asked: http or https."""


def app(environ, start_response):
    body = (environ["wsgi.url_scheme"] + "\n").encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
