#!/bin/sh
# Migrates, once for each container, and then becomes gunicorn. stablehand runs all of
# it again for each generation; a container that is made anew has another /tmp.
set -e
if ! [ -e /tmp/migrated ]; then
	python3 migrate.py
	touch /tmp/migrated
fi
exec gunicorn "$@"
