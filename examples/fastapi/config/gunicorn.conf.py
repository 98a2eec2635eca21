wsgi_app = "app:app"
workers = 3

# gunicorn's own worker for ASGI, from gunicorn 25 on. uvicorn's is
# "uvicorn_worker.UvicornWorker".
worker_class = "asgi"

# The master loads the application, for all its workers: one that it replaces, after
# a timeout or max_requests, loads nothing that was broken on disk meanwhile.
preload_app = True
# The lifespan is each worker's own all the same.
