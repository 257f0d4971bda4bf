"""A Sphinx extension: autodoc documents tasks as the functions that they were made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sphinx
from sphinx.ext import autodoc

from procrastinate import metadata, tasks

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.util.typing import ExtensionMetadata


class ProcrastinateTaskDocumenter(autodoc.FunctionDocumenter):
    """
    Document a task like a function: its own signature, its own docstring.

    The first argument of a task with ``pass_context`` is shown, too: it is what a caller of the
    function gives.
    """

    objtype = "procrastinate_task"
    directivetype = "function"
    member_order = 40

    @classmethod
    def can_document_member(
        cls, member: Any, membername: str, isattr: bool, parent: Any
    ) -> bool:
        """
        Tell whether a member of a module is a task.

        Parameters
        ----------
        member
            The member.
        membername
            What it is called there.
        isattr
            Whether autodoc takes it for an attribute.
        parent
            The documenter of the module.
        """
        return isinstance(member, tasks.Task)


def setup(app: Sphinx) -> ExtensionMetadata:
    """
    Add the extension to a Sphinx application; Sphinx calls this.

    Parameters
    ----------
    app
        The application.
    """
    app.setup_extension("sphinx.ext.autodoc")
    if sphinx.version_info >= (9,):
        # Documenters are of the class-based autodoc; the new one would never ask ours.
        app.config.autodoc_use_legacy_class_based = True
    app.add_autodocumenter(ProcrastinateTaskDocumenter)
    return {
        "version": metadata.extract_metadata()["version"],
        "parallel_read_safe": True,
        "parallel_write_safe": True,
    }
