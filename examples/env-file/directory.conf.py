"""Puts the files of a mounted Secret or ConfigMap into the environment, each by its name."""

import os
from pathlib import Path

for file in Path(os.environ.get("ENV_DIR", "/etc/app/env")).iterdir():
    if not file.name.startswith("."):  # the kubelet's own, ..data
        os.environ[file.name] = file.read_text(encoding="utf-8").rstrip("\n")

workers = 2

# The master loads the application, for all its workers: one that it replaces, after
# a timeout or max_requests, loads nothing that was broken on disk meanwhile.
preload_app = True
