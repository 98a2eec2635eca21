"""Puts the variables of an env file into the environment of this generation."""

import os

from dotenv.parser import parse_stream

path = os.environ.get("ENV_FILE", "env")

# What is wrong ends this generation here: stablehand rolls back. The line itself is
# not shown, since it may hold a secret. (dotenv_values() would leave it out, and
# take a missing file for an empty one.)
with open(path, encoding="utf-8") as file:
    for binding in parse_stream(file):
        if binding.error or binding.key and binding.value is None:
            line = binding.original.line
            raise SystemExit(f"{path}: what begins at line {line} is not NAME=VALUE")
        if binding.key:
            os.environ[binding.key] = binding.value

workers = 2

# The master loads the application, for all its workers: one that it replaces, after
# a timeout or max_requests, loads nothing that was broken on disk meanwhile.
preload_app = True
