"""Settings, of which those that are to change come from a mounted file."""

import json
import os
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent

# What is missing in the file or no JSON fails here, and so before the new
# generation serves anything.
mounted = json.loads((Path(os.environ.get("CONFIG_DIR", BASE_DIR / "config")) / "settings.json").read_text())

GREETING = mounted["GREETING"]
SECRET_KEY = mounted["SECRET_KEY"]
ALLOWED_HOSTS = mounted["ALLOWED_HOSTS"]
DEBUG = False

ROOT_URLCONF = "mysite.urls"
WSGI_APPLICATION = "mysite.wsgi.application"
USE_TZ = True
