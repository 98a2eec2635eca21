package proc

import (
	"strconv"
	"strings"

	"github.com/stablehand/stablehand/internal/pattern"
)

var inotifyMask = pattern.New(`(?m)^inotify .*\bmask:([0-9a-f]+) `)

// InotifyMasks lists for what events a process watches, each once: the masks of
// inotify_add_watch(2), as /proc/PID/fdinfo has them.
func InotifyMasks(pid int) (masks []uint32, err error) {
	descriptors, err := Descriptors(pid)
	if err != nil {
		return nil, err
	}
	seen := make(map[uint32]bool)
	for _, d := range descriptors {
		if d.Target != "anon_inode:inotify" {
			continue
		}
		info, err := readFile(strings.Replace(d.Link, "/fd/", "/fdinfo/", 1))
		if err := because(pid, "look at a descriptor of", err); err != nil {
			if gone(err) {
				continue
			}
			return masks, err
		}
		for _, found := range inotifyMask().FindAllSubmatch(info, -1) {
			mask, err := strconv.ParseUint(string(found[1]), 16, 32)
			if one := uint32(mask); err == nil && !seen[one] {
				seen[one] = true
				masks = append(masks, one)
			}
		}
	}
	return masks, nil
}
