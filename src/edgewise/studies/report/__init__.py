"""Records in, evidence out: tables, figures and one page."""

from edgewise.studies.report.report import summary_table, write_report
