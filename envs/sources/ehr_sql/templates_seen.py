"""All question templates of ``train``, ``valid`` and ``test_seen``, in the order in which they take turns."""

from copilot.envs.sources.ehr_sql.template import Template
from copilot.envs.sources.ehr_sql.templates_course import TIME, TOPK, TREND, UNANSWERABLE
from copilot.envs.sources.ehr_sql.templates_facts import AGGREGATE, JOIN, LOOKUP

SEEN: tuple[Template, ...] = (*LOOKUP, *JOIN, *AGGREGATE, *TIME, *TOPK, *TREND, *UNANSWERABLE)
