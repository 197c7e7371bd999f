"""How certify.py shows its options: what they take and what they are if left out, in words rather than types."""

from __future__ import annotations

from argparse import Action, RawDescriptionHelpFormatter

from jsonargparse import DefaultHelpFormatter


class HelpFormat(RawDescriptionHelpFormatter, DefaultHelpFormatter):
    """Without types; defaults where they say something; one name an option."""

    def __init__(self, prog: str, max_help_position: int = 34, **options: object) -> None:
        super().__init__(prog, max_help_position=max_help_position, **options)

    def _get_help_string(self, action: Action) -> str:
        text = (action.help or "").rstrip(".")
        if action.option_strings and not _says_nothing(action.default):
            text += f" (default: {_in_words(action.default)})"
        if action.required and action.option_strings:
            text += " (required)"
        return text

    def _format_action_invocation(self, action: Action) -> str:
        if not action.option_strings:
            return super()._format_action_invocation(action)
        # What jsonargparse adds for appending, --name+, is told nowhere.
        names = ", ".join(name for name in action.option_strings if not name.endswith("+"))
        return names if action.nargs == 0 else f"{names} {self._value(action)}"

    def _value(self, action: Action) -> str:
        if action.metavar is not None:
            return str(action.metavar)
        if action.choices:
            return "|".join(map(str, action.choices))
        return self._get_default_metavar_for_optional(action)


def _says_nothing(default: object) -> bool:
    """Whether what an option is if it is left out is nothing, no, or argparse's word for neither."""
    return default is None or default is False or default == "==SUPPRESS=="


def _in_words(default: object) -> str:
    return f"[{', '.join(map(str, default))}]" if isinstance(default, (list, tuple)) else str(default)
