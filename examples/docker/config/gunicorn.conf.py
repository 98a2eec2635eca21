# Mount your own directory over this one, /etc/app, and edit it while the
# container runs.
raw_env = ["GREETING=Hello, version 1"]

workers = 2
