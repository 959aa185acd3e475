# shellcheck shell=bash
# Read by each bash of the runner (BASH_ENV). act does not wait to hear what a step that fails has said
# (pkg/container/host_environment.go, 0.2.89): so that nothing is lost, the step stays for a moment.
[[ $0 != */act/workflow/* ]] || trap '(($? == 0)) || sleep 0.3' EXIT
