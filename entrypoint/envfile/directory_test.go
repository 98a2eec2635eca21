package envfile

import (
	"fmt"
	"os"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

func TestEachRegularFileOfADirectoryIsAVariable(t *testing.T) {
	p := newPlace(t)
	p.write("directory/A", "1\n")
	p.write("directory/B", "\n1 #\r\n\n")
	p.write("directory/C", "'$A'\t\\n\xff")
	p.write("directory/D", "")
	p.write("directory/E", "\n")
	p.write("directory/_f0", "export A=1")
	p.write("elsewhere/G", "2\n")
	p.must(os.Symlink(p.path("elsewhere/G"), p.path("directory/G")))
	p.must(os.Symlink("../elsewhere/G", p.path("directory/H")))
	p.write("directory/.hidden", "\x00")
	p.write("directory/..hidden", "\x00")
	p.write("directory/sub-directory/I", "3")
	p.must(os.Symlink("../elsewhere", p.path("directory/J")))
	p.must(os.Symlink("directory", p.path("link")))
	want := []Variable{
		{"A", "1"}, {"B", "\n1 #\r\n"}, {"C", "'$A'\t\\n\xff"}, {"D", ""}, {"E", ""}, {"G", "2"}, {"H", "2"}, {"_f0", "export A=1"},
	}
	p.expect(want, "directory")
	p.expect(want, "link")
	p.must(os.Mkdir(p.path("empty"), 0o755))
	p.expect(nil, "empty")
}

func TestWhatCannotBeAVariableIsTold(t *testing.T) {
	p := newPlace(t)
	p.write("directory/A", "1")
	p.write("directory/A-B", "\x00")
	p.write("directory/A.B", "")
	p.write("directory/1", "")
	p.write("directory/NUL", "1\x002")
	p.write("directory/STABLEHAND_WATCH", "/")
	p.must(unix.Mkfifo(p.path("directory/fifo"), 0o600))
	p.must(unix.Mkfifo(p.path("directory/fi-fo"), 0o600))
	p.must(os.Symlink("none", p.path("directory/dangling")))
	noFile := ": it is no regular file: have a regular file there, or a directory"
	p.refuse([]string{
		"directory/1: " + noName.wrong + ": " + noName.right,
		"directory/A-B: " + noName.wrong + ": " + noName.right,
		"directory/A.B: " + noName.wrong + ": " + noName.right,
		"directory/NUL: " + nul.wrong + ": " + nul.right,
		"directory/STABLEHAND_WATCH: " + reserved.wrong + ": " + reserved.right,
		"directory/dangling: no such file or directory: see that it is there, and that this user may read it",
		"directory/fi-fo" + noFile,
		"directory/fi-fo: " + noName.wrong + ": " + noName.right,
		"directory/fifo" + noFile,
	}, "directory")
}

// mount has a directory look as the kubelet's of a ConfigMap does.
func (p *place) mount(name string, vars ...Variable) {
	p.Helper()
	p.must(os.MkdirAll(p.path(name), 0o755))
	p.must(p.swap(name, vars...))
	for _, v := range vars {
		p.must(os.Symlink("..data/"+v.Name, p.path(name+"/"+v.Name)))
	}
}

// swap puts another version in the place of the one that is there, in the order
// of the kubelet (atomic_writer.go).
func (p *place) swap(name string, vars ...Variable) error {
	before, _ := os.Readlink(p.path(name + "/..data"))
	next, err := os.MkdirTemp(p.path(name), "..2026_11_29_")
	if err != nil {
		return err
	}
	for _, v := range vars {
		if err := os.WriteFile(next+"/"+v.Name, []byte(v.Value), 0o644); err != nil {
			return err
		}
	}
	if err := os.Symlink(next[len(p.path(name))+1:], p.path(name+"/..data_tmp")); err != nil {
		return err
	}
	if err := os.Rename(p.path(name+"/..data_tmp"), p.path(name+"/..data")); err != nil || before == "" {
		return err
	}
	return os.RemoveAll(p.path(name + "/" + before))
}

func TestOnlyWhatIsBehindDataIsRead(t *testing.T) {
	p := newPlace(t)
	p.mount("directory", Variable{"A", "1"}, Variable{"B", "1"})
	p.write("directory/C", "no version has this")
	p.expect([]Variable{{"A", "1"}, {"B", "1"}}, "directory")

	p.must(p.swap("directory", Variable{"A", "2"}))
	p.expect([]Variable{{"A", "2"}}, "directory") // B is a dangling symlink, for a while

	p.must(p.swap("directory", Variable{"A-B", "3"}))
	p.refuse([]string{"directory/A-B: " + noName.wrong + ": " + noName.right}, "directory")

	p.write("elsewhere/D", "4")
	p.must(os.Remove(p.path("directory/..data")))
	p.must(os.Symlink(p.path("elsewhere"), p.path("directory/..data")))
	p.expect([]Variable{{"D", "4"}}, "directory")

	p.must(os.Remove(p.path("directory/..data")))
	p.must(os.Symlink("../elsewhere", p.path("directory/..data")))
	p.must(os.MkdirAll(p.path("above"), 0o755))
	p.must(os.Symlink("../directory", p.path("above/link")))
	p.expect([]Variable{{"D", "4"}}, "above/link")

	p.must(os.Remove(p.path("directory/..data")))
	p.write("directory/..data/D", "no symlink leads there")
	p.must(os.RemoveAll(p.path("directory/A")))
	p.must(os.RemoveAll(p.path("directory/B")))
	p.expect([]Variable{{"C", "no version has this"}}, "directory")
}

func TestVersionsAreNeverMixed(t *testing.T) {
	p := newPlace(t)
	version := func(n int) (vars []Variable) {
		for _, name := range []string{"A", "B", "C", "D"} {
			vars = append(vars, Variable{name, strconv.Itoa(1 + n%2)})
		}
		return vars
	}
	p.mount("directory", version(0)...)
	enough, swapped := make(chan struct{}), make(chan error)
	go func() {
		for n := 1; ; n++ {
			select {
			case <-enough:
				swapped <- nil
				return
			default:
			}
			if err := p.swap("directory", version(n)...); err != nil {
				swapped <- err
				return
			}
		}
	}()
	seen := make(map[string]int)
	for range 1000 {
		vars, err := p.read("directory")
		seen[fmt.Sprint(vars, err)]++
	}
	close(enough)
	p.must(<-swapped)
	one, two := seen[fmt.Sprint(version(0), nil)], seen[fmt.Sprint(version(1), nil)]
	if one+two != 1000 || one == 0 || two == 0 {
		t.Errorf("read were %v", seen)
	}
}
