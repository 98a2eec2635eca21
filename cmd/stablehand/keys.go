package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// readKeys has a terminal tell of each key at once, and yields them; Ctrl-C stays a
// signal. It is to be left in the end. Where there is no terminal, or it is not ours to
// read, in the background say, no key comes.
func readKeys(terminal *os.File) (keys <-chan byte, leave func()) {
	fd := int(terminal.Fd())
	group, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP)
	if err != nil || group != unix.Getpgrp() {
		return nil, func() {}
	}
	before, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return nil, func() {}
	}
	now := *before
	now.Lflag &^= unix.ICANON | unix.ECHO
	now.Cc[unix.VMIN], now.Cc[unix.VTIME] = 1, 0
	if unix.IoctlSetTermios(fd, unix.TCSETS, &now) != nil {
		return nil, func() {}
	}
	read := make(chan byte)
	go func() {
		for key := make([]byte, 1); ; {
			if n, err := terminal.Read(key); n == 0 || err != nil {
				return // it stays where a key is read that nobody takes: the program ends
			}
			read <- key[0]
		}
	}()
	return read, func() { _ = unix.IoctlSetTermios(fd, unix.TCSETS, before) } // where it fails the terminal has gone
}
