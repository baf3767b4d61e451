package api_test

import "github.com/loggerhead-cloud/loggerhead/internal/store"

var peopleLeast = map[string]string{}

var peopleCalls = map[string]func(*rig, store.Scope) call{}
