// Package pattern has regular expressions that are compiled when they are first needed.
// A start needs few of them, and all of them would hold up the command by some tenths of a
// millisecond.
package pattern

import (
	"regexp"
	"sync"
)

// New returns what compiles expr once, when it is first called. It panics then if that is
// none.
func New(expr string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expr) })
}
