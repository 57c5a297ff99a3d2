// Manifest reads the table of pyproject.toml with the library of the Astro CLI, and in the same way:
// go-toml, into fields with these names.
//
// Standard input has the path of a file on each line. Standard output has one JSON object for each:
// error (of the library), present (the table exists), and table.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"

	"github.com/pelletier/go-toml/v2"
)

type verdict struct {
	Error   string `json:"error,omitempty"`
	Present bool   `json:"present"`
	Table   any    `json:"table"`
}

type pyproject struct {
	Tool struct {
		Astro any `toml:"astro"`
	} `toml:"tool"`
}

func judge(file string) (result verdict) {
	defer func() {
		if fault := recover(); fault != nil {
			result = verdict{Error: fmt.Sprint(fault)}
		}
	}()
	data, err := os.ReadFile(file)
	if err != nil {
		panic(err)
	}
	var content pyproject
	if err := toml.Unmarshal(data, &content); err != nil {
		return verdict{Error: err.Error()}
	}
	astro := content.Tool.Astro
	return verdict{Present: astro != nil, Table: plain(astro)}
}

// plain replaces what JSON cannot hold, or holds differently, by the name of its kind.
func plain(value any) any {
	switch value := value.(type) {
	case nil, bool, string:
		return value
	case map[string]any:
		table := map[string]any{}
		for key, item := range value {
			table[key] = plain(item)
		}
		return table
	case []any:
		list := []any{}
		for _, item := range value {
			list = append(list, plain(item))
		}
		return list
	default:
		return map[string]any{"": "not a text"}
	}
}

func main() {
	files := bufio.NewScanner(os.Stdin)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	results := json.NewEncoder(out)
	for files.Scan() {
		if err := results.Encode(judge(files.Text())); err != nil {
			panic(err)
		}
	}
}
