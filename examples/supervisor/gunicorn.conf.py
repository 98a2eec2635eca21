workers = 2
raw_env = ["GREETING=hello"]

# How long a request may take once gunicorn is told to stop. supervisord.conf has
# what must be longer.
graceful_timeout = 30
