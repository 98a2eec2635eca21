#!/bin/sh
# Migrates, and then becomes gunicorn.
set -e
python3 migrate.py
exec gunicorn "$@"
