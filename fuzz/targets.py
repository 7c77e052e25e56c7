"""What is fuzzed, by name. Each target's reader is the product's own, called as its commands call it."""

from fuzz import archive_targets, card_targets, model_targets, setting_targets, table_targets
from fuzz.case import Target

TARGETS: dict[str, Target] = {
    target.name: target
    for module in (setting_targets, card_targets, table_targets, archive_targets, model_targets)
    for target in module.TARGETS
}
