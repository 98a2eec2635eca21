"""One certificate for each generation, read and checked when it starts."""

import os
import ssl

certfile = os.environ.get("CERTFILE", "/etc/letsencrypt/live/app.example.com/fullchain.pem")
keyfile = os.environ.get("KEYFILE", "/etc/letsencrypt/live/app.example.com/privkey.pem")

# A pair that is broken or does not match ends this generation here, before it has
# a worker: stablehand rolls back.
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
context.load_cert_chain(certfile, keyfile)


# By itself gunicorn reads both files again for each connection, also while they
# are being written, and also in the generation that serves on after a rollback.
def ssl_context(conf, default_ssl_context_factory):
    return context


workers = 3

# The master loads the application, for all its workers: one that it replaces, after
# a timeout or max_requests, loads nothing that was broken on disk meanwhile.
preload_app = True
