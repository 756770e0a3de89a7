from pathlib import Path

from filters.models.weights import file_sha256, natural_key


def test_numbers_sort_by_value() -> None:
    names = ["epoch_10.pt", "epoch_2.pt", "epoch.pt", "epoch_1.pt"]
    assert sorted(names, key=natural_key) == ["epoch.pt", "epoch_1.pt", "epoch_2.pt", "epoch_10.pt"]
    assert sorted(["layers.10", "layers.2", "a"], key=natural_key) == ["a", "layers.2", "layers.10"]


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(b"")
    assert file_sha256(path) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    path.write_bytes(b"abc")
    assert file_sha256(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
