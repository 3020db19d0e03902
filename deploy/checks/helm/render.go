// Renders a Helm chart as `helm template` does, for machines that have no Helm: the template engine and the functions
// (sprig) are the ones that Helm is made of, what is around them is as small as the chart needs. No dependencies, no
// hooks, no look-ups in a cluster. Stricter in one thing: a value that values.yaml does not know is an error.
//
//	GO111MODULE=off GOPATH=/usr/share/gocode go run render.go CHART RELEASE NAMESPACE [VALUES...]
//
// Prints one JSON object: rendered text by the name of its template, and the values that it was rendered with.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"github.com/Masterminds/sprig"
	"gopkg.in/yaml.v3"
)

type values = map[string]interface{}

func main() {
	if len(os.Args) < 4 {
		fail(errors.New("usage: render CHART RELEASE NAMESPACE [VALUES...]"))
	}
	chart, release, namespace := os.Args[1], os.Args[2], os.Args[3]
	about := read(filepath.Join(chart, "Chart.yaml"))
	merged := read(filepath.Join(chart, "values.yaml"))
	for _, file := range os.Args[4:] {
		merged = over(merged, read(file))
	}
	context := values{
		"Values":  merged,
		"Chart":   values{"Name": about["name"], "Version": about["version"], "AppVersion": about["appVersion"]},
		"Release": values{"Name": release, "Namespace": namespace, "Service": "Helm", "IsInstall": true, "IsUpgrade": false, "Revision": 1},
	}
	rendered, err := render(filepath.Join(chart, "templates"), context)
	if err != nil {
		fail(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(values{"rendered": rendered, "values": merged}); err != nil {
		fail(err)
	}
}

func render(folder string, context values) (map[string]string, error) {
	all := template.New("chart").Option("missingkey=error")
	all.Funcs(functions(all))
	var names []string
	walk := func(path string, info os.FileInfo, err error) error {
		if err != nil || info.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(folder, path)
		if err != nil {
			return err
		}
		if !strings.HasPrefix(filepath.Base(name), "_") {
			names = append(names, name)
		}
		_, err = all.New(name).Parse(string(text))
		return err
	}
	if err := filepath.Walk(folder, walk); err != nil {
		return nil, err
	}
	rendered := map[string]string{}
	for _, name := range names {
		var text bytes.Buffer
		if err := all.ExecuteTemplate(&text, name, context); err != nil {
			return nil, err
		}
		rendered[name] = text.String()
	}
	return rendered, nil
}

// The functions of Helm beside those of sprig that the chart may use. Anything else is an error at parsing.
func functions(all *template.Template) template.FuncMap {
	known := sprig.TxtFuncMap()
	delete(known, "env")
	delete(known, "expandenv")
	known["include"] = func(name string, context interface{}) (string, error) {
		var text bytes.Buffer
		err := all.ExecuteTemplate(&text, name, context)
		return text.String(), err
	}
	known["toYaml"] = func(value interface{}) (string, error) {
		var text bytes.Buffer
		encoder := yaml.NewEncoder(&text)
		encoder.SetIndent(2)
		err := encoder.Encode(value)
		return strings.TrimSuffix(text.String(), "\n"), err
	}
	known["required"] = func(message string, value interface{}) (interface{}, error) {
		if value == nil || value == "" {
			return nil, errors.New(message)
		}
		return value, nil
	}
	return known
}

// The second over the first, map by map; null takes a key away, lists are replaced.
func over(first, second values) values {
	result := values{}
	for key, value := range first {
		result[key] = value
	}
	for key, value := range second {
		below, isMap := result[key].(values)
		above, isMapToo := value.(values)
		switch {
		case value == nil:
			delete(result, key)
		case isMap && isMapToo:
			result[key] = over(below, above)
		default:
			result[key] = value
		}
	}
	return result
}

func read(path string) values {
	text, err := os.ReadFile(path)
	if err != nil {
		fail(err)
	}
	read := values{}
	if err := yaml.Unmarshal(text, &read); err != nil {
		fail(fmt.Errorf("%s: %w", path, err))
	}
	return read
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "render:", err)
	os.Exit(1)
}
