package main_test

import (
	"bytes"
	"os"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// statusSchema is the published one, but for what it leaves to later versions: here an
// answer may have no field that it does not name.
var statusSchema = sync.OnceValues(func() (*jsonschema.Schema, error) {
	file, err := os.Open("../../docs/status.schema.json")
	if err != nil {
		return nil, err
	}
	defer file.Close()
	schema, err := jsonschema.UnmarshalJSON(file)
	if err != nil {
		return nil, err
	}
	for _, of := range schema.(map[string]any)["$defs"].(map[string]any) {
		of.(map[string]any)["additionalProperties"] = false
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("status.json", schema); err != nil {
		return nil, err
	}
	return c.Compile("status.json")
})

// isAsPublished holds an answer of status --json against the schema.
func isAsPublished(ts *testscript.TestScript, answer string) {
	schema, err := statusSchema()
	ts.Check(err)
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader([]byte(answer)))
	ts.Check(err)
	if err := schema.Validate(value); err != nil {
		ts.Fatalf("status --json answers what docs/status.schema.json does not say (`make schema` makes it anew): %v\n%s", err, answer)
	}
}
