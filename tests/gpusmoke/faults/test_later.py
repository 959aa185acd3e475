"""The stand-in driver changes while a program runs: values that come into force later, and events of errors."""

import pytest

WAITED = "(__import__('time').sleep(1.2), ask({!r}, gpu, *{!r}))[1]"


def waited(call, *arguments):
    return WAITED.format(call, arguments)


def test_a_value_and_a_code_can_come_later(driver, nvml):
    env = driver({"temperature_c": 40, "@900 temperature_c": 90, "@800 power_mw": 5, "@900 nvmlDeviceGetName": 15})
    first = 'ask("nvmlDeviceGetTemperature", gpu, 0), ask("nvmlDeviceGetName", gpu)'
    later = (
        f"{waited('nvmlDeviceGetTemperature', 0)}, {waited('nvmlDeviceGetPowerUsage')}, {waited('nvmlDeviceGetName')}"
    )
    lost = {"code": 15, "text": "GPU is lost"}
    assert nvml(env, f"[{first}, {later}]") == [40, "NVIDIA H100 80GB HBM3", 90, 5, lost]


def test_the_last_to_come_into_force_counts_for_its_device(driver, nvml):
    env = driver({"devices": 2, "@100 temperature_c": 50, "@200 temperature_c": 60, "@100 device.1.temperature_c": 70})
    second = (
        "(__import__('time').sleep(0.4), ask('nvmlDeviceGetTemperature', nvml.nvmlDeviceGetHandleByIndex(1), 0))[1]"
    )
    assert nvml(env, f"[{waited('nvmlDeviceGetTemperature', 0)}, {second}]") == [60, 70]


@pytest.mark.parametrize(
    ("state", "complaint"),
    [
        ({"@500 cuInt": 802}, "unknown key 'cuInt'"),
        ({"@soon cuInit": 802}, "unknown key 'soon cuInit'"),
        ("@500 cuInit = 802\n@500 cuInit = 0", "given before"),
    ],
)
def test_a_mistake_in_what_comes_later_is_loud_at_once(driver, state, complaint):
    with pytest.raises(ValueError, match=complaint):
        driver(state)


def test_an_error_of_the_driver_is_an_event_once(driver, nvml):
    # What was there before anybody listened is none.
    listen = "nvml.nvmlDeviceRegisterEvents(gpu, 8, events := nvml.nvmlEventSetCreate())"
    wait = "ask('nvmlEventSetWait_v2', events, {})"
    event = "nvml.nvmlEventSetWait_v2(events, 3000).eventData"
    env = driver({"xid": 13, "@700 xid": 79})
    timeout = {"code": 10, "text": "Timeout"}
    supported = "ask('nvmlDeviceGetSupportedEventTypes', gpu)"
    program = f"[{supported}, {listen}, {wait.format(1)}, __import__('time').sleep(0.9), {event}, {wait.format(1)}]"
    assert nvml(env, program) == [8, None, timeout, None, 79, timeout]
