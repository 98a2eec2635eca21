"""Writes gunicorn's lines, and the application's, as stablehand writes its own."""

import json
import logging
import sys
from datetime import datetime, timezone

workers = 2

# The master loads the application, for all its workers: one that it replaces, after
# a timeout or max_requests, loads nothing that was broken on disk meanwhile.
preload_app = True


class Lines(logging.Formatter):
    """One line of JSON for each record, with stablehand's words for what both have."""

    def format(self, record):
        line = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(),
            "level": record.levelname,
            "msg": record.getMessage(),
            "logger": record.name,
            "pid": record.process,
        }
        if record.name == "gunicorn.access":
            asked = record.args  # by the names of gunicorn's access_log_format; took is in seconds
            line["msg"] = asked["r"]
            line |= {"client": asked["h"], "status": int(asked["s"]), "took": asked["D"] / 1e6}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


# What it does not name stays as gunicorn has it: --log-level, say.
logconfig_dict = {
    "formatters": {"lines": {"()": Lines}},
    "handlers": {"lines": {"class": "logging.StreamHandler", "formatter": "lines", "stream": "ext://sys.stderr"}},
    "root": {"level": "INFO", "handlers": ["lines"]},
    "loggers": {
        "gunicorn.error": {"handlers": ["lines"], "propagate": False},
        "gunicorn.access": {"handlers": ["lines"], "propagate": False},
    },
}


# What ends the master, as an application that cannot be loaded does, and Python's
# warnings are lines, too.
def ends(kind, error, traceback):
    logging.getLogger("gunicorn.error").critical("gunicorn ends", exc_info=(kind, error, traceback))


sys.excepthook = ends
logging.captureWarnings(True)
