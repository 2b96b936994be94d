"""Import of TensorFlow without its start-up messages."""

import os
from typing import Any

from sensei.native_stderr import without_lines

IMPORT_NOISE = (b"absl::InitializeLog()", b"port.cc", b"cudart_stub.cc")
"""Parts of the lines that TensorFlow writes during its import."""


def import_tensorflow() -> Any:
    """Import TensorFlow without its start-up messages; no setting suppresses all of them."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # read only during the import
    with without_lines(*IMPORT_NOISE):
        import tensorflow

        tensorflow.config.list_logical_devices()  # the first use logs as well
    tensorflow.get_logger().setLevel("ERROR")  # no warnings about retracing: each network is new
    return tensorflow
