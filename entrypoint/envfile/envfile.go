package envfile

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/stablehand/stablehand/internal/small"
)

// maxFile is far more than all that an environment is good for, in bytes.
const maxFile = 1 << 20

// Variable is one variable of an environment.
type Variable struct{ Name, Value string }

// Read reads the files and directories in their order; a later one wins. It
// returns the variables sorted by name, each name once, or an error that joins all
// that is wrong. It waits until ctx ends, and leaves a file system that does not
// answer to itself.
func Read(ctx context.Context, paths []string) ([]Variable, error) {
	found := make([][]Variable, len(paths))
	errs := make([]error, len(paths))
	var all sync.WaitGroup
	for i, path := range paths { // at once: one that hangs leaves the others their time
		all.Go(func() { found[i], errs[i] = read(ctx, path) })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return sorted(slices.Concat(found...)), nil
}

// read reads a file or a directory.
func read(ctx context.Context, path string) ([]Variable, error) {
	content, info, err := small.Read(ctx, path, maxFile+1, 0)
	switch {
	case info != nil && info.IsDir():
		return readDirectory(ctx, path)
	case err != nil:
		return nil, unreadable(shown(path), err)
	case len(content) > maxFile:
		return nil, tooLarge.at(shown(path))
	}
	return parse(shown(path), content)
}

// sorted has the last variable of each name.
func sorted(list []Variable) []Variable {
	values := make(map[string]string)
	for _, v := range list {
		values[v.Name] = v.Value
	}
	var once []Variable
	for _, name := range slices.Sorted(maps.Keys(values)) {
		once = append(once, Variable{name, values[name]})
	}
	return once
}

// Merge is base, entries of the form NAME=value, with the variables in place of
// those of the same name.
func Merge(base []string, vars []Variable) []string {
	merged := slices.DeleteFunc(slices.Clone(base), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return slices.ContainsFunc(vars, func(v Variable) bool { return v.Name == name })
	})
	for _, v := range vars {
		merged = append(merged, v.Name+"="+v.Value)
	}
	return merged
}
