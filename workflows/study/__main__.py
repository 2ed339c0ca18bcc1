from workflows.console import run
from workflows.study import study

run(study.main, study.StudyConfig, study.__doc__)
