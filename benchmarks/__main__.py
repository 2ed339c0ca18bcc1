"""List the benchmarks: make benchmark."""

import ast
from pathlib import Path

for path in sorted(Path(__file__).parent.rglob("*.py")):
    source = path.read_text()
    if '__name__ == "__main__"' in source and path.name != "__main__.py":
        summary = (ast.get_docstring(ast.parse(source)) or "").splitlines()[0]
        print(f"make benchmark NAME={path.stem:<16} {summary}")
