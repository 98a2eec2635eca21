# Mount your own directory over this one, /etc/app, and edit it while the
# container runs.
raw_env = ["GREETING=Hello, version 1"]

workers = 2

# The master loads the application, for all its workers: one that it replaces, after
# a timeout or max_requests, loads nothing that was broken on disk meanwhile.
preload_app = True
