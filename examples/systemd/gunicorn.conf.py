# Edit this file while the service runs.
raw_env = ["GREETING=Hello, version 1"]

workers = 2

# Where a proxy on this machine asks, 127.0.0.1:8000. With app.socket the address
# is said there.
bind = "0.0.0.0:8000"
