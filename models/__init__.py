"""Models, one file each, discovered by listing this folder.

To add one, write ``models/<name>.py`` with a frozen ``Config`` (a subclass of
``harness.model.ModelConfig``) and a subclass of ``harness.model.Model`` decorated with
``@register_model("<name>")``; no other file changes. Files that start with an underscore are shared
parts, not models. Files here import each other relatively: in a checkout the package is called
``models``, in an installed wheel ``harness.models``.
"""
