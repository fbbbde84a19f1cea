import math

import pytest

from gpujobs.jobfile.reader import MAX_BYTES, ReadError, dotted, plain_scalar, read, read_value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"), ("yes", "yes"), ("on", "on"), ("010", 10), ("1:30", "1:30"), ("0o10", 8), ("0x1F", 31),
        ("1e3", 1000.0), ("1e-07", 1e-07), (".5", 0.5), ("1.", 1.0), ("-3", -3), ("1_000", "1_000"),
        ("~", None), ("null", None), ("", None), ("true", True), ("False", False), ("tRue", "tRue"),
        ("2026-01-01", "2026-01-01"), ("=", "="),
    ],
)  # fmt: skip
def test_plain_scalars_are_yaml_1_2(text: str, value: object) -> None:
    found = plain_scalar(text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("text", [".inf", "-.INF", ".nan", "1e999", "9" * 30])
def test_numbers_that_no_job_can_use(text: str) -> None:
    with pytest.raises(ValueError, match="number"):
        plain_scalar(text)


def test_lines_of_keys_and_entries() -> None:
    document = read("a:\n  b: [x,\n    y]\n  c:\n    - d: 1\n", "yaml")
    assert document.lines == {
        ("a",): 1, ("a", "b"): 2, ("a", "b", 0): 2, ("a", "b", 1): 3,
        ("a", "c"): 4, ("a", "c", 0): 5, ("a", "c", 0, "d"): 5,
    }  # fmt: skip
    assert document.line(("a", "c", 0, "zzz", 3)) == 5
    assert document.line(("zzz",)) is None


def test_quoted_scalars_stay_text() -> None:
    assert read("a: '1'\nb: \"true\"\nc: |\n  5\n", "yaml").tree == {"a": "1", "b": "true", "c": "5\n"}


def test_json_is_read() -> None:
    text = '{"a": {"b": [1, 2.5, null, true, "x\\u00e9\\/"]}}'
    assert read(text, "yaml").tree == {"a": {"b": [1, 2.5, None, True, "xé/"]}}


def test_toml_lines() -> None:
    text = 'a = 1\n[b.c]\nd = 2\n[[e]]\nf = 3\n[[e]]\n# no\nf = 4\n[e.g]\n"h" = 5\n'
    document = read(text, "toml")
    assert document.tree == {"a": 1, "b": {"c": {"d": 2}}, "e": [{"f": 3}, {"f": 4, "g": {"h": 5}}]}
    for path, line in [
        (("a",), 1), (("b", "c"), 2), (("b", "c", "d"), 3), (("e", 0, "f"), 5), (("e", 1), 6),
        (("e", 1, "f"), 8), (("e", 1, "g", "h"), 10),
    ]:  # fmt: skip
        assert document.lines[path] == line, path


def test_a_file_that_is_too_large() -> None:
    with pytest.raises(ReadError, match="at most 1048576"):
        read("#" * (MAX_BYTES + 1), "yaml")


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? "])
def test_deep_nesting_is_refused_early(opening: str) -> None:
    with pytest.raises(ReadError):
        read(opening * (MAX_BYTES // len(opening)), "yaml")


@pytest.mark.parametrize(
    ("text", "value"),
    [("5", 5), ("[1, 2]", [1, 2]), ("{Adam: {learning_rate: 0.1}}", {"Adam": {"learning_rate": 0.1}}),
     ("", None), ("a b", "a b"), ('"5"', "5")],
)  # fmt: skip
def test_values_of_options(text: str, value: object) -> None:
    assert read_value(text) == value


@pytest.mark.parametrize("text", ["[", "*a", "&a 1", "5\nother: 6", "!!int 5", ".inf"])
def test_values_that_are_none(text: str) -> None:
    with pytest.raises(ReadError):
        read_value(text)


def test_dotted() -> None:
    assert dotted(("model", "layers", 0, "LSTM")) == "model.layers[0].LSTM"
    assert math.isfinite(plain_scalar("1e308"))  # type: ignore[arg-type]
