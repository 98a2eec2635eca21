"""The application of app.py, whose answers come from a dirty worker."""

from gunicorn.dirty import DirtyApp, get_dirty_client

import app


class Version(DirtyApp):
    def version(self):
        return app.VERSION.decode()


def wsgi(environ, start_response):
    version = get_dirty_client().execute("dirtied:Version", "version").encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(version)))])
    return [version]
