"""A FastAPI application whose greeting comes from a mounted file."""

import asyncio
import json
import logging
import os
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import PlainTextResponse

# What is missing in the file or no JSON fails here, and so before the new
# generation serves anything.
settings = json.loads((Path(os.environ.get("CONFIG_DIR", "config")) / "settings.json").read_text())
greeting = settings["greeting"]

log = logging.getLogger("gunicorn.error")


@asynccontextmanager
async def lifespan(app: FastAPI):
    log.info("startup: %s", greeting)
    # Stands for what an application does here: connections, caches, models.
    await asyncio.sleep(settings["startup_seconds"])
    log.info("started: %s", greeting)
    yield
    log.info("shutdown: %s", greeting)


app = FastAPI(lifespan=lifespan)


@app.get("/", response_class=PlainTextResponse)
async def index() -> str:
    return greeting + "\n"
