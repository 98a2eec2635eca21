#!/bin/sh
# Starts gunicorn, and on HUP hands over as many a script does: USR2, half a minute in
# which the new one is to get ready, and TERM to the old one.
"$@" --pid=gunicorn.pid &
reload() {
	old=$(cat gunicorn.pid)
	kill -USR2 "$old"
	sleep 30
	kill -TERM "$old"
}
trap reload HUP
while :; do
	sleep 86400 &
	wait $!
done
