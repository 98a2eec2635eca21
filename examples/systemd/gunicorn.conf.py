# Edit this file while the service runs.
raw_env = ["GREETING=Hello, version 1"]

workers = 2

# The master loads the application, for all its workers: one that it replaces, after
# a timeout or max_requests, loads nothing that was broken on disk meanwhile.
preload_app = True

# Where a proxy on this machine asks, 127.0.0.1:8000. With app.socket the address
# is said there.
bind = "0.0.0.0:8000"
