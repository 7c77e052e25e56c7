"""The energy that a training used: an estimate from device and minutes, with its assumption."""

from collections.abc import Mapping
from typing import Any

#: Assumed mean draw; power is not measured. A laptop's core draws less; a server's core, with its share of memory and
#: fans, about this. Accelerators are rated at 300 to 1,000 W and rarely draw all of it.
WATTS_PER_CORE = 10
WATTS_PER_ACCELERATOR = 500

# What `platform.processor` returns on machines without an accelerator.
_PROCESSORS = ("cpu", "x86", "i386", "i686", "amd64", "intel64", "aarch64", "arm")


def is_processor(device: str) -> bool:
    """Whether a run's device is the CPU, not an accelerator."""
    return device.lower().startswith(_PROCESSORS)


def energy_estimate(minutes: float, environment: Mapping[str, Any]) -> tuple[float, str]:
    """Energy of a run in kWh, and the formula behind it.

    energy = minutes / 60 × watts / 1000, with an assumed draw: 10 W per core, or 500 W for one accelerator.

    `environment` has the `device` and `cores` of `metrics.json`. The estimate is rounded to two digits.
    """
    if is_processor(str(environment["device"])):
        watts = WATTS_PER_CORE * int(environment["cores"])
        assumed = f"{watts} W ({WATTS_PER_CORE} W for each of {environment['cores']} cores)"
    else:
        watts = WATTS_PER_ACCELERATOR
        assumed = f"{watts} W (one {environment['device']} and its host)"
    energy = minutes / 60 * watts / 1000
    return float(f"{energy:.2g}"), f"{minutes} minutes / 60 × {assumed} / 1000"
