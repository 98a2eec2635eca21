workers = 2
raw_env = ["GREETING=hello"]

# How long a request may take once gunicorn is told to stop. stopwaitsecs in
# supervisord.conf is longer.
graceful_timeout = 30
