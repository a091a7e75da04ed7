"""A directory of its own for what is measured."""

import os


class Place:
    def __init__(self, directory):
        self.directory = directory
        os.makedirs(directory)

    def path(self, *parts):
        return os.path.join(self.directory, *parts)

    def put(self, name, text, mode=0o644):
        path = self.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write(text)
        os.chmod(path, mode)
