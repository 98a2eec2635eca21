#!/bin/sh
# Upgrades what gunicorn runs with, or goes back: upgrade.sh LINK WORD...
#
# Builds a virtual environment beside LINK with what the words tell pip to
# install, makes LINK lead to it, and has stablehand hand over. Where that is
# rolled back, LINK leads to the old one again. Where there is no LINK yet, this
# is the first one. $PYTHON is the Python to build it with, by default python3.
set -eu
[ $# -ge 2 ] || { echo "usage: $0 LINK WORD..., as in $0 /srv/venv gunicorn==27.0.1" >&2; exit 2; }
link=$1
shift

# In one step: no moment without an environment.
lead() {
	ln -s "$1" "$link.new"
	mv -T "$link.new" "$link"
}

# Always a new directory: what runs was started from the old one.
new=$link-$(date +%Y%m%dT%H%M%S)
mkdir "$new"
"${PYTHON:-python3}" -m venv "$new"
"$new/bin/pip" install --quiet --disable-pip-version-check "$@"

if [ ! -L "$link" ]; then
	lead "$(basename "$new")"
	exit
fi
old=$(readlink "$link")
lead "$(basename "$new")"
if ! stablehand reload; then
	lead "$old"
	echo "$link leads to $old as before" >&2
	exit 1
fi
echo "$link leads to $(basename "$new"), no longer to $old"
