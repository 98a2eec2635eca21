// Package proc reads the process table, and ends what stands in it.
//
// What it promises:
//
//   - What cannot be listed is not gone. A process is gone when the kernel says
//     so (ENOENT, ESRCH); then the error wraps [os.ErrProcessDone], or, in a
//     list, it is left out. Any other error is handed on, beside what could be
//     listed, and nothing here takes it for an empty list.
//   - A signal reaches the process that was listed or none, also when its pid
//     has been given to another one meanwhile.
//   - [End] leaves nothing of a tree behind, or says what outlives it.
//   - A process that has used up its descriptors can still list and end its
//     children, see [Hold].
//
// What it cannot see: where /proc is mounted with hidepid=2, the kernel says of
// other users' processes that there are none.
//
// It is Linux's own /proc that is read, with CONFIG_PROC_CHILDREN, and by
// nobody else: no other package opens a file below it. It knows nothing of what
// a process is for.
package proc
