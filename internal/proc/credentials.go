package proc

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// Credentials are what decides who may look into a process.
type Credentials struct {
	UIDs, GIDs           [3]int // real, effective and saved
	Permitted, Effective uint64 // its capabilities
	Dumpable             bool   // its files in /proc are its user's own; see PR_SET_DUMPABLE in prctl(2)
}

// CredentialsOf reads those of a process. Everybody may, unless /proc is mounted
// with hidepid: then the error is fs.ErrPermission.
func CredentialsOf(pid int) (c Credentials, err error) {
	var st unix.Stat_t
	if err := because(pid, "look at", unix.Stat(fmt.Sprintf("/proc/%d/stat", pid), &st)); err != nil {
		return c, err
	}
	for _, ids := range []struct {
		field string
		into  *[3]int
	}{{"Uid", &c.UIDs}, {"Gid", &c.GIDs}} {
		text, err := Status(pid, ids.field)
		if err != nil {
			return c, err
		}
		if _, err := fmt.Sscan(strings.TrimSpace(text), &ids.into[0], &ids.into[1], &ids.into[2]); err != nil {
			return c, fmt.Errorf("read the %s of process %d: %w", ids.field, pid, err)
		}
	}
	c.Dumpable = int(st.Uid) == c.UIDs[1]
	if c.Permitted, err = Set(pid, "CapPrm"); err != nil {
		return c, err
	}
	c.Effective, err = Set(pid, "CapEff")
	return c, err
}
