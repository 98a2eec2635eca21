package gunicorn

import "time"

// To list what a generation has takes the longer the more there is. It may take one part
// of so many of the time, beside the looks at the workers.
const (
	listShareStarting = 40
	listShareSoaking  = 200
)

// sparing keeps what may take long from being done too often.
type sparing struct{ next time.Time }

// do does something unless it was done within the last while, or would take more of the
// time than one part of share.
func (s *sparing) do(every time.Duration, share int, what func()) {
	begun := time.Now()
	if begun.Before(s.next) {
		return
	}
	what()
	s.next = begun.Add(max(every, time.Duration(share)*time.Since(begun)))
}
