# The static binary, for any image that has gunicorn in it:
#
#   COPY --from=stablehand /stablehand /usr/local/bin/
#
# is had with `docker build --target binary -t stablehand .`, for another
# architecture with `--platform linux/arm64` added (BuildKit): Go compiles
# for it without emulation. .git stays outside: `make image` says by build arguments
# what `stablehand version` is to tell. The last stage is the Flask example, ready to run.

ARG GO_IMAGE=golang:1.26
ARG PYTHON_IMAGE=python:3-slim

# The classic builder knows no BUILDPLATFORM, and builds for its own machine.
FROM --platform=${BUILDPLATFORM:-linux} ${GO_IMAGE} AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY cmd cmd
COPY entrypoint entrypoint
COPY internal internal
COPY reaper reaper
ARG TARGETARCH
ARG version
ARG commit
ARG date
ARG of=github.com/stablehand/stablehand/internal/version
RUN CGO_ENABLED=0 GOARCH=$TARGETARCH go build -trimpath -tags=nethttpomithttp2 \
    -ldflags="-s -X $of.version=$version -X $of.commit=$commit -X $of.date=$date" -o /stablehand ./cmd/stablehand

FROM scratch AS binary
COPY --from=build /stablehand /stablehand
ENTRYPOINT ["/stablehand"]

FROM ${PYTHON_IMAGE} AS example
WORKDIR /app
COPY examples/flask/requirements.txt ./
RUN python3 -m venv /venv && /venv/bin/pip install --no-cache-dir --requirement requirements.txt
ENV PATH=/venv/bin:$PATH
COPY --from=binary /stablehand /usr/local/bin/stablehand
COPY examples/flask/app.py examples/flask/gunicorn.conf.py ./
# A user without a home: gunicorn puts its control socket there.
ENV HOME=/tmp
USER nobody
ENV STABLEHAND_WATCH=gunicorn.conf.py,app.py
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=2m CMD ["stablehand", "healthcheck"]
ENTRYPOINT ["stablehand"]
CMD ["--bind=0.0.0.0:8000", "app:app"]
