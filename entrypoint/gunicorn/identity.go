package gunicorn

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/kballard/go-shellquote"

	"github.com/stablehand/stablehand/internal/pattern"
	"github.com/stablehand/stablehand/internal/proc"
)

// Identity is by what a gunicorn that runs is known to be a command's own: the
// words of both, GUNICORN_CMD_ARGS, as ReadWords takes them, and where it runs: two
// sites may well be started with the same words.
type Identity struct {
	Argv    []string
	CmdArgs string
	Dir     string // in which gunicorn works, as far as its words tell; empty: anywhere
}

// Digest stands for the identity: the same for the same command.
func (o Identity) Digest() string {
	sum := sha256.Sum256([]byte(strings.Join(append(slices.Clone(o.Argv), o.CmdArgs), "\x00")))
	return hex.EncodeToString(sum[:])
}

// Command stands for the words and the name of the directory, whatever the environment.
func (o Identity) Command() string {
	sum := sha256.Sum256([]byte(strings.Join(append(slices.Clone(o.Argv), o.Dir), "\x00")))
	return hex.EncodeToString(sum[:8])
}

// errUnknownWords is the error of a gunicorn of which it cannot be told what it was
// started with.
var errUnknownWords = errors.New("a gunicorn whose words cannot be told")

// otherWords is the error of a gunicorn that was started with others than ours.
type otherWords struct {
	error
	words []string
}

// proves returns nil where a process was started by the command, as far as its
// words show. Otherwise the error says what the process is.
//
// gunicorn's words are those after its name. They are compared with the command's
// one by one, and so is GUNICORN_CMD_ARGS, where it can be read. Of a line of shell
// the words count that no shell has to expand; such a line may set
// GUNICORN_CMD_ARGS, too. A command that does not name gunicorn shows nothing but
// GUNICORN_CMD_ARGS. Where setproctitle has written over the words, which takes the
// environment as well, nothing is shown.
func (o Identity) proves(pid int) error {
	argv, err := proc.Cmdline(pid)
	if err != nil {
		return err
	}
	words, is, titled := readLine(argv)
	switch {
	case !is:
		return errors.New("alive but no gunicorn master")
	case titled:
		return errUnknownWords
	}
	args, unread := proc.Environ(pid, cmdArgs)
	if unread != nil && !errors.Is(unread, fs.ErrPermission) {
		return unread
	}
	own, named := gunicornWords(o.Argv)
	shell := named && !slices.ContainsFunc(o.Argv, isProgram) && moduleAt(o.Argv, "gunicorn", wsgiapp) == 0
	switch {
	case !named && unread != nil:
		return errUnknownWords
	case named && !shell && !slices.Equal(words, own), shell && !expands(own, words):
		return otherWords{errors.New("another command's gunicorn"), words}
	case !shell && unread == nil && args != o.CmdArgs:
		words, _ := shellquote.Split(args) // of such that cannot be read none are shown
		return otherWords{errors.New("a gunicorn with another GUNICORN_CMD_ARGS"), words}
	case named && !shell:
		return o.worksHere(pid)
	}
	return nil
}

// worksHere returns nil where a process works in the command's directory, or where that
// cannot be told.
func (o Identity) worksHere(pid int) error {
	here, err := os.Stat(o.Dir)
	there, err2 := os.Stat(proc.DirLink(pid))
	if err != nil || err2 != nil || os.SameFile(here, there) {
		return nil
	}
	dir, _ := proc.Dir(pid)
	return fmt.Errorf("a gunicorn of another directory, %s", dir)
}

// isProgram says whether a word is gunicorn's name, and not a line of shell.
func isProgram(word string) bool {
	return path.Base(word) == "gunicorn" || word == wsgiapp
}

// unexpanded is what a shell replaces by something else.
var unexpanded = pattern.New("[$`*?\\[{~]")

// redirection is one of a shell's, whose file is a word of its own if nothing
// follows.
var redirection = pattern.New(`^\d*(&?>>|&>|>&|>\||<&|<>|<|>)(.*)$`)

// expands says whether a shell can have made words of a line: all that it leaves
// as they are stand there in their order, and nothing else where it leaves all.
func expands(line, words []string) bool {
	all := true
	for i := 0; i < len(line); i++ {
		if r := redirection().FindStringSubmatch(line[i]); r != nil {
			if r[2] == "" {
				i++
			}
			continue
		}
		if unexpanded().MatchString(line[i]) {
			all = false
			continue
		}
		at := slices.Index(words, line[i])
		if at < 0 || all && at > 0 {
			return false
		}
		words = words[at+1:]
	}
	return !all || len(words) == 0
}
