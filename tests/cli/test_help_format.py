from lightning_rs.cli import CertifyParser


def test_values_and_defaults_are_told_in_words():
    parser = CertifyParser(prog="p")
    parser.add_argument("--n", type=int, default=3, help="how many.")
    parser.add_argument("--names", type=list[str] | None, help="their names.")
    parser.add_argument("--fast", type=bool, default=False, help="or not.")
    parser.add_argument("--must", type=str, required=True, help="be there.")
    parser.add_argument("--kinds", type=list[str], default=["a", "b"], help="which.", metavar="[KIND, ...]")
    lines = parser.format_help().splitlines()
    shown = [" ".join(line.split()) for line in lines[lines.index("options:") + 2 :]]
    assert [line for line in shown if "config" not in line] == [
        "--n N how many (default: 3)",
        "--names NAMES their names",
        "--fast {true,false} or not",
        "--must MUST be there (required)",
        "--kinds [KIND, ...] which (default: [a, b])",
    ]
