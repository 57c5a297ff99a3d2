// Judge reads the configuration of projects with the library of the Astro CLI, and in the same way:
// viper, from exactly .astro/config.yaml, without variables of the environment.
//
// Standard input has the folder of a project on each line. Standard output has one JSON object for each:
// error (of the library), and values by key, as viper's GetString returns them.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/viper"
)

type verdict struct {
	Error  string            `json:"error,omitempty"`
	Values map[string]string `json:"values"`
}

func judge(folder string) (result verdict) {
	// Some files crash the library, and the Astro CLI with it.
	defer func() {
		if fault := recover(); fault != nil {
			result.Error = fmt.Sprint(fault)
		}
	}()
	config := viper.New()
	config.SetConfigName("config")
	config.SetConfigType("yaml")
	file := filepath.Join(folder, ".astro", "config.yaml")
	result = verdict{Values: map[string]string{}}
	if _, err := os.Stat(file); err != nil {
		return result
	}
	config.SetConfigFile(file)
	if err := config.ReadInConfig(); err != nil {
		result.Error = err.Error()
	}
	for _, key := range append(config.AllKeys(), os.Args[1:]...) {
		if config.IsSet(key) {
			result.Values[key] = config.GetString(key)
		}
	}
	return result
}

func main() {
	folders := bufio.NewScanner(os.Stdin)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	results := json.NewEncoder(out)
	for folders.Scan() {
		if err := results.Encode(judge(folders.Text())); err != nil {
			panic(err)
		}
	}
}
