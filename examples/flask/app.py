"""A Flask application whose greeting comes from gunicorn.conf.py."""

import os
import time

from flask import Flask

# Stands for what an application does while it loads: imports, models, caches.
time.sleep(float(os.environ.get("LOAD_SECONDS", "0")))

app = Flask(__name__)
greeting = os.environ.get("GREETING", "Hello")


@app.get("/")
def index():
    return greeting + "\n"
