# Change the greeting while the example runs, save, and ask again.
raw_env = ["GREETING=Hello, version 1"]

workers = 3

# The master loads the application, for all its workers: one that it replaces, after
# a timeout or max_requests, loads nothing that was broken on disk meanwhile.
preload_app = True
