from __future__ import annotations

from pathlib import Path

import pytest

from stackledger.domain.errors import Refused
from stackledger.workers.fleet.liveness import life_sign


def test_a_file_that_cannot_be_made_is_refused_before_anything_is_done(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="cannot be written: No such file or directory"), life_sign(tmp_path / "no/alive"):
        pytest.fail("it began")


def test_what_a_process_before_left_is_no_sign_of_life(tmp_path: Path) -> None:
    file = tmp_path / "alive"
    file.touch()
    with life_sign(file) as sign:
        assert not file.exists()
        sign.show()
        assert file.exists()
    assert not file.exists()
