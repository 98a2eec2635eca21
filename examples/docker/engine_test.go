// Package docker shows in real containers what stablehand promises of them, and
// that the Dockerfiles and the docker-compose.yml of this repository work.
package docker

import (
	"os"
	"testing"

	"github.com/stablehand/stablehand/internal/docker"
)

// top is the top of the repository.
const top = "../.."

func TestMain(m *testing.M) { os.Exit(docker.Main(m)) }
