import json

import pytest

from lightning_rs.cli import expand_data_options, gather_data_options


def test_the_short_form_is_said_in_options():
    for given in (["--data", "A:b=1,c=/d/e"], ["--data=A:b=1,c=/d/e"]):
        expected = ["-x", "--data=A", "--data.b=1", "--data.c=/d/e", "--y=1"]
        assert expand_data_options(["-x", *given, "--y=1"]) == expected
    same = ["--data", "my.Data", "--data=B", "--data_dir", "a:b", "--data.root=c:d", "--data"]
    assert expand_data_options(same) == same
    for bad in ("A:b", "A:=1", "A:b=1,b=2"):
        with pytest.raises(ValueError, match="a data set must read name or name:option=value|is given twice"):
            expand_data_options(["--data", bad])


def test_options_of_the_data_set_are_gathered_as_texts():
    given = ["--n=1", "--data=A:b=1", "--data.c", "2", "--data.d=e=f", "--data_dir=g", "--data.b", "007"]
    *others, gathered = gather_data_options(given)
    assert others == ["--n=1", "--data=A", "--data_dir=g"]
    option, _, value = gathered.partition("=")
    assert option == "--data_args" and json.loads(value) == {"b": "007", "c": "2", "d": "e=f"}
    assert gather_data_options(["--n", "1"]) == ["--n", "1"]
    with pytest.raises(ValueError, match="--data.root expects a value"):
        gather_data_options(["--data.root"])
