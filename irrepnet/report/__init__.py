"""Pictures and one self-contained page of a trained model: what a physicist would ask to see first."""

from irrepnet._lazy import lazy_face

__getattr__, __dir__, __all__ = lazy_face(
    __name__,
    {
        "CheckRow": "data",
        "CommitteeSpread": "committee",
        "DataReport": "data_report",
        "Dynamics": "data",
        "LearningSeries": "study",
        "Parity": "data",
        "PublishedError": "study",
        "RadialDistribution": "data",
        "ReportData": "data",
        "StructureErrors": "structure_errors",
        "StudyData": "study",
        "StudyPanel": "study",
        "TargetParity": "targets",
        "TorsionScan": "torsions",
        "describe_frames": "data_report",
        "overview_figure": "figures",
        "read_run": "run_report",
        "render_report": "html",
        "scan_torsions": "torsions",
        "write_data_report": "data_report",
        "write_report": "html",
        "write_study_report": "study",
    },
)
