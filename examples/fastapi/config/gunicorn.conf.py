wsgi_app = "app:app"
workers = 3

# gunicorn's own worker for ASGI, from gunicorn 25 on. uvicorn's is
# "uvicorn_worker.UvicornWorker".
worker_class = "asgi"
