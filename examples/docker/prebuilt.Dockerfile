# The same image as the Dockerfile's stage "binary" at the top, of a binary that
# was compiled outside. This is the way to another architecture for the classic
# builder. At the top of the repository:
#
#   CGO_ENABLED=0 GOARCH=arm64 go build -trimpath -tags=nethttpomithttp2 -ldflags=-s -o bin/arm64/stablehand ./cmd/stablehand
#   docker build --platform linux/arm64 -t stablehand -f examples/docker/prebuilt.Dockerfile bin/arm64

FROM scratch
COPY stablehand /stablehand
ENTRYPOINT ["/stablehand"]
