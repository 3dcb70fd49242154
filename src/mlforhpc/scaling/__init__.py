"""Strong and weak scaling of one benchmark; see `study`."""

from mlforhpc.scaling.study import Plan, Study, costs, made, measure, plan, resume

__all__ = ["Plan", "Study", "costs", "made", "measure", "plan", "resume"]
