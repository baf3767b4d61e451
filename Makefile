# The few targets people and CI use. Each is a script or a command that can also be run by itself.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unversioned)
GOBUILD := CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X main.version=$(VERSION)'
WEB_SOURCES := $(shell find web/src web/public -type f 2>/dev/null) $(wildcard web/*.html web/*.ts web/*.js web/*.json)
BENCH ?= all

.PHONY: help demo build go web check test bench generate clean need

help: ## Say what can be made
	@sed -nE 's/^([a-z]+):.*## (.*)/  make \1\t\2/p' Makefile | expand -t 18

demo: build ## Build everything, then run a hub with three dataloggers until Ctrl-C, or for DEMO_SECONDS
	@exec bin/loggerhead demo

build: need web go ## Build bin/loggerhead, bin/loggerhead-agent and bin/loggerhead-stage1

go: # the programs; the hub embeds what is in web/dist
	@echo "· building the programs (Go, $(VERSION))"
	@mkdir -p bin
	@$(GOBUILD) -o bin/ ./cmd/loggerhead ./cmd/loggerhead-agent ./cmd/loggerhead-stage1

web: web/dist/index.html # the web app

# npm writes this file last, so it is there only when the installation is whole.
web/node_modules/.package-lock.json: web/package.json web/package-lock.json
	@echo "· fetching the web app's libraries (npm ci)"
	@cd web && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

web/dist/index.html: web/node_modules/.package-lock.json $(WEB_SOURCES)
	@echo "· building the web app (vite)"
	@cd web && npm run --silent build
	@touch $@

need: # what building takes
	@scripts/need

check: ## Formatting, vet, staticcheck, known vulnerabilities, generated files, the web app's types and unit tests
	@scripts/check

test: ## Every check there is; as root it installs what it needs
	@scripts/test

bench: need ## Measure: BENCH=spine is one group
	@go run ./bench -group $(BENCH)

generate: web/node_modules/.package-lock.json ## Write anew what is generated: API description, types, examples, command lines
	@scripts/generate .

clean: ## Remove what was built; demo-data stays
	rm -rf bin web/node_modules e2e/web/node_modules coverage.out
	find web/dist -mindepth 1 ! -name .gitkeep -delete
