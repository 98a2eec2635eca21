package gunicorn

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/stablehand/stablehand/internal/proc"
)

// blindness is why the process table keeps from us what a master holds open, and
// what to do about it. It asks what the kernel asks (__ptrace_may_access and
// cap_ptrace_access_check), capabilities first: who gets some by an exec is no
// longer dumpable either. Yama's ptrace_scope has no say where nothing is attached
// to.
func blindness(pid int) (reason, do string) {
	them, err := proc.CredentialsOf(pid)
	if errors.Is(err, fs.ErrPermission) {
		return "/proc is mounted with hidepid", "mount it without, or run stablehand as gunicorn's user"
	}
	us, err2 := proc.CredentialsOf(os.Getpid())
	if err = errors.Join(err, err2); err != nil {
		return err.Error(), ""
	}
	const orTrace = ", or with the capability SYS_PTRACE"
	missing := them.Permitted &^ us.Effective
	switch {
	case them.UIDs != us.UIDs:
		return differ("user", them.UIDs, us.UIDs), "run stablehand as gunicorn's user" + orTrace
	case them.GIDs != us.GIDs:
		return differ("group", them.GIDs, us.GIDs), "run stablehand as gunicorn's group" + orTrace
	case missing != 0:
		return "gunicorn has capabilities that stablehand has not: " + capabilities(missing), whenCapable(missing)
	case !them.Dumpable:
		return "gunicorn is not dumpable: it hides by prctl(PR_SET_DUMPABLE), or its interpreter may be run and not read",
			"undo that, or run stablehand with the capability SYS_PTRACE"
	}
	return "a security module of the kernel keeps gunicorn from us", "see AppArmor's or SELinux's log on the host"
}

// differ names the first IDs that do: an ordinary program has one of each kind.
func differ(what string, them, us [3]int) string {
	for i := range them {
		if them[i] != us[i] {
			return fmt.Sprintf("gunicorn runs as %s %d, stablehand as %d", what, them[i], us[i])
		}
	}
	return ""
}

// bindService is CAP_NET_BIND_SERVICE.
const bindService = 10

// whenCapable is what to do where a master has got capabilities by itself.
func whenCapable(missing uint64) string {
	do := "take them from its interpreter, by setcap -r; "
	if missing&(1<<bindService) != 0 {
		do += "for a low port set the sysctl net.ipv4.ip_unprivileged_port_start; "
	}
	return do + "or give stablehand the same as ambient ones, or SYS_PTRACE"
}

// capabilities names those of a set, as capabilities(7) does.
func capabilities(set uint64) string {
	var names []string
	for n := range 64 {
		switch {
		case set&(1<<n) == 0:
		case n < len(capabilityNames):
			names = append(names, "CAP_"+capabilityNames[n])
		default:
			names = append(names, fmt.Sprint(n))
		}
	}
	return strings.Join(names, ",")
}

// capabilityNames are in the order of the kernel's include/uapi/linux/capability.h.
var capabilityNames = strings.Fields(`
	CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID
	SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER
	SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE
	SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP
	MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF
	CHECKPOINT_RESTORE`)
