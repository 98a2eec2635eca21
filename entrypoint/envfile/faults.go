package envfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"github.com/stablehand/stablehand/internal/pattern"
	"github.com/stablehand/stablehand/internal/small"
)

// A fault is what is wrong, and what would be right. Its words are the same
// whatever it was found in, which may be a secret.
type fault struct{ wrong, right string }

var (
	noSeparator = fault{"there is no =", "write NAME=value, or # before a comment"}
	openQuotes  = fault{"a quote is not closed", `close it on the same line; the end of a line in a value is \n in double quotes`}
	badEscape   = fault{"what follows a backslash in double quotes is no escape", `these are: \" \\ \/ \b \f \n \r \t \uXXXX`}
	control     = fault{"there is a control character in the value", `write it in double quotes, as \t or \u001b`}
	longLine    = fault{"the line is longer than 64 KiB", "have a directory with a file for this variable"}
	tooLarge    = fault{"it is larger than 1 MiB", "see whether it is the right file: no environment is as large"}
	noName      = fault{"this cannot be a variable's name", "use A to Z, a to z, 0 to 9 and _ only, and no digit first"}
	reserved    = fault{"names that begin with " + prefix + " are for stablehand's own environment", "set it there, or use another name"}
	nul         = fault{"there is a NUL in the value, which no variable can hold", "encode the value, as in base64"}
	tooLong     = fault{"it is longer than the kernel lets a variable be", "have the variable name a file with the value"}
)

// prefix begins the names that are not for the files.
const prefix = "STABLEHAND_"

// at is the fault as it is told, with its place.
func (f fault) at(place string) error {
	return fmt.Errorf("%s: %s: %s", place, f.wrong, f.right)
}

// shown is a path as it is told, in one line.
func shown(path string) string {
	if quoted := strconv.Quote(path); path == "" || quoted != `"`+path+`"` {
		return quoted
	}
	return path
}

// unreadable says why nothing was read at a place that has a name already.
func unreadable(place string, err error) error {
	right := "see that it is there, and that this user may read it"
	switch of, ok := errors.AsType[*fs.PathError](err); {
	case ok:
		err = of.Err
	case errors.Is(err, small.ErrHangs):
		err, right = small.ErrHangs, "see what is mounted there, and whether its other side is alive"
	case errors.Is(err, small.ErrNoFile):
		err, right = small.ErrNoFile, "have a regular file there, or a directory"
	}
	return fmt.Errorf("%s: %w: %s", place, err, right)
}

// variableName is one that every shell can use.
var variableName = pattern.New(`^[A-Za-z_][A-Za-z0-9_]*$`)

// maxEntry is MAX_ARG_STRLEN of execve(2): of NAME=value and the NUL at its end.
// With more no program is started at all (E2BIG).
var maxEntry = 32 * os.Getpagesize()

// wrongWith finds what is wrong with a variable, wherever it was read.
func wrongWith(v Variable) *fault {
	switch {
	case !variableName().MatchString(v.Name):
		return &noName
	case strings.HasPrefix(v.Name, prefix):
		return &reserved
	case strings.ContainsRune(v.Value, 0):
		return &nul
	case len(v.Name)+len("=")+len(v.Value)+1 > maxEntry:
		return &tooLong
	}
	return nil
}
