// Package sockets opens the sockets that listen, for generations that each have
// their own, and steers new connections to those of one of them.
//
// What it promises:
//
//   - An address that somebody else has is an error, and who has one of ours
//     cannot be overlooked: nobody is steered where others listen, too.
//   - From the first [Sockets.Steer] on, until [Sockets.Close], there is a socket
//     for each connection at every instant, as long as a [Listener] is left; and
//     it is that of the Listener that was steered to last.
//   - A Listener that has not been steered to hears nothing while another one is
//     there. The very first of all is alone, and hears what comes from [Sockets.Add]
//     on: until somebody accepts, it waits.
//
// A connection is the Listener's that its SYN came to, and stays so. There are two
// Listeners at the most: the present one, and one to come.
//
// # TCP
//
// The sockets of one address are a group (SO_REUSEPORT), and a filter on the group
// (SO_ATTACH_REUSEPORT_CBPF) says who takes a new connection: a place in it, counted
// from 0. A socket joins at listen(2), at the end; when one leaves, the last one takes
// its place; and a place that nobody is in is as good as no filter: the kernel draws
// one of the group. (net/core/sock_reuseport.c in the kernel.)
//
// So, with two at the most, places are known. The older one is at 0, the newer at 1.
// Whichever leaves, the other one is, or comes, to 0. A filter that says 1 then draws
// from a group of one, which is right, and must say 0 before another one joins.
//
// [Listener.Dial] comes to one of them wherever others go. The filter sees all of a SYN, by
// SKF_NET_OFF of linux/filter.h: the client's end is bound before it connects, and the
// filter then has a part for that address and port, which names another place. It is there
// until the connection is closed, since the handshake may end late; each filter that is set
// meanwhile, as by a steer, has it, too. (Seen with IPv4, IPv6 and both at one socket, and
// as a user without any capability.)
//
// That holds while nobody else is in the group, which any process of the same user
// can enter. Before a socket joins, and before new connections are steered, the kernel
// is asked who listens there. Who enters after that comes after ours, and moves none.
//
// Of a socket that was left over, by a process like ours that has ended, we have no
// descriptor, and others may close it at any time: the next one then comes to its place.
// With two in a group that moves nobody from where the filter says, or leaves one alone.
// As the filter can be set by who is in the group only, a socket of ours joins it for that
// where none is there, hears nothing, and leaves. The one of ours that is to stay joins
// when there is one of those left, at the end.
//
// # Unix sockets
//
// Each is bound beside the path, to a name of its own. To steer is to rename a link to
// it over the path, so that there is always something to connect to.
//
// # Where the kernel has no filter
//
// Then, as in gVisor, or where a service manager has opened the sockets, all Listeners
// share one socket for each address, and [Sockets.Unsteered] says why.
//
// It knows nothing of who listens, or what for.
package sockets
