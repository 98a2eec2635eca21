workers = 2
raw_env = ["GREETING=hello"]

# The master loads the application, for all its workers: one that it replaces, after
# a timeout or max_requests, loads nothing that was broken on disk meanwhile.
preload_app = True

# How long a request may take once gunicorn is told to stop. supervisord.conf has
# what must be longer.
graceful_timeout = 30
