#!/usr/bin/env python3
"""tools/check_layers.py must accept downward includes and name every other kind."""
import pathlib
import subprocess
import sys
import tempfile
import unittest

CHECKER = pathlib.Path(__file__).resolve().parents[2] / "tools" / "check_layers.py"


class CheckLayers(unittest.TestCase):
    def check(self, files: dict[str, str]) -> tuple[int, str]:
        """Runs the checker on a source tree with these files; returns its status and output."""
        with tempfile.TemporaryDirectory() as directory:
            for name, text in files.items():
                path = pathlib.Path(directory) / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
            done = subprocess.run([sys.executable, str(CHECKER), directory],
                                  capture_output=True, text=True, check=False)
            return done.returncode, done.stdout

    def test_accepts_includes_that_go_down_or_stay(self):
        status, output = self.check({
            "base/a.h": "#pragma once\n",
            "model/v4/b.h": '#include "base/a.h"\n',
            "model/c.cpp": '#include "model/v4/b.h"\n#include <vector>\n',
        })
        self.assertEqual(status, 0, output)

    def test_refuses_an_upward_include(self):
        status, output = self.check({
            "base/a.cpp": '#include <vector>\n#include "tensor/b.h"\n',
            "tensor/b.h": "#pragma once\n",
        })
        self.assertEqual(status, 1)
        self.assertIn("a.cpp:2: base must not include tensor/b.h", output)

    def test_refuses_a_sideways_include(self):
        status, output = self.check({
            "text/a.cpp": '  #  include "tensor/b.h"\n',
            "tensor/b.h": "#pragma once\n",
        })
        self.assertEqual(status, 1)
        self.assertIn("text must not include tensor/b.h", output)

    def test_refuses_paths_that_are_not_from_src(self):
        status, output = self.check({
            "base/a.cpp": '#include "b.h"\n#include "base/../tensor/c.h"\n',
            "base/b.h": "#pragma once\n",
            "tensor/c.h": "#pragma once\n",
        })
        self.assertEqual(status, 1)
        self.assertIn('"b.h" is not a path from src/', output)
        self.assertIn('"base/../tensor/c.h" is not a path from src/', output)

    def test_refuses_a_folder_that_is_not_a_floor(self):
        status, output = self.check({"misc/a.h": "#pragma once\n"})
        self.assertEqual(status, 1)
        self.assertIn("'misc' is not a floor", output)


if __name__ == "__main__":
    unittest.main()
