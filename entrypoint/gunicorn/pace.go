package gunicorn

import "time"

// pace is how long a master takes from one worker to the next. A master forks them
// one after another (Arbiter.spawn_workers): it makes a worker's file, calls
// pre_fork, forks, and pauses for up to 0.1 s. Only what comes before the file is
// meant here: while it is in pre_fork, it has a worker's file without a heartbeat,
// so that nobody takes it to have them all.
//
// Before there is a second worker only the first tells how long one takes: from when
// the master had its handlers, which with --preload is after the application was
// loaded (20.1.0 and 27.0.1). when_ready comes after them, too, so that this may be
// too long, and it is forgotten as soon as the second worker is there.
//
// A worker that takes another's place is nothing to wait for, unless that one was
// lost: where max_requests is small and many ask, there is always one.
type pace struct {
	from    time.Time     // since when the next worker is to come
	longest time.Duration // that it took for one to come
	changed time.Time     // when there was last one more than ever, or one was lost
	looked  time.Time     // when was looked last
	full    time.Time     // when there were then as many as ever

	files, workers, lost int // that there were at the most
	there                int // the same, of files or of workers
}

// look notes what a look has shown: whether the master has its handlers, whether it
// has forked since the last one, how many files it has, and its workers.
func (p *pace) look(handlers, forked bool, files int, workers Workers) {
	now := time.Now()
	p.looked = now
	if p.from.IsZero() && handlers {
		p.from = now
	}
	if forked && files > workers.All { // the newest file is that of a worker to come
		p.from = now
	}
	if there := max(files, workers.All); there > p.there { // of one that came since the files were read there is no file yet
		if p.there == 1 {
			p.longest = 0
		}
		if !p.from.IsZero() {
			p.longest = max(p.longest, now.Sub(p.from))
		}
		p.there = there
	}
	if forked {
		p.from = now
	}
	if files >= p.files {
		p.full = now
	}
	if files > p.files || workers.All > p.workers || workers.Lost > p.lost || p.changed.IsZero() {
		p.changed = now
	}
	p.files, p.workers, p.lost = max(p.files, files), max(p.workers, workers.All), workers.Lost
}

// over says whether there are as many workers as ever, and have been for least, and
// for clearly longer than one more could take.
func (p *pace) over(least time.Duration) bool {
	fewer := p.looked.After(p.full)
	if fewer && time.Since(p.full) < settledBelow {
		return false // one is being replaced
	}
	return time.Since(p.changed) >= max(least, p.longest+p.longest/2)
}
