"""What leaves a producer: capture modes, and redaction of texts before they are kept.

`config` has the settings, `guard` what a producer asks, `redactor` finds and replaces, `spans` (it
needs numpy) leaves out, `switches` reads what other conventions hide.
"""

from headrace.connectors.privacy.config import Capture, PrivacySettings
from headrace.connectors.privacy.privacy import Privacy
from headrace.connectors.privacy.switches import Hidden

__all__ = ["Capture", "Hidden", "Privacy", "PrivacySettings"]
