package main

import (
	"encoding/json"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"

	"github.com/invopop/jsonschema"

	"github.com/stablehand/stablehand/entrypoint/status"
)

// schemaFile says what status --json answers. It is in the repository, where the tests
// hold real answers against it, and in each release.
const schemaFile = "docs/status.schema.json"

// writeSchema writes the schema anew, after package status has been changed.
func writeSchema() error {
	text, err := schema()
	if err != nil {
		return err
	}
	return os.WriteFile(schemaFile, text, 0o644)
}

// copySchema puts the schema into the release, if it is what the program answers.
func copySchema(source) error {
	text, err := os.ReadFile(schemaFile)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dist, filepath.Base(schemaFile)), text, 0o644)
}

// schema is made of the types that the program answers with, and of what is written
// there about each field. It allows fields that it does not know: answers only grow.
func schema() ([]byte, error) {
	const of = "github.com/stablehand/stablehand"
	r := jsonschema.Reflector{AllowAdditionalProperties: true, Anonymous: true}
	if err := r.AddGoComments(of, "entrypoint/status", jsonschema.WithFullComment()); err != nil {
		return nil, err
	}
	for of, comment := range r.CommentMap { // of a type, or of a field
		comment = link.ReplaceAllString(strings.Join(strings.Fields(comment), " "), "$1")
		if strings.Count(path.Base(of), ".") > 1 {
			comment = word.ReplaceAllStringFunc(comment, answered)
		}
		r.CommentMap[of] = comment
	}
	steps := []any{status.Wait, status.Boot}
	for _, step := range status.HandoffSteps {
		steps = append(steps, step)
	}
	var outcomes []any
	for _, outcome := range status.Outcomes {
		outcomes = append(outcomes, outcome)
	}
	r.Mapper = func(t reflect.Type) *jsonschema.Schema {
		if t == reflect.TypeFor[status.Step]() {
			return &jsonschema.Schema{Type: "string", Enum: steps}
		}
		return nil
	}
	s := r.Reflect(status.Status{})
	s.ID = home + "/blob/main/" + schemaFile
	s.Title = "What stablehand status --json answers"
	s.Description = "Fields are added, none is renamed or removed. Times are RFC 3339, durations seconds; what does not apply is left out."
	are := func(of, name string, values ...any) {
		property, _ := s.Definitions[of].Properties.Get(name)
		property.Enum = values
	}
	are("Status", "phase", status.Booting, status.Serving, status.Stopping)
	are("Stray", "is", status.StraySuccessor, status.StrayInside, status.StrayBelow, status.StrayBeside)
	are("Handoff", "outcome", outcomes...)
	text, err := json.MarshalIndent(s, "", "  ")
	return append(text, '\n'), err
}

var (
	link = regexp.MustCompile(`\[(\w+)\]`)
	word = regexp.MustCompile(`\b[A-Z]\w*[a-z]\b`)
)

// answered is the name that answers have for a field of that name, or else the word itself.
func answered(word string) string {
	for _, t := range []reflect.Type{
		reflect.TypeFor[status.Status](), reflect.TypeFor[status.Generation](), reflect.TypeFor[status.Memory](), reflect.TypeFor[status.Handoff](),
	} {
		if field, ok := t.FieldByName(word); ok {
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			return name
		}
	}
	return word
}
