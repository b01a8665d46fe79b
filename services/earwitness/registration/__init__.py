"""Bundles without a search graph of classifiers that are not ours: what a Triton serves already, by any backend.

`register` asks the Triton for the classifier's tensors (`served`), finds how it takes spectrograms (`axes`) and what of
its outputs are layers (`units`), takes a generator (`generators`), tries all of it, and writes an ensemble and the
adapters that it needs (`configuration`, `adapters`).
"""

from earwitness.registration.registering import Registered, Registration, register
from earwitness.registration.served import asking

__all__ = ["Registered", "Registration", "asking", "register"]
