"""A measured time beside the one that was expected before the run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def is_modelled_chip(device: str, result: Mapping[str, Any]) -> bool:
    """Whether a device, by its name, is the chip that a row's result expects something of."""
    return device.removeprefix("Apple ") == result.get("modelled_chip")


def beside_expected(device: str, result: Mapping[str, Any]) -> tuple[float, bool] | None:
    """Return measured over expected time, and whether the time lies in the interval.

    Args:
        device: The name of the one that was measured.
        result: A row's, which holds ``time_us`` and what ``Prediction.as_result`` says.

    Returns:
        None where one of the two is missing, or the device is not the chip that was modelled.
    """
    time_us, modelled_us = result.get("time_us"), result.get("modelled_us")
    if not is_modelled_chip(device, result) or not time_us or not modelled_us:
        return None
    inside = result["modelled_low_us"] <= time_us <= result["modelled_high_us"]
    return time_us / modelled_us, inside


def beats_bound(device: str, result: Mapping[str, Any]) -> bool:
    """Whether a time measured on the modelled chip is below what the model calls the least."""
    least_us, time_us = result.get("modelled_least_us"), result.get("time_us")
    return bool(least_us and time_us and is_modelled_chip(device, result) and time_us < least_us)
