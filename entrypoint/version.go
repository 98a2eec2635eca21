package entrypoint

import "runtime/debug"

// Version is the module's, as the Go command recorded it in the binary.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	return info.Main.Version
}
