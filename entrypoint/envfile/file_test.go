package envfile

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-envparse"
)

func TestALineIsReadAsThePackageCommentSays(t *testing.T) {
	p := newPlace(t)
	for line, want := range map[string][]Variable{
		"":                           nil,
		" \t\r\n\n#A=1\n  # A=1":     nil,
		"A=1":                        {{"A", "1"}},
		"A=":                         {{"A", ""}},
		"A=1\r\nB=2\r\n":             {{"A", "1"}, {"B", "2"}},
		"\ufeffA=1":                  {{"A", "1"}},
		" A = b c ":                  {{"A", "b c"}},
		"export A=1":                 {{"A", "1"}},
		" export A = 1":              {{"A", "1"}},
		"export=1":                   {{"export", "1"}},
		"_a1=b=c==":                  {{"_a1", "b=c=="}},
		"A=1\nB=2\nA=3":              {{"A", "3"}, {"B", "2"}}, // the last wins
		"A=1 # one":                  {{"A", "1"}},
		"A=b#c":                      {{"A", "b"}},
		"A='b#c' # d":                {{"A", "b#c"}},
		`A="b#c" # d`:                {{"A", "b#c"}},
		`A="b\"#c" # "d`:             {{"A", `b"#c`}},
		`A='b\'"#"`:                  {{"A", `b\#`}},
		`A=b\'#'c`:                   {{"A", `b\#c`}}, // no escape outside of quotes
		"A=é":                        {{"A", "é"}},
		"A=é # é":                    {{"A", "é"}}, // which go-envparse itself gets wrong
		`A="é"#`:                     {{"A", "é"}},
		"A='#é'#":                    {{"A", "#é"}},
		"A=\xe9 # Latin 1":           {{"A", "\xe9"}},
		`A="\"\\\/\b\f\n\r\t\u20ac"`: {{"A", "\"\\/\b\f\n\r\t€"}},
		`A="\ud83d\ude01"`:           {{"A", "😁"}},
		`A='b\n'c\nd`:                {{"A", `b\nc\nd`}},
		`A="$B ${B} $(b)"`:           {{"A", "$B ${B} $(b)"}},
		"A=$B":                       {{"A", "$B"}},
		"A='{\"b\": \"c\"}'":         {{"A", `{"b": "c"}`}},
		"A=" + strings.Repeat("x", 65000) + "#" + strings.Repeat("#", 65000): {{"A", strings.Repeat("x", 65000)}},
	} {
		p.write("file", line)
		got, err := p.read("file")
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%.100q: %v (-want +got):\n%s", line, err, diff)
		}
	}
}

func TestWhatIsWrongInALineIsTold(t *testing.T) {
	p := newPlace(t)
	for line, want := range map[string]fault{
		"A":                               noSeparator,
		"A B":                             noSeparator,
		"export A":                        noSeparator,
		"A#=1":                            noSeparator,
		"=1":                              noName,
		"=":                               noName,
		"1A=1":                            noName,
		"A-B=1":                           noName,
		"A.B=1":                           noName, // go-envparse takes it
		"A/B=1":                           noName, // and this
		"é=1":                             noName,
		"A B=1":                           noName,
		"'A'=1":                           noName,
		"A\x00=1":                         noName,
		"export  A=1":                     noName,
		"export A B=1":                    noName,
		"STABLEHAND_=1":                   reserved,
		"STABLEHAND_WATCH=/":              reserved,
		"export STABLEHAND_A=":            reserved,
		`A="1`:                            openQuotes,
		`A='1`:                            openQuotes,
		`A=it's`:                          openQuotes,
		`A="1\"`:                          openQuotes,
		`A='1"`:                           openQuotes,
		`A="\`:                            badEscape,
		`A="\x"`:                          badEscape,
		`A="\é"`:                          badEscape,
		`A="\u12"`:                        badEscape,
		`A="\uabcZ"`:                      badEscape,
		`A="\ud83d"`:                      badEscape,
		`A="\ud83d\ude0"`:                 badEscape,
		"A=1\t2":                          control,
		"export A=1\t2":                   control,
		`export A="\x"`:                   badEscape,
		"A='1\x1b2'":                      control,
		"A=1\r2":                          control,
		"A=1\x00":                         control,
		`A="1\u0000"`:                     nul,
		"A=" + strings.Repeat("x", 65536): longLine,
	} {
		p.write("file", "A=1\n\n"+line+"\nB=1\n")
		p.refuse([]string{"file:3: " + want.wrong + ": " + want.right}, "file")
	}
	p.write("file", "A=\"1\n2\"\n")
	p.refuse([]string{
		"file:1: " + openQuotes.wrong + ": " + openQuotes.right,
		"file:2: " + noSeparator.wrong + ": " + noSeparator.right,
	}, "file")
}

// FuzzALineIsReadAsTheLibraryReadsIt compares all lines but those that the library
// gets wrong: with a comment after a character beyond ASCII, or after blanks and ”.
func FuzzALineIsReadAsTheLibraryReadsIt(f *testing.F) {
	for _, line := range []string{"A=1", `A="b\"#c" # "d`, "A=b#c", "A='#", "A='' ''#", "#", "A#=1", `A=\"#"`, "A=é#", `export A='"'#"`} {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		if bytes.ContainsAny(line, "\n") || bytes.ContainsFunc(line, func(r rune) bool { return r > 127 }) {
			return
		}
		want, wantErr := envparse.Parse(bytes.NewReader(line))
		got, gotErr := envparse.Parse(bytes.NewReader(withoutComment(line)))
		for _, parsed := range []map[string]string{want, got} {
			for name, value := range parsed {
				parsed[name] = strings.TrimRight(value, " ")
			}
		}
		if diff := cmp.Diff(want, got); diff != "" || (wantErr == nil) != (gotErr == nil) {
			t.Errorf("%q: %v, not %v (-want +got):\n%s", line, gotErr, wantErr, diff)
		}
	})
}
