"""The content security policy of our pages: their own script and style, and nothing from elsewhere.

Names of policies, tasks, cameras and actions come out of configs that others wrote. They are shown
as text; should one slip through as markup, the browser still runs only what the policy names.
"""

from base64 import b64encode
from hashlib import sha256


def content_policy(style: str, script: str = "", **sources: str) -> str:
    """The policy of a page with one inline style sheet and at most one inline script.

    Args:
        style: text between the `style` tags, to the letter.
        script: text between the `script` tags; empty for none.
        sources: further directives, `media_src="data:"` say.
    """
    directives = {
        "default-src": "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "style-src": _hash(style),
        "script-src": _hash(script) if script else "'none'",
        **{name.replace("_", "-"): value for name, value in sources.items()},
    }
    return "; ".join(f"{name} {value}" for name, value in directives.items())


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"
