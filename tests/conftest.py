"""`--no-skips`: a test that did not run proves nothing, so in CI it fails, with its reason. And what runs first."""

import signal

import pytest

# A shell lets what it starts in the background ignore Ctrl-C, and every program would inherit that from the tests.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser):
    parser.addoption("--no-skips", action="store_true", help="make every skip a failure: CI has all that tests need")


def fail_where_skipped(config, report):
    """Expected failures (xfail) count as skipped for pytest, but they did run."""
    if report.skipped and config.getoption("no_skips") and not hasattr(report, "wasxfail"):
        _, _, reason = report.longrepr
        report.outcome = "failed"
        report.longrepr = f"--no-skips: {reason}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    return fail_where_skipped(item.config, (yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    return fail_where_skipped(collector.config, (yield))


def pytest_collection_modifyitems(items):
    """The longest first: mypy takes a minute, which the others would otherwise wait for at the end."""
    items.sort(key=lambda item: item.path.name != "test_types.py")
