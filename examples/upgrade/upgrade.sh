#!/bin/sh
# Upgrades what gunicorn runs with, or goes back: upgrade.sh LINK WORD...
#
# Builds a virtual environment beside LINK with what the words tell pip to
# install, makes LINK lead to it, and has stablehand hand over. Where that fails,
# LINK leads to the old one again and the new one is removed. Where there is no
# LINK yet, this is the first one. $PYTHON is the Python to build it with, by
# default python3.
set -eu
[ $# -ge 2 ] || { echo "usage: $0 LINK WORD..., as in $0 /srv/venv gunicorn==27.0.1" >&2; exit 2; }
link=$1
shift
if [ -e "$link" ] && [ ! -L "$link" ]; then
	echo "$link is not a symlink" >&2
	exit 2
fi

# In one step: no moment without an environment. A run that was killed may have
# left LINK.new.
lead() {
	ln -sfn "$1" "$link.new"
	mv -T "$link.new" "$link"
}

# Always a new directory: what runs was started from the old one.
new=$link-$(date +%Y%m%dT%H%M%S)
mkdir "$new"
trap 'rm -rf "$new"' EXIT
trap 'exit 1' HUP INT TERM
"${PYTHON:-python3}" -m venv "$new"
"$new/bin/pip" install --quiet --disable-pip-version-check "$@"

# From here on a signal is not to end it half-way. Ctrl-C ends reload's wait.
trap '' HUP INT TERM
old=
[ ! -L "$link" ] || old=$(readlink "$link")
lead "$(basename "$new")"
trap - EXIT
[ "$old" ] || exit 0
code=0
stablehand reload || code=$?
if [ $code = 0 ]; then
	echo "$link leads to $(basename "$new"), no longer to $old"
	exit
fi
lead "$old"
echo "$link leads to $old as before" >&2
[ $code != 3 ] || echo "nobody was asked to hand over: be stablehand's user, or root with its STABLEHAND_CONTROL" >&2

# The handoff may go on where reload was cut off, or stablehand itself was.
if [ $code = 3 ] || { [ $code = 1 ] && stablehand healthcheck >/dev/null; }; then
	rm -rf "$new"
else
	echo "$new stays, since gunicorn may run from it: see stablehand status" >&2
fi
exit $code
