"""``runoff doctor``: its lines on targets."""

from __future__ import annotations

import pytest

from runoff.cli import doctor
from runoff.plan.target import TargetInfo
from runoff.records.protocol import Capabilities
from runoff.targets import BUILT_IN


@pytest.mark.parametrize(("built", "states"), [("SIMD", ["ok"]), ("scalar", ["ok", "warning"])])
def test_a_decoder_without_simd_is_a_warning_with_the_fix(built: str, states: list[str]) -> None:
    decoder = f"libjpeg-turbo 3.1.0, {built}"
    known = Capabilities(protocol=(1,), runner="x", language="rust", runtime="onnxruntime", image_decoder=decoder)
    findings = list(doctor._target("target x", TargetInfo(BUILT_IN["ort-rust"](), known)))
    assert [finding.state for finding in findings] == states
    assert all(decoder in finding.detail and "nasm" in finding.advice for finding in findings[1:])
