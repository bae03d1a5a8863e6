"""Kernels of one name, of which an instantiation means the one that takes its arguments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from attnproto.compiler.interface import Parameter

from .lexer import RewriteError, Token, split_commas


@dataclass(frozen=True)
class Kernel:
    """A kernel as its text has it, a template or not.

    Args:
        parameters: what it is given.
        names: where each of them is named.
        max_threads: a number, or what tells it (``Rewriter._number_of``).
        template: what stands between ``template <`` and ``>``.
    """

    parameters: tuple[Parameter, ...]
    names: tuple[Token, ...]
    max_threads: str | None
    template: tuple[Token, ...]

    @property
    def template_parameters(self) -> list[list[Token]]:
        """The tokens of each parameter of the template."""
        return split_commas([*self.template])

    def takes(self, are_types: Sequence[bool | None], deduced: bool) -> bool:
        """Whether the template may have arguments, each of which is a type, none or unknown.

        Args:
            are_types: of each argument.
            deduced: whether others may follow from the parameters.
        """
        if "..." in [token.text for token in self.template]:
            return True
        parameters = self.template_parameters
        needed = 0 if deduced else sum("=" not in [w.text for w in p] for p in parameters)
        return needed <= len(are_types) <= len(parameters) and all(
            is_type is None or is_type == (parameter[0].text in ("typename", "class"))
            for parameter, is_type in zip(parameters, are_types, strict=False)
        )


def kernel_of_arguments(
    name: Token,
    given: list[list[Token]],
    kernels: list[Kernel],
    is_type: Callable[[list[Token]], bool | None],
    deduced: bool,
) -> Kernel:
    """The kernel that template arguments are for.

    Args:
        name: where the kernel is named.
        given: the arguments.
        kernels: all of that name.
        is_type: whether an argument is a type; None where the text alone does not tell it.
        deduced: whether further arguments may follow from the parameters.

    Raises:
        RewriteError: several kernels of the name may have these arguments, or none.
    """
    plain = [kernel for kernel in kernels if not kernel.template]
    if len(kernels) == 1 or (plain and not given):  # clang says what does not fit
        return (plain or kernels)[0]
    known = [is_type(argument) for argument in given]
    fitting = [kernel for kernel in kernels if kernel.takes(known, deduced)]
    if len(fitting) != 1:
        raise RewriteError(
            name,
            f"found {len(fitting)} of {len(kernels)} kernels called {name.text} that may have "
            "these template arguments, needs one; rename one",
        )
    return fitting[0]
