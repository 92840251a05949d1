"""What advice on a program file is."""

from typing import NamedTuple

from core.messages.yaml_source import YamlPath


class Advice(NamedTuple):
    """Something to look at again, and how to mend it."""

    path: YamlPath  #: of the field in the program file
    text: str  #: goes on from the field's name
