package entrypoint

import "github.com/stablehand/stablehand/internal/version"

// Version is what this binary calls itself: v1.2.3, or devel.
func Version() string { return version.Read().Version }
