"""Backends: array libraries and devices, chosen at startup.

>>> import xpnet
>>> cpu = xpnet.backend("numpy")
>>> cpu.name, cpu.asarray([1, 2], dtype="float32").dtype.name
('numpy', 'float32')
"""

from xpnet.backends._backend import Backend, backend, backend_of, host
from xpnet.backends.memory import is_out_of_memory
from xpnet.backends.namespaces import array_namespace, dtype_name, is_array
from xpnet.backends.probe import Availability, known, probe

__all__ = [
    "Availability",
    "Backend",
    "array_namespace",
    "backend",
    "backend_of",
    "dtype_name",
    "host",
    "is_array",
    "is_out_of_memory",
    "known",
    "probe",
]
