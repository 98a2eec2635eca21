package main

import (
	"debug/buildinfo"
	"debug/elf"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
)

// machines are what an ELF file for each target says that it is for.
var machines = map[string]elf.Machine{
	"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64, "armv7": elf.EM_ARM, "ppc64le": elf.EM_PPC64, "riscv64": elf.EM_RISCV, "s390x": elf.EM_S390,
}

func TestEachBinaryIsStaticAndForItsMachine(t *testing.T) {
	dist := built(t)
	for _, target := range targets {
		t.Run(target.name, func(t *testing.T) {
			file, err := elf.Open(filepath.Join(dist, filepath.Base(target.binary())))
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			if file.Machine != machines[target.name] {
				t.Errorf("it is for %s", file.Machine)
			}
			for _, program := range file.Progs {
				if program.Type == elf.PT_INTERP || program.Type == elf.PT_DYNAMIC {
					t.Errorf("it is not static: %s", program.Type)
				}
			}
		})
	}
}

// An image is to grow by no more than that.
func TestTheBinaryIsSmall(t *testing.T) {
	const most = 9_000_000
	info, err := os.Stat(filepath.Join(built(t), filepath.Base(here(t).binary())))
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > most {
		t.Errorf("it has %d bytes, want at most %d", info.Size(), most)
	}
}

// What a builder has set, be it by go env -w, changes no byte.
func TestNothingOfTheBuildersEnvironmentDecides(t *testing.T) {
	file := filepath.Join(t.TempDir(), "env")
	if err := os.WriteFile(file, []byte("GOEXPERIMENT=jsonv2\nGOFLAGS=-race\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GOENV", file)
	t.Setenv("GOFLAGS", "")
	cmd := exec.Command("go", "env", "GOEXPERIMENT", "GOFLAGS")
	cmd.Env = here(t).environ()
	out, err := cmd.Output()
	if want := "\n-trimpath\n"; err != nil || string(out) != want {
		t.Errorf("got %q, want %q (%v)", out, want, err)
	}
}

func TestTheBinarySaysWhatItWasBuiltFrom(t *testing.T) {
	dist := built(t)
	if got, want := must(t, dist, "./"+filepath.Base(here(t).binary()), "version"), says(t, version); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestTheBillOfMaterialsNamesEachModule holds it against what each binary has recorded.
func TestTheBillOfMaterialsNamesEachModule(t *testing.T) {
	dist := built(t)
	text, err := os.ReadFile(only(t, dist, "*.cdx.json"))
	if err != nil {
		t.Fatal(err)
	}
	var bom struct {
		BOMFormat string
		Metadata  struct {
			Component struct{ Name, Version string }
		}
		// The module path is in the package URL.
		Components []struct{ Name, Version string }
	}
	if err := json.Unmarshal(text, &bom); err != nil {
		t.Fatal(err)
	}
	if c := bom.Metadata.Component; bom.BOMFormat != "CycloneDX" || c.Version != version || !strings.HasPrefix(c.Name, "github.com/stablehand/stablehand") {
		t.Errorf("it is a %s of %s %s", bom.BOMFormat, c.Name, c.Version)
	}
	var named []string
	for _, c := range bom.Components {
		named = append(named, c.Name+" "+c.Version)
	}
	slices.Sort(named)
	for _, target := range targets {
		info, err := buildinfo.ReadFile(filepath.Join(dist, filepath.Base(target.binary())))
		if err != nil {
			t.Fatal(err)
		}
		if has := modules(info); !slices.Equal(named, has) {
			t.Errorf("the binary for %s has %q\nthe bill of materials names %q", target.name, has, named)
		}
	}
}

// modules are those of a binary, and Go's own.
func modules(info *debug.BuildInfo) []string {
	has := []string{"std " + info.GoVersion}
	for _, module := range info.Deps {
		has = append(has, module.Path+" "+module.Version)
	}
	slices.Sort(has)
	return has
}
