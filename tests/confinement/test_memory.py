"""The memory that a process gets: half of what is free, wherever the limit is."""

from pathlib import Path

import pytest

from serve_app.confinement.memory import fair_share

GB = 1_000_000_000


def machine(root: Path, *, available_kb: int = 16_000_000, group: str = "0::/") -> Path:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/meminfo").write_text(f"MemTotal: 99999999 kB\nMemAvailable:   {available_kb} kB\n", encoding="ascii")
    (root / "proc/self/cgroup").write_text(f"{group}\n", encoding="ascii")
    return root


def cgroup(root: Path, name: str, limit: str, used: int, idle: int = 0) -> None:
    folder = root / "sys/fs/cgroup" / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.max").write_text(f"{limit}\n", encoding="ascii")
    (folder / "memory.current").write_text(f"{used}\n", encoding="ascii")
    (folder / "memory.stat").write_text(f"anon 7\ninactive_file {idle}\nactive_file 7\n", encoding="ascii")


def test_half_of_what_the_machine_has_free(tmp_path: Path) -> None:
    assert fair_share(9 * GB, machine(tmp_path, available_kb=3_000_000)) == 1_536_000_000


def test_never_more_than_the_most(tmp_path: Path) -> None:
    assert fair_share(2 * GB, machine(tmp_path)) == 2 * GB


def test_half_of_what_the_container_has_free(tmp_path: Path) -> None:
    cgroup(machine(tmp_path), "", str(4 * GB), used=3 * GB)
    assert fair_share(2 * GB, tmp_path) == GB // 2


def test_files_that_the_kernel_can_drop_are_free(tmp_path: Path) -> None:
    cgroup(machine(tmp_path), "", str(4 * GB), used=3 * GB, idle=GB)
    assert fair_share(9 * GB, tmp_path) == GB


def test_a_group_has_the_limit_of_those_around_it(tmp_path: Path) -> None:
    cgroup(machine(tmp_path, group="3:cpu:/\n0::/pod/router"), "pod", str(4 * GB), used=3 * GB)
    cgroup(tmp_path, "pod/router", "max", used=GB)
    assert fair_share(9 * GB, tmp_path) == GB // 2


@pytest.mark.parametrize("used", [4 * GB, 5 * GB])
def test_a_full_container_has_nothing(tmp_path: Path, used: int) -> None:
    cgroup(machine(tmp_path), "", str(4 * GB), used)
    assert fair_share(2 * GB, tmp_path) == 0


def test_a_system_that_says_nothing_gives_the_most(tmp_path: Path) -> None:
    assert fair_share(2 * GB, tmp_path) == 2 * GB
