import argparse
import io
import sys

import pytest
from _cli import (
    Parser,
    UsageError,
    check_same_config,
    config_of,
    integer,
    integers,
    one_line,
    real,
    run_command,
)


def test_flag_types_accept_their_range():
    assert integer(1)("1") == 1
    assert real(0)("0") == 0
    assert real(0, 1)("0.99") == 0.99
    assert integers("32,64") == (32, 64)


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (integer(1), "0"),
        (integer(1), "1.5"),
        (integer(0), "99999999999999999999"),
        (real(0), "-1e-9"),
        (real(0, open_low=True), "0"),
        (real(0, 1), "1"),
        (real(0), "inf"),
        (real(0), "nan"),
        (real(0), "x"),
        (integers, ""),
        (integers, "3,0"),
        (integers, "3,,4"),
    ],
)
def test_flag_types_refuse_the_rest_and_say_what_they_got(parse, text):
    with pytest.raises(argparse.ArgumentTypeError) as error:
        parse(text)
    assert text in str(error.value)


def test_mistakes_are_one_line(capsys):
    parser = Parser("prog.py")
    parser.add_subparsers().add_parser("train").add_argument("--epochs", type=integer(1))
    for arguments in (["train", "--epochs", "abc"], ["train", "--bogus"], ["fit"]):
        with pytest.raises(SystemExit) as ended:
            parser.parse_args(arguments)
        assert ended.value.code == 2
        err = capsys.readouterr().err
        assert err.count("\n") == 1 and "error: " in err


def test_the_config_holds_what_determines_the_numbers(tmp_path):
    args = argparse.Namespace(lr=0.1, widths=(3, 4), out=tmp_path, resume=True, threads=2)
    assert config_of(args) == {"lr": 0.1, "widths": [3, 4]}


def test_a_config_that_differs():
    check_same_config({"lr": 1}, {"lr": 1})
    check_same_config({"lr": 1, "cuda_graph": 300}, {"lr": 1, "cuda_graph": None})
    with pytest.raises(UsageError, match=r"--batch-size differs .*\(got 1, .* has 2\)"):
        check_same_config({"batch_size": 1}, {"batch_size": 2})
    with pytest.raises(UsageError, match=r"--new differs .*\(got None, .* has 2\)"):
        check_same_config({}, {"new": 2})


def fail(error):
    def handler(args):
        raise error

    return argparse.Namespace(command="train", handler=handler)


def test_only_mistakes_of_the_user_lose_their_traceback(capsys):
    assert run_command("s.py", fail(UsageError("two\nlines"))) == 2
    assert capsys.readouterr().err == "s.py train: error: two lines\n"
    assert run_command("s.py", fail(OSError(2, "No such file", "/a/b"))) == 2
    assert capsys.readouterr().err == "s.py train: error: [Errno 2] No such file: '/a/b'\n"
    assert run_command("s.py", fail(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err == "s.py train: interrupted\n"
    resumable = argparse.Namespace(**vars(fail(KeyboardInterrupt())), resume=False)
    assert run_command("s.py", resumable) == 130
    assert capsys.readouterr().err == "s.py train: interrupted (--resume goes on)\n"
    with pytest.raises(ValueError, match="bug"):
        run_command("s.py", fail(ValueError("bug")))


def test_an_error_is_one_line_and_never_empty():
    assert one_line(ValueError("a\n b")) == "a b"
    assert one_line(MemoryError()) == "MemoryError"


def test_words_that_the_output_cannot_encode_are_escaped(monkeypatch):
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", out)
    args = argparse.Namespace(command="report", handler=lambda args: print("Poincaré"))
    assert run_command("links.py", args) == 0
    out.flush()
    assert out.buffer.getvalue() == b"Poincar\\xe9\n"
