// Package watch says when the content behind some paths has changed.
//
// Content decides, not events: an event only makes the watcher look, and it
// reports when the digest of what the paths resolve to differs from the one
// that was last reported, and has been quiet for the debounce time. So a
// touch, a rewrite of the same bytes or the kubelet's resync is nothing, and
// every way in which content really changes is seen once: a write in place, a
// rename over it, a symlink swapped anywhere on the way to it, a directory
// that appears later.
//
// What counts as content:
//
//   - Of a file: its bytes. Not its mode, owner, times, or inode.
//   - Of a directory: the relative names of the files below it and their
//     bytes. Symlinks in it are followed. Empty directories, FIFOs, sockets and
//     devices count for nothing. Names that match [Options.Ignore] are left
//     out, and so are names that begin with two dots: these are the kubelet's
//     own (..data), reached through the symlinks that count. What
//     [Options.LeaveOut] names is left out, too.
//   - Of a glob: the names that match, and their content. Where nothing does, it
//     is gone.
//   - Of a path that is gone, or can't be read: what it last was. A path that
//     goes is warned of and not reported; when it comes back, its content
//     decides.
//
// Each path is resolved one component after another, and every directory on
// the way is watched for the one name that is looked up in it, so that a
// swapped symlink, a renamed ancestor or the appearance of a missing one is
// seen, and an event for any other name in a busy directory makes it look at
// nothing.
//
// What it can't see by itself, and [Options.Poll] is for: changes made on
// another machine or below a mount that passes on no events, and writes through
// mmap or by a hard link elsewhere. What no looking can see is warned of: a file
// that replaces one on the host, where that one is a mount point here, whether it
// is watched by its name, by its directory's or by a glob.
//
// A file system may leave a call unanswered for ever. After 2 s it is warned of,
// and what is watched there counts as it was, until it answers: then it is looked
// at again, and what has changed is reported. Neither [New] nor [Watcher.Close]
// waits for it, and the paths on other file systems are watched as ever. What is
// left meanwhile is a goroutine with its thread, and an inotify instance.
//
// It knows nothing of gunicorn, and nothing of what a change is good for.
package watch
